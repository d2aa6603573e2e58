/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Stands for "somebody is taking the pool over"; no process has this number. */
#define NOBODY (-1)

static struct {
	pthread_mutex_t lock;
	struct arena arena;
	_Atomic pid_t owner; /* 0: nobody yet */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

/*
 * A child has its parent's pool without the pages, and perhaps with a lock that a thread of the
 * parent held: the first of its threads to come makes it new.
 */
static void take_over(pid_t self)
{
	pid_t owner = atomic_load(&pool.owner);

	while (owner != self) {
		if (owner == NOBODY) {
			sched_yield();
			owner = atomic_load(&pool.owner);
		} else if (atomic_compare_exchange_weak(&pool.owner, &owner, NOBODY)) {
			if (owner != 0)
				arena_forget(&pool.arena);
			pthread_mutex_init(&pool.lock, NULL);
			atomic_store(&pool.owner, self);
			owner = self;
		}
	}
}

static void enter(void)
{
	take_over(getpid());
	pthread_mutex_lock(&pool.lock);
}

static void leave(void)
{
	pthread_mutex_unlock(&pool.lock);
}

int pool_take(struct arena_object *object, size_t size, enum os_memory_need need)
{
	int r;

	enter();
	r = arena_take(&pool.arena, object, size, need);
	leave();
	return r;
}

void pool_give(struct arena_object *object)
{
	if (!arena_intact(object))
		abort();
	enter();
	arena_give(&pool.arena, object);
	leave();
}
