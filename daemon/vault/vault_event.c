/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_event.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/status.h"
#include "daemon/vault/vault_adopt_inside.h"

/*
 * The block that the ring lies in. Its tag says that it is one; each event in it has a hash of its
 * own, which only tells what was overwritten. So a purge has one tag to renew.
 */
struct event_ring {
	struct block block;
	uint8_t key[crypto_shorthash_KEYBYTES];
	uint8_t base[sizeof(uint64_t)];
	uint8_t cells[sizeof(uint32_t)];
	uint8_t reserved[18];
};

_Static_assert(sizeof(struct event_ring) == EVENT_CELL, "the cells are aligned");

/* How an event begins in its first cell; the name follows, through as many cells as it takes. */
struct event_entry {
	uint8_t check[crypto_shorthash_BYTES]; /* of all from `kind` on */
	uint8_t made; /* it counts; else it is known by its cause whether it does */
	uint8_t kind;
	uint8_t takes_out;
	uint8_t name_size[sizeof(uint16_t)];
	uint8_t turn[sizeof(uint32_t)]; /* so often the ring was full before */
	uint8_t number[sizeof(uint64_t)];
	uint8_t version[NUMBER_SIZE];
	uint8_t by[NUMBER_SIZE];
};

#define CHECKED_FROM offsetof(struct event_entry, kind)
#define ENTRY_MAX (sizeof(struct event_entry) + NAME_FILED_MAX)
#define CELLS_MAX ((ENTRY_MAX + EVENT_CELL - 1) / EVENT_CELL)

_Static_assert(sizeof(struct event_entry) == 37, "an entry has no holes");
_Static_assert(
	sizeof(struct event_ring) + EVENT_CELL * VAULT_EVENTS <= LEDGER_BLOCK_MAX, "it is a block");

/* An entry that was copied out of the ring, and its name. */
struct event_copy {
	struct event_entry entry;
	uint8_t name[NAME_FILED_MAX];
};

/* -- cells --------------------------------------------------------------------------------- */

static struct event_ring *event_ring_at(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct event_ring));
}

/* Bytes of the block. */
static uint64_t ring_size(uint64_t cells)
{
	return sizeof(struct event_ring) + cells * EVENT_CELL;
}

static uint64_t cells_of(size_t name_size)
{
	return (sizeof(struct event_entry) + name_size + EVENT_CELL - 1) / EVENT_CELL;
}

/* Bytes into the ring at which a cell begins. */
static uint64_t place_of(const struct events *events, uint64_t cell)
{
	return (cell - 1) % events->cells * EVENT_CELL;
}

static uint32_t turn_of(const struct events *events, uint64_t cell)
{
	return (uint32_t)((cell - 1) / events->cells);
}

static uint8_t *cells_at(const struct vault *vault)
{
	const struct events *events = &vault->events;

	return (uint8_t *)ledger_at(vault->ledger, events->ring, ring_size(events->cells)) +
		sizeof(struct event_ring);
}

static struct event_entry *event_entry_at(const struct vault *vault, uint64_t cell)
{
	return (struct event_entry *)(void *)(cells_at(vault) + place_of(&vault->events, cell));
}

/* What goes on behind the last cell goes on in the first. */
static size_t until_the_end(const struct events *events, uint64_t cell, size_t size)
{
	uint64_t left = events->cells * EVENT_CELL - place_of(events, cell);

	return size < left ? size : (size_t)left;
}

static void copy_in(struct vault *vault, uint64_t cell, const uint8_t *bytes, size_t size)
{
	size_t part = until_the_end(&vault->events, cell, size);
	uint8_t *cells = cells_at(vault);

	memcpy(cells + place_of(&vault->events, cell), bytes, part);
	if (size > part)
		memcpy(cells, bytes + part, size - part);
}

static void copy_out(const struct vault *vault, uint64_t cell, uint8_t *bytes, size_t size)
{
	size_t part = until_the_end(&vault->events, cell, size);
	const uint8_t *cells = cells_at(vault);

	memcpy(bytes, cells + place_of(&vault->events, cell), part);
	if (size > part)
		memcpy(bytes + part, cells, size - part);
}

static void check_of(const struct events *events, const struct event_copy *copy,
	uint8_t check[static crypto_shorthash_BYTES])
{
	size_t size = sizeof(copy->entry) + bytes_get16(copy->entry.name_size);

	crypto_shorthash(
		check, (const uint8_t *)copy + CHECKED_FROM, size - CHECKED_FROM, events->key);
}

