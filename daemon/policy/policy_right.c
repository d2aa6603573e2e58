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

static const char *take_right(uint32_t *rights, struct span word)
{
	enum right right = right_find(word);

	if (right == RIGHT_NONE)
		return "is no operation; there are get, set, rm, ls, stat, touch, freeze, melt, "
		       "verify, stream-write, stream-read, watch, rotate, mv, and * for all";
	if (*rights & RIGHT_BIT(right))
		return "stands there twice";
	*rights |= RIGHT_BIT(right);
	return NULL;
}

const char *rights_read(uint32_t *rights, struct span list, struct span *wordp)
{
	const char *wrong = NULL;
	size_t begin = 0;

	*rights = 0;
	if (span_equal(list, span_text("*"))) {
		*rights = RIGHTS_OF_NAMES;
		return NULL;
	}
	for (size_t i = 0; i <= list.size && !wrong; i++) {
		if (i < list.size && list.data[i] != ',')
			continue;
		*wordp = span_of(list.data + begin, i - begin);
		wrong = take_right(rights, *wordp);
		begin = i + 1;
	}
	return wrong;
}
