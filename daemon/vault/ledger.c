/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/ledger.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "common/memory/os_memory.h"
#include "daemon/vault/bitmap.h"

/*
 * In here a place is the number of its unit. The method is TLSF's (Masmano, Ripoll, Crespo, Real:
 * "TLSF: a New Dynamic Memory Allocator for Real-Time Systems", 2004): lists of free blocks by
 * powers of two, each split in 8, and a word of bits that tells which have any. What TLSF keeps
 * beside the blocks lies in bit maps instead, where a stray write into the ledger does not reach.
 */
#define WORD_BITS BITMAP_WORD
#define RUN_MAX (LEDGER_BLOCK_MAX / LEDGER_UNIT) /* units in a free run; bounds the merging */
#define STEP_BITS 3                              /* a power of two has 8 lists */
#define STEPS (1u << STEP_BITS)
#define LISTS ((20 - STEP_BITS + 1) * STEPS + 1)
#define LIST_WORDS ((LISTS + WORD_BITS - 1) / WORD_BITS)

/* From this size on, the pages of a freed block are worth a system call of their own. */
#define LARGE_SIZE 65536u /* bytes */

/* Small blocks have their pages looked after together, when so many bytes were freed. */
#define TIDY_STEP (UINT64_C(8) << 20)

_Static_assert(RUN_MAX == 1u << 20, "the classes end with the longest run");
_Static_assert(LEDGER_MAX / LEDGER_UNIT - 1 == UINT32_MAX, "a unit's number has 32 bits");

/* In the first unit of a free run; 0 is the end. Not to be believed: see the maps. */
struct links {
	uint64_t next;
	uint64_t previous;
};

struct ledger {
	uint8_t *base;
	uint64_t reserved;    /* bytes */
	uint64_t units;       /* writable */
	uint64_t capacity;    /* units that the maps have room for */
	uint64_t used;        /* units taken */
	uint64_t untidy;      /* bytes freed in small blocks since the pages were looked after */
	struct bitmap begins; /* a block or a free run begins here */
	struct bitmap taken;  /* and it is taken */
	uint64_t heads[LISTS];
	uint64_t occupied[LIST_WORDS]; /* classes that have a run */
};

_Static_assert(sizeof(struct links) == LEDGER_UNIT, "links fit into the smallest run");

/* -- free runs ----------------------------------------------------------------------------- */

static uint8_t *bytes_at(const struct ledger *ledger, uint64_t unit)
{
	return ledger->base + unit * LEDGER_UNIT;
}

static struct links *links_at(const struct ledger *ledger, uint64_t unit)
{
	return (struct links *)(void *)bytes_at(ledger, unit);
}

static uint64_t run_end(const struct ledger *ledger, uint64_t unit)
{
	return bitmap_after(&ledger->begins, unit + 1, ledger->units);
}

static bool is_free(const struct ledger *ledger, uint64_t unit)
{
	return unit < ledger->units && bitmap_get(&ledger->begins, unit) &&
		!bitmap_get(&ledger->taken, unit);
}

/* The list for runs of `units`: below 8 one each, then 8 to a power of two. */
static unsigned list_of(uint64_t units)
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
	return list_of(units + (UINT64_C(1) << (power - STEP_BITS)) - 1);
}

/* Whether what a free run says of its neighbours in the list is what they say of it. */
static bool linked(const struct ledger *ledger, uint64_t unit, unsigned list)
{
	struct links links = *links_at(ledger, unit);

	if ((links.previous == 0) != (ledger->heads[list] == unit))
		return false;
	if (links.previous != 0 &&
		(!is_free(ledger, links.previous) ||
			links_at(ledger, links.previous)->next != unit))
		return false;
	return links.next == 0 ||
		(is_free(ledger, links.next) && links_at(ledger, links.next)->previous == unit);
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
		if (is_free(ledger, unit))
			push(ledger, unit, list_of(end - unit));
	}
}

/* Whether a list is empty or begins with a run that belongs there, whatever its links say. */
static bool begins_well(const struct ledger *ledger, unsigned list)
{
	uint64_t unit = ledger->heads[list];

	return unit == 0 ||
		(is_free(ledger, unit) && list_of(run_end(ledger, unit) - unit) == list);
}

/* Makes a run that the maps call taken a free one. */
static void link_run(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	unsigned list = list_of(end - unit);

	if (!begins_well(ledger, list))
		relink(ledger);
	bitmap_clear(&ledger->taken, unit);
	push(ledger, unit, list);
}