/* Whether a cell may be the first of an event, and of this turn; most are not by the first look. */
static bool looks_like_entry(const struct event_entry *entry)
{
	return entry->kind > EVENT_NONE && entry->kind <= EVENT_LOST &&
		bytes_get16(entry->name_size) <= NAME_FILED_MAX;
}

/* Copies the event that begins in a cell. Returns how many cells it takes, 0: none begins there. */
static uint64_t read_entry(const struct vault *vault, uint64_t cell, struct event_copy *copy)
{
	const struct event_entry *entry = event_entry_at(vault, cell);
	uint8_t check[crypto_shorthash_BYTES];
	size_t size = bytes_get16(entry->name_size);

	if (cell == 0 || !looks_like_entry(entry) ||
		bytes_get32(entry->turn) != turn_of(&vault->events, cell))
		return 0;
	copy_out(vault, cell, (uint8_t *)copy, sizeof(*entry) + size);
	check_of(&vault->events, copy, check);
	if (memcmp(check, copy->entry.check, sizeof(check)) != 0)
		return 0;
	return cells_of(size);
}

/* -- the ring ------------------------------------------------------------------------------ */

static uint64_t now_us(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0 || now.tv_sec < 0)
		return 0;
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t next_number(struct events *events)
{
	uint64_t now = now_us();

	events->number = now > events->number ? now : events->number + 1;
	return events->number;
}

static int ring_tag(const struct vault *vault, const struct event_ring *ring,
	uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(ring, sizeof(*ring));

	return vault_tag(vault, BLOCK_EVENTS, &rest, 1, tag);
}

/* Behind all that was given away by whoever was here before, unless the clock was set back. */
int events_make(struct vault *vault, uint64_t cells)
{
	struct events events = { .cells = cells };
	struct event_ring *ring;
	int r;

	if (vault->events.ring != 0)
		return 0;
	if (ledger_take(vault->ledger, ring_size(cells), &events.ring) < 0)
		return STATUS_LIMIT;
	events.number = vault->events.number;
	events.base = next_number(&events);
	crypto_shorthash_keygen(events.key);
	ring = event_ring_at(vault, events.ring);
	*ring = (struct event_ring){ 0 };
	memcpy(ring->key, events.key, sizeof(ring->key));
	bytes_put64(ring->base, events.base);
	bytes_put32(ring->cells, (uint32_t)cells);
	r = ring_tag(vault, ring, ring->block.tag);
	if (r < 0) {
		vault_give(vault, events.ring);
		return r;
	}
	block_set_kind(ring, BLOCK_EVENTS);
	vault->events = events;
	vault->held += ring_size(cells);
	return 0;
}

int vault_remember_events(struct vault *vault)
{
	return events_make(vault, VAULT_EVENTS);
}

/* -- writing ------------------------------------------------------------------------------- */

void event_write(struct vault *vault, enum event_kind kind, struct span name, uint64_t version,
	struct event_cause cause)
{
	struct events *events = &vault->events;
	struct event_copy copy;
	uint64_t cell = events->written + 1;

	if (events->ring == 0 || events->doubt_count == EVENT_DOUBTS)
		return;
	copy.entry = (struct event_entry){ .kind = (uint8_t)kind, .takes_out = cause.takes_out };
	bytes_put16(copy.entry.name_size, (uint16_t)name.size);
	bytes_put32(copy.entry.turn, turn_of(events, cell));
	bytes_put64(copy.entry.number, next_number(events));
	put_number(copy.entry.version, version);
	put_number(copy.entry.by, cause.by);
	if (name.size > 0)
		memcpy(copy.name, name.data, name.size);
	check_of(events, &copy, copy.entry.check);
	copy_in(vault, cell, (const uint8_t *)&copy, sizeof(copy.entry) + name.size);
	events->doubts[events->doubt_count++] = cell;
	events->written += cells_of(name.size);
}

bool event_write_end(struct vault *vault, enum event_kind kind, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);

	if (kind == EVENT_NONE || header->flags & (RECORD_CONSUMED | RECORD_STREAM | RECORD_FORMER))
		return false;
	event_write(vault, kind, record_name(header), get_number(header->version),
		(struct event_cause){ get_number(header->sequence), .takes_out = true });
	return true;
}

static void set_made(struct event_entry *entry)
{
	atomic_store_explicit((_Atomic uint8_t *)&entry->made, 1, memory_order_release);
}

void events_count(struct vault *vault)
{
	struct events *events = &vault->events;

	for (size_t i = 0; i < events->doubt_count; i++)
		set_made(event_entry_at(vault, events->doubts[i]));
	events->doubt_count = 0;
	events->end = events->written;
}

