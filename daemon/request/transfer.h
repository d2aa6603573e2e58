/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"
#include "daemon/daemon.h"
#include "daemon/request/answers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What one session has under way: values coming in (upload.h), values going out, gets that wait for
 * a name (waiter.h), purges (sweep.h), lists (walk.h), comparisons (trial.h), ends of streams
 * (flow.h), reloads (petition.h), watches (watch.h), a restore (restore.h), tokens that are shown
 * (showing.h), tries to unlock (unlock.h). It ends with the session. Nothing here holds plaintext
 * or a bare key between two calls.
 */

/* More than a client that pipelines needs; few enough to keep what a session can hold small. */
#define TRANSFERS_MAX 64

struct upload;
struct download;
struct waiter;
struct sweep;
struct walk;
struct trial;
struct flow;
struct petition;
struct watch;
struct restore;
struct showing;
struct policy_token;
struct unlock;

struct transfers {
	const struct peer *peer;          /* whose they are; the session's */
	const struct policy_token *shown; /* the token that the session shows; NULL: none */
	struct upload *uploads;
	struct download *downloads; /* oldest first */
	struct waiter *waiters;
	struct sweep *sweeps;       /* purges of one caller's own */
	struct walk *walks;         /* lists and exports that look on; oldest first */
	struct trial *trials;       /* candidates that are compared with secrets; oldest first */
	struct flow *flows;         /* streams that it writes and reads */
	struct petition *petitions; /* for the configuration to be read anew */
	struct watch *watches;      /* over what changes; in the order of their turns */
	struct showing *showings;   /* tokens that are still to be looked at; oldest first */
	struct restore *restore;    /* what is staged to appear together; may be NULL */
	struct unlock *unlocks;     /* that are asked for; oldest first */
	struct holder
		*session; /* what the secrets hang on that end with the session; may be NULL */
	/* Its watches follow what the peer may reach from there, after so many reloads; until it
	 * shows another token. */
	bool aimed;
	uint64_t aimed_reload;
	uint64_t aimed_place;    /* peer_place_digest */
	struct wait_party party; /* called when a name appears that one of the waiters waits for */
	struct user *user;       /* on whose account it goes; NULL: on nobody's */
	size_t count;
};

/*
 * Whether as many are under way as may be, in this session or over all of its user's; if so, the
 * words for it, else NULL.
 */
const char *transfers_full(const struct transfers *transfers);

/* One more is under way; one is over. */
void transfers_begin(struct transfers *transfers);
void transfers_end(struct transfers *transfers);

/* Ends everything; what was not published is wiped. */
void transfers_finish(struct transfers *transfers, struct daemon *daemon);

/* What a secret hangs on that ends with the session; NULL without memory. */
struct holder *transfers_session(struct transfers *transfers);

/* Whether a request with this id is under way. */
bool transfers_has(const struct transfers *transfers, uint64_t id);

/*
 * Ends the request with this id, if it is under way, with code 9; a set that has failed has its
 * answer and gets no second one. Returns 0 or a negative errno.
 */
int transfers_cancel(
	struct transfers *transfers, struct daemon *daemon, uint64_t id, struct answers *answers);

/*
 * The vault is locked: ends all that cannot go on without its master, with code 5. What stays are
 * gets that have begun, whose reader has the key: of a secret with counted reads that was its
 * fetch; and what asks for the daemon itself. Returns 0 or a negative errno.
 */
int transfers_refuse(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

#define IS_LOCKED "locked: mgctl unlock"

/*
 * Whether policy lets the session's peer still do, now, what it has begun: a rule may have come, or
 * ended, since then. The audit log is told when it may not go on any more.
 */
bool transfers_may_still(const struct transfers *transfers, const struct daemon *daemon,
	enum right right, struct span name);

/*
 * Tells the audit log what came of a try to unlock: that the session's peer may try, it has been
 * told before. Nothing can be refused any more because it cannot be written.
 */
void transfers_note_unlock(
	const struct transfers *transfers, const struct daemon *daemon, bool unlocked);

#define NOT_ALLOWED "policy does not allow it"

/* What a get asks for; `name` is filed, version 0 is whichever is current. */
struct wanted {
	uint64_t id;
	struct span name;
	uint64_t version;
};

/*
 * Answers a get with the value's key and, when it is one chunk, the chunk; more chunks leave with
 * downloads_go_on. Returns 0, an enum status that is still to be answered, or a negative errno.
 */
int download_begin(struct transfers *transfers, struct daemon *daemon, const struct wanted *wanted,
	struct answers *answers);

/*
 * Answers an export with a record, whose name the caller calls `name`: with all that a backup
 * needs, how many were left out before it, and the chunks, as a get is. It is no fetch.
 */
int download_export(struct transfers *transfers, struct daemon *daemon, uint64_t id,
	struct record *record, struct span name, uint64_t left_out, struct answers *answers);

/* Sends chunks as long as the other side takes them. Returns 0 or a negative errno. */
int downloads_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);
