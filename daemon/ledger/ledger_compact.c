/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What one step looks at: tens of microseconds. */
#define LOOKS_MAX 2048 /* words of the maps */
#define SWEEP_RUNS 256
#define SWEEP_DROPS 32
#define SWEEP_UNITS ((UINT64_C(1) << 20) / LEDGER_UNIT) /* that are given back */

#define SMALL_UNITS (LEDGER_LARGE / LEDGER_UNIT)

/* -- stretches ----------------------------------------------------------------------------- */

static uint64_t stretches_in(uint64_t units)
{
	return (units + STRETCH_UNITS - 1) / STRETCH_UNITS;
}

int stretches_widen(struct ledger *ledger, uint64_t units)
{
	uint64_t old = stretches_in(ledger->capacity);
	uint64_t count = stretches_in(units);
	struct stretch *stretches = reallocarray(ledger->stretches, count, sizeof(*stretches));

	if (!stretches)
		return -ENOMEM;
	memset(stretches + old, 0, (count - old) * sizeof(*stretches));
	ledger->stretches = stretches;
	return 0;
}

uint64_t stretches_bytes(uint64_t units)
{
	return stretches_in(units) * sizeof(struct stretch);
}

/* Where the stretch ends that a unit is in, or what is counted. */
static uint64_t part_end(uint64_t unit, uint64_t end)
{
	uint64_t next = (unit / STRETCH_UNITS + 1) * STRETCH_UNITS;

	return next < end ? next : end;
}

void stretches_add(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	bool small = end - unit < SMALL_UNITS;

	ledger->used += end - unit;
	ledger->small += small ? end - unit : 0;
	for (uint64_t next; unit < end; unit = next) {
		struct stretch *stretch = &ledger->stretches[unit / STRETCH_UNITS];
		uint16_t units;

		next = part_end(unit, end);
		units = (uint16_t)(next - unit);
		stretch->taken = (uint16_t)(stretch->taken + units);
		stretch->small = (uint16_t)(stretch->small + (small ? units : 0));
	}
}

void stretches_drop(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	bool small = end - unit < SMALL_UNITS;

	ledger->used -= end - unit;
	ledger->small -= small ? end - unit : 0;
	for (uint64_t next; unit < end; unit = next) {
		struct stretch *stretch = &ledger->stretches[unit / STRETCH_UNITS];
		uint16_t units;

		next = part_end(unit, end);
		units = (uint16_t)(next - unit);
		stretch->taken = (uint16_t)(stretch->taken - units);
		stretch->small = (uint16_t)(stretch->small - (small ? units : 0));
	}
}

/* -- the line ------------------------------------------------------------------------------ */

bool ledger_wants_compacting(const struct ledger *ledger)
{
	uint64_t enough = ledger_used(ledger) / 8;

	if (enough < LEDGER_COMPACT_MIN)
		enough = LEDGER_COMPACT_MIN;
	return ledger->compaction.line != 0 || ledger->freed >= enough;
}

/*
 * The first stretch before which all small blocks have room: an eighth more than those behind it
 * take, because no room is used up to the last unit.
 */
static uint64_t find_line(const struct ledger *ledger, uint64_t count)
{
	uint64_t room = 0;
	uint64_t behind = ledger->small;
	uint64_t i = 0;

	while (i < count && (i == 0 || room < behind + behind / 8)) {
		room += STRETCH_UNITS - ledger->stretches[i].taken;
		behind -= ledger->stretches[i++].small;
	}
	return i;
}

/* Units that come free behind the line. What is there alone is free already. */
static uint64_t gain_behind(const struct ledger *ledger, uint64_t line, uint64_t count)
{
	uint64_t gain = 0;

	for (uint64_t i = line; i < count; i++) {
		const struct stretch *stretch = &ledger->stretches[i];

		if (stretch->small > 0)
			gain += STRETCH_UNITS + stretch->small - stretch->taken;
	}
	return gain;
}

void compaction_begin(struct ledger *ledger, uint64_t line)
{
	if (line > ledger->units)
		line = ledger->units;
	ledger->compaction = (struct compaction){ .line = line };
}

bool ledger_begin_compacting(struct ledger *ledger)
{
	uint64_t count = stretches_in(ledger->units);
	uint64_t line = find_line(ledger, count);
	uint64_t gain = gain_behind(ledger, line, count);

	ledger->freed = 0;
	if (gain * LEDGER_UNIT < LEDGER_COMPACT_MIN || gain < ledger->used / 2)
		return false;
	compaction_begin(ledger, line * STRETCH_UNITS);
	return true;
}