/* The last one first: what is in front of it is found by it. */
void events_drop(struct vault *vault)
{
	struct events *events = &vault->events;

	for (; events->doubt_count > 0; events->doubt_count--)
		sodium_memzero(event_entry_at(vault, events->doubts[events->doubt_count - 1]),
			sizeof(struct event_entry));
	events->written = events->end;
}

void events_purge(struct vault *vault)
{
	struct event_ring *ring;
	uint8_t tag[BLOCK_TAG_SIZE];

	if (vault->events.ring == 0)
		return;
	ring = event_ring_at(vault, vault->events.ring);
	event_write(vault, EVENT_PURGE, span_of(NULL, 0), 0,
		(struct event_cause){ .by = vault->sequence });
	events_count(vault);
	if (ring_tag(vault, ring, tag) == 0)
		memcpy(ring->block.tag, tag, sizeof(tag));
}

/* -- reading ------------------------------------------------------------------------------- */

uint64_t vault_event_now(struct vault *vault)
{
	uint64_t now = now_us();

	if (now > vault->events.number)
		vault->events.number = now;
	return vault->events.number;
}

uint64_t vault_event_place(const struct vault *vault)
{
	return vault->events.end;
}

int vault_event_next(const struct vault *vault, uint64_t *placep, struct vault_event *event)
{
	struct event_copy copy;
	uint64_t cells;

	if (*placep >= vault->events.end)
		return 0;
	cells = read_entry(vault, *placep + 1, &copy);
	if (cells == 0 || copy.entry.kind == EVENT_LOST)
		return STATUS_GONE;
	*placep += cells;
	*event = (struct vault_event){ .kind = (enum event_kind)copy.entry.kind,
		.version = get_number(copy.entry.version),
		.number = bytes_get64(copy.entry.number),
		.name_size = bytes_get16(copy.entry.name_size) };
	memcpy(event->name, copy.name, event->name_size);
	return 1;
}

/* The oldest event that is whole; 0: none is. */
static uint64_t find_oldest(const struct vault *vault, struct event_copy *copy)
{
	const struct events *events = &vault->events;
	uint64_t first = events->written < events->cells ? 1 : events->written - events->cells + 1;

	for (uint64_t cell = first; cell < first + CELLS_MAX && cell <= events->end; cell++)
		if (read_entry(vault, cell, copy) > 0)
			return cell;
	return 0;
}

/* Where the event begins that a cell is part of, at `least` or behind it; 0: nowhere. */
static uint64_t find_first_cell(
	const struct vault *vault, uint64_t cell, uint64_t least, struct event_copy *copy)
{
	for (size_t i = 0; i < CELLS_MAX && cell >= least; i++, cell--)
		if (read_entry(vault, cell, copy) > 0)
			return cell;
	return 0;
}

/* Halves what lies between an event that counts as old and the end. */
static bool search(const struct vault *vault, uint64_t number, uint64_t oldest, uint64_t cells,
	uint64_t *placep)
{
	uint64_t low = oldest + cells; /* behind what is not after the number */
	uint64_t high = vault->events.end + 1;
	struct event_copy copy;

	while (low < high) {
		uint64_t cell = find_first_cell(vault, low + (high - low) / 2, low, &copy);

		if (cell == 0)
			return false;
		if (bytes_get64(copy.entry.number) <= number)
			low = cell + cells_of(bytes_get16(copy.entry.name_size));
		else
			high = cell;
	}
	*placep = low - 1;
	return true;
}

bool vault_event_find(struct vault *vault, uint64_t number, uint64_t *placep)
{
	const struct events *events = &vault->events;
	struct event_copy copy;
	uint64_t oldest = find_oldest(vault, &copy);
	uint64_t first = oldest > 0 ? bytes_get64(copy.entry.number) : 0;

	if (number > vault_event_now(vault) || number < events->base)
		return false;
	*placep = 0;
	if (events->end == 0)
		return true;
	if (oldest == 0 || (oldest > 1 && number < first))
		return false;
	if (number < first)
		return true;
	return search(vault, number, oldest, cells_of(bytes_get16(copy.entry.name_size)), placep);
}

/* -- adopting it --------------------------------------------------------------------------- */

