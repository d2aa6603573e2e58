/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"
#include "common/memory/locked_stack.h"
#include "common/memory/os_memory.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Masters and a stack to use them on, in two regions of guarded memory: what a handle has, and what
 * the process has for its enclaves. Not for several threads at once; its owner serialises.
 */
struct workroom {
	struct coffer coffer;
	struct locked_stack stack;
	uint64_t remasked_ms;
};

/* Bytes of the region for keys, when its owner keeps `beside` bytes of its own in front. */
size_t workroom_keys_size(size_t beside);

/*
 * Furnishes the two regions, which are mapped and zeroed. The guard lies in those first `beside`
 * bytes; it is drawn here.
 */
void workroom_init(struct workroom *room, const struct os_region *keys, size_t beside,
	struct guard *guard, const struct os_region *stack);

/*
 * Runs function(argument) on the locked stack. Signals that can wait do: a handler of the host
 * would run on that stack, which is not made for it, and would leave its frame there.
 */
void workroom_run(struct workroom *room, void (*function)(void *), void *argument);

/* On the locked stack, when work is over: parts with the masters, and re-masks them if it is time.
 */
void workroom_rest(struct workroom *room);
