/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A run of bytes that belongs to somebody else. A span borrows; it never frees. */
struct span {
	const uint8_t *data;
	size_t size; /* bytes */
};

static inline struct span span_of(const void *data, size_t size)
{
	return (struct span){ .data = data, .size = size };
}

static inline struct span span_text(const char *text)
{
	return span_of(text, strlen(text));
}

/* Not in constant time: for names and other public bytes only. */
static inline bool span_equal(struct span a, struct span b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool span_starts_with(struct span text, struct span prefix)
{
	return text.size >= prefix.size &&
		(prefix.size == 0 || memcmp(text.data, prefix.data, prefix.size) == 0);
}
