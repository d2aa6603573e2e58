/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/memory/os_memory.h"
#include "tests/unit/world.h"

/* Tests that run once a backend of the memory: the stronger ones are taken away before. */
#define BACKENDS 3

/* A test that needs what this machine refuses is skipped, and says so. */
static inline bool can(const char *what, bool works)
{
	if (!works)
		printf("SKIP: %s: %s: %s\n", tcase_name(), what, strerror(errno));
	return works;
}

static inline bool can_be_secret(void)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	size_t size = os_memory_page();
	void *page = MAP_FAILED;
	bool works;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		page = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	works = can("memfd_secret", page != MAP_FAILED);
	if (works)
		munmap(page, size);
	if (fd >= 0)
		close(fd);
	return works;
}

static inline bool can_be_locked(void)
{
	size_t size = os_memory_page();
	void *page = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool works;

	ck_assert_ptr_ne(page, MAP_FAILED);
	works = can("mlock", syscall(SYS_mlock, page, size) == 0);
	munmap(page, size);
	return works;
}

/* Whether a backend can be had here; forces everything stronger out of the way. */
static inline bool force(enum os_memory_backend backend)
{
	if (backend == OS_MEMORY_SECRET)
		return can_be_secret();
	if (backend == OS_MEMORY_LOCKED && !can_be_locked())
		return false;
	deny(SYS_memfd_secret, ENOSYS);
	if (backend == OS_MEMORY_PLAIN)
		deny(SYS_mlock, EPERM);
	return true;
}
