/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/channel.h"
#include "daemon/daemon.h"
#include "daemon/outbox.h"
#include "daemon/peer.h"
#include "daemon/request/transfer.h"

#include <stdbool.h>

/*
 * What happens to a connection's bytes between the socket and the socket: Hello in, Hello out;
 * frames in, frames out. No loop and no socket here, so that tests and fuzzers speak to it
 * directly. Each call visits the locked stack once, however many frames it serves.
 */
struct served {
	struct daemon *daemon;
	struct outbox *outbox;
	struct peer peer;
	struct channel channel;
	bool drawn;     /* our key pair for the Hello rests there, until it is answered */
	unsigned begun; /* parts of the frame that comes first which have been served */
	unsigned next;  /* of what may be under way: which kind has the next step */
	bool owed;      /* time was up before all kinds had theirs */
	bool again;     /* time was up when they had; who called us meanwhile may be of the first */
	struct transfers transfers;
};

/*
 * Draws our key pair for a Hello ahead of the answer: half of the work that the answer is. Returns
 * 0 or a negative errno.
 */
int serve_draw(struct served *served);

/*
 * Answers a Hello that both sides can live with: puts ours into the outbox and the frame keys to
 * rest. Returns 0; -EPROTO for a key of low order; or another negative errno.
 */
int serve_hello(struct served *served, const struct hello *hello);

/* Why a turn left input behind. What is not a whole frame is always left. */
enum serve_end {
	SERVE_DONE,    /* it did not: no whole frame is there any more */
	SERVE_FULL,    /* the outbox is full */
	SERVE_OVERTIME /* others are to have their turn */
};

/*
 * Serves whole frames off `input` and goes on with what is under way; the answers are in the
 * outbox. The request in which `until_ns` of daemon_now_ns passes is the last one of the turn: what
 * is left of its frame is the beginning of the next one, with the same bytes. *endp tells why input
 * was left. What is under way and did not get its time is `owed` a turn, which begins with it.
 * Returns 0, or a negative errno after which the connection cannot go on; the outbox is as it was
 * then.
 */
int serve_frames(
	struct served *served, struct span *input, uint64_t until_ns, enum serve_end *endp);

/* Why a negative result ends the connection, as a sentence part. */
const char *serve_words(int error);
