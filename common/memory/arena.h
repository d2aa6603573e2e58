/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/os_memory.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Small objects that share locked pages. Each is written through one mapping, which its owner keeps
 * to itself, and read through another that nobody can write to. A canary stands on each side of an
 * object. Not for several threads at once: the owner of the arena sees to that.
 */
struct arena_slab;

/* All zero is a valid, empty arena. */
struct arena {
	struct arena_slab *slabs;
};

/* Bytes that an object may have; a larger one is worth pages of its own. */
#define ARENA_OBJECT_MAX 1324

struct arena_object {
	struct arena_slab *slab; /* NULL: none */
	uint8_t *data;           /* to write to */
	const uint8_t *view;     /* the same bytes, read-only */
	size_t size;
};

/*
 * Gives `size` (1 to ARENA_OBJECT_MAX) zeroed bytes of memory as strong as `need` asks. Returns 0;
 * -EPERM when the memory is not to be had that strong, -ENOSYS where nothing can be mapped twice,
 * -EINVAL, or -ENOMEM. After a failure everybody else's objects are as they were.
 */
int arena_take(
	struct arena *arena, struct arena_object *object, size_t size, enum os_memory_need need);

/* What keeps the object's pages from leaking. */
enum os_memory_backend arena_backend(const struct arena_object *object);

/* Whether both canaries of the object are whole. */
bool arena_intact(const struct arena_object *object);

/* Wipes the object and takes its place back; one empty slab stays for the next ones. */
void arena_give(struct arena *arena, struct arena_object *object);

/* Wipes the bytes of every object; the objects stay, with their canaries. */
void arena_wipe(struct arena *arena);

/* Forgets everything without touching it: after a fork the pages are the parent's alone. */
void arena_forget(struct arena *arena);
