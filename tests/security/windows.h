/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * A set of 8-byte windows that can be looked up at every byte of many megabytes: a bitmap that
 * answers nearly always, and a table behind it.
 */
#define WINDOW_SIZE 8

/* Where a window comes from: `owner` is the user's number for it. */
struct window {
	uint64_t bytes;
	uint32_t owner;
	uint32_t offset; /* in what it comes from */
};

struct windows {
	struct window *table;
	uint64_t *bitmap;
	size_t mask; /* slots of the table, less one; a power of two less one */
	size_t count;
	unsigned shift;
};

/* Room for `count` windows. Returns 0 or -ENOMEM. */
int windows_init(struct windows *windows, size_t count);
void windows_free(struct windows *windows);

/* Adds the windows of `bytes` that begin at multiples of `step`. Those of one byte value are left
 * out: every memory is full of them. */
void windows_add(
	struct windows *windows, const uint8_t *bytes, size_t size, size_t step, uint32_t owner);

/* The window that reads so, or NULL. */
const struct window *windows_find(const struct windows *windows, uint64_t bytes);

/* Eight bytes as a window holds them. */
uint64_t window_read(const uint8_t *bytes);
