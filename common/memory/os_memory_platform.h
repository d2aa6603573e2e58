/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * What os_memory_posix.c asks of the kernel it runs on: the few calls that POSIX does not have.
 * Each returns 0 or a negative errno; -ENOSYS where the kernel has no such thing.
 */

/* A descriptor for `size` bytes of memory that the kernel itself cannot read, or negative errno. */
int os_platform_secret(size_t size);

/* A descriptor for `size` bytes of ordinary memory that may be mapped twice, or negative errno. */
int os_platform_shared(size_t size);

/*
 * Whether a descriptor that another process gave is one of the two, and has `size` bytes: -EBADMSG
 * when not. Tells which.
 */
int os_platform_check(int fd, size_t size, bool *secretp);

/* Keeps the range from being swapped out. */
int os_platform_lock(void *data, size_t size);

/* Keeps the range out of core files; best effort. */
void os_platform_hide(void *data, size_t size);

/* Keeps the range away from children; best effort. */
void os_platform_keep_from_children(void *data, size_t size, int shared);

/* Private pages that a forked child finds zeroed, whoever forks and however. */
int os_platform_zero_in_child(void *data, size_t size);

/* Forbids later changes of the mapping. */
int os_platform_seal(void *data, size_t size);
