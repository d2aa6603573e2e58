/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes that were read and not yet served: usually the beginning of a frame. Ciphertext. */
struct backlog {
	uint8_t *bytes;
	size_t served; /* of those, at their beginning: passed over */
	size_t size;   /* of the others */
};

static inline struct span backlog_span(const struct backlog *backlog)
{
	return backlog->size > 0 ? span_of(backlog->bytes + backlog->served, backlog->size)
				 : span_of(NULL, 0);
}

/*
 * Makes `rest`, which may be the end of the backlog itself, the whole backlog. Memory is kept for
 * twice as much at most: what is served piece by piece is not copied for each of them. Returns 0 or
 * -ENOMEM.
 */
int backlog_keep(struct backlog *backlog, struct span rest);

/* Puts *bytes behind the backlog, if there is one, and makes *bytes the whole. 0 or -ENOMEM. */
int backlog_join(struct backlog *backlog, struct span *bytes);

void backlog_finish(struct backlog *backlog);
