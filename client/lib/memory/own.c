/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/own.h"

#include <sched.h>
#include <unistd.h>

#include "common/memory/os_memory.h"

/* A number that a child does not find: it asks for its own. */
static _Atomic(_Atomic pid_t *) remembered;

/* Where the number can be remembered, or NULL: asked once, and by several threads at once. */
static _Atomic pid_t *place(void)
{
	_Atomic pid_t *page = os_memory_map_zeroing();
	_Atomic pid_t *before = NULL;

	if (!page || atomic_compare_exchange_strong(&remembered, &before, page))
		return page;
	os_memory_unmap_zeroing((void *)page);
	return before;
}

pid_t own_self(void)
{
	static atomic_bool cannot;
	_Atomic pid_t *number = atomic_load_explicit(&remembered, memory_order_acquire);
	pid_t self = number ? atomic_load_explicit(number, memory_order_relaxed) : 0;

	if (self != 0)
		return self;
	if (!number && !atomic_load(&cannot)) {
		number = place();
		atomic_store(&cannot, !number);
	}
	self = getpid();
	if (number)
		atomic_store(number, self);
	return self;
}

/*
 * While a process renews it, the owner is that process's number, negated: a child that was forked
 * in that instant sees that it is not its own thread that is at it.
 */
static void take_over(struct own *own, pid_t owner, pid_t self, void (*renew)(void))
{
	if (owner != 0) {
		renew();
		pthread_mutex_init(&own->lock, NULL);
	}
	atomic_store(&own->owner, self);
}

void own_enter(struct own *own, pid_t self, void (*renew)(void))
{
	pid_t owner = atomic_load(&own->owner);

	while (owner != self) {
		if (owner != -self && atomic_compare_exchange_weak(&own->owner, &owner, -self)) {
			take_over(own, owner, self, renew);
			break;
		}
		sched_yield();
		owner = atomic_load(&own->owner);
	}
	pthread_mutex_lock(&own->lock);
}

void own_leave(struct own *own)
{
	pthread_mutex_unlock(&own->lock);
}
