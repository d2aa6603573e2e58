/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/arena.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/memory/guard.h"

/* Two pages, seen twice: what one slab charges still fits beside a client's handle in 64 KiB. */
#define SLAB_SIZE 8192

/* The canary's pattern, which all objects of a slab have in common, comes first. */
#define SLAB_BEGIN sizeof(struct guard)

/* Bytes of a slot, canaries included. */
static const uint16_t classes[] = { 48, 64, 96, 128, 192, 272, 400, 544, 816, 1360 };

#define CLASSES (sizeof(classes) / sizeof(classes[0]))

_Static_assert(ARENA_OBJECT_MAX + 2 * GUARD_SIZE <= 1360, "the largest object has a class");

#define SLOTS_MAX ((SLAB_SIZE - SLAB_BEGIN) / 48)

struct arena_slab {
	struct arena_slab *next;
	struct os_memory memory;
	size_t slot_size;
	size_t slots;
	size_t used;
	uint16_t sizes[SLOTS_MAX]; /* bytes of each object; 0: a free slot */
};

static const struct os_region *pages_of(const struct arena_slab *slab)
{
	return &slab->memory.regions[0];
}

static const struct guard *guard_of(const struct arena_slab *slab)
{
	return (const struct guard *)(const void *)pages_of(slab)->data;
}

/* The least class that an object of this size fits in, or 0. */
static size_t class_of(size_t size)
{
	for (size_t i = 0; i < CLASSES; i++)
		if (guard_span(size) <= classes[i])
			return classes[i];
	return 0;
}

static bool is_strong_enough(const struct arena_slab *slab, enum os_memory_need need)
{
	static const enum os_memory_backend least[] = {
		[OS_MEMORY_PREFER_LOCK] = OS_MEMORY_PLAIN,
		[OS_MEMORY_REQUIRE_LOCK] = OS_MEMORY_LOCKED,
		[OS_MEMORY_REQUIRE_SECRET] = OS_MEMORY_SECRET,
	};

	return slab->memory.backend >= least[need];
}

/* -- slabs --------------------------------------------------------------------------------- */

static int slab_new(struct arena *arena, enum os_memory_need need, struct arena_slab **slabp)
{
	struct arena_slab *slab = calloc(1, sizeof(*slab));
	int r;

	if (!slab)
		return -ENOMEM;
	slab->memory.count = 1;
	slab->memory.regions[0].size = SLAB_SIZE;
	slab->memory.regions[0].mirrored = true;
	r = os_memory_map(&slab->memory, need);
	if (r < 0) {
		free(slab);
		return r;
	}
	guard_init((struct guard *)(void *)pages_of(slab)->data);
	slab->next = arena->slabs;
	arena->slabs = slab;
	*slabp = slab;
	return 0;
}

static void slab_end(struct arena *arena, struct arena_slab *slab)
{
	struct arena_slab **at = &arena->slabs;

	while (*at != slab)
		at = &(*at)->next;
	*at = slab->next;
	os_memory_unmap(&slab->memory);
	free(slab);
}

/* One with a free slot of this size, else an empty one, which may have any; else NULL. */
static struct arena_slab *slab_find(
	const struct arena *arena, size_t slot_size, enum os_memory_need need)
{
	struct arena_slab *empty = NULL;

	for (struct arena_slab *slab = arena->slabs; slab; slab = slab->next) {
		if (!is_strong_enough(slab, need))
			continue;
		if (slab->used == 0)
			empty = slab;
		else if (slab->slot_size == slot_size && slab->used < slab->slots)
			return slab;
	}
	return empty;
}

static size_t slot_find(const struct arena_slab *slab)
{
	size_t slot = 0;

	while (slab->sizes[slot] != 0)
		slot++;
	return slot;
}

/* -- objects ------------------------------------------------------------------------------- */

static void place(struct arena_slab *slab, struct arena_object *object, size_t size)
{
	const struct os_region *pages = pages_of(slab);
	size_t slot = slot_find(slab);
	size_t at = SLAB_BEGIN + slot * slab->slot_size;

	slab->sizes[slot] = (uint16_t)size;
	slab->used++;
	object->slab = slab;
	object->size = size;
	object->data = guard_arm(guard_of(slab), pages->data + at, size);
	object->view = pages->mirror + at + GUARD_SIZE;
}

int arena_take(
	struct arena *arena, struct arena_object *object, size_t size, enum os_memory_need need)
{
	size_t slot_size = size > 0 && size <= ARENA_OBJECT_MAX ? class_of(size) : 0;
	struct arena_slab *slab;
	int r;

	if (slot_size == 0)
		return -EINVAL;
	slab = slab_find(arena, slot_size, need);
	if (!slab) {
		r = slab_new(arena, need, &slab);
		if (r < 0)
			return r;
	}
	if (slab->used == 0) {
		slab->slot_size = slot_size;
		slab->slots = (SLAB_SIZE - SLAB_BEGIN) / slot_size;
	}
	place(slab, object, size);
	return 0;
}

enum os_memory_backend arena_backend(const struct arena_object *object)
{
	return object->slab->memory.backend;
}

bool arena_intact(const struct arena_object *object)
{
	return guard_intact(guard_of(object->slab), object->data, object->size);
}

static bool has_other_empty(const struct arena *arena, const struct arena_slab *slab)
{
	for (const struct arena_slab *other = arena->slabs; other; other = other->next)
		if (other != slab && other->used == 0)
			return true;
	return false;
}

void arena_give(struct arena *arena, struct arena_object *object)
{
	struct arena_slab *slab = object->slab;
	uint8_t *begin = object->data - GUARD_SIZE;
	size_t at = (size_t)(begin - pages_of(slab)->data) - SLAB_BEGIN;

	sodium_memzero(begin, slab->slot_size);
	slab->sizes[at / slab->slot_size] = 0;
	slab->used--;
	*object = (struct arena_object){ 0 };
	if (slab->used == 0 && has_other_empty(arena, slab))
		slab_end(arena, slab);
}

static void slab_wipe(const struct arena_slab *slab)
{
	uint8_t *first = pages_of(slab)->data + SLAB_BEGIN + GUARD_SIZE;

	for (size_t slot = 0; slab->used > 0 && slot < slab->slots; slot++)
		sodium_memzero(first + slot * slab->slot_size, slab->sizes[slot]);
}

void arena_wipe(struct arena *arena)
{
	for (const struct arena_slab *slab = arena->slabs; slab; slab = slab->next)
		slab_wipe(slab);
}

void arena_forget(struct arena *arena)
{
	struct arena_slab *slab;

	while ((slab = arena->slabs) != NULL) {
		arena->slabs = slab->next;
		free(slab);
	}
}
