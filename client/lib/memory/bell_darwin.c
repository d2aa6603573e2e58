/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Semaphores without a name are not to be had here. */
static int ends[2];

int bell_hang(void)
{
	if (pipe(ends) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
	return fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* A full pipe wakes just as well. */
void bell_ring(void)
{
	int before = errno;

	(void)!write(ends[1], "", 1);
	errno = before;
}

void bell_wait(void)
{
	char byte;

	while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
		;
}
