/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"
#include "daemon/daemon.h"
#include "daemon/request/answers.h"
#include "daemon/request/transfer.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A set whose chunks are still coming. Between two frames its data key rests wrapped under the
 * vault master, so that a purge reaches it; its chunks lie in the ledger, where only publishing
 * makes them reachable.
 */
struct upload;

/*
 * Begins a set; `name` is filed, `process` is what it is bound to, or NULL. The request's own
 * chunks are not taken yet. Returns 0, and the process is the upload's; an enum status when it
 * cannot begin, or a negative errno.
 */
int upload_begin(struct transfers *transfers, struct daemon *daemon, const struct request *request,
	struct span name, struct process *process, struct upload **uploadp);

/*
 * Remembers a set that has been answered already: its chunks are dropped until the last one.
 * Returns 0, -ENOMEM, or -EPROTO when there are too many of them.
 */
int upload_drop(struct transfers *transfers, uint64_t id);

/* The set with this id, or NULL. */
struct upload *upload_find(const struct transfers *transfers, uint64_t id);

/* Whether the set has its answer already and is only waited out. */
bool upload_answered(const struct upload *upload);

/*
 * Takes chunks for a set, and publishes it with the final one. `key` is the data key when the
 * request has just brought it, NULL otherwise. Answers when the set is over, either way. Returns 0
 * or a negative errno.
 */
int upload_take(struct transfers *transfers, struct daemon *daemon, uint32_t uid,
	struct upload *upload, const struct request *request, const uint8_t *key,
	struct answers *answers);

/* Ends a set that is not over; its chunks are wiped. */
void upload_end(struct transfers *transfers, struct daemon *daemon, struct upload *upload);

/*
 * Answers the sets whose next chunks have not come in time with code 9; what still comes for them
 * is dropped. Returns 0 or a negative errno.
 */
int uploads_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* Answers all of them with code 5: their data keys rest under a master that is not there. The same.
 */
int uploads_refuse(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* The earliest time by which chunks must come, in milliseconds of CLOCK_BOOTTIME; 0: none. */
uint64_t uploads_deadline(const struct transfers *transfers);

/* -- the digest that tells a repeat from another request ----------------------------------- */

/* Begins it with all that a request says in front of its chunks. */
void digest_begin(crypto_generichash_state *state, const struct request *request, struct span name);

/* The digest of a request that changes something, without its chunks. */
void request_digest(
	uint8_t digest[static REPEAT_DIGEST_SIZE], const struct request *request, struct span name);

/* -- what is told of a change that was refused --------------------------------------------- */

#define OVER_LIMIT "the value is over the daemon's limit (max-value)"
#define NUMBER_REUSED "the request's number was used for another one"

/* Which of the conditions did not hold. */
const char *conflict_words(const struct conditions *conditions);
