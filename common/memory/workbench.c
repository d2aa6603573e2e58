/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/workbench.h"

#include <sodium.h>
#include <stdlib.h>

/*
 * The bench is a chain of objects, each behind a note of its size and of the object before it, so
 * that giving back can check every canary on the way.
 */
struct note {
	uint64_t size;
	uint64_t before; /* `used` before this object was taken */
};

/* Notes lie between objects and must not upset their alignment. */
_Static_assert(sizeof(struct note) == 16, "a note keeps objects 16-byte aligned");

/* Bytes that an object takes beside its own, rounded up to 16. */
#define OVERHEAD (sizeof(struct note) + (size_t)2 * GUARD_SIZE)

void workbench_init(struct workbench *bench, void *memory, size_t size, const struct guard *guard)
{
	*bench = (struct workbench){ .base = memory, .size = size, .guard = guard };
	sodium_memzero(memory, size);
}

void workbench_survive(struct workbench *bench)
{
	bench->survives = true;
}

bool workbench_is_broken(const struct workbench *bench)
{
	return bench->broken;
}

/* Somebody wrote where nobody may: whose bytes are what is no longer known. */
static void give_up(struct workbench *bench)
{
	if (!bench->survives)
		abort();
	sodium_memzero(bench->base, bench->size);
	bench->used = 0;
	bench->last = NULL;
	bench->broken = true;
}

bool workbench_mend(struct workbench *bench)
{
	bool broken = bench->broken;

	if (broken)
		sodium_memzero(bench->base, bench->size);
	bench->broken = false;
	return broken;
}

void *workbench_take(struct workbench *bench, size_t size)
{
	struct note *note;
	size_t span;

	/* No room at all and room for an empty object are both 0 to ask for, but not the same. */
	if (bench->broken || size > workbench_room(bench) || bench->size - bench->used < OVERHEAD)
		return NULL;
	span = sizeof(struct note) + guard_span(size);
	note = (struct note *)(void *)(bench->base + bench->used);
	note->size = size;
	note->before = bench->last ? (uint64_t)(bench->last - bench->base) : UINT64_MAX;
	bench->last = (uint8_t *)note;
	bench->used += span;
	return guard_arm(bench->guard, (uint8_t *)(note + 1), size);
}

void workbench_shrink(struct workbench *bench, void *object, size_t size)
{
	struct note *note = (struct note *)(void *)bench->last;
	uint8_t *slot = (uint8_t *)(note + 1);
	size_t end = bench->used;

	if (bench->broken)
		return;
	if (!note || object != slot + GUARD_SIZE || size > note->size)
		abort();
	if (!guard_intact(bench->guard, object, note->size)) {
		give_up(bench);
		return;
	}
	note->size = size;
	bench->used = (size_t)(slot - bench->base) + guard_span(size);
	sodium_memzero(
		(uint8_t *)object + size, end - (size_t)((uint8_t *)object - bench->base) - size);
	guard_arm(bench->guard, slot, size);
}

size_t workbench_room(const struct workbench *bench)
{
	size_t left = bench->size - bench->used;

	return left < OVERHEAD ? 0 : (left - OVERHEAD) / 16 * 16;
}

size_t workbench_mark(const struct workbench *bench)
{
	return bench->used;
}

/*
 * Takes the newest object off, with a look at its canaries; false when they are broken. Each object
 * must end where the one after it begins: else a write over a note could lead the way around the
 * canary it broke.
 */
static bool drop_last(struct workbench *bench)
{
	struct note *note = (struct note *)(void *)bench->last;
	size_t begin = (size_t)(bench->last - bench->base);

	if (note->size > bench->size ||
		begin + sizeof(*note) + guard_span(note->size) != bench->used ||
		(begin == 0 ? note->before != UINT64_MAX : note->before >= begin) ||
		!guard_intact(bench->guard, (uint8_t *)(note + 1) + GUARD_SIZE, note->size))
		return false;
	bench->used = begin;
	bench->last = note->before == UINT64_MAX ? NULL : bench->base + note->before;
	return true;
}

void workbench_release(struct workbench *bench, size_t mark)
{
	size_t end = bench->used;

	while (bench->used > mark)
		if (!drop_last(bench)) {
			give_up(bench);
			return;
		}
	sodium_memzero(bench->base + bench->used, end - bench->used);
}

/* What was given back before was wiped then: behind `used` the bench is always zero. */
void workbench_wipe(struct workbench *bench)
{
	workbench_release(bench, 0);
}
