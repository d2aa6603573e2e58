/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/lifetime.h"

#include "common/status.h"

int lifetime_take(struct daemon *daemon, const struct peer *peer, const struct lifetime *lifetime,
	struct process **processp, const char **wordsp)
{
	*processp = NULL;
	if (lifetime->pid == 0)
		return 0;
	return process_take(daemon->processes, peer->pid, (pid_t)lifetime->pid, processp, wordsp);
}

int lifetime_bind(struct vault_put *put, struct transfers *transfers, const struct process *process,
	const char **wordsp)
{
	if (put->lifetime.session) {
		put->session = transfers_session(transfers);
		if (!put->session)
			return STATUS_LIMIT;
	}
	if (put->lifetime.pid == 0)
		return 0;
	put->process = process_holder(process);
	put->process_started = process_started(process);
	if (put->process)
		return 0;
	*wordsp = "the process has ended meanwhile";
	return STATUS_INVALID;
}
