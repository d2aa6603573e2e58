/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/arena.h"

#include <sys/types.h>

/*
 * The process's one arena, for small secrets that nobody is to write to. May be used from any
 * thread. A forked child begins with an empty one: the pages are its parent's.
 */

/*
 * As arena_take; `self` is own_self(). Tells the generation that the object is of: a purge comes
 * before or after both.
 */
int pool_take(struct arena_object *object, size_t size, enum os_memory_need need, pid_t self,
	uint64_t *generationp);

/* As arena_give, behind a look at the canaries: a broken one ends the process. */
void pool_give(struct arena_object *object, pid_t self);

/* As strongroom_purge and arena_wipe, at one go. */
void pool_purge(pid_t self);
