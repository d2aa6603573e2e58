/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The first line of main: no core file, and nobody of the same user reads our memory. Returns 0 or
 * a negative errno.
 */
int harden_early(void);
