/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdint.h>

/*
 * Locks a handle's lock by a deadline of connection_now_ms. Returns 0; -ETIMEDOUT when another
 * thread still has it then, where the C library can tell the time to a lock; -EDEADLK when it is
 * this thread that has it; another negative errno.
 */
int turn_take(pthread_mutex_t *lock, uint64_t deadline_ms);
