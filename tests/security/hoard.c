/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into a program (LD_PRELOAD), this is its heap: one that never gives anything back, so
 * that whatever lay there once lies there still when the program ends. Then it is searched for any
 * eight bytes in a row of what is in the file HOARD_VALUES, read at that moment, and the findings
 * are written to the file HOARD_REPORT: "<bytes searched> <places found> <offset of the first>".
 * HOARD_PLANT makes a copy of a value and frees it before that, as a control. The program's
 * children are left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROOM ((size_t)1 << 32) /* bytes of address space; memory is taken as it is used */
#define UNIT ((size_t)16)
#define WINDOW sizeof(uint64_t)
#define SLOTS ((size_t)1 << 22) /* of the table of windows; a quarter of it may be full */
#define PLANT 24                /* bytes of a value that the control copies */

static uint8_t *heap;
static atomic_size_t used;

static struct {
	const char *values;
	const char *report;
	bool plant;
} order;

/* -- the heap ------------------------------------------------------------------------------ */

static void *pages(size_t size)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		abort();
	return base;
}

/* The loader asks for memory before there is a second thread. */
static void *take(size_t size, size_t alignment)
{
	size_t span = (size + UNIT - 1) / UNIT * UNIT + UNIT + alignment;
	size_t at;

	if (!heap)
		heap = pages(ROOM);
	if (size > ROOM / 4 || atomic_load(&used) > ROOM / 2) {
		errno = ENOMEM;
		return NULL;
	}
	at = atomic_fetch_add(&used, span) + UNIT;
	at = (at + alignment - 1) / alignment * alignment;
	/* What it is asked for stands in front of a block. */
	memcpy(heap + at - UNIT, &size, sizeof(size));
	return heap + at;
}

static size_t size_of(const void *block)
{
	size_t size;

	memcpy(&size, (const uint8_t *)block - UNIT, sizeof(size));
	return size;
}

void *malloc(size_t size)
{
	return take(size, UNIT);
}

void *calloc(size_t count, size_t size)
{
	if (size > 0 && count > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return take(count * size, UNIT);
}

void *realloc(void *block, size_t size)
{
	void *other = take(size, UNIT);

	if (other && block)
		memcpy(other, block, size_of(block) < size ? size_of(block) : size);
	return other;
}

void free(void *block)
{
	(void)block;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return take(size, alignment < UNIT ? UNIT : alignment);
}

void *memalign(size_t alignment, size_t size)
{
	return aligned_alloc(alignment, size);
}

int posix_memalign(void **blockp, size_t alignment, size_t size)
{
	*blockp = aligned_alloc(alignment, size);
	return *blockp ? 0 : ENOMEM;
}

size_t malloc_usable_size(void *block)
{
	return block ? size_of(block) : 0;
}

/* -- the search ---------------------------------------------------------------------------- */

static uint64_t window_at(const uint8_t *bytes)
{
	uint64_t window;

	memcpy(&window, bytes, sizeof(window));
	return window;
}

/* Where a window is in the table, or the free slot where it would be; a window of 0 is none. */
static uint64_t *slot_of(uint64_t *table, uint64_t window)
{
	size_t slot = (size_t)(window * 0x9e3779b97f4a7c15u >> 20) % SLOTS;

	while (table[slot] != 0 && table[slot] != window)
		slot = (slot + 1) % SLOTS;
	return &table[slot];
}

/* The whole file, in pages of its own: the heap must not know it. */
static size_t read_values(uint8_t **valuesp)
{
	int fd = open(order.values, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (size <= (off_t)PLANT || (size_t)size > SLOTS / 4)
		abort();
	*valuesp = pages((size_t)size);
	if (pread(fd, *valuesp, (size_t)size, 0) != size)
		abort();
	close(fd);
	return (size_t)size;
}

/* What comes behind the copy is never what comes there in the value: no place more is found. */
static void plant(const uint8_t *values)
{
	uint8_t *block = malloc(PLANT + 1);

	memcpy(block, values, PLANT);
	block[PLANT] = (uint8_t)~values[PLANT];
	free(block);
}

static void report(size_t searched, size_t found, size_t first)
{
	char line[80];
	int length = snprintf(line, sizeof(line), "%zu %zu %zu\n", searched, found, first);
	int fd = open(order.report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, line, (size_t)length) != length)
		abort();
	close(fd);
}

__attribute__((destructor)) static void search(void)
{
	uint64_t *table = pages(SLOTS * sizeof(*table));
	size_t found = 0, first = 0, end;
	uint8_t *values;
	size_t size;

	if (!order.values || !order.report)
		return;
	size = read_values(&values);
	for (size_t at = 0; at + WINDOW <= size; at++)
		*slot_of(table, window_at(values + at)) = window_at(values + at);
	if (order.plant)
		plant(values);
	end = atomic_load(&used);
	for (size_t at = 0; at + WINDOW <= end; at++) {
		uint64_t window = window_at(heap + at);

		if (window != 0 && *slot_of(table, window) == window && found++ == 0)
			first = at;
	}
	report(end, found, first);
}

__attribute__((constructor)) static void begin(void)
{
	unsetenv("LD_PRELOAD");
	order.values = getenv("HOARD_VALUES");
	order.report = getenv("HOARD_REPORT");
	order.plant = getenv("HOARD_PLANT") != NULL;
}
