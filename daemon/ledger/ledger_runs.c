/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger_inside.h"

#include <string.h>

uint64_t run_end(const struct ledger *ledger, uint64_t unit)
{
	return bitmap_after(&ledger->begins, unit + 1, ledger->units);
}

bool run_is_free(const struct ledger *ledger, uint64_t unit)
{
	return unit < ledger->units && bitmap_get(&ledger->begins, unit) &&
		!bitmap_get(&ledger->taken, unit);
}

/* The list for runs of `units`: below 8 one each, then 8 to a power of two. */
unsigned run_list(uint64_t units)
{
	unsigned power;

	if (units < STEPS)
		return (unsigned)units;
	power = (unsigned)(WORD_BITS - 1 - __builtin_clzll(units));
	return (power - STEP_BITS + 1) * STEPS +
		(unsigned)(units >> (power - STEP_BITS) & (STEPS - 1));
}

/* The first list in which every run has at least `units`. */
static unsigned list_above(uint64_t units)
{
	unsigned power;

	if (units < STEPS)
		return (unsigned)units;
	power = (unsigned)(WORD_BITS - 1 - __builtin_clzll(units));
	return run_list(units + (UINT64_C(1) << (power - STEP_BITS)) - 1);
}

/* Whether what a free run says of its neighbours in the list is what they say of it. */
bool run_linked(const struct ledger *ledger, uint64_t unit, unsigned list)
{
	struct links links = *links_at(ledger, unit);

	if ((links.previous == 0) != (ledger->heads[list] == unit))
		return false;
	if (links.previous != 0 &&
		(!run_is_free(ledger, links.previous) ||
			links_at(ledger, links.previous)->next != unit))
		return false;
	return links.next == 0 ||
		(run_is_free(ledger, links.next) && links_at(ledger, links.next)->previous == unit);
}

static void push(struct ledger *ledger, uint64_t unit, unsigned list)
{
	uint64_t next = ledger->heads[list];

	*links_at(ledger, unit) = (struct links){ .next = next };
	if (next != 0)
		links_at(ledger, next)->previous = unit;
	ledger->heads[list] = unit;
	ledger->occupied[list / WORD_BITS] |= UINT64_C(1) << (list % WORD_BITS);
}

/* All lists anew, from the maps: somebody wrote where nobody may. */
static void relink(struct ledger *ledger)
{
	uint64_t end;

	memset(ledger->heads, 0, sizeof(ledger->heads));
	memset(ledger->occupied, 0, sizeof(ledger->occupied));
	for (uint64_t unit = 0; unit < ledger->units; unit = end) {
		end = run_end(ledger, unit);
		if (run_is_free(ledger, unit))
			push(ledger, unit, run_list(end - unit));
	}
}

/* Whether a list is empty or begins with a run that belongs there, whatever its links say. */
static bool begins_well(const struct ledger *ledger, unsigned list)
{
	uint64_t unit = ledger->heads[list];

	return unit == 0 ||
		(run_is_free(ledger, unit) && run_list(run_end(ledger, unit) - unit) == list);
}

/* Makes a run that the maps call taken a free one. */
void run_link(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	unsigned list = run_list(end - unit);

	if (!begins_well(ledger, list))
		relink(ledger);
	bitmap_clear(&ledger->taken, unit);
	push(ledger, unit, list);
}

/* Takes a free run off its list. Its links are wiped with it. */
void run_unlink(struct ledger *ledger, uint64_t unit)
{
	unsigned list = run_list(run_end(ledger, unit) - unit);
	struct links links;

	if (!run_linked(ledger, unit, list))
		relink(ledger);
	links = *links_at(ledger, unit);
	if (links.previous != 0)
		links_at(ledger, links.previous)->next = links.next;
	else
		ledger->heads[list] = links.next;
	if (links.next != 0)
		links_at(ledger, links.next)->previous = links.previous;
	if (ledger->heads[list] == 0)
		ledger->occupied[list / WORD_BITS] &= ~(UINT64_C(1) << (list % WORD_BITS));
	*links_at(ledger, unit) = (struct links){ 0 };
}

/* The same, together with its free neighbours. */
void run_free(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	if (run_is_free(ledger, end)) {
		uint64_t far = run_end(ledger, end);

		if (far - unit <= RUN_MAX) {
			run_unlink(ledger, end);
			bitmap_clear(&ledger->begins, end);
			end = far;
		}
	}
	if (unit > 0) {
		uint64_t near = bitmap_before(&ledger->begins, unit - 1);

		if (run_is_free(ledger, near) && end - near <= RUN_MAX) {
			run_unlink(ledger, near);
			bitmap_set(&ledger->taken, near);
			bitmap_clear(&ledger->taken, unit);
			bitmap_clear(&ledger->begins, unit);
			unit = near;
		}
	}
	run_link(ledger, unit, end);
}

void run_take(struct ledger *ledger, uint64_t unit, uint64_t units)
{
	uint64_t end = run_end(ledger, unit);

	run_unlink(ledger, unit);
	bitmap_set(&ledger->taken, unit);
	if (end - unit > units) {
		bitmap_set(&ledger->begins, unit + units);
		bitmap_set(&ledger->taken, unit + units);
		run_link(ledger, unit + units, end);
	}
	stretches_add(ledger, unit, unit + units);
}

/* A free run of at least `units`, or 0. */
uint64_t run_find(struct ledger *ledger, uint64_t units)
{
	uint64_t list = bits_after(ledger->occupied, list_above(units), LISTS);

	if (list < LISTS && !begins_well(ledger, (unsigned)list)) {
		relink(ledger);
		list = bits_after(ledger->occupied, list_above(units), LISTS);
	}
	return list < LISTS ? ledger->heads[list] : 0;
}
