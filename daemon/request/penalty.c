/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/penalty.h"

#include <errno.h>
#include <stdlib.h>

/*
 * How soon whoever finds the turn taken looks again: a comparison is a few milliseconds. Looks of
 * one uid are so far apart too, however many wait; but none is put off for longer than LOOK_MS.
 */
#define BUSY_MS 2
#define LOOK_MS 1000

/* One that has guessed, or is just being judged. Whoever has nothing against it is not kept. */
struct suspect {
	struct suspect *next;
	uint32_t uid;
	unsigned wrong;    /* answers that are not forgotten */
	uint64_t since_ms; /* from when on they are being forgotten */
	uint64_t until_ms; /* no comparison before */
	uint64_t look_ms;  /* whoever finds it busy from now on does not look again before */
	bool busy;
};

struct penalties {
	struct suspect *first;
};

static void forgive(struct suspect *suspect, uint64_t now_ms)
{
	uint64_t forgotten = (now_ms - suspect->since_ms) / PENALTY_FORGIVE_MS;

	suspect->since_ms += forgotten * PENALTY_FORGIVE_MS;
	suspect->wrong = forgotten < suspect->wrong ? suspect->wrong - (unsigned)forgotten : 0;
}

/* Drops those that nothing is held against any more, but `uid`, which it gives back. */
static struct suspect *tidy(struct penalties *penalties, uint32_t uid, uint64_t now_ms)
{
	struct suspect **at = &penalties->first;
	struct suspect *found = NULL;

	while (*at) {
		struct suspect *suspect = *at;

		forgive(suspect, now_ms);
		if (suspect->uid == uid)
			found = suspect;
		else if (suspect->wrong == 0 && !suspect->busy) {
			*at = suspect->next;
			free(suspect);
			continue;
		}
		at = &suspect->next;
	}
	return found;
}

/* When one that finds the turn taken looks again: each in its own moment, the first to come first.
 */
static uint64_t next_look(struct suspect *suspect, uint64_t now_ms)
{
	uint64_t look_ms = now_ms + BUSY_MS;

	if (look_ms < suspect->look_ms)
		look_ms = suspect->look_ms;
	if (look_ms > now_ms + LOOK_MS)
		look_ms = now_ms + LOOK_MS;
	suspect->look_ms = look_ms + BUSY_MS;
	return look_ms;
}

static struct suspect *add(struct penalties *penalties, uint32_t uid, uint64_t now_ms)
{
	struct suspect *suspect = calloc(1, sizeof(*suspect));

	if (!suspect)
		return NULL;
	suspect->uid = uid;
	suspect->since_ms = now_ms;
	suspect->next = penalties->first;
	penalties->first = suspect;
	return suspect;
}

int penalty_enter(struct penalties *penalties, uint32_t uid, uint64_t now_ms, uint64_t *untilp)
{
	struct suspect *suspect = tidy(penalties, uid, now_ms);

	if (!suspect)
		suspect = add(penalties, uid, now_ms);
	if (!suspect)
		return -ENOMEM;
	if (suspect->busy || now_ms < suspect->until_ms) {
		*untilp = suspect->busy ? next_look(suspect, now_ms) : suspect->until_ms;
		return 1;
	}
	suspect->busy = true;
	return 0;
}

static uint64_t delay_after(unsigned wrong)
{
	uint64_t delay_ms = PENALTY_FIRST_MS;

	while (--wrong > 0 && delay_ms < PENALTY_MOST_MS)
		delay_ms *= 2;
	return delay_ms < PENALTY_MOST_MS ? delay_ms : PENALTY_MOST_MS;
}

static void hold_against(struct suspect *suspect, uint64_t now_ms)
{
	if (suspect->wrong == 0)
		suspect->since_ms = now_ms;
	suspect->wrong++;
	suspect->until_ms = now_ms + delay_after(suspect->wrong);
}

void penalty_leave(struct penalties *penalties, uint32_t uid, uint64_t now_ms, bool wrong)
{
	struct suspect *suspect = tidy(penalties, uid, now_ms);

	if (!suspect)
		abort();
	suspect->busy = false;
	if (wrong)
		hold_against(suspect, now_ms);
}

/* -- over the end of a process ------------------------------------------------------------- */

struct coffer_guesser penalty_tell(
	const struct penalties *penalties, uint32_t uid, uint64_t now_ms, bool feared)
{
	const struct suspect *found = penalties->first;
	struct suspect suspect = { .uid = uid };

	while (found && found->uid != uid)
		found = found->next;
	if (found)
		suspect = *found;
	if (feared)
		hold_against(&suspect, now_ms);
	return (struct coffer_guesser){ uid, suspect.wrong, suspect.since_ms, suspect.until_ms };
}

/* What was being written when a process ended may be anything: it is no more than one could have.
 */
int penalty_take_up(
	struct penalties *penalties, const struct coffer_guesser *noted, uint64_t now_ms)
{
	uint64_t until_ms = now_ms + PENALTY_MOST_MS;
	struct suspect *suspect;

	if (noted->wrong == 0)
		return 0;
	suspect = add(penalties, noted->uid, now_ms);
	if (!suspect)
		return -ENOMEM;
	suspect->wrong = noted->wrong;
	if (noted->since_ms < now_ms)
		suspect->since_ms = noted->since_ms;
	suspect->until_ms = noted->until_ms < until_ms ? noted->until_ms : until_ms;
	return 0;
}

int penalties_new(struct penalties **penaltiesp)
{
	*penaltiesp = calloc(1, sizeof(**penaltiesp));
	return *penaltiesp ? 0 : -ENOMEM;
}

void penalties_free(struct penalties *penalties)
{
	if (!penalties)
		return;
	while (penalties->first) {
		struct suspect *suspect = penalties->first;

		penalties->first = suspect->next;
		free(suspect);
	}
	free(penalties);
}
