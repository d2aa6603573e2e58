/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One line of an audit log: an object of JSON whose members are texts and numbers, in printable
 * ASCII alone. Every other character of a text stands there as \uXXXX, a byte that is no UTF-8 as
 * \ufffd: no text can end its line, nor look like another member. It begins with "n", "time" and
 * "type" and ends with
 *
 *	"prev": the hash of the line before, in hexadecimal digits; zeros in front of the first one
 *	"sig":  in some, an Ed25519 signature of all that stands before it
 *	"hash": BLAKE2b of all that stands before it
 *
 * so that each line holds all before it, and each signature too.
 */
#define AUDIT_HASH_SIZE 32      /* bytes */
#define AUDIT_KEY_SIZE 32       /* bytes of a public key */
#define AUDIT_SIGNATURE_SIZE 64 /* bytes */
#define AUDIT_SEED_SIZE 32      /* bytes of what a pair of keys is made from */
#define AUDIT_LINE_MAX 8192     /* bytes, with its newline */

/* How far a chain goes: its last line. All zero where there is none. */
struct audit_head {
	uint64_t number;
	uint8_t hash[AUDIT_HASH_SIZE];
};

/* -- writing ------------------------------------------------------------------------------- */

/* A line on its way. What does not fit makes it void, which audit_draft_end tells. */
struct audit_draft {
	char *bytes;
	size_t room;
	size_t used;
	bool full;
	bool linked; /* what stands before it is told already */
};

/* Begins the line behind `head` in `room` bytes; `time_ms` is in milliseconds since 1970 UTC. */
void audit_draft_begin(struct audit_draft *draft, char *bytes, size_t room,
	const struct audit_head *head, int64_t time_ms, const char *type);

/* Adds a member. */
void audit_draft_text(struct audit_draft *draft, const char *key, struct span text);
void audit_draft_number(struct audit_draft *draft, const char *key, uint64_t number);
void audit_draft_hex(struct audit_draft *draft, const char *key, const uint8_t *bytes, size_t size);

/*
 * Signs what is there, with the hash of `head` behind it: nothing but audit_draft_end may follow.
 * Touches a key: on the locked stack.
 */
void audit_draft_sign(struct audit_draft *draft, const struct audit_head *head,
	const uint8_t seed[static AUDIT_SEED_SIZE]);

/* Ends the line; `head` is it then. Returns its bytes, newline included, or -ENOSPC. */
int audit_draft_end(struct audit_draft *draft, struct audit_head *head);

/* The public half of the pair that is made from a seed. Touches a key: on the locked stack. */
void audit_public_key(
	uint8_t key[static AUDIT_KEY_SIZE], const uint8_t seed[static AUDIT_SEED_SIZE]);

/* -- reading ------------------------------------------------------------------------------- */

struct audit_line {
	uint64_t number;
	struct span type;
	struct span why; /* empty where it has none; escaped, as it stands there */
	uint64_t lost;   /* the same: 0 */
	uint8_t previous[AUDIT_HASH_SIZE];
	uint8_t hash[AUDIT_HASH_SIZE];
	bool keyed; /* it tells a key */
	uint8_t key[AUDIT_KEY_SIZE];
	bool renewed; /* it tells the next one */
	uint8_t next[AUDIT_KEY_SIZE];
	bool is_signed;
	uint8_t signature[AUDIT_SIGNATURE_SIZE];
	struct span text; /* that is signed */
	bool intact;      /* its hash is that of its bytes */
};

/*
 * Takes a line apart; `text` is without its newline, and outlives `line`. Returns 0, or -EBADMSG
 * when it is none; whether it is the one that was written is told by `intact`.
 */
int audit_line_read(struct audit_line *line, struct span text);

/* Whether its signature is that of a key. */
bool audit_line_signed_by(const struct audit_line *line, const uint8_t key[static AUDIT_KEY_SIZE]);
