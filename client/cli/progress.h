/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * How far a long command has come: one line on stderr that is written over and taken away at the
 * end, where a person looks at it.
 */
struct progress {
	const char *deed; /* "backed up" */
	bool seen;        /* stderr is a terminal, and nobody wants quiet or JSON */
	bool shown;
	uint64_t due_ms;
};

/* `wanted`: neither -q nor --json. */
void progress_begin(struct progress *progress, const char *deed, bool wanted);
void progress_show(struct progress *progress, uint64_t secrets, uint64_t bytes);
void progress_end(struct progress *progress);
