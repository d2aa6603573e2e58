/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Canaries: 16 random bytes on each side of an object that shares its pages with others. A write
 * past either end is found at the next check, where a guard page cannot find it.
 */
#define GUARD_SIZE 16 /* bytes */

/* One process's canary value. Lives in secret memory, so that nobody can forge it. */
struct guard {
	uint8_t canary[GUARD_SIZE];
};

/* Bytes that an object of `size` bytes takes with both canaries, rounded up to 16. */
size_t guard_span(size_t size);

/* Draws a new canary value. */
void guard_init(struct guard *guard);

/* Writes both canaries around an object that begins at slot + GUARD_SIZE; gives that beginning. */
uint8_t *guard_arm(const struct guard *guard, uint8_t *slot, size_t size);

/* Whether both canaries around the object are whole. In constant time. */
bool guard_intact(const struct guard *guard, const uint8_t *object, size_t size);

/* As guard_intact, but a broken canary ends the process: somebody wrote where nobody may. */
void guard_check(const struct guard *guard, const uint8_t *object, size_t size);
