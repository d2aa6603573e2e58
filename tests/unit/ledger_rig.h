/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Blocks of a ledger as whoever takes them knows them. */
#include <check.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/ledger/ledger.h"
#include "tests/unit/claims.h"

#define MIB (UINT64_C(1) << 20)
#define BLOCKS 500
#define STEPS 60000

/* What is known of a block from the outside. */
struct block {
	uint64_t offset; /* 0: not taken */
	size_t size;
	uint8_t fill;
};

/* Where ledgers lie in this test case: a file, or -1. */
static int ledger_fd = -1;

static inline void in_memory(void)
{
	ledger_fd = -1;
}

static inline void in_a_file(void)
{
	ledger_fd = ledger_file();
	ck_assert_int_ge(ledger_fd, 0);
}

static inline struct ledger *new_ledger(void)
{
	struct ledger *ledger = NULL;

	ck_assert_int_eq(ledger_new(&ledger, ledger_fd), 0);
	return ledger;
}

static inline uint64_t take(struct ledger *ledger, size_t size)
{
	uint64_t offset = 0;

	ck_assert_int_eq(ledger_take(ledger, size, &offset), 0);
	ck_assert_uint_ne(offset, 0);
	ck_assert_uint_eq(offset % LEDGER_UNIT, 0);
	return offset;
}

static inline void fill(struct ledger *ledger, struct block *block)
{
	block->fill = (uint8_t)(1 + randombytes_uniform(255));
	memset(ledger_at(ledger, block->offset, block->size), block->fill, block->size);
}

static inline bool is_filled(struct ledger *ledger, const struct block *block)
{
	const uint8_t *bytes = ledger_at(ledger, block->offset, block->size);

	return bytes[0] == block->fill && memcmp(bytes, bytes + 1, block->size - 1) == 0;
}

/* Small sizes mostly, as secrets are; now and then a whole extent of a value, or more. */
static inline size_t some_size(void)
{
	switch (randombytes_uniform(16)) {
	case 0:
		return 1 + randombytes_uniform(300000);
	case 1:
		return 1 + randombytes_uniform(20000);
	default:
		return 1 + randombytes_uniform(400);
	}
}

static inline uint64_t rounded(size_t size)
{
	return (size + LEDGER_UNIT - 1) / LEDGER_UNIT * LEDGER_UNIT;
}

static inline void step(struct ledger *ledger, struct block *block, uint64_t *usedp)
{
	if (block->offset == 0) {
		block->size = some_size();
		block->offset = take(ledger, block->size);
		fill(ledger, block);
		*usedp += rounded(block->size);
		return;
	}
	ck_assert(is_filled(ledger, block));
	ck_assert_uint_eq(ledger_block(ledger, block->offset), rounded(block->size));
	*usedp -= rounded(block->size);
	if (block->size > 64 && randombytes_uniform(4) == 0) {
		block->size -= 1 + randombytes_uniform((uint32_t)block->size / 2);
		ledger_trim(ledger, block->offset, block->size);
		*usedp += rounded(block->size);
		return;
	}
	ledger_give(ledger, block->offset);
	block->offset = 0;
}

static inline uint64_t take_filled(struct ledger *ledger, size_t size)
{
	struct block block = { .size = size };

	ck_assert_int_eq(ledger_take(ledger, size, &block.offset), 0);
	fill(ledger, &block);
	return block.offset;
}
