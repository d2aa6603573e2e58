/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/memory/os_memory.h"

/* Small blocks have their pages looked after together, when so many bytes were freed. */
#define TIDY_STEP (UINT64_C(8) << 20)

/* -- pages --------------------------------------------------------------------------------- */

/* Gives pages back to the kernel; they read as zeros from then on. Whether it has taken them. */
bool pages_drop(const struct ledger *ledger, uint64_t begin, uint64_t end)
{
	int advice = MADV_DONTNEED;

#ifdef MADV_REMOVE
	if (ledger->fd >= 0)
		advice = MADV_REMOVE;
#endif
	return madvise(ledger->base + begin, end - begin, advice) == 0;
}

/*
 * The whole pages between two places. A refusal (pages locked by mlockall) loses nothing: they were
 * wiped before, or never used.
 */
void pages_drop_whole(const struct ledger *ledger, uint64_t begin, uint64_t end)
{
	uint64_t page = os_memory_page();

	begin = (begin + page - 1) / page * page;
	end = end / page * page;
	if (begin < end)
		(void)pages_drop(ledger, begin, end);
}

/* Goes through one list of long free runs; stops where it is not sound. */
static void tidy_list(const struct ledger *ledger, unsigned list)
{
	uint64_t unit = ledger->heads[list];
	uint64_t most = ledger->units * LEDGER_UNIT / LEDGER_LARGE;

	while (unit != 0 && run_is_free(ledger, unit) && run_linked(ledger, unit, list) &&
		most-- > 0) {
		pages_drop_whole(
			ledger, (unit + 1) * LEDGER_UNIT, run_end(ledger, unit) * LEDGER_UNIT);
		unit = links_at(ledger, unit)->next;
	}
}

/* The pages of what was freed in pieces, when there may be many of them. */
void pages_tidy(struct ledger *ledger, uint64_t size)
{
	ledger->untidy += size;
	if (ledger->untidy < TIDY_STEP)
		return;
	ledger->untidy = 0;
	for (unsigned list = run_list(LEDGER_LARGE / LEDGER_UNIT); list < LISTS; list++)
		tidy_list(ledger, list);
}

/* -- growth -------------------------------------------------------------------------------- */

int ledger_widen_maps(struct ledger *ledger, uint64_t units)
{
	int r;

	if (units <= ledger->capacity)
		return 0;
	r = bitmap_widen(&ledger->begins, ledger->capacity, units);
	if (r == 0)
		r = bitmap_widen(&ledger->taken, ledger->capacity, units);
	if (r == 0)
		r = stretches_widen(ledger, units);
	if (r == 0)
		ledger->capacity = units;
	return r;
}

/* The first unit is nobody's, so that no block begins at 0. */
uint64_t ledger_keep_first(struct ledger *ledger)
{
	bitmap_set(&ledger->begins, 0);
	bitmap_set(&ledger->taken, 0);
	return 1;
}

static int map_file(const struct ledger *ledger, uint64_t offset, uint64_t size, int protection)
{
	void *at = ledger->base + offset;

	if (mmap(at, size, protection, MAP_SHARED | MAP_FIXED, ledger->fd, (off_t)offset) ==
		MAP_FAILED)
		return -ENOMEM;
#ifdef MADV_DONTDUMP
	/* Names have no place in a core file either. */
	(void)madvise(at, size, MADV_DONTDUMP);
#endif
	return 0;
}

static int let_write(const struct ledger *ledger, uint64_t offset, uint64_t size)
{
	return mprotect(ledger->base + offset, size, PROT_READ | PROT_WRITE) < 0 ? -ENOMEM : 0;
}

int ledger_map(const struct ledger *ledger, uint64_t offset, uint64_t size)
{
	if (ledger->fd < 0)
		return let_write(ledger, offset, size);
	return map_file(ledger, offset, size, PROT_READ | PROT_WRITE);
}

int ledger_map_to_read(const struct ledger *ledger, uint64_t size)
{
	return map_file(ledger, 0, size, PROT_READ);
}

int ledger_let_write(const struct ledger *ledger)
{
	return let_write(ledger, 0, ledger_mapped(ledger));
}

/* Frees what nobody has had yet. */
void ledger_free_fresh(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	for (uint64_t next; unit < end; unit = next) {
		next = end - unit < RUN_MAX ? end : unit + RUN_MAX;
		bitmap_set(&ledger->begins, unit);
		bitmap_set(&ledger->taken, unit);
		if (next < end) {
			bitmap_set(&ledger->begins, next);
			bitmap_set(&ledger->taken, next);
		}
		run_free(ledger, unit, next);
	}
}

/* It is that long already when what came next has failed once, and it cannot shrink. */
static int lengthen(const struct ledger *ledger, uint64_t size)
{
	struct stat stat;

	if (ledger->fd < 0)
		return 0;
	if (fstat(ledger->fd, &stat) < 0)
		return -ENOMEM;
	return (uint64_t)stat.st_size < size && ftruncate(ledger->fd, (off_t)size) < 0 ? -ENOMEM
										       : 0;
}

/* Makes `size` more bytes writable. What is there already stays where it is. */
static int widen(struct ledger *ledger, uint64_t size)
{
	uint64_t unit = ledger->units;
	uint64_t end = unit + size / LEDGER_UNIT;
	int r = ledger_widen_maps(ledger, end);

	if (r == 0)
		r = lengthen(ledger, end * LEDGER_UNIT);
	if (r == 0)
		r = ledger_map(ledger, unit * LEDGER_UNIT, size);
	if (r < 0)
		return r;
	ledger->units = end;
	if (unit == 0)
		unit = ledger_keep_first(ledger);
	ledger_free_fresh(ledger, unit, end);
	return 0;
}

/* Doubles, or takes what is to be had, as long as a block of `units` fits into it. */
int ledger_grow(struct ledger *ledger, uint64_t units)
{
	uint64_t least = round_up(units * LEDGER_UNIT, LEDGER_GROWTH_MIN);
	uint64_t mapped = ledger->units * LEDGER_UNIT;
	uint64_t left = ledger->reserved - mapped;
	uint64_t step = mapped > least ? mapped : least;
	int r = -ENOMEM;

	if (step > left)
		step = left;
	while (step >= least) {
		r = widen(ledger, step);
		if (r == 0 || step == least)
			break;
		step = round_up(step / 2, LEDGER_GROWTH_MIN);
		if (step < least)
			step = least;
	}
	return r;
}

/* Half of the address space that the process may have is for others to use. */
static uint64_t reserve_size(void)
{
	struct rlimit limit;
	uint64_t size = LEDGER_MAX;

	if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return size;
	while (size > LEDGER_RESERVE_MIN && size > limit.rlim_cur / 2)
		size /= 2;
	return size;
}

int ledger_reserve(struct ledger *ledger)
{
	void *base = MAP_FAILED;
	uint64_t size = reserve_size();

	for (; size >= LEDGER_RESERVE_MIN; size /= 2) {
		base = mmap(
			NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (base != MAP_FAILED)
			break;
	}
	if (base == MAP_FAILED)
		return -ENOMEM;
	ledger->base = base;
	ledger->reserved = size;
#ifdef MADV_DONTDUMP
	/* Names have no place in a core file either. Kernels without it have no such files. */
	(void)madvise(base, size, MADV_DONTDUMP);
#endif
	return 0;
}
