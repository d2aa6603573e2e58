/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/peer.h"
#include "daemon/request/transfer.h"

/*
 * What the life of a new secret hangs on: from the numbers of a request to what stands for a
 * connection and for a process. Both return 0, or a status and why in *wordsp.
 */

/* The process that the request binds its secret to; NULL for none. process_release it. */
int lifetime_take(struct daemon *daemon, const struct peer *peer, const struct lifetime *lifetime,
	struct process **processp, const char **wordsp);

/*
 * The longest life that policy lets a secret of this name have is that of one that asks for none,
 * and one that asks for more is STATUS_LIMIT.
 */
int lifetime_limit(
	const struct daemon *daemon, struct span name, uint64_t *ttl_msp, const char **wordsp);

/* Fills in what put->lifetime asks for, within what policy lets it have. */
int lifetime_bind(struct vault_put *put, const struct daemon *daemon, struct transfers *transfers,
	const struct process *process, const char **wordsp);
