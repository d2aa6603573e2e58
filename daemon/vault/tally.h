/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How much each uid has: so many names, so many bytes. Numbers a uid and nothing a secret: whoever
 * has hundreds of thousands of secrets costs no more here than whoever has one.
 */
struct tally_row;

/* All zero at first. */
struct tally {
	struct tally_row *rows; /* by uid, the next free place when that is taken */
	size_t capacity;        /* a power of two, or 0 */
	size_t count;
};

struct tally_sum {
	uint64_t names;
	uint64_t bytes;
	uint64_t coming; /* of those bytes, as many are on their way */
};

/* Sees to it that something can be added for a uid, whatever comes first. Returns 0 or -ENOMEM. */
int tally_reserve(struct tally *tally, uint32_t uid);

/* So much more; its place is reserved. */
void tally_add(struct tally *tally, uint32_t uid, struct tally_sum more);

/* So much less. Returns false when it was not even that much: then it is nothing now. */
bool tally_drop(struct tally *tally, uint32_t uid, struct tally_sum less);

/* What a uid has. */
struct tally_sum tally_of(const struct tally *tally, uint32_t uid);

/* Nobody has anything; the places stay. And frees them. */
void tally_clear(struct tally *tally);
void tally_finish(struct tally *tally);
