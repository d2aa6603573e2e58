/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One member of a JSON text, by a JSON pointer (RFC 6901). The text is walked where it lies, in the
 * caller's guarded memory: no copy is made, no tree is built, and numbers stay as they were
 * written.
 */
struct field {
	const uint8_t *begin; /* inside the text */
	const uint8_t *end;
	bool found;
};

/* False when the text as a whole is no JSON (RFC 8259). Of equal names the last one counts. */
bool field_find(struct field *field, const void *text, size_t size, const char *pointer);

/* A result other than 0 ends the printing. */
typedef int (*field_sink)(void *context, const void *bytes, size_t size);

/* Hands a string over as its characters, anything else as JSON without white space. */
int field_print(const struct field *field, field_sink sink, void *context);
