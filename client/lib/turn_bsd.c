/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/turn.h"

/* Not all of these systems have a lock with a time limit: a turn here is waited for. */
int turn_take(pthread_mutex_t *lock, uint64_t deadline_ms)
{
	(void)deadline_ms;
	return -pthread_mutex_lock(lock);
}
