/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/own.h"

#include <sched.h>

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
