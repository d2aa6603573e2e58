/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/os_memory_platform.h"

#include <errno.h>
#include <sys/mman.h>

/* FreeBSD, OpenBSD, NetBSD, macOS: locked memory, kept out of core files where that can be asked.
 */

int os_platform_secret(size_t size)
{
	(void)size;
	return -ENOSYS;
}

int os_platform_shared(size_t size)
{
	(void)size;
	return -ENOSYS;
}

int os_platform_check(int fd, size_t size, bool *secretp)
{
	(void)fd;
	(void)size;
	(void)secretp;
	return -EBADMSG;
}

int os_platform_lock(void *data, size_t size)
{
	return mlock(data, size) < 0 ? -errno : 0;
}

void os_platform_hide(void *data, size_t size)
{
#ifdef MADV_NOCORE
	(void)madvise(data, size, MADV_NOCORE);
#endif
	(void)data;
	(void)size;
}

void os_platform_keep_from_children(void *data, size_t size, int shared)
{
	(void)shared;
#ifdef INHERIT_NONE
	(void)minherit(data, size, INHERIT_NONE);
#endif
	(void)data;
	(void)size;
}

int os_platform_zero_in_child(void *data, size_t size)
{
#ifdef INHERIT_ZERO
	return minherit(data, size, INHERIT_ZERO) < 0 ? -errno : 0;
#else
	(void)data;
	(void)size;
	return -ENOSYS;
#endif
}

int os_platform_seal(void *data, size_t size)
{
	(void)data;
	(void)size;
	return -ENOSYS;
}
