/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/guard.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

size_t guard_span(size_t size)
{
	return 2 * GUARD_SIZE + (size + 15) / 16 * 16;
}

void guard_init(struct guard *guard)
{
	randombytes_buf(guard->canary, sizeof(guard->canary));
}

_Static_assert(GUARD_SIZE == crypto_verify_16_BYTES, "a canary is compared at one go");

/* The canary behind an object begins at its very end, so that one byte too many is seen. */
static size_t slack(size_t size)
{
	return guard_span(size) - GUARD_SIZE - size;
}

/* Behind the object: the canary, and its beginning again as far as the rounding goes. */
static bool tail_intact(const struct guard *guard, const uint8_t *tail, size_t size)
{
	size_t extra = size - GUARD_SIZE;

	return crypto_verify_16(tail, guard->canary) == 0 &&
		sodium_memcmp(tail + GUARD_SIZE, guard->canary, extra) == 0;
}

uint8_t *guard_arm(const struct guard *guard, uint8_t *slot, size_t size)
{
	uint8_t *object = slot + GUARD_SIZE;
	uint8_t *tail = object + size;

	memcpy(slot, guard->canary, GUARD_SIZE);
	memcpy(tail, guard->canary, GUARD_SIZE);
	memcpy(tail + GUARD_SIZE, guard->canary, slack(size) - GUARD_SIZE);
	return object;
}

bool guard_intact(const struct guard *guard, const uint8_t *object, size_t size)
{
	return crypto_verify_16(object - GUARD_SIZE, guard->canary) == 0 &&
		tail_intact(guard, object + size, slack(size));
}

void guard_check(const struct guard *guard, const uint8_t *object, size_t size)
{
	if (!guard_intact(guard, object, size))
		abort();
}