/* Takes a free run off its list. Its links are wiped with it. */
static void unlink_run(struct ledger *ledger, uint64_t unit)
{
	unsigned list = list_of(run_end(ledger, unit) - unit);
	struct links links;

	if (!linked(ledger, unit, list))
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
static void free_run(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	if (is_free(ledger, end)) {
		uint64_t far = run_end(ledger, end);

		if (far - unit <= RUN_MAX) {
			unlink_run(ledger, end);
			bitmap_clear(&ledger->begins, end);
			end = far;
		}
	}
	if (unit > 0) {
		uint64_t near = bitmap_before(&ledger->begins, unit - 1);

		if (is_free(ledger, near) && end - near <= RUN_MAX) {
			unlink_run(ledger, near);
			bitmap_set(&ledger->taken, near);
			bitmap_clear(&ledger->taken, unit);
			bitmap_clear(&ledger->begins, unit);
			unit = near;
		}
	}
	link_run(ledger, unit, end);
}

/* A free run of at least `units`, or 0. */
static uint64_t find_run(struct ledger *ledger, uint64_t units)
{
	uint64_t list = bits_after(ledger->occupied, list_above(units), LISTS);

	if (list < LISTS && !begins_well(ledger, (unsigned)list)) {
		relink(ledger);
		list = bits_after(ledger->occupied, list_above(units), LISTS);
	}
	return list < LISTS ? ledger->heads[list] : 0;
}

/* -- pages --------------------------------------------------------------------------------- */

/*
 * Gives the whole pages between two places back to the kernel; they read as zeros from then on.
 * A refusal (pages locked by mlockall) loses nothing: they were wiped before, or never used.
 */
static void drop_pages(const struct ledger *ledger, uint64_t begin, uint64_t end)
{
	uint64_t page = os_memory_page();

	begin = (begin + page - 1) / page * page;
	end = end / page * page;
	if (begin < end)
		(void)madvise(ledger->base + begin, end - begin, MADV_DONTNEED);
}

/* Goes through one list of long free runs; stops where it is not sound. */
static void tidy_list(const struct ledger *ledger, unsigned list)
{
	uint64_t unit = ledger->heads[list];
	uint64_t most = ledger->units * LEDGER_UNIT / LARGE_SIZE;

	while (unit != 0 && is_free(ledger, unit) && linked(ledger, unit, list) && most-- > 0) {
		drop_pages(ledger, (unit + 1) * LEDGER_UNIT, run_end(ledger, unit) * LEDGER_UNIT);
		unit = links_at(ledger, unit)->next;
	}
}

/* The pages of what was freed in pieces, when there may be many of them. */
static void tidy(struct ledger *ledger, uint64_t size)
{
	ledger->untidy += size;
	if (ledger->untidy < TIDY_STEP)
		return;
	ledger->untidy = 0;
	for (unsigned list = list_of(LARGE_SIZE / LEDGER_UNIT); list < LISTS; list++)
		tidy_list(ledger, list);
}

/* -- growth -------------------------------------------------------------------------------- */

static int widen_maps(struct ledger *ledger, uint64_t units)
{
	int r;

	if (units <= ledger->capacity)
		return 0;
	r = bitmap_widen(&ledger->begins, ledger->capacity, units);
	if (r == 0)
		r = bitmap_widen(&ledger->taken, ledger->capacity, units);
	if (r == 0)
		ledger->capacity = units;
	return r;
}

/* The first unit is nobody's, so that no block begins at 0. */
static uint64_t keep_first(struct ledger *ledger)
{
	bitmap_set(&ledger->begins, 0);
	bitmap_set(&ledger->taken, 0);
	return 1;
}

/* Makes `size` more bytes writable. What is there already stays where it is. */
static int widen(struct ledger *ledger, uint64_t size)
{
	uint64_t unit = ledger->units;
	uint64_t end = unit + size / LEDGER_UNIT;
	int r = widen_maps(ledger, end);

	if (r < 0)
		return r;
	if (mprotect(bytes_at(ledger, unit), size, PROT_READ | PROT_WRITE) < 0)
		return -ENOMEM;
	ledger->units = end;
	if (unit == 0)
		unit = keep_first(ledger);
	for (uint64_t next; unit < end; unit = next) {
		next = end - unit < RUN_MAX ? end : unit + RUN_MAX;
		bitmap_set(&ledger->begins, unit);
		bitmap_set(&ledger->taken, unit);
		if (next < end) {
			bitmap_set(&ledger->begins, next);
			bitmap_set(&ledger->taken, next);
		}
		free_run(ledger, unit, next);
	}
	return 0;
}

static uint64_t round_up(uint64_t size, uint64_t to)
{
	return (size + to - 1) / to * to;
}

/* Doubles, or takes what is to be had, as long as a block of `units` fits into it. */
static int grow(struct ledger *ledger, uint64_t units)
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

static int reserve(struct ledger *ledger)
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

/* -- the door ------------------------------------------------------------------------------ */

int ledger_new(struct ledger **ledgerp)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	int r;

	if (!ledger)
		return -ENOMEM;
	r = reserve(ledger);
	if (r == 0)
		r = grow(ledger, 1);
	if (r < 0) {
		ledger_free(ledger);
		return r;
	}
	*ledgerp = ledger;
	return 0;
}

