/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes that were read and not yet served: usually the beginning of a frame. Ciphertext. */
struct backlog {
	uint8_t *bytes;
	size_t size;
};

static inline struct span backlog_span(const struct backlog *backlog)
{
	return span_of(backlog->bytes, backlog->size);
}

/*
 * Makes `rest`, which may be the end of the backlog itself, the whole backlog; no more memory is
 * kept than that takes. Returns 0 or -ENOMEM.
 */
int backlog_keep(struct backlog *backlog, struct span rest);

/* Puts *bytes behind the backlog, if there is one, and makes *bytes the whole. 0 or -ENOMEM. */
int backlog_join(struct backlog *backlog, struct span *bytes);

void backlog_finish(struct backlog *backlog);