void ledger_end_compacting(struct ledger *ledger)
{
	ledger->compaction.line = 0;
	ledger->freed = 0;
}

uint64_t ledger_line(const struct ledger *ledger)
{
	return ledger->compaction.line * LEDGER_UNIT;
}

/* -- moving -------------------------------------------------------------------------------- */

bool ledger_is_behind(const struct ledger *ledger, uint64_t offset)
{
	size_t size = ledger_block(ledger, offset);

	return offset >= ledger_line(ledger) && size > 0 && size < LEDGER_LARGE;
}

/* The first free run that begins in a word of the maps, at `unit` or behind it; or 0. */
static uint64_t free_in_word(const struct ledger *ledger, uint64_t unit)
{
	uint64_t word = unit / WORD_BITS;
	uint64_t bits = ledger->begins.words[word] & ~ledger->taken.words[word] &
		UINT64_MAX << (unit % WORD_BITS);

	return bits == 0 ? 0 : word * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
}

/* What has no room for less has none for more. */
static uint64_t cursor_of(const struct ledger *ledger, unsigned list)
{
	uint64_t cursor = 0;

	for (unsigned i = 0; i <= list; i++)
		if (ledger->compaction.cursors[i] > cursor)
			cursor = ledger->compaction.cursors[i];
	return cursor;
}

/* Moves the cursor to a run that has room, or to the line. Returns 0 or -EAGAIN. */
static int find_before(const struct ledger *ledger, uint64_t units, uint64_t *cursor)
{
	for (unsigned looks = 0; *cursor < ledger->compaction.line; looks++) {
		uint64_t unit = free_in_word(ledger, *cursor);

		if (looks == LOOKS_MAX)
			return -EAGAIN;
		if (unit == 0)
			*cursor = (*cursor / WORD_BITS + 1) * WORD_BITS;
		else if (run_end(ledger, unit) - unit < units)
			*cursor = unit + 1;
		else {
			*cursor = unit;
			break;
		}
	}
	return 0;
}

int ledger_take_before(struct ledger *ledger, size_t size, uint64_t *offsetp)
{
	uint64_t units = (size + LEDGER_UNIT - 1) / LEDGER_UNIT;
	unsigned list = run_list(units);
	uint64_t cursor;
	int r;

	if (size == 0 || size >= LEDGER_LARGE || ledger->compaction.line == 0)
		return -ENOMEM;
	cursor = cursor_of(ledger, list);
	r = find_before(ledger, units, &cursor);
	ledger->compaction.cursors[list] = cursor;
	if (r < 0)
		return r;
	if (cursor + units > ledger->compaction.line)
		return -ENOMEM;
	run_take(ledger, cursor, units);
	*offsetp = cursor * LEDGER_UNIT;
	return 0;
}

/* -- giving back --------------------------------------------------------------------------- */

/*
 * The part of a free run from `unit` on that one step gives back, at most so many units. Its first
 * unit has the links, and stays. Returns where the part ends.
 */
static uint64_t sweep_run(const struct ledger *ledger, uint64_t begin, uint64_t unit, uint64_t most)
{
	uint64_t end = run_end(ledger, begin);

	if (end - unit > most)
		end = unit + most;
	pages_drop_whole(
		ledger, (unit == begin ? unit + 1 : unit) * LEDGER_UNIT, end * LEDGER_UNIT);
	return end;
}

bool ledger_sweep(struct ledger *ledger)
{
	uint64_t *swept = &ledger->compaction.swept;
	uint64_t left = SWEEP_UNITS;
	unsigned drops = 0;

	for (unsigned i = 0;
		i < SWEEP_RUNS && drops < SWEEP_DROPS && left > 0 && *swept < ledger->units; i++) {
		uint64_t begin = bitmap_before(&ledger->begins, *swept);
		uint64_t from = *swept;

		if (!run_is_free(ledger, begin)) {
			*swept = run_end(ledger, begin);
			continue;
		}
		*swept = sweep_run(ledger, begin, from, left);
		left -= *swept - from;
		drops++;
	}
	if (*swept < ledger->units)
		return true;
	ledger_end_compacting(ledger);
	return false;
}
