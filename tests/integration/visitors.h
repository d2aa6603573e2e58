/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Clients that write, overwrite, remove and read while something happens to the daemon. Each has
 * names of its own and knows what must be there: what was acknowledged, or, where a call failed for
 * the daemon's absence, what was before or what was asked for. What they meet and must not meet
 * fails the test.
 */
#define VISITORS 8

struct visits {
	unsigned long calls;
	unsigned long unsure;     /* of them failed for the daemon's absence */
	unsigned long once_read;  /* values for one reader that came out */
	unsigned long longest_us; /* microseconds of the longest call */
};

/* They begin, at the daemon behind the socket at `path`. */
void visitors_come(const char *path);

/* Returns once all of them together have made so many calls more, or for ten seconds none. */
void visitors_await(unsigned long more);

/* They end, and look for what must be there. */
struct visits visitors_leave(void);
