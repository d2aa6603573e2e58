/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/workbench.h"
#include "common/wire/channel.h"
#include "common/wire/frame.h"
#include "daemon/request/answers.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Answers on their way out: composed in clear on the workbench, sealed into one buffer that all
 * sessions share, and written when all ready sessions have been read. No loop and no socket here.
 */

/*
 * Plaintext of one frame of answers. Less than a frame could hold, because the workbench must have
 * room for the largest request and a chunk at the same time; more than the largest answer.
 */
#define OUTBOX_PLAIN_MAX 5696

/* The most that one frame of requests can be answered with before the next one is looked at. */
#define OUTBOX_FRAME_ROOM \
	((size_t)MESSAGE_FRAME_MAX * (FRAME_HEADER_SIZE + FRAME_SEALED_MAX) + OUTBOX_TURN)

/* Chunk bytes that one session may add in one turn: about what a socket's buffer takes. */
#define OUTBOX_TURN ((size_t)2 * FRAME_SIZE_MAX)

#define OUTBOX_SIZE (2 * OUTBOX_FRAME_ROOM)

/* Sealed frames of all sessions, one after the other. */
struct outbox {
	uint8_t *bytes;
	size_t used;
	uint8_t *staged; /* chunks of the one frame that is being composed */
};

/* Makes the buffer. Returns 0 or -ENOMEM. */
int outbox_init(struct outbox *outbox);
void outbox_finish(struct outbox *outbox);

/* Whether another frame of requests can be answered without writing first. */
bool outbox_has_room(const struct outbox *outbox);

/* One session's answers while it is being served. Embeds the door that request.c knocks at. */
struct outgoing {
	struct answers answers;
	struct outbox *outbox;
	struct channel *channel;
	const struct channel_keys *keys;
	uint8_t *plain; /* on the workbench, OUTBOX_PLAIN_MAX bytes */
	size_t used;
	size_t count;       /* chunks staged for the frame being composed */
	size_t chunk_bytes; /* of those */
	size_t turn;        /* chunk bytes that may still leave in this turn */
};

/* Begins a turn. Returns 0 or -ENOBUFS when the bench is full. */
int outgoing_begin(struct outgoing *outgoing, struct outbox *outbox, struct channel *channel,
	const struct channel_keys *keys, struct workbench *bench);

/* Seals what has been composed into the outbox. Returns 0 or -ENOSPC. */
int outgoing_flush(struct outgoing *outgoing);
