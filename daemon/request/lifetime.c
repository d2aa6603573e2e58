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

int lifetime_limit(
	const struct daemon *daemon, struct span name, uint64_t *ttl_msp, const char **wordsp)
{
	uint64_t most = policy_max_ttl(&daemon->policy, name);

	if (most == 0 || (*ttl_msp != 0 && *ttl_msp <= most))
		return 0;
	if (*ttl_msp == 0) {
		*ttl_msp = most;
		return 0;
	}
	*wordsp = "longer than policy lets a secret of this name live";
	return STATUS_LIMIT;
}

int lifetime_bind(struct vault_put *put, const struct daemon *daemon, struct transfers *transfers,
	const struct process *process, const char **wordsp)
{
	int r = lifetime_limit(daemon, put->name, &put->lifetime.ttl_ms, wordsp);

	if (r != 0)
		return r;
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
