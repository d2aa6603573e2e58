/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/random.h>

#include "common/cleanup.h"

int harden_early(void)
{
	/* This is what stops core files, also those that go to a pipe; the limit stops only files.
	 */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return harden_no_core();
}

int harden_probe_random(void)
{
	cleanup(closep) int fd = -1;
	char byte;

	if (getrandom(&byte, 1, 0) == 1)
		return 0;
	fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return read(fd, &byte, 1) == 1 ? 0 : -EIO;
}

bool harden_dumpable(void)
{
	return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0;
}
