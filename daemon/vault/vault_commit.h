/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault_inside.h"

/* The block that commits a batch: what it lists, and who reads and writes it. */

/* A record of the batch, in the list behind the block's first COMMIT_SIZE bytes. */
struct listed {
	uint8_t place[sizeof(uint32_t)]; /* in units */
	uint8_t sequence[NUMBER_SIZE];   /* of the record as it was when it was listed */
};

#define COMMIT_SIZE 66
#define COMMIT_MAX ((LEDGER_BLOCK_MAX - COMMIT_SIZE) / sizeof(struct listed))

static inline uint64_t listed_place(const struct listed *listed)
{
	return (uint64_t)bytes_get32(listed->place) * LEDGER_UNIT;
}

/*
 * From the moment in which this block is there the records that are listed and staged count, and
 * what was promised is answered with `version`. vault_give ends it. Returns 0, STATUS_LIMIT, or
 * -EKEYEXPIRED; nothing has changed then. Touches the ledger key.
 */
int commit_write(struct vault *vault, const struct listed *list, uint32_t count, uint64_t version,
	uint64_t *offsetp);

/* Whether a block of its kind is what was written. Touches the ledger key. */
bool commit_intact(const struct vault *vault, uint64_t offset);

/*
 * Whether one that is not may have been one, whatever byte was overwritten: its number is one up to
 * `highest`. Ciphertext hardly ever has such a one.
 */
bool commit_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest);

/* Of an intact one: its number, and what it lists. Stops at what is not 0; gives that. */
uint64_t commit_sequence(const struct vault *vault, uint64_t offset);
int commit_each(const struct vault *vault, uint64_t offset,
	int (*visit)(void *context, uint64_t record, uint64_t sequence), void *context);
