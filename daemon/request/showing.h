/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/request/transfer.h"
#include "daemon/vault/vault_token.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A token that a session shows, or a wrap, on its way to be looked at: whoever has shown wrong ones
 * waits as after wrong candidates of a comparison (penalty.h). What waits is the hash alone.
 */
struct showing;

enum showing_deed {
	SHOWING_TOKEN,  /* the session shows it from then on */
	SHOWING_WRAP,   /* what is wrapped is fetched */
	SHOWING_LOOK_UP /* of a wrap it is told what it is */
};

/* What is shown. */
struct shown {
	uint64_t id;
	enum showing_deed deed;
	uint8_t hash[VAULT_TOKEN_HASH_SIZE];
	struct span reason; /* of a wrap: why it is asked for; may be empty */
};

/* Looks at it, or lets it wait. Returns 0, STATUS_LIMIT, or a negative errno. */
int showing_begin(struct transfers *transfers, struct daemon *daemon, const struct shown *shown,
	struct answers *answers);

/* The id of one that waits; 0: none does. */
uint64_t showing_first(const struct transfers *transfers);

/* NULL when there is none with this id. */
struct showing *showing_find(const struct transfers *transfers, uint64_t id);
void showing_end(struct transfers *transfers, struct showing *showing);

/* Looks at those whose turn it is. Returns 0 or a negative errno. */
int showings_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* When the first of those that wait is looked at again, in ms of CLOCK_BOOTTIME; 0: none waits. */
uint64_t showings_deadline(const struct transfers *transfers);

/* showing_wrap.c: answers for a wrap, at once. Returns 0 or a negative errno. */
int showing_unwrap(struct transfers *transfers, struct daemon *daemon, const struct shown *shown,
	struct answers *answers);

/* From now on the session shows this one; NULL: none. */
void session_shows(struct transfers *transfers, struct daemon *daemon, struct token *token);
