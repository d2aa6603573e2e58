/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/pool.h"

#include <stdlib.h>

#include "client/lib/memory/own.h"
#include "client/lib/memory/strongroom.h"

static struct own own = OWN_INIT;
static struct arena arena;

static void renew(void)
{
	arena_forget(&arena);
}

int pool_take(struct arena_object *object, size_t size, enum os_memory_need need, pid_t self,
	uint64_t *generationp)
{
	int r;

	own_enter(&own, self, renew);
	r = arena_take(&arena, object, size, need);
	*generationp = strongroom_generation();
	own_leave(&own);
	return r;
}

void pool_give(struct arena_object *object, pid_t self)
{
	if (!arena_intact(object))
		abort();
	own_enter(&own, self, renew);
	arena_give(&arena, object);
	own_leave(&own);
}

void pool_purge(pid_t self)
{
	own_enter(&own, self, renew);
	strongroom_purge(self);
	arena_wipe(&arena);
	own_leave(&own);
}
