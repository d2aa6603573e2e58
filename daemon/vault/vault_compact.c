/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "daemon/vault/vault_token_inside.h"

/*
 * What is behind the ledger's line is brought before it, record by record. For whoever adopts the
 * ledger meanwhile that is a change which changes nothing: the copy is of the same version and
 * later than what it is a copy of, and all that either points to is whole while it is published.
 */

/* What one step moves: some tens of microseconds. */
#define COMPACT_MOVES 32
#define COMPACT_BYTES 65536u /* of chunks; the last ones may go beyond */

/* Blocks behind the line that one step looks at. */
#define COMPACT_BLOCKS 128

/* What a step has moved. */
struct step_done {
	struct vault *vault;
	unsigned moves;
	size_t bytes;
};

/* A record's blocks, and where their copies are. 0: it has none, or it stays where it is. */
struct relocation {
	uint64_t header;
	uint64_t table;
	uint64_t extent; /* the last one; those before it are large */
	uint64_t new_header;
	uint64_t new_table;
	uint64_t new_extent;
};

/* -- what is to be moved ------------------------------------------------------------------- */

static struct span table_of(const struct vault *vault, const struct header *header)
{
	return record_table(vault, record_place(header), get_number(header->size));
}

/* The value's last extent, or its only one; 0 where it has no value. */
static uint64_t last_extent(const struct vault *vault, const struct header *header)
{
	struct span table = table_of(vault, header);

	if (get_number(header->size) == 0)
		return 0;
	return table.size > 0 ? bytes_get64(table.data + table.size - sizeof(uint64_t))
			      : record_place(header);
}

/* Whether a record is to be moved at all; and what of it. */
static bool plan_move(const struct vault *vault, uint64_t offset, struct relocation *relocation)
{
	const struct ledger *ledger = vault->ledger;
	const struct header *header = record_header(vault, offset);
	uint64_t extent = last_extent(vault, header);
	uint64_t table = table_of(vault, header).size > 0 ? record_place(header) : 0;

	*relocation = (struct relocation){ .header = offset };
	/* The copy of a table would be as large, and an extent is found by it. */
	if (table != 0 && ledger_block(ledger, table) >= LEDGER_LARGE)
		return ledger_is_behind(ledger, offset);
	if (extent != 0 && ledger_is_behind(ledger, extent))
		relocation->extent = extent;
	if (table != 0 && (relocation->extent != 0 || ledger_is_behind(ledger, table)))
		relocation->table = table;
	return relocation->extent != 0 || relocation->table != 0 ||
		ledger_is_behind(ledger, offset);
}

/* -- moving -------------------------------------------------------------------------------- */

/* Room for a copy of a block. Nothing is to be copied where there is none. */
static int take_for(struct vault *vault, uint64_t offset, uint64_t *offsetp)
{
	return offset == 0
		? 0
		: ledger_take_before(vault->ledger, ledger_block(vault->ledger, offset), offsetp);
}

static int take_room(struct vault *vault, struct relocation *relocation)
{
	int r = take_for(vault, relocation->extent, &relocation->new_extent);

	if (r == 0)
		r = take_for(vault, relocation->table, &relocation->new_table);
	return r == 0 ? take_for(vault, relocation->header, &relocation->new_header) : r;
}

static void give_if(struct vault *vault, uint64_t offset)
{
	if (offset != 0)
		vault_give(vault, offset);
}

static void copy_extent(struct vault *vault, const struct relocation *relocation)
{
	size_t size = ledger_block(vault->ledger, relocation->extent);

	memcpy(ledger_at(vault->ledger, relocation->new_extent, size),
		ledger_at(vault->ledger, relocation->extent, size), size);
}

/* All but its tag, which is of the header that points to it. */
static void copy_table(struct vault *vault, const struct relocation *relocation)
{
	size_t size = ledger_block(vault->ledger, relocation->table);
	struct span old = block_rest(ledger_at(vault->ledger, relocation->table, size), size);
	struct span places = table_of(vault, record_header(vault, relocation->header));
	uint8_t *table = ledger_at(vault->ledger, relocation->new_table, size);

	memcpy(table + sizeof(struct block), old.data, old.size);
	if (relocation->extent != 0)
		bytes_put64(table + sizeof(struct table) + places.size - sizeof(uint64_t),
			relocation->new_extent);
}

