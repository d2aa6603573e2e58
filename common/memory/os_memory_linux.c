/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/os_memory_platform.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By number: the C library's headers may be older than the kernel. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SECRETMEM_MAGIC
#define SECRETMEM_MAGIC 0x5345434d
#endif

/* An ordinary file can be held in place by these. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

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
	int fd = sized(memfd_create("memguard", MFD_CLOEXEC | MFD_ALLOW_SEALING), size);
	int r;

	if (fd < 0 || fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

int os_platform_check(int fd, size_t size, bool *secretp)
{
	struct statfs system;
	struct stat file;

	if (fstatfs(fd, &system) < 0 || fstat(fd, &file) < 0 || file.st_size < 0 ||
		(size_t)file.st_size != size)
		return -EBADMSG;
	*secretp = system.f_type == SECRETMEM_MAGIC;
	return *secretp || fcntl(fd, F_GET_SEALS) == SEALS ? 0 : -EBADMSG;
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
