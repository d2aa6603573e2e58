/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "daemon/config_fault.h"
#include "daemon/policy/policy_subject.h"

#include <stddef.h>
#include <stdint.h>

struct policy_book;

#define POLICY_AS_MAX 32 /* selectors */

/* The uid and gid of whom no number was said. */
#define POLICY_AS_NOBODY UINT32_MAX

/* Somebody who is not there, said in the selectors of a rule: nothing is known of it but those. */
struct policy_as {
	struct policy_subject subject; /* borrows from the rest */
	uint32_t groups[POLICY_AS_MAX];
	struct policy_book *texts; /* owned */
};

/*
 * Reads them; users and groups go by number, since no name is looked up here. Returns 0; -EINVAL
 * with what is wrong, and with which word, in the fault; or -ENOMEM. policy_as_finish in any case.
 */
int policy_as_read(
	struct policy_as *as, const struct span *words, size_t count, struct config_fault *fault);

void policy_as_finish(struct policy_as *as);