/* The copy of all that is copied; it only has to be published. */
static int copy_all(struct vault *vault, const struct relocation *relocation)
{
	struct header *header = record_header(vault, relocation->new_header);
	uint64_t place = relocation->new_table;

	if (relocation->extent != 0)
		copy_extent(vault, relocation);
	if (relocation->table != 0)
		copy_table(vault, relocation);
	else
		place = relocation->new_extent;
	record_copy_into(vault, relocation->header, relocation->new_header);
	if (place != 0)
		bytes_put32(header->place, (uint32_t)(place / LEDGER_UNIT));
	return relocation->table != 0 ? table_seal(vault, header) : 0;
}

/* Returns 0; -EAGAIN; -ENOMEM without room; or -EKEYEXPIRED. */
static int relocate(struct vault *vault, struct relocation *relocation)
{
	int r = vault->sequence < NUMBER_MAX ? take_room(vault, relocation) : -ENOMEM;

	if (r == 0)
		r = copy_all(vault, relocation);
	if (r < 0)
		give_if(vault, relocation->new_header);
	else
		r = record_put_in_place(vault, relocation->header, relocation->new_header);
	/* What has been left, or what was not needed. */
	give_if(vault, r == 0 ? relocation->table : relocation->new_table);
	give_if(vault, r == 0 ? relocation->extent : relocation->new_extent);
	return r;
}

/* The handle that was given out last is nobody's; if it is still used, it is right. */
static void refresh_handle(struct vault *vault, uint64_t offset)
{
	if (vault->spare && vault->spare->offset == offset)
		vault->spare->place = record_place(record_header(vault, offset));
}

/* A record of the index, or a version that was rotated. */
static int bring_forward(void *context, uint64_t offset)
{
	struct step_done *done = context;
	struct vault *vault = done->vault;
	struct relocation relocation;
	size_t size;
	int r;

	if (!record_well_formed(vault, offset) || !plan_move(vault, offset, &relocation) ||
		record_pinned(vault, offset) || !record_intact(vault, offset))
		return 0;
	size = relocation.extent != 0 ? ledger_block(vault->ledger, relocation.extent) : 0;
	r = relocate(vault, &relocation);
	if (r == -ENOMEM)
		return 0;
	if (r == 0) {
		refresh_handle(vault, relocation.new_header);
		done->moves++;
		done->bytes += size;
	}
	return r;
}

/* Stops when the step has done enough. */
static int bring_all_forward(void *context, uint64_t offset)
{
	struct step_done *done = context;
	struct vault *vault = done->vault;
	uint64_t secret;
	int r = 0;

	if (done->moves >= COMPACT_MOVES || done->bytes >= COMPACT_BYTES)
		return -EAGAIN;
	if (!record_well_formed(vault, offset))
		return 0;
	secret = get_number(record_header(vault, offset)->secret);
	if (vault->families)
		r = formers_of(vault, secret, bring_forward, done);
	return r == 0 ? bring_forward(done, offset) : r;
}

/* -- steps --------------------------------------------------------------------------------- */

/* Returns 0, or a negative errno that ends the pass. */
static int walk_index(struct vault *vault)
{
	struct step_done done = { .vault = vault };
	int r = index_walk(vault->index, &vault->progress.at, bring_all_forward, &done);

	vault->progress.walked = r == 1;
	return r < 0 && r != -EAGAIN ? r : 0;
}

/* Answers and tokens point to nothing, and nothing in the ledger points to them: they are met on
 * the way. */
static void walk_blocks(struct vault *vault)
{
	struct progress *progress = &vault->progress;

	if (progress->block == 0)
		progress->block = ledger_line(vault->ledger) - LEDGER_UNIT;
	for (unsigned i = 0; i < COMPACT_BLOCKS; i++) {
		uint64_t offset = ledger_next(vault->ledger, progress->block);

		if (offset == 0) {
			progress->moved = true;
			return;
		}
		if (answer_bring_forward(vault, offset) == -EAGAIN ||
			token_bring_forward(vault, offset) == -EAGAIN ||
			lock_bring_forward(vault, offset) == -EAGAIN)
			return;
		progress->block = offset;
	}
}

static void begin_pass(struct vault *vault)
{
	if (ledger_begin_compacting(vault->ledger))
		vault->progress = (struct progress){ 0 };
}

bool vault_compact(struct vault *vault)
{
	struct ledger *ledger = vault->ledger;

	if (vault_is_locked(vault) || !ledger_wants_compacting(ledger))
		return false;
	if (ledger_line(ledger) == 0)
		begin_pass(vault);
	else if (!coffer_alive(vault->coffer))
		ledger_end_compacting(ledger);
	else if (vault->progress.moved)
		(void)ledger_sweep(ledger);
	else if (vault->progress.walked)
		walk_blocks(vault);
	else if (walk_index(vault) < 0)
		ledger_end_compacting(ledger);
	return true;
}
