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

/* Secret memory's size can be set once and never again: nobody can shrink it under us. */
static int sized(int fd, size_t size)
{
	int r;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		return fd;
	r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

int os_platform_secret(size_t size)
{
	return sized((int)syscall(SYS_memfd_secret, O_CLOEXEC), size);
}

int os_platform_shared(size_t size)
{
	return sized(memfd_create("memguard", MFD_CLOEXEC), size);
}

/* By number again: the sanitizers turn the C library's mlock into nothing that says it worked. */
int os_platform_lock(void *data, size_t size)
{
	return syscall(SYS_mlock, data, size) < 0 ? -errno : 0;
}

void os_platform_hide(void *data, size_t size)
{
	(void)madvise(data, size, MADV_DONTDUMP);
}

void os_platform_keep_from_children(void *data, size_t size, int shared)
{
	(void)madvise(data, size, MADV_DONTFORK);
	/* Belt and braces where DONTFORK is lifted one day; EINVAL on shared mappings. */
	if (!shared)
		(void)madvise(data, size, MADV_WIPEONFORK);
}

/* An emulator that takes any advice without heeding it says so by taking one that is none. */
int os_platform_zero_in_child(void *data, size_t size)
{
	if (madvise(data, size, -1) == 0)
		return -ENOSYS;
	return madvise(data, size, MADV_WIPEONFORK) < 0 ? -errno : 0;
}

int os_platform_seal(void *data, size_t size)
{
	return syscall(SYS_mseal, data, size, 0UL) < 0 ? -errno : 0;
}
