/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "daemon/config_fault.h"
#include "daemon/policy/policy_book.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What a policy was read from: its texts, and who was called what then. The same policy can be made
 * of it once more where files and users are others by now. Plain bytes, of one program's own.
 */
struct policy_sources {
	uint8_t *bytes; /* owned */
	size_t size;
	size_t room;
};

void policy_sources_finish(struct policy_sources *sources);

/* Adds a text; `path` is what messages call it. Returns 0 or -ENOMEM. */
int policy_sources_add(
	struct policy_sources *sources, const char *path, const char *text, size_t size);

/* Looks users and groups up on this machine, and adds those that it finds. */
struct policy_names policy_sources_names(struct policy_sources *sources);

/*
 * Makes the policy of them, and asks nobody for a name. Returns 0 with the book, which is the
 * caller's to free; -EBADMSG with the fault said where they are not whole, or -ENOMEM.
 */
int policy_sources_book(
	struct span sources, struct policy_book **bookp, struct config_fault *fault);
