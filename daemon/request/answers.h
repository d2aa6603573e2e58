/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Where answers go: a session's frames, or a test's notebook. A reply that announces chunks comes
 * with their bytes as they rest, one piece a chunk.
 */
struct answers {
	/* Takes one reply. Returns 0 or a negative errno, after which the session cannot go on. */
	int (*append)(struct answers *answers, const struct reply *reply, const struct span *pieces,
		size_t count);

	/* Whether the other side takes a further frame of chunks now. */
	bool (*ready)(struct answers *answers);

	/* Plaintext bytes that the reply at hand may still take in this frame. */
	size_t (*room)(struct answers *answers);
};

static inline int answers_append(struct answers *answers, const struct reply *reply)
{
	return answers->append(answers, reply, NULL, 0);
}

/* The plain answer: a code, and words when it is not 0. */
int answers_code(struct answers *answers, uint64_t id, int code, const char *detail);
