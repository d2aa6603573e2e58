/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Wakes the one thread that waits for it, from a signal's handler. The process has one; it is never
 * taken away. A ring while nobody waits is not lost.
 */

/* Before any of the others. Returns 0 or a negative errno. */
int bell_hang(void);

/* May be called from a signal's handler; errno stays. */
void bell_ring(void);

void bell_wait(void);
