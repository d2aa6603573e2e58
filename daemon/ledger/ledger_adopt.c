/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/memory/os_memory.h"

/*
 * The file's first unit, which is nobody's. Each byte behind the format is another one in each
 * format: of two formats five bytes differ, and one that was overwritten does not matter.
 */
struct head {
	char magic[8];
	uint8_t format[sizeof(uint32_t)];
	uint8_t again[sizeof(uint32_t)];
};

static const char head_magic[8] = { 'm', 'g', 'l', 'e', 'd', 'g', 'e', 'r' };

_Static_assert(sizeof(struct head) == LEDGER_UNIT, "the head is the first unit");

bool ledger_is_adopted(const struct ledger *ledger)
{
	return ledger->adopted;
}

_Static_assert(LEDGER_FORMAT <= UINT8_MAX, "each byte behind it tells the format");

static struct head our_head(void)
{
	static const uint8_t masks[sizeof(uint32_t)] = { 0xff, 0x5a, 0xa5, 0x3c };
	struct head head = { 0 };

	memcpy(head.magic, head_magic, sizeof(head_magic));
	bytes_put32(head.format, LEDGER_FORMAT);
	for (size_t i = 0; i < sizeof(masks); i++)
		head.again[i] = (uint8_t)(LEDGER_FORMAT ^ masks[i]);
	return head;
}

static bool head_is_ours(const struct head *head)
{
	const struct head ours = our_head();
	const uint8_t *bytes = (const uint8_t *)head;
	unsigned others = 0;

	for (size_t i = 0; i < sizeof(ours); i++)
		others += bytes[i] != ((const uint8_t *)&ours)[i];
	return others <= 1;
}

static bool is_ours(const struct ledger *ledger)
{
	return head_is_ours((const struct head *)(const void *)ledger->base);
}

int ledger_check(int fd)
{
	struct head head;
	ssize_t size = pread(fd, &head, sizeof(head), 0);

	if (size == 0 ||
		(size == sizeof(head) && sodium_is_zero((const uint8_t *)&head, sizeof(head))))
		return 0;
	return size == sizeof(head) && head_is_ours(&head) ? 0 : -EBADMSG;
}

/* The name comes last, in one step: without it nothing was ever written. */
void ledger_write_head(struct ledger *ledger)
{
	const struct head ours = our_head();
	struct head *head = (struct head *)(void *)ledger->base;
	uint64_t magic;

	memcpy(&magic, ours.magic, sizeof(magic));
	memcpy(head->format, ours.format, sizeof(*head) - offsetof(struct head, format));
	atomic_store_explicit((_Atomic uint64_t *)(void *)head->magic, magic, memory_order_release);
}

bool ledger_written(const struct ledger *ledger, uint64_t offset, uint64_t *beginp, uint64_t *endp)
{
	off_t begin = lseek(ledger->fd, (off_t)offset, SEEK_DATA);
	off_t end = begin < 0 ? begin : lseek(ledger->fd, begin, SEEK_HOLE);

	if (begin < 0 || end < 0 || (uint64_t)begin >= ledger_mapped(ledger))
		return false;
	*beginp = (uint64_t)begin;
	*endp = (uint64_t)end < ledger_mapped(ledger) ? (uint64_t)end : ledger_mapped(ledger);
	return true;
}

/* Whether its maker ended before the head was there: nothing is in it then. */
static bool is_blank(const struct ledger *ledger)
{
	const struct head *head = (const struct head *)(const void *)ledger->base;
	uint64_t begin = 0;
	uint64_t end = 0;

	if (!sodium_is_zero((const uint8_t *)head->magic, sizeof(head->magic)))
		return false;
	while (ledger_written(ledger, end, &begin, &end)) {
		if (begin == 0)
			begin = LEDGER_UNIT;
		if (!sodium_is_zero(ledger->base + begin, end - begin))
			return false;
	}
	return true;
}

