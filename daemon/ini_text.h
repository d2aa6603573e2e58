/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "daemon/config_fault.h"

#include <stdbool.h>
#include <stddef.h>

/* inih cuts longer lines (INI_MAX_LINE, 200 bytes) into two: we refuse them before that. */
#define INI_LINE_MAX 198

/*
 * How a text of settings is read: [section], "key = value" and comments, by inih, and strictly.
 * What inih would cut or pass over is refused: NUL bytes, long lines, words behind a section, and
 * lines that are indented below a key, which it takes for a part of that key's value.
 */
struct ini_text {
	const char *path;           /* for messages */
	struct config_fault *fault; /* what is wrong, with file and line */
	const char *sections;       /* which there are, for messages: "[daemon]" */
	void *context;

	/* What stands between the brackets. Returns whether there is such a section, empty or not;
	 * or says itself what is wrong with it. */
	bool (*section)(void *context, struct span title, unsigned line);

	/* One setting of the section that was told last. Returns whether it is right, else it has
	 * said why not. */
	bool (*pair)(void *context, const char *key, const char *value, unsigned line);
};

/* Tells everything in its order. Returns 0, or -EBADMSG with the fault said. No system call. */
int ini_text_read(const struct ini_text *reader, const char *text, size_t size);
