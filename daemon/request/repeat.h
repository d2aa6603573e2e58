/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The answers to requests that change something, by the request's number, so that a repeated call
 * gets its first answer. A digest of what was asked tells a repeat from another request that uses
 * the same number.
 */
#define REPEAT_DIGEST_SIZE 16

/* Answers kept a user: enough for every call in flight, at 64 KiB a user who writes. */
#define REPEAT_KEPT 1000

struct repeats;

struct repeat_answer {
	int code;
	uint64_t version;
	uint64_t place; /* where the vault has it, too; 0: nowhere */
};

/* `drop` is told the place of each answer that gives way; not of those that repeats_free forgets.
 */
int repeats_new(
	struct repeats **repeatsp, void (*drop)(void *context, uint64_t place), void *context);
void repeats_free(struct repeats *repeats);

/*
 * Looks a number of a user up. Returns 1 and the first answer; 0 when it was never seen;
 * STATUS_CONFLICT (7) when it was seen with another digest.
 */
int repeats_find(const struct repeats *repeats, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t digest[static REPEAT_DIGEST_SIZE], struct repeat_answer *answer);

/* Keeps an answer; the oldest of the user's gives way. Returns 0 or -ENOMEM (nothing is kept). */
int repeats_keep(struct repeats *repeats, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t digest[static REPEAT_DIGEST_SIZE], const struct repeat_answer *answer);

/* The vault has an answer at another place. Whether it was kept, and at the place that is told. */
bool repeats_moved(struct repeats *repeats, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint64_t from, uint64_t to);

/* Forgets every answer. */
void repeats_clear(struct repeats *repeats);
