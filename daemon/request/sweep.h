/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/request/repeat.h"
#include "daemon/request/transfer.h"

/*
 * A purge of what is one caller's: in steps, so that others have their turns, however much there
 * is. What is stored meanwhile may be spared or not. It ends with its session, done or not.
 */

/*
 * Begins one: of all secrets in the caller's own space, and with `everywhere` of all that it has
 * stored first, wherever. Returns 0 or STATUS_LIMIT.
 */
int sweep_begin(struct transfers *transfers, struct daemon *daemon, const struct request *request,
	uint32_t uid, bool everywhere, const uint8_t digest[static REPEAT_DIGEST_SIZE]);

/* NULL when there is none with this id; and the id of one, or 0. */
struct sweep *sweep_find(const struct transfers *transfers, uint64_t id);
uint64_t sweep_first(const struct transfers *transfers);
void sweep_end(struct transfers *transfers, struct sweep *sweep);

/* A step of each, and the answer to what is done. Returns 0 or a negative errno. */
int sweeps_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);
