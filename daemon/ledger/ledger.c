/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/ledger/ledger_inside.h"

/* Where more than this part of all that is taken is waste, that is wiped before the ledger grows.
 */
#define WASTE_PART 4

#ifdef MFD_ALLOW_SEALING
int ledger_file(void)
{
	int fd = memfd_create("memguardd-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
		return fd;
	r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

/* It cannot shrink, but have holes. */
void ledger_empty(int fd)
{
	struct stat stat;

	if (fstat(fd, &stat) == 0 && stat.st_size > 0)
		(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, stat.st_size);
}
#else
void ledger_empty(int fd)
{
	(void)fd;
}

int ledger_file(void)
{
	return -ENOSYS;
}
#endif

static int open_memory(struct ledger *ledger)
{
	struct stat stat = { 0 };
	int r = ledger_reserve(ledger);

	if (r == 0 && ledger->fd >= 0 && fstat(ledger->fd, &stat) < 0)
		r = -errno;
	if (r < 0 || stat.st_size > 0)
		return r < 0 ? r : ledger_take_over(ledger, (uint64_t)stat.st_size);
	r = ledger_grow(ledger, 1);
	if (r == 0)
		ledger_write_head(ledger);
	return r;
}

int ledger_new(struct ledger **ledgerp, int fd)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	int r;

	if (!ledger)
		return -ENOMEM;
	ledger->fd = fd;
	r = open_memory(ledger);
	if (r < 0) {
		ledger_leave(ledger);
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
	if (ledger && !ledger->adopted)
		wipe_taken(ledger);
	ledger_leave(ledger);
}

void ledger_leave(struct ledger *ledger)
{
	if (!ledger)
		return;
	ledger_wipe_all(ledger);
	if (ledger->base)
		munmap(ledger->base, ledger->reserved);
	bitmap_finish(&ledger->begins);
	bitmap_finish(&ledger->taken);
	bitmap_finish(&ledger->claimed);
	free(ledger->stretches);
	free(ledger);
}

/*
 * A free run: of what is only to be wiped yet, where that is much, or where there is no more
 * memory. Returns 0 or -ENOMEM.
 */
static int find_run(struct ledger *ledger, uint64_t units, uint64_t *unitp)
{
	int r = 0;

	*unitp = run_find(ledger, units);
	while (*unitp == 0 && ledger->waste.left > ledger->used / WASTE_PART) {
		(void)ledger_wipe_some(ledger);
		*unitp = run_find(ledger, units);
	}
	if (*unitp != 0)
		return 0;
	r = ledger_grow(ledger, units);
	if (r < 0)
		ledger_wipe_all(ledger);
	*unitp = run_find(ledger, units);
	return *unitp != 0 ? 0 : r;
}

int ledger_take(struct ledger *ledger, size_t size, uint64_t *offsetp)
{
	uint64_t units = size / LEDGER_UNIT + (size % LEDGER_UNIT != 0);
	uint64_t unit;
	int r;

	if (size == 0 || size > LEDGER_BLOCK_MAX)
		return -EINVAL;
	r = find_run(ledger, units, &unit);
	if (r < 0)
		return r;
	if (unit == 0)
		abort();
	run_take(ledger, unit, units);
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

void ledger_free_wiped(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	uint64_t size = (end - unit) * LEDGER_UNIT;

	ledger->freed += size;
	stretches_drop(ledger, unit, end);
	run_free(ledger, unit, end);
	if (size < LEDGER_LARGE)
		pages_tidy(ledger, size);
}

void ledger_give(struct ledger *ledger, uint64_t offset)
{
	uint64_t unit = taken_unit(ledger, offset);
	uint64_t end = run_end(ledger, unit);
	uint64_t size = (end - unit) * LEDGER_UNIT;

	if (size >= LEDGER_LARGE && ledger->waste.later && waste_add(ledger, unit, end))
		return;
	sodium_memzero(bytes_at(ledger, unit), size);
	if (size >= LEDGER_LARGE)
		pages_drop_whole(ledger, offset, offset + size);
	ledger_free_wiped(ledger, unit, end);
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
	pages_drop_whole(ledger, keep * LEDGER_UNIT, end * LEDGER_UNIT);
	stretches_drop(ledger, unit, end);
	stretches_add(ledger, unit, keep);
	bitmap_set(&ledger->begins, keep);
	bitmap_set(&ledger->taken, keep);
	run_free(ledger, keep, end);
}

size_t ledger_block(const struct ledger *ledger, uint64_t offset)
{
	uint64_t unit = offset / LEDGER_UNIT;

	if (ledger->adopted && offset > 0 && offset % LEDGER_UNIT == 0 && unit < ledger->units)
		return ledger_mapped(ledger) - offset;
	if (offset == 0 || offset % LEDGER_UNIT != 0 || unit >= ledger->units ||
		!bitmap_get(&ledger->begins, unit) || !bitmap_get(&ledger->taken, unit) ||
		waste_is_at(ledger, unit))
		return 0;
	return (run_end(ledger, unit) - unit) * LEDGER_UNIT;
}

uint64_t ledger_next(const struct ledger *ledger, uint64_t offset)
{
	uint64_t unit = bitmap_after(&ledger->taken, offset / LEDGER_UNIT + 1, ledger->units);

	while (unit < ledger->units && waste_is_at(ledger, unit))
		unit = bitmap_after(&ledger->taken, unit + 1, ledger->units);
	return unit < ledger->units ? unit * LEDGER_UNIT : 0;
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
	return sizeof(*ledger) + 2 * bitmap_bytes(ledger->capacity) +
		stretches_bytes(ledger->capacity);
}
