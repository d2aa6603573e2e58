/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * The longest line that is taken from a terminal, in bytes. A terminal hands out whole lines, and
 * Linux silently cuts those of 4,096 bytes and more: what comes near is refused, not stored.
 */
#define TERMINAL_LINE_MAX 4000

/* A question, and room for its answer in guarded memory. */
struct terminal_line {
	const char *question;
	void *room;  /* TERMINAL_LINE_MAX + 1 bytes */
	size_t size; /* of the answer, without the end of the line */
};

/* The terminal of the person who started us, whatever stdin is. A descriptor or a negative errno.
 */
int terminal_open(void);

/*
 * Asks one question after the other, without echo. A signal that ends or stops the process finds
 * the terminal as it was before; after a stop the question is asked again. Returns 0 or a negative
 * errno: -ENODATA for the end of input, -E2BIG for a line that is too long.
 */
int terminal_ask(int terminal, struct terminal_line *lines, size_t count);
