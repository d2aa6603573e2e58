/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/integration/knowledge.h"

/*
 * Clients that change and read all kinds of things while something happens to the daemon. Each has
 * names of its own and knows what must be there: what was acknowledged, or, where a call failed for
 * the daemon's absence, what was before or what was asked for. What they meet and must not meet
 * fails the test.
 */
#define VISITORS 8

struct visits {
	unsigned long done[DEEDS]; /* calls that were answered that it was */
	unsigned long calls;       /* of the library */
	unsigned long failed;      /* of them, for the daemon's absence */
	unsigned long vanished; /* values for one reader that were stored, and came out to nobody */
	unsigned long large;    /* values over a MiB that were stored */
	unsigned long longest_us; /* microseconds of the longest call */
};

/* What the daemon must let them store: --max-value. */
#define VISITORS_MAX_VALUE "2m"

/*
 * They begin, at the daemon behind the socket at `path`; with all the time that a call has where
 * nobody says anything else.
 */
void visitors_come(const char *path);

/* Returns once all of them together have made so many calls more, or for ten seconds none. */
void visitors_await(unsigned long more);

/* They end, and look for what must be there. */
struct visits visitors_leave(void);
