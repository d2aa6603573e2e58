/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "common/memory/os_memory_platform.h"

/*
 * Put in front of the real ones by the linker (--wrap): a daemon for each input would make the
 * kernel take secret pages out of its own map and put them back a thousand times a second, which
 * costs the fuzzer nine tenths of its runs and finds nothing. Sealed memory would stay for good.
 */
int __wrap_os_platform_secret(size_t size);
int __wrap_os_platform_seal(void *data, size_t size);

int __wrap_os_platform_secret(size_t size)
{
	(void)size;
	return -ENOSYS;
}

int __wrap_os_platform_seal(void *data, size_t size)
{
	(void)data;
	(void)size;
	return -ENOSYS;
}
