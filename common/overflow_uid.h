/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether this uid may stand for several users: in a user namespace that does not map every uid,
 * the kernel gives all those that it leaves out the same number, the overflow uid
 * (user_namespaces(7)). Whoever has it cannot be told from others. Where the map cannot be read,
 * there is none. Keeps nothing; may be called from any thread.
 */
bool overflow_uid(uid_t uid);

/* The number that may stand for several groups in the same way. Whether there is one. */
bool overflow_gid(gid_t *gidp);

/*
 * Whether there may be such numbers at all. A map of all uids and gids is all there will ever be in
 * this process's user namespace: whoever never leaves that need not ask again after a no.
 */
bool overflow_is_possible(void);
