/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/bell.h"

#include <errno.h>
#include <semaphore.h>

/* No descriptor, which a host that closes all of its own would take away. */
static sem_t bell;

int bell_hang(void)
{
	return sem_init(&bell, 0, 0) == 0 ? 0 : -errno;
}

void bell_ring(void)
{
	int before = errno;

	(void)sem_post(&bell);
	errno = before;
}

void bell_wait(void)
{
	while (sem_wait(&bell) < 0 && errno == EINTR)
		;
}
