/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "daemon/peer.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * Who may do what: a pure function of peer, right and filed name. Root and the daemon's own user
 * may do everything; every other user owns its own space "~UID/" and nothing else. Refusal comes
 * before look-up, so that a stranger cannot tell absent from forbidden.
 */
enum right {
	RIGHT_NONE, /* what anybody may: ping, status, whoami */
	RIGHT_GET,
	RIGHT_SET,
	RIGHT_ROTATE,
	RIGHT_REMOVE,
	RIGHT_LIST,
	RIGHT_STAT,
	RIGHT_TOUCH,
	RIGHT_FREEZE,
	RIGHT_MELT,
	RIGHT_VERIFY,
	RIGHT_WRITE, /* a stream */
	RIGHT_READ,  /* a stream */
	RIGHT_RULE,  /* over the daemon as a whole: for root and the daemon's own user */
};

struct policy {
	uid_t own; /* the daemon's */
};

/* Root, or the daemon's own user. */
bool policy_privileged(const struct policy *policy, const struct peer *peer);

bool policy_allows(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name);
