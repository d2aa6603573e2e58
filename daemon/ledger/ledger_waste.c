/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger_inside.h"

#include <sodium.h>
#include <stdlib.h>

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

bool waste_is_at(const struct ledger *ledger, uint64_t unit)
{
	const struct waste *waste = &ledger->waste;
	size_t i = 0;

	if (stretch_of(ledger, unit)->wasted == 0)
		return false;
	while (i < waste->count && waste->units[i] != unit)
		i++;
	return i < waste->count || (waste->end > 0 && waste->unit == unit);
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
	stretch_of(ledger, unit)->wasted++;
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

	stretch_of(ledger, waste->unit)->wasted--;
	waste->end = 0;
	ledger_free_wiped(ledger, waste->unit, end);
	if (waste->count > 0)
		return;
	free(waste->units);
	*waste = (struct waste){ .later = waste->later };
}

bool ledger_wipe_some(struct ledger *ledger)
{
	struct waste *waste = &ledger->waste;
	uint64_t end;

	if (waste->end == 0 && !begin_next(ledger))
		return false;
	end = waste->end - waste->at > PIECE_UNITS ? waste->at + PIECE_UNITS : waste->end;
	sodium_memzero(bytes_at(ledger, waste->at), (end - waste->at) * LEDGER_UNIT);
	pages_drop_whole(ledger, waste->at * LEDGER_UNIT, end * LEDGER_UNIT);
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
