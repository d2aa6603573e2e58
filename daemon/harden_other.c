/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"

/* FreeBSD, OpenBSD, NetBSD, macOS: the core limit is what all of them have. */

int harden_early(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) < 0)
		return -errno;
	limit.rlim_cur = 0;
	return setrlimit(RLIMIT_CORE, &limit) < 0 ? -errno : 0;
}

void harden_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int harden_probe_random(void)
{
	cleanup(closep) int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	char byte;

	if (fd < 0)
		return -errno;
	return read(fd, &byte, 1) == 1 ? 0 : -EIO;
}

/* Nothing here can ask for less: what is in force is told as it is. */
bool harden_dumpable(void)
{
	return true;
}

uint64_t harden_core_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_CORE, &limit) < 0 ? UINT64_MAX : limit.rlim_cur;
}
