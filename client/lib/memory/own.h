/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/*
 * What a process has one of, for all its threads. A forked child has a copy, without the secret
 * pages and perhaps with a lock that a thread of its parent held: the first of its threads to come
 * renews it.
 */
struct own {
	pthread_mutex_t lock;
	_Atomic pid_t owner; /* 0: nobody has come yet */
};

#define OWN_INIT \
	{ \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

/*
 * The number of this process, as getpid(2) tells it, without a system call where the kernel can
 * zero a page in a forked child.
 */
pid_t own_self(void);

/*
 * Waits for its turn, until own_leave; `self` is own_self(), which its callers know. `renew` is
 * called before anybody's first turn in a child, and forgets what the parent had without touching
 * it.
 */
void own_enter(struct own *own, pid_t self, void (*renew)(void));
void own_leave(struct own *own);