static void wipe_taken(struct ledger *ledger)
{
	uint64_t end;

	for (uint64_t unit = 0; unit < ledger->units; unit = end) {
		end = run_end(ledger, unit);
		if (bitmap_get(&ledger->taken, unit))
			sodium_memzero(bytes_at(ledger, unit), (end - unit) * LEDGER_UNIT);
	}
}

void ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return;
	wipe_taken(ledger);
	if (ledger->base)
		munmap(ledger->base, ledger->reserved);
	bitmap_finish(&ledger->begins);
	bitmap_finish(&ledger->taken);
	free(ledger);
}

/* Takes the first `units` of a free run and frees the rest anew. */
static void split(struct ledger *ledger, uint64_t unit, uint64_t units)
{
	uint64_t end = run_end(ledger, unit);

	unlink_run(ledger, unit);
	bitmap_set(&ledger->taken, unit);
	if (end - unit > units) {
		bitmap_set(&ledger->begins, unit + units);
		bitmap_set(&ledger->taken, unit + units);
		link_run(ledger, unit + units, end);
	}
	ledger->used += units;
}

int ledger_take(struct ledger *ledger, size_t size, uint64_t *offsetp)
{
	uint64_t units = size / LEDGER_UNIT + (size % LEDGER_UNIT != 0);
	uint64_t unit;
	int r;

	if (size == 0 || size > LEDGER_BLOCK_MAX)
		return -EINVAL;
	unit = find_run(ledger, units);
	if (unit == 0) {
		r = grow(ledger, units);
		if (r < 0)
			return r;
		unit = find_run(ledger, units);
	}
	if (unit == 0)
		abort();
	split(ledger, unit, units);
	*offsetp = unit * LEDGER_UNIT;
	return 0;
}

/* The unit of a block that is certainly there. */
static uint64_t taken_unit(const struct ledger *ledger, uint64_t offset)
{
	if (ledger_block(ledger, offset) == 0)
		abort();
	return offset / LEDGER_UNIT;
}

void ledger_give(struct ledger *ledger, uint64_t offset)
{
	uint64_t unit = taken_unit(ledger, offset);
	uint64_t end = run_end(ledger, unit);
	uint64_t size = (end - unit) * LEDGER_UNIT;

	sodium_memzero(bytes_at(ledger, unit), size);
	if (size >= LARGE_SIZE)
		drop_pages(ledger, offset, offset + size);
	ledger->used -= end - unit;
	free_run(ledger, unit, end);
	if (size < LARGE_SIZE)
		tidy(ledger, size);
}

void ledger_trim(struct ledger *ledger, uint64_t offset, size_t size)
{
	uint64_t unit = taken_unit(ledger, offset);
	uint64_t end = run_end(ledger, unit);
	uint64_t keep = unit + size / LEDGER_UNIT + (size % LEDGER_UNIT != 0);

	if (size == 0 || keep > end)
		abort();
	if (keep == end)
		return;
	drop_pages(ledger, keep * LEDGER_UNIT, end * LEDGER_UNIT);
	ledger->used -= end - keep;
	bitmap_set(&ledger->begins, keep);
	bitmap_set(&ledger->taken, keep);
	free_run(ledger, keep, end);
}

size_t ledger_block(const struct ledger *ledger, uint64_t offset)
{
	uint64_t unit = offset / LEDGER_UNIT;

	if (offset == 0 || offset % LEDGER_UNIT != 0 || unit >= ledger->units ||
		!bitmap_get(&ledger->begins, unit) || !bitmap_get(&ledger->taken, unit))
		return 0;
	return (run_end(ledger, unit) - unit) * LEDGER_UNIT;
}

void *ledger_at(const struct ledger *ledger, uint64_t offset, size_t size)
{
	uint64_t mapped = ledger->units * LEDGER_UNIT;

	if (offset == 0 || offset > mapped || size > mapped - offset)
		abort();
	return ledger->base + offset;
}

uint64_t ledger_used(const struct ledger *ledger)
{
	return ledger->used * LEDGER_UNIT;
}

uint64_t ledger_mapped(const struct ledger *ledger)
{
	return ledger->units * LEDGER_UNIT;
}

uint64_t ledger_bookkeeping(const struct ledger *ledger)
{
	return sizeof(*ledger) + 2 * bitmap_bytes(ledger->capacity);
}
