/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/request/transfer.h"
#include "daemon/vault/vault_lock.h"

/*
 * A try to unlock the vault. Whoever has tried a wrong key waits, as whoever has guessed wrongly
 * does (penalty.h), and meanwhile its key rests wrapped under the channel's master, for there is no
 * other one.
 */
struct unlock;

/* Parks one; it is made with unlocks_go_on. Returns 0, STATUS_LIMIT or a negative errno. */
int unlock_park(struct transfers *transfers, struct daemon *daemon, uint64_t id, uint32_t uid,
	const uint8_t key[static LOCK_KEY_SIZE]);

/* NULL when there is none with this id. */
struct unlock *unlock_find(const struct transfers *transfers, uint64_t id);
void unlock_end(struct transfers *transfers, struct unlock *unlock);

/* Makes and answers those whose time has come. Returns 0 or a negative errno. Touches keys. */
int unlocks_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* When the first of them is looked at again, in ms of CLOCK_BOOTTIME; 0: none waits. */
uint64_t unlocks_deadline(const struct transfers *transfers);
