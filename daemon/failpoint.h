/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Named places, in a hand-over and where a value is given out for the last time. In a program that
 * is built for it (FAILPOINTS) a test has the process die there; in memguardd itself they are
 * nothing.
 */
#ifdef FAILPOINTS
void failpoint(const char *name);
#else
static inline void failpoint(const char *name)
{
	(void)name;
}
#endif
