/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What was read and not served yet comes and goes all the time: from now on the heap gives up to
 * 2 MiB at its end not back to the system, which would have others wait until it has cleared them
 * again. Where the C library has no such setting nothing is changed.
 */
void heap_keep(void);
