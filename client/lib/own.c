/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/own.h"

#include <sched.h>

/* Stands for "somebody is renewing it"; no process has this number. */
#define RENEWING (-1)

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
		if (owner != RENEWING &&
			atomic_compare_exchange_weak(&own->owner, &owner, RENEWING)) {
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
