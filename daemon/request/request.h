/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"
#include "daemon/daemon.h"
#include "daemon/peer.h"
#include "daemon/request/answers.h"
#include "daemon/request/transfer.h"

/*
 * Serves one request of a peer to its end: policy, verb, vault. The one place where a positive
 * status becomes a reply. Runs on the locked stack; what it takes of the workbench is the caller's
 * to wipe. Returns 0, or a negative errno after which the session cannot go on.
 */
int request_serve(struct daemon *daemon, const struct peer *peer, struct transfers *transfers,
	const struct request *request, struct answers *answers);
