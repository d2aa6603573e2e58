/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Who guesses is slowed down: after each wrong answer a uid waits twice as long as after the one
 * before, over all its sessions, and nobody else does. A right answer makes up for nothing, because
 * everybody has a secret of his own that he knows; time does. One comparison of a uid is made at a
 * time, so that none begins before the one before it is judged.
 *
 * Times are milliseconds of CLOCK_BOOTTIME.
 */
struct penalties;

#define PENALTY_FIRST_MS 100     /* after the first wrong answer */
#define PENALTY_MOST_MS 60000    /* and no longer than this */
#define PENALTY_FORGIVE_MS 60000 /* each time this passes, one of them is forgotten */

/* Returns 0 or -ENOMEM. */
int penalties_new(struct penalties **penaltiesp);
void penalties_free(struct penalties *penalties);

/*
 * Takes the uid's turn. Returns 0; 1 when it has to wait, until *untilp at least; or -ENOMEM.
 */
int penalty_enter(struct penalties *penalties, uint32_t uid, uint64_t now_ms, uint64_t *untilp);

/* Gives it back: `wrong` tells how the comparison ended. */
void penalty_leave(struct penalties *penalties, uint32_t uid, uint64_t now_ms, bool wrong);

/*
 * What is held against a uid, for the next process; or, of one whose turn it is, what will be if
 * the answer is wrong.
 */
struct coffer_guesser penalty_tell(
	const struct penalties *penalties, uint32_t uid, uint64_t now_ms, bool feared);

/* Holds it against him again, once nothing else is. Returns 0 or -ENOMEM. */
int penalty_take_up(
	struct penalties *penalties, const struct coffer_guesser *noted, uint64_t now_ms);
