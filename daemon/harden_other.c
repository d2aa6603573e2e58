/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/cleanup.h"

/* FreeBSD, OpenBSD, NetBSD, macOS: the core limit is what all of them have. */

int harden_early(void)
{
	return harden_no_core();
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
