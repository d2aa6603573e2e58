/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/process.h"

#include <stddef.h>

#include "common/status.h"

/* A system without a handle on another process: no secret can be bound to one. */
int processes_new(struct processes **processesp)
{
	*processesp = NULL;
	return 0;
}

void processes_free(struct processes *processes)
{
	(void)processes;
}

int processes_fd(const struct processes *processes)
{
	(void)processes;
	return -1;
}

void processes_look(struct processes *processes, void (*end)(void *context, struct holder *holder),
	void *context)
{
	(void)processes;
	(void)end;
	(void)context;
}

int process_take(struct processes *processes, pid_t peer, pid_t pid, struct process **processp,
	const char **wordsp)
{
	(void)processes;
	(void)peer;
	(void)pid;
	(void)processp;
	*wordsp = "this system does not let the daemon watch processes";
	return STATUS_INVALID;
}

void process_release(struct processes *processes, struct process *process)
{
	(void)processes;
	(void)process;
}

struct holder *process_holder(const struct process *process)
{
	(void)process;
	return NULL;
}

uint64_t process_started(const struct process *process)
{
	(void)process;
	return 0;
}
