/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/guard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The one place where decrypted messages and data keys lie while a request is served: a bump
 * allocator over a fixed region of secret memory. What is taken is given back all at once, by
 * going back to a mark or by wiping; each object has canaries on both sides.
 */
struct workbench {
	uint8_t *base;
	size_t size;   /* bytes */
	size_t used;   /* bytes taken now */
	uint8_t *last; /* the newest object */
	const struct guard *guard;
	bool survives; /* a broken canary is told, instead of ending the process */
	bool broken;
};

/* Takes over `size` bytes of secret memory, which must outlive the bench. */
void workbench_init(struct workbench *bench, void *memory, size_t size, const struct guard *guard);

/* `size` zeroed bytes, 16-byte aligned, until the mark before it; NULL when the bench is full. */
void *workbench_take(struct workbench *bench, size_t size);

/* Gives back the end of the newest object, which keeps its first `size` bytes. */
void workbench_shrink(struct workbench *bench, void *object, size_t size);

/* Bytes that the next workbench_take may ask for. */
size_t workbench_room(const struct workbench *bench);

/* Where the bench stands, to go back to with workbench_release. */
size_t workbench_mark(const struct workbench *bench);

/*
 * Gives back, wiped, everything taken since the mark. On a broken canary: aborts, or wipes all
 * there is and breaks.
 */
void workbench_release(struct workbench *bench, size_t mark);

/* Gives everything back, wiped. The same on a broken canary. */
void workbench_wipe(struct workbench *bench);

/*
 * For whoever serves many: from now on a broken canary does not end the process. All that lies on
 * the bench is wiped at once, and nothing can be taken until it is mended; whoever still holds an
 * object holds zeros.
 */
void workbench_survive(struct workbench *bench);

/* Whether a canary was found broken since the bench was mended last. */
bool workbench_is_broken(const struct workbench *bench);

/* Wipes the bench and makes it as new. Whether it was broken. */
bool workbench_mend(struct workbench *bench);
