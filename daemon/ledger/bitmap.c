/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/bitmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t words_for(uint64_t bits)
{
	return (bits + BITMAP_WORD - 1) / BITMAP_WORD;
}

uint64_t bits_after(const uint64_t *words, uint64_t from, uint64_t end)
{
	uint64_t word = from / BITMAP_WORD;
	uint64_t bits;
	uint64_t unit;

	if (from >= end)
		return end;
	bits = words[word] & UINT64_MAX << (from % BITMAP_WORD);
	while (bits == 0 && ++word < words_for(end))
		bits = words[word];
	if (bits == 0)
		return end;
	unit = word * BITMAP_WORD + (uint64_t)__builtin_ctzll(bits);
	return unit < end ? unit : end;
}

/* The last set bit at `from` or before it. There is one: the caller knows. */
static uint64_t bits_before(const uint64_t *words, uint64_t from)
{
	uint64_t word = from / BITMAP_WORD;
	uint64_t bits = words[word] & UINT64_MAX >> (BITMAP_WORD - 1 - from % BITMAP_WORD);

	while (bits == 0 && word > 0)
		bits = words[--word];
	if (bits == 0)
		abort();
	return word * BITMAP_WORD + BITMAP_WORD - 1 - (uint64_t)__builtin_clzll(bits);
}

uint64_t bitmap_after(const struct bitmap *map, uint64_t from, uint64_t end)
{
	uint64_t word = from / BITMAP_WORD;
	uint64_t word_end = (word + 1) * BITMAP_WORD;
	uint64_t unit = bits_after(map->words, from, word_end < end ? word_end : end);

	if (unit >= end || unit < word_end)
		return unit < end ? unit : end;
	word = bits_after(map->summary, word + 1, words_for(end));
	return word < words_for(end) ? bits_after(map->words, word * BITMAP_WORD, end) : end;
}

uint64_t bitmap_before(const struct bitmap *map, uint64_t from)
{
	uint64_t word = from / BITMAP_WORD;
	uint64_t bits = map->words[word] & UINT64_MAX >> (BITMAP_WORD - 1 - from % BITMAP_WORD);

	if (bits == 0) {
		if (word == 0)
			abort();
		word = bits_before(map->summary, word - 1);
		return bits_before(map->words, word * BITMAP_WORD + BITMAP_WORD - 1);
	}
	return bits_before(map->words, from);
}

uint64_t bitmap_gap(const struct bitmap *map, uint64_t from, uint64_t end)
{
	uint64_t word = from / BITMAP_WORD;
	uint64_t clear;
	uint64_t unit;

	if (from >= end)
		return end;
	clear = ~map->words[word] & UINT64_MAX << (from % BITMAP_WORD);
	while (clear == 0 && ++word < words_for(end))
		clear = ~map->words[word];
	unit = word * BITMAP_WORD + (clear == 0 ? 0 : (uint64_t)__builtin_ctzll(clear));
	return unit < end ? unit : end;
}

void bitmap_fill(struct bitmap *map, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t word = from / BITMAP_WORD;
		uint64_t next = (word + 1) * BITMAP_WORD;
		uint64_t bits = UINT64_MAX << (from % BITMAP_WORD);

		if (next > end)
			bits &= UINT64_MAX >> (next - end);
		map->words[word] |= bits;
		map->summary[word / BITMAP_WORD] |= UINT64_C(1) << (word % BITMAP_WORD);
		from = next;
	}
}

static int widen_words(uint64_t **wordsp, uint64_t old_bits, uint64_t new_bits)
{
	uint64_t old_words = words_for(old_bits);
	uint64_t new_words = words_for(new_bits);
	uint64_t *words = reallocarray(*wordsp, new_words, sizeof(*words));

	if (!words)
		return -ENOMEM;
	memset(words + old_words, 0, (new_words - old_words) * sizeof(*words));
	*wordsp = words;
	return 0;
}

int bitmap_widen(struct bitmap *map, uint64_t old_bits, uint64_t new_bits)
{
	int r = widen_words(&map->words, old_bits, new_bits);

	return r < 0 ? r : widen_words(&map->summary, words_for(old_bits), words_for(new_bits));
}

uint64_t bitmap_bytes(uint64_t bits)
{
	uint64_t words = words_for(bits);

	return (words + words_for(words)) * sizeof(uint64_t);
}

void bitmap_finish(struct bitmap *map)
{
	free(map->words);
	free(map->summary);
	*map = (struct bitmap){ 0 };
}
