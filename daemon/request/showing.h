/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/request/transfer.h"
#include "daemon/vault/vault_token.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A token that a session shows, on its way to be looked at: whoever has shown wrong ones waits as
 * after wrong candidates of a comparison (penalty.h). What waits is the hash alone.
 */
struct showing;

/*
 * Looks at it, or lets it wait. Returns 0 or a status that is still to be answered, with *wordsp;
 * or a negative errno.
 */
int showing_begin(struct transfers *transfers, struct daemon *daemon, uint64_t id,
	const uint8_t hash[static VAULT_TOKEN_HASH_SIZE], struct answers *answers);

/* NULL when there is none with this id. */
struct showing *showing_find(const struct transfers *transfers, uint64_t id);
void showing_end(struct transfers *transfers, struct showing *showing);

/* Looks at those whose turn it is. Returns 0 or a negative errno. */
int showings_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* When the first of those that wait is looked at again, in ms of CLOCK_BOOTTIME; 0: none waits. */
uint64_t showings_deadline(const struct transfers *transfers);

/* From now on the session shows this one; NULL: none. */
void session_shows(struct transfers *transfers, struct daemon *daemon, struct token *token);
