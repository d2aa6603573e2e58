/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/security/sources.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A window that slides over the bytes of a source, a byte at a time, and keeps count of what tells
 * random bytes from others.
 */
struct slide {
	const uint8_t *bytes;
	const uint8_t *known; /* a flag a byte */
	size_t size;          /* bytes in the window */
	size_t at;            /* where it begins */
	size_t end;           /* of the bytes */
	unsigned distinct;    /* values in it */
	size_t unknown;       /* bytes in it that are not known */
	uint64_t squares;     /* sum of the squared counts */
	uint16_t counts[256];
};

/* At the first window. Returns false when there is none. */
bool slide_init(
	struct slide *slide, const struct source *source, const uint8_t *known, size_t size);

/* At the next one. Returns false behind the last. */
bool slide_next(struct slide *slide);
