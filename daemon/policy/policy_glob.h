/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <stdbool.h>

/*
 * What a name looks like: '*' stands for any bytes within a segment, '**' for any bytes, slashes
 * too; both may stand for nothing. Anything else stands for itself, %XX for a byte that could not
 * be written.
 */
#define GLOB_ANY '\1'   /* compiled: names hold no control characters */
#define GLOB_EVERY '\2' /* slashes, too */
#define GLOB_MAX 512    /* bytes of a compiled glob, its namespace in front of it included */

/* A compiled glob: what every name that it matches begins with, and the rest from the first star
 * on. Both borrow. */
struct glob {
	struct span literal;
	struct span tail;
};

/* %XX stands for a byte. Writes at most text.size bytes to `out`; NULL, or what is wrong. */
const char *glob_decode(struct span text, char *out, size_t *sizep);

/*
 * Compiles `text`, which is relative to the namespace `space` ("" or with a slash at its end), into
 * `buffer`. NULL, or what is wrong with it as a sentence part.
 */
const char *glob_parse(
	struct glob *glob, struct span space, struct span text, char buffer[GLOB_MAX]);

/* Whether `rest`, a filed name behind the glob's literal, is what `tail` stands for. Its time is
 * bounded by the product of both sizes, whatever they are. */
bool glob_matches(struct span tail, struct span rest);

/* Writes `name` so that a glob stands for it alone; cut to `room`, with a NUL. */
void glob_write(char *out, size_t room, struct span name);
