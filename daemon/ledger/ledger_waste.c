/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger_inside.h"

#include <sodium.h>
#include <stdlib.h>

#include "common/memory/os_memory.h"

/*
 * Large blocks that were given back and are not wiped yet. The maps call them taken until they are,
 * and nobody else has them.
 */

/* Units that are wiped at a time. */
#define PIECE_UNITS (LEDGER_LARGE / 4 / LEDGER_UNIT)

#define WASTE_ROOM_MIN 64

/* -- which they are ------------------------------------------------------------------------ */

static struct stretch *stretch_of(const struct ledger *ledger, uint64_t unit)
{
	return &ledger->stretches[unit / STRETCH_UNITS];
}

/* A large block is as long as a stretch, so that at most one begins in each. */
_Static_assert(LEDGER_LARGE / LEDGER_UNIT >= STRETCH_UNITS, "a stretch tells all that begin in it");

static uint16_t place_in_stretch(uint64_t unit)
{
	return (uint16_t)(unit % STRETCH_UNITS + 1);
}

bool waste_is_at(const struct ledger *ledger, uint64_t unit)
{
	return stretch_of(ledger, unit)->wasted == place_in_stretch(unit);
}

bool waste_add(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	struct waste *waste = &ledger->waste;

	if (waste->count == waste->room) {
		size_t room = waste->room > 0 ? 2 * waste->room : WASTE_ROOM_MIN;
		uint64_t *units = reallocarray(waste->units, room, sizeof(*units));

		if (!units)
			return false;
		waste->units = units;
		waste->room = room;
	}
	waste->units[waste->count++] = unit;
	waste->left += end - unit;
	stretch_of(ledger, unit)->wasted = place_in_stretch(unit);
	return true;
}

/* -- wiping -------------------------------------------------------------------------------- */

static bool begin_next(struct ledger *ledger)
{
	struct waste *waste = &ledger->waste;

	if (waste->count == 0)
		return false;
	waste->unit = waste->at = waste->units[--waste->count];
	waste->end = run_end(ledger, waste->unit);
	return true;
}

static void end_block(struct ledger *ledger)
{
	struct waste *waste = &ledger->waste;
	uint64_t end = waste->end;

	stretch_of(ledger, waste->unit)->wasted = 0;
	waste->end = 0;
	ledger_free_wiped(ledger, waste->unit, end);
	if (waste->count > 0)
		return;
	free(waste->units);
	*waste = (struct waste){ .later = waste->later };
}

/* Where the page begins that the next piece begins in: what is wiped of it already goes with it. */
static uint64_t page_begin(const struct waste *waste)
{
	uint64_t first = waste->unit * LEDGER_UNIT;
	uint64_t page = os_memory_page();
	uint64_t begin = waste->at * LEDGER_UNIT / page * page;

	return begin > first ? begin : first;
}

bool ledger_wipe_some(struct ledger *ledger)
{
	struct waste *waste = &ledger->waste;
	uint64_t end;

	if (waste->end == 0 && !begin_next(ledger))
		return false;
	end = waste->end - waste->at > PIECE_UNITS ? waste->at + PIECE_UNITS : waste->end;
	sodium_memzero(bytes_at(ledger, waste->at), (end - waste->at) * LEDGER_UNIT);
	pages_drop_whole(ledger, page_begin(waste), end * LEDGER_UNIT);
	waste->left -= end - waste->at;
	waste->at = end;
	if (end == waste->end)
		end_block(ledger);
	return true;
}

void ledger_wipe_all(struct ledger *ledger)
{
	while (ledger_wipe_some(ledger))
		;
}

bool ledger_has_waste(const struct ledger *ledger)
{
	return ledger->waste.left > 0;
}

bool ledger_wipe_later(struct ledger *ledger, bool later)
{
	bool before = ledger->waste.later;

	ledger->waste.later = later;
	if (!later)
		ledger_wipe_all(ledger);
	return before;
}