bool events_adoptable(const struct vault *vault, uint64_t offset, uint64_t *sizep)
{
	size_t block = ledger_block(vault->ledger, offset);
	const struct event_ring *ring;
	uint8_t tag[BLOCK_TAG_SIZE];

	if (block < sizeof(*ring))
		return false;
	ring = event_ring_at(vault, offset);
	*sizep = ring_size(bytes_get32(ring->cells));
	return *sizep > sizeof(*ring) && *sizep <= block && ring_tag(vault, ring, tag) == 0 &&
		sodium_memcmp(tag, ring->block.tag, sizeof(tag)) == 0;
}

/*
 * The last cell before `before` that may be an event's first. Only what was written is looked at:
 * of the last cell before a hole that may be less than all.
 */
static uint64_t find_likely(const struct vault *vault, uint64_t before)
{
	const struct events *events = &vault->events;
	uint64_t start = events->ring + sizeof(struct event_ring);
	uint64_t stop = start + events->cells * EVENT_CELL;
	uint64_t begin = 0;
	uint64_t end = start;
	uint64_t best = 0;

	while (end < stop && ledger_written(vault->ledger, end, &begin, &end)) {
		uint64_t i = begin <= start ? 0 : (begin - start + EVENT_CELL - 1) / EVENT_CELL;

		for (; i < events->cells &&
			start + i * EVENT_CELL + sizeof(struct event_entry) <= end;
			i++) {
			const struct event_entry *entry = event_entry_at(vault, i + 1);
			uint64_t cell = bytes_get32(entry->turn) * events->cells + i + 1;

			if (looks_like_entry(entry) && cell > best && cell < before)
				best = cell;
		}
	}
	return best;
}

/* Few are none that look like one: what was half written, or overwritten. */
#define TRIES 64

/* The last event before a cell; 0: there is none. */
static uint64_t find_last(const struct vault *vault, uint64_t before, struct event_copy *copy)
{
	for (unsigned i = 0; i < TRIES && before > 0; i++) {
		before = find_likely(vault, before);
		if (before > 0 && read_entry(vault, before, copy) > 0)
			return before;
	}
	return 0;
}

/* Whether the change was made: the process ended before it could say so. */
static bool event_was_made(
	const struct vault *vault, const struct event_entry *entry, uint64_t highest)
{
	uint64_t by = get_number(entry->by);

	if (entry->made)
		return true;
	return entry->takes_out ? !vault_has_sequence(vault, by) : by <= highest;
}

/* What was not made is at the end, and of one change. */
static void look_at_end(struct vault *vault, uint64_t highest)
{
	struct events *events = &vault->events;
	struct event_copy copy = { 0 };
	uint64_t cell = find_last(vault, UINT64_MAX, &copy);
	struct event_entry last = copy.entry;

	if (cell == 0)
		return;
	events->written = cell + cells_of(bytes_get16(last.name_size)) - 1;
	events->end = events->written;
	events->number = bytes_get64(last.number);
	events->last = cell;
	if (event_was_made(vault, &last, highest))
		return;
	do {
		events->doubts[events->doubt_count++] = cell;
		events->end = cell - 1;
		cell = find_last(vault, cell, &copy);
	} while (cell > 0 && events->doubt_count < EVENT_DOUBTS && !copy.entry.made &&
		copy.entry.takes_out == last.takes_out &&
		memcmp(copy.entry.by, last.by, NUMBER_SIZE) == 0);
}

void events_adopt(struct vault *vault, uint64_t offset, uint64_t highest)
{
	struct events *events = &vault->events;
	const struct event_ring *ring;
	uint64_t size;

	if (offset == 0 || !events_adoptable(vault, offset, &size) ||
		ledger_claim(vault->ledger, offset, size) < 0)
		return;
	ring = event_ring_at(vault, offset);
	*events = (struct events){
		.ring = offset, .cells = bytes_get32(ring->cells), .base = bytes_get64(ring->base)
	};
	events->number = events->base;
	memcpy(events->key, ring->key, sizeof(events->key));
	look_at_end(vault, highest);
}

void events_settle(struct vault *vault, bool lost)
{
	struct events *events = &vault->events;

	if (events->ring == 0)
		return;
	vault->held += ring_size(events->cells);
	if (events->doubt_count == 0 && events->last > 0)
		set_made(event_entry_at(vault, events->last));
	/* They stand in the order in which they were found: the last one is wiped first. */
	for (size_t i = 0; i < events->doubt_count; i++)
		sodium_memzero(
			event_entry_at(vault, events->doubts[i]), sizeof(struct event_entry));
	events->doubt_count = 0;
	events->written = events->end;
	if (!lost)
		return;
	event_write(vault, EVENT_LOST, span_of(NULL, 0), 0, (struct event_cause){ 0 });
	events_count(vault);
}
