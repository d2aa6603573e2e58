/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers in settings: decimal digits from the first byte on, without a sign or a space. */

/* What may stand behind a number, and how many times that counts it. */
struct unit {
	const char *name;
	uint64_t factor;
};

/* A number with one of the units behind it, which has to be named ("" is none); 0 for what is none.
 */
uint64_t quantity_read(const char *text, const struct unit *units, size_t count);

/* The number of a user or a group: not the largest one, which means "none". Whether it is one. */
bool quantity_read_id(const char *text, uint32_t *idp);
