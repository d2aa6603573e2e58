/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/pool.h"

#include <stdlib.h>

#include "client/lib/memory/own.h"

static struct own own = OWN_INIT;
static struct arena arena;

static void renew(void)
{
	arena_forget(&arena);
}

int pool_take(struct arena_object *object, size_t size, enum os_memory_need need, pid_t self)
{
	int r;

	own_enter(&own, self, renew);
	r = arena_take(&arena, object, size, need);
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
