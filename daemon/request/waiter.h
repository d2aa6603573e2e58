/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/request/answers.h"
#include "daemon/request/transfer.h"

#include <stdint.h>

/* A get that waits for its name to appear. */
struct waiter;

/* Parks a get until its name appears, at most `wait_ms`. Returns 0 or STATUS_LIMIT. */
int waiter_park(struct transfers *transfers, struct daemon *daemon, const struct wanted *wanted,
	uint32_t wait_ms);

/* The waiting get with this id, or NULL; and the id of one, or 0. */
struct waiter *waiter_find(const struct transfers *transfers, uint64_t id);
uint64_t waiter_first(const struct transfers *transfers);

/* Ends a waiting get without an answer. */
void waiter_end(struct transfers *transfers, struct waiter *waiter);

/* Answers the waiting gets whose name is there now, or whose time is up. 0 or a negative errno. */
int waiters_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* The earliest deadline of a waiting get in milliseconds of CLOCK_BOOTTIME; 0: none waits. */
uint64_t waiters_deadline(const struct transfers *transfers);
