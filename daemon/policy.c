/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy.h"

#include "common/wire/name.h"

bool policy_privileged(const struct policy *policy, const struct peer *peer)
{
	return peer->uid == 0 || peer->uid == policy->own;
}

bool policy_allows(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name)
{
	if (right == RIGHT_NONE || policy_privileged(policy, peer))
		return true;
	return right != RIGHT_RULE && name_is_of(name, peer->uid);
}
