/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Without signalfd: a handler passes the number on through a pipe. */
static int ends[2];

static void on_signal(int number)
{
	unsigned char byte = (unsigned char)number;
	int before = errno;

	(void)!write(ends[1], &byte, 1);
	errno = before;
}

static int open_for(sigset_t set)
{
	struct sigaction action = { .sa_handler = on_signal };

	if (pipe(ends) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0 ||
			fcntl(ends[i], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	for (int number = 1; number < NSIG; number++)
		if (sigismember(&set, number) == 1)
			sigaction(number, &action, NULL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return ends[0];
}

int signals_open(void)
{
	return open_for(signals_set());
}

int signals_open_with_children(void)
{
	sigset_t set = signals_set();

	sigaddset(&set, SIGCHLD);
	return open_for(set);
}

int signals_read(int fd)
{
	unsigned char byte;

	return read(fd, &byte, 1) == 1 ? byte : 0;
}
