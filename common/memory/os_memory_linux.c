/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/os_memory_platform.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By number: the C library's headers may be older than the kernel. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

int os_platform_secret(size_t size)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* The size can be set once and never again: nobody can shrink it under us. */
	if (ftruncate(fd, (off_t)size) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int os_platform_shared(size_t size)
{
	int fd = memfd_create("memguard", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

/* By number again: the sanitizers turn the C library's mlock into nothing that says it worked. */
int os_platform_lock(void *data, size_t size)
{
	return syscall(SYS_mlock, data, size) < 0 ? -errno : 0;
}

void os_platform_hide(void *data, size_t size, int shared)
{
	(void)madvise(data, size, MADV_DONTDUMP);
	(void)madvise(data, size, MADV_DONTFORK);
	/* Belt and braces where DONTFORK is lifted one day; EINVAL on shared mappings. */
	if (!shared)
		(void)madvise(data, size, MADV_WIPEONFORK);
}

int os_platform_seal(void *data, size_t size)
{
	return syscall(SYS_mseal, data, size, 0UL) < 0 ? -errno : 0;
}
