/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_right.h"

#include <stddef.h>

static const char *const words[RIGHTS] = {
	[RIGHT_GET] = "get",
	[RIGHT_SET] = "set",
	[RIGHT_REMOVE] = "rm",
	[RIGHT_LIST] = "ls",
	[RIGHT_STAT] = "stat",
	[RIGHT_TOUCH] = "touch",
	[RIGHT_FREEZE] = "freeze",
	[RIGHT_MELT] = "melt",
	[RIGHT_VERIFY] = "verify",
	[RIGHT_WRITE] = "stream-write",
	[RIGHT_READ] = "stream-read",
	[RIGHT_WATCH] = "watch",
	[RIGHT_ROTATE] = "rotate",
	[RIGHT_MOVE] = "mv",
};

const char *right_name(enum right right)
{
	return words[right];
}

enum right right_find(struct span word)
{
	enum right right = RIGHT_GET;

	while (right < RIGHT_RULE && !span_equal(span_text(words[right]), word))
		right++;
	return right < RIGHT_RULE ? right : RIGHT_NONE;
}
