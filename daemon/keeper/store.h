/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config.h"
#include "daemon/inherited.h"
#include "daemon/keeper/estate.h"

#include <stdbool.h>

/*
 * The service manager's descriptor store (sd_pid_notify_with_fds(3)): what is pushed there by a
 * keeper that ends is passed to the one that the manager starts next, and dropped when it starts
 * none. It holds what a program started later by anybody of our uid must not get, so only a manager
 * is trusted with it that root runs.
 */

/* Whether there is such a manager. */
bool store_is_there(void);

/*
 * Pushes everything but listeners beside the daemon's own, which are closed; the estate is the next
 * one's then, to be released. For when no worker lives. Returns 0; or a negative errno, said in the
 * log: then nothing is in the store. -EPERM where the keys would be weaker there than `need` asks
 * for.
 */
int store_push(struct estate *estate, enum os_memory_need need);

/*
 * Takes what was pushed and empties the store. Returns whether there was an estate: then it is
 * filled in, its keys where nobody has a descriptor; the listener may be missing. What is there but
 * cannot be read, or is not wanted (`keep` is off), is said in the log and dropped.
 */
bool store_take(struct estate *estate, struct inherited *inherited, const struct config *config);
