/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/windows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bits of the bitmap for each window: one stray look-up in sixteen reaches the table. */
#define BITS_PER_WINDOW 16

uint64_t window_read(const uint8_t *bytes)
{
	uint64_t window;

	memcpy(&window, bytes, sizeof(window));
	return window;
}

/* Multiplicative hashing, Knuth's: the upper bits are the good ones. */
static uint64_t hash(uint64_t bytes)
{
	return (bytes ^ bytes >> 29) * 0x9e3779b97f4a7c15u;
}

int windows_init(struct windows *windows, size_t count)
{
	size_t slots = 64;

	*windows = (struct windows){ .shift = 64 - 6 };
	while (slots < 2 * count) {
		slots *= 2;
		windows->shift--;
	}
	windows->mask = slots - 1;
	windows->table = calloc(slots, sizeof(*windows->table));
	windows->bitmap = calloc(slots * BITS_PER_WINDOW / 64, sizeof(*windows->bitmap));
	if (windows->table && windows->bitmap)
		return 0;
	windows_free(windows);
	return -ENOMEM;
}

void windows_free(struct windows *windows)
{
	free(windows->table);
	free(windows->bitmap);
	*windows = (struct windows){ 0 };
}

static size_t bit_of(const struct windows *windows, uint64_t hashed)
{
	return (size_t)(hashed >> (windows->shift - 4));
}

static void add(struct windows *windows, struct window window)
{
	uint64_t hashed = hash(window.bytes);
	size_t bit = bit_of(windows, hashed);
	size_t slot = (size_t)(hashed >> windows->shift);

	if (windows->count > windows->mask / 2)
		abort();
	windows->bitmap[bit / 64] |= (uint64_t)1 << bit % 64;
	while (windows->table[slot].bytes != 0)
		slot = (slot + 1) & windows->mask;
	windows->table[slot] = window;
	windows->count++;
}

/* All eight bytes alike, zeros among them, which mark an empty slot. */
static int is_uniform(uint64_t bytes)
{
	return bytes == (bytes & 0xff) * 0x0101010101010101u;
}

void windows_add(
	struct windows *windows, const uint8_t *bytes, size_t size, size_t step, uint32_t owner)
{
	for (size_t at = 0; at + WINDOW_SIZE <= size; at += step) {
		struct window window = {
			.bytes = window_read(bytes + at), .owner = owner, .offset = (uint32_t)at
		};

		if (!is_uniform(window.bytes))
			add(windows, window);
	}
}

const struct window *windows_find(const struct windows *windows, uint64_t bytes)
{
	uint64_t hashed = hash(bytes);
	size_t bit = bit_of(windows, hashed);
	size_t slot = (size_t)(hashed >> windows->shift);

	if (!(windows->bitmap[bit / 64] >> bit % 64 & 1) || bytes == 0)
		return NULL;
	while (windows->table[slot].bytes != 0 && windows->table[slot].bytes != bytes)
		slot = (slot + 1) & windows->mask;
	return windows->table[slot].bytes == bytes ? &windows->table[slot] : NULL;
}