/* Nothing is in it, and only its head is missing. */
static int begin_anew(struct ledger *ledger)
{
	int r = ledger_let_write(ledger);

	if (r == 0)
		ledger_write_head(ledger);
	return r;
}

/*
 * Maps what another process has left. It can only be read at first: no mistake changes what is not
 * understood yet. In a virtual machine whose page tables are shadowed it also costs a third: pages
 * that can be written to come in one by one there.
 */
int ledger_take_over(struct ledger *ledger, uint64_t size)
{
	uint64_t units = size / LEDGER_UNIT;
	int r = size > ledger->reserved || size % os_memory_page() != 0 ? -EBADMSG : 0;

	if (r == 0)
		r = ledger_widen_maps(ledger, units);
	if (r == 0)
		r = bitmap_widen(&ledger->claimed, 0, units);
	if (r == 0)
		r = ledger_map_to_read(ledger, size);
	if (r < 0)
		return r;
	ledger->units = units;
	ledger->adopted = true;
	if (is_blank(ledger))
		r = begin_anew(ledger);
	return r < 0 || is_ours(ledger) ? r : -EBADMSG;
}

int ledger_claim(struct ledger *ledger, uint64_t offset, uint64_t size)
{
	uint64_t unit = offset / LEDGER_UNIT;
	uint64_t end = unit + size / LEDGER_UNIT + (size % LEDGER_UNIT != 0);

	if (offset == 0 || offset % LEDGER_UNIT != 0 || size == 0 || size > LEDGER_BLOCK_MAX ||
		end > ledger->units || bitmap_after(&ledger->claimed, unit, end) < end)
		return -EINVAL;
	bitmap_fill(&ledger->claimed, unit, end);
	bitmap_set(&ledger->begins, unit);
	bitmap_set(&ledger->taken, unit);
	return 0;
}

bool ledger_is_claimed(const struct ledger *ledger, uint64_t offset)
{
	return bitmap_get(&ledger->claimed, offset / LEDGER_UNIT);
}

bool ledger_is_link(const struct ledger *ledger, uint64_t offset)
{
	uint64_t unit = offset / LEDGER_UNIT;
	uint64_t next = unit < ledger->units ? links_at(ledger, unit)->next : 0;

	return next != 0 && next < ledger->units && links_at(ledger, next)->previous == unit;
}

/* Whole pages go back to the kernel, unless it refuses; their neighbours on the edges are others'.
 */
static void wipe_gap(struct ledger *ledger, uint64_t begin, uint64_t end)
{
	uint64_t page = os_memory_page();
	uint64_t first = round_up(begin, page);
	uint64_t last = end / page * page;

	if (first < last && pages_drop(ledger, first, last)) {
		sodium_memzero(ledger->base + begin, first - begin);
		sodium_memzero(ledger->base + last, end - last);
		return;
	}
	sodium_memzero(ledger->base + begin, end - begin);
}

/* The blocks that were claimed side by side. */
static void take_claimed(struct ledger *ledger, uint64_t unit, uint64_t end)
{
	for (uint64_t next; unit < end; unit = next) {
		next = bitmap_after(&ledger->begins, unit + 1, end);
		stretches_add(ledger, unit, next);
	}
}

void ledger_settle(struct ledger *ledger)
{
	uint64_t end;

	ledger->adopted = false;
	ledger_write_head(ledger);
	for (uint64_t unit = ledger_keep_first(ledger); unit < ledger->units; unit = end) {
		if (bitmap_get(&ledger->claimed, unit)) {
			end = bitmap_gap(&ledger->claimed, unit, ledger->units);
			take_claimed(ledger, unit, end);
			continue;
		}
		end = bitmap_after(&ledger->claimed, unit, ledger->units);
		wipe_gap(ledger, unit * LEDGER_UNIT, end * LEDGER_UNIT);
		ledger_free_fresh(ledger, unit, end);
	}
	bitmap_finish(&ledger->claimed);
	/* Whoever was here before us may have ended while it was being compacted. */
	ledger->freed = ledger_mapped(ledger);
}
