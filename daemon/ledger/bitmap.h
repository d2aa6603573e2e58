/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Bits by the million, most of them 0, that are set one by one and looked for in both directions.
 */
#define BITMAP_WORD 64

/* One bit each, and one bit a word of those: a long run of zeros costs few looks. All zero: empty.
 */
struct bitmap {
	uint64_t *words;
	uint64_t *summary;
};

static inline bool bitmap_get(const struct bitmap *map, uint64_t unit)
{
	return map->words[unit / BITMAP_WORD] >> (unit % BITMAP_WORD) & 1;
}

static inline void bitmap_set(struct bitmap *map, uint64_t unit)
{
	uint64_t word = unit / BITMAP_WORD;

	map->words[word] |= UINT64_C(1) << (unit % BITMAP_WORD);
	map->summary[word / BITMAP_WORD] |= UINT64_C(1) << (word % BITMAP_WORD);
}

static inline void bitmap_clear(struct bitmap *map, uint64_t unit)
{
	uint64_t word = unit / BITMAP_WORD;

	map->words[word] &= ~(UINT64_C(1) << (unit % BITMAP_WORD));
	if (map->words[word] == 0)
		map->summary[word / BITMAP_WORD] &= ~(UINT64_C(1) << (word % BITMAP_WORD));
}

/* The first set bit at `from` or behind it, or `end`. */
uint64_t bitmap_after(const struct bitmap *map, uint64_t from, uint64_t end);

/* The same for plain words that have none above them. */
uint64_t bits_after(const uint64_t *words, uint64_t from, uint64_t end);

/* The last set bit at `from` or before it. There is one: the caller knows. */
uint64_t bitmap_before(const struct bitmap *map, uint64_t from);

/* The first clear bit at `from` or behind it, or `end`. */
uint64_t bitmap_gap(const struct bitmap *map, uint64_t from, uint64_t end);

/* Sets all bits from `from` up to `end`. */
void bitmap_fill(struct bitmap *map, uint64_t from, uint64_t end);

/* Makes room for more bits, which are 0. Returns 0 or -ENOMEM; nothing is lost then. */
int bitmap_widen(struct bitmap *map, uint64_t old_bits, uint64_t new_bits);

/* Bytes that room for so many bits takes. */
uint64_t bitmap_bytes(uint64_t bits);

/* Frees the words; it is empty again. */
void bitmap_finish(struct bitmap *map);
