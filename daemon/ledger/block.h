/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What every block of the ledger that means something by itself begins with. The kind is written
 * last, in one step: before that the block is no more than bytes, and so it is again from the
 * moment in which the kind is taken off. Whoever adopts the ledger finds the blocks by their kinds
 * and believes what their tags prove.
 */
#define BLOCK_TAG_SIZE 16

struct block {
	uint8_t tag[BLOCK_TAG_SIZE]; /* keyed BLAKE2b under the ledger key, of the kind and the rest
				      */
	uint8_t kind[sizeof(uint16_t)];
};

/*
 * Numbers that neither text nor a small number looks like. Of two of them both bytes differ: none
 * becomes another one because a single byte was overwritten.
 */
enum block_kind {
	BLOCK_NOTHING = 0,
	BLOCK_RECORD = 0xe1c9,
	BLOCK_SEGMENT = 0xe2ca,
	BLOCK_CHUNK = 0xe3cb,
	BLOCK_TABLE = 0xe4cc,
	BLOCK_ANSWER = 0xe5cd,
	BLOCK_STAGED = 0xe6ce, /* a record once it is published, and listed by a commit before */
	BLOCK_COMMIT = 0xe7cf,
	BLOCK_EVENTS = 0xedd5, /* what was told of changes */
	BLOCK_SPENT = 0xeed6,  /* an answer that nobody who adopts the ledger is to find */
	BLOCK_TOKEN = 0xe8d0,
	BLOCK_LOCK = 0xefd7, /* its tag is under another key: vault_lock.c */
};

static inline enum block_kind block_kind(const void *bytes)
{
	return (enum block_kind)bytes_get16(((const struct block *)bytes)->kind);
}

/* Whether it is another kind, but for one byte at most. */
static inline bool block_kind_almost(enum block_kind kind, enum block_kind other)
{
	unsigned difference = (unsigned)kind ^ (unsigned)other;

	return (difference & 0xff) == 0 || (difference & 0xff00) == 0;
}

/* Blocks begin at multiples of 16, so the kind is one aligned store. */
static inline void block_set_kind(void *bytes, enum block_kind kind)
{
	struct block *block = bytes;
	uint16_t value;

	bytes_put16((uint8_t *)&value, (uint16_t)kind);
	atomic_store_explicit((_Atomic uint16_t *)(void *)block->kind, value, memory_order_release);
}
