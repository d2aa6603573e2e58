/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/security/sources.h"
#include "tests/security/windows.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Bytes that must be nowhere: every 8-byte window of them is looked up at every byte of a process,
 * as it is, with every bit turned over, and backwards.
 */
struct needle {
	int kind; /* the user's number for it */
	const char *name;
	const char *part;
};

struct needles {
	struct windows windows;
	struct needle *items;
	size_t count;
	size_t room;
};

/* Where one was found: `at` in the source, byte `offset` of the needle; `how` is "" or a form. */
typedef void (*needle_fn)(void *context, const struct needle *needle, const struct source *source,
	size_t at, uint32_t offset, const char *how);

/* Room for needles of `bytes` bytes in all. Returns 0 or -ENOMEM. */
int needles_init(struct needles *needles, size_t bytes);
void needles_free(struct needles *needles);

/* The texts outlive the needles; the bytes need not. Returns 0 or -ENOMEM. */
int needles_add(struct needles *needles, struct needle needle, const uint8_t *bytes, size_t size);

/* Looks through one source. */
void needles_look(const struct needles *needles, const struct source *source, needle_fn on_needle,
	void *context);
