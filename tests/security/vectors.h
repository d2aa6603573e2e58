/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Thirty-two vector registers of 64 bytes. */
#define VECTORS_COUNT 32
#define VECTORS_WIDTH 64
#define VECTORS_SIZE ((size_t)VECTORS_COUNT * VECTORS_WIDTH)

/*
 * Puts the vector registers together out of the parts in which the kernel shows them
 * (NT_X86_XSTATE, the processor's standard layout). Returns the bytes used of `out`: 0 on a
 * machine of another kind, whose registers are in one piece as they are shown.
 */
size_t vectors_join(uint8_t out[static VECTORS_SIZE], const uint8_t *state, size_t size);
