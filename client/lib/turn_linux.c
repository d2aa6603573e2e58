/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/turn.h"

#include <time.h>

int turn_take(pthread_mutex_t *lock, uint64_t deadline_ms)
{
	struct timespec deadline = { .tv_sec = (time_t)(deadline_ms / 1000),
		.tv_nsec = (long)(deadline_ms % 1000) * 1000000 };

	return -pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &deadline);
}
