/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A stack in secret memory. libsodium leaves key halves and plaintext in its frames and in vector
 * registers; whatever touches a key or plaintext therefore runs through locked_stack_call, which
 * switches to this stack, runs, wipes it and scrubs the registers before it comes back.
 *
 * Where the machine has no switch of ours (anything but x86-64 for now) the function runs on the
 * ordinary stack, which is wiped below the caller with sodium_stackzero; locked_stack_switches
 * tells which it is, and status says so.
 */
struct locked_stack {
	uint8_t *base; /* lowest address */
	size_t size;   /* bytes */
	bool busy;
};

/* Bytes of locked stack that the deepest path of this build needs, in whole pages of 4 KiB. */
size_t locked_stack_size(void);

/* Takes over `size` bytes of secret memory. The memory must outlive the stack. */
void locked_stack_init(struct locked_stack *stack, void *memory, size_t size);

/*
 * Runs function(argument) on the locked stack, wipes what it used and scrubs the registers. A call
 * from within a call runs at once on the same stack; the outermost one wipes.
 */
void locked_stack_call(struct locked_stack *stack, void (*function)(void *), void *argument);

/*
 * Clears what a function may leave in registers that nobody saves, and nothing else: for whoever
 * only copies plaintext from one place to another. memcpy does so through vector registers.
 */
void locked_stack_scrub(void);

/* Whether calls really run on the locked stack on this machine. */
bool locked_stack_switches(void);

/*
 * For tests: runs function(argument) on a stack filled with a pattern and returns how many bytes
 * of it were used; 0 where nothing switches.
 */
size_t locked_stack_measure(struct locked_stack *stack, void (*function)(void *), void *argument);
