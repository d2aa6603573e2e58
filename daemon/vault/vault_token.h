/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault.h"

/*
 * What the vault keeps of tokens: of each a keyed hash, never the token itself, what is left of it,
 * and a text of whoever keeps them (daemon/request/tokens.h), which says what it is for. A change
 * is a copy that is published before what it is a copy of is wiped: whoever adopts the ledger in
 * between takes the later one, and no use is forgotten.
 */
#define VAULT_TOKEN_SIZE 32        /* bytes of a token */
#define VAULT_TOKEN_HASH_SIZE 32   /* bytes */
#define VAULT_TOKEN_TEXT_MAX 16384 /* bytes */

#define VAULT_TOKEN_COUNTED 1 /* `left` counts uses; at 0 there are none left */
#define VAULT_TOKEN_REVOKED 2
#define VAULT_TOKEN_FLAGS 3 /* all of them */

struct vault_token {
	uint64_t id; /* among all of them */
	uint8_t hash[VAULT_TOKEN_HASH_SIZE];
	uint64_t end_ms; /* of CLOCK_BOOTTIME: it is over then; 0: never */
	uint32_t left;
	uint8_t flags;
	struct span text; /* lives until the vault is changed */
	uint64_t place;
};

/*
 * The hash by which a token is known, as long as the vault's master is the same. Returns 0 or
 * -EKEYEXPIRED. Touches the ledger key.
 */
int vault_token_hash(const struct vault *vault, const uint8_t token[static VAULT_TOKEN_SIZE],
	uint8_t hash[static VAULT_TOKEN_HASH_SIZE]);

/*
 * The token that belongs to the number of a request of that user, as long as the vault's master is
 * the same: what is asked for once more is made once more, and need not be kept. Nobody can tell it
 * from a random one. A wrap of that number is another one. Returns as above.
 */
int vault_token_make(const struct vault *vault, uint32_t uid, bool wrap,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint8_t token[static VAULT_TOKEN_SIZE]);

/* Writes one down: gives it its id and its place. Returns 0, STATUS_LIMIT, or a negative errno.
 * Touches the ledger key. */
int vault_token_add(struct vault *vault, struct vault_token *token);

/*
 * What is left of one is what `token` says now; it has another place then. Returns as
 * vault_token_add does, and nothing is changed unless it is 0. Touches the ledger key.
 */
int vault_token_change(struct vault *vault, struct vault_token *token);

/* The text of the one there; lives until the vault is changed. */
struct span vault_token_text(const struct vault *vault, uint64_t place);

/* Wipes one. A purge of everything has done so with all of them: their places are nobody's then. */
void vault_token_drop(struct vault *vault, uint64_t place);

/* Tells those that were adopted, once. Stops at what is not 0; gives that. */
int vault_tokens(struct vault *vault, int (*visit)(void *context, const struct vault_token *token),
	void *context);

/*
 * Compacting moves them: `moved` is told which one is at another place, while it is at both.
 * Returns whether it knows the new place now; else the old one stays.
 */
typedef bool (*vault_token_moved_fn)(void *context, uint64_t id, uint64_t from, uint64_t to);
void vault_watch_tokens(struct vault *vault, vault_token_moved_fn moved, void *context);
