/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <stdint.h>

/* What a caller may be allowed to do. */
enum right {
	RIGHT_NONE, /* what anybody may: ping, status, whoami */
	RIGHT_GET,
	RIGHT_SET,
	RIGHT_REMOVE,
	RIGHT_LIST,
	RIGHT_STAT,
	RIGHT_TOUCH,
	RIGHT_FREEZE,
	RIGHT_MELT,
	RIGHT_VERIFY,
	RIGHT_WRITE, /* a stream */
	RIGHT_READ,  /* a stream */
	RIGHT_WATCH,
	RIGHT_ROTATE,
	RIGHT_MOVE, /* away from a name, with RIGHT_GET; to one: RIGHT_SET */
	RIGHT_RULE, /* over the daemon as a whole: for root and the daemon's own user */
	RIGHTS
};

/* One right in a set of them; and all that a rule can name. */
#define RIGHT_BIT(right) (UINT32_C(1) << (right))
#define RIGHTS_OF_NAMES (RIGHT_BIT(RIGHT_RULE) - RIGHT_BIT(RIGHT_GET))

/* They go over names, of which each may lie in another namespace: nobody has to say why. */
#define RIGHTS_THAT_SHOW (RIGHT_BIT(RIGHT_LIST) | RIGHT_BIT(RIGHT_WATCH))

/* How a rule calls it, after mgctl's command; NULL for what no rule can name. */
const char *right_name(enum right right);

/* RIGHT_NONE when there is no such word. */
enum right right_find(struct span word);

/*
 * Reads what some lines say: "get,set", each of them once, or "*" for RIGHTS_OF_NAMES. NULL, or
 * what is wrong with *wordp, as a sentence part.
 */
const char *rights_read(uint32_t *rights, struct span list, struct span *wordp);
