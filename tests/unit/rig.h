/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sodium.h>
#include <stdlib.h>

#include "common/memory/coffer.h"
#include "common/memory/guard.h"
#include "common/memory/workbench.h"

/* A coffer and a bench in ordinary memory, for tests of what stands above them. */
struct rig {
	struct guard guard;
	struct coffer coffer;
	struct workbench bench;
	uint8_t keys[3 * 512] __attribute__((aligned(64)));
	uint8_t view[256] __attribute__((aligned(64)));
	uint8_t memory[40960] __attribute__((aligned(64)));
};

static inline void rig_init(struct rig *rig)
{
	if (sodium_init() < 0 || coffer_view_size() > sizeof(rig->view))
		abort();
	guard_init(&rig->guard);
	memset(rig->memory, 0, sizeof(rig->memory));
	coffer_init(&rig->coffer, rig->keys, 512, rig->view, &rig->guard);
	workbench_init(&rig->bench, rig->memory, sizeof(rig->memory), &rig->guard);
}
