/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/turn.h"

/* A C library without a lock by the steady clock (musl, macOS, the BSDs): a turn is waited for. */
int turn_take(pthread_mutex_t *lock, uint64_t deadline_ms)
{
	(void)deadline_ms;
	return -pthread_mutex_lock(lock);
}
