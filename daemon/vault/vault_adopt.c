/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/vault/vault_adopt_inside.h"
#include "daemon/vault/vault_quota.h"
#include "daemon/vault/vault_token_inside.h"

/*
 * What another process has left in the ledger becomes ours. The bytes are gone through once for
 * blocks of a kind, whose tags say whether they are to be believed; of two records of one name the
 * later one counts. What they lead to is claimed, and everything else is wiped: what was being
 * written, what was being taken back.
 */

int offsets_add(struct offsets *offsets, uint64_t offset)
{
	size_t capacity = offsets->capacity * 2 + 16;
	uint64_t *at;

	if (offsets->count == offsets->capacity) {
		at = reallocarray(offsets->at, capacity, sizeof(*at));
		if (!at)
			return -ENOMEM;
		offsets->at = at;
		offsets->capacity = capacity;
	}
	offsets->at[offsets->count++] = offset;
	return 0;
}

static void finish(struct adoption *adoption)
{
	free(adoption->records.at);
	free(adoption->formers.at);
	for (unsigned loss = 0; loss < LOSS_COUNT; loss++)
		free(adoption->suspects[loss].at);
	free(adoption->pieces.at);
	free(adoption->older.at);
	free(adoption->over.at);
	free(adoption->broken.at);
	free(adoption->astray.at);
	free(adoption->tombstones.at);
	free(adoption->segments.at);
	free(adoption->chunks.at);
	free(adoption->answers.at);
	free(adoption->tokens.at);
	free(adoption->commits.at);
	free(adoption->staged.at);
}

/* -- which of two counts ------------------------------------------------------------------- */

/* One that is still to be published follows whatever there is. */
static bool is_later(const struct vault *vault, uint64_t there, uint64_t more)
{
	if (record_staged(vault, there) != record_staged(vault, more))
		return record_staged(vault, more);
	return sequence_at(vault, there) < sequence_at(vault, more);
}

/* Of two records of a name the later one counts. */
static uint64_t choose_later(void *context, uint64_t there, uint64_t more)
{
	struct adoption *adoption = context;
	bool later = is_later(adoption->vault, there, more);

	if (offsets_add(&adoption->older, later ? there : more) < 0)
		adoption->failed = -ENOMEM;
	return later ? more : there;
}

/* Whether two records are of one version of a secret: it was given another name. */
static bool are_same(const struct header *a, const struct header *b)
{
	return get_number(a->secret) == get_number(b->secret) &&
		get_number(a->version) == get_number(b->version);
}

/* Whether its name leads to a record that is adopted. */
static bool is_indexed(const struct vault *vault, uint64_t offset)
{
	uint64_t suspect;

	return index_find(vault->index, record_name(record_header(vault, offset)), &suspect) ==
		offset;
}

static void take_off_index(struct vault *vault, uint64_t offset)
{
	if (is_indexed(vault, offset))
		index_remove(vault->index, record_name(record_header(vault, offset)), offset);
}

/*
 * Where the secret still is that has another name since the last change of all; 0: nowhere. Of a
 * copy under the same name one counts already.
 */
static uint64_t find_left_behind(const struct adoption *adoption, uint64_t moved)
{
	const struct vault *vault = adoption->vault;
	const struct offsets *records = &adoption->records;
	const struct header *header = record_header(vault, moved);

	for (size_t i = 0; i < records->count; i++) {
		const struct header *other = record_header(vault, records->at[i]);

		if (are_same(other, header) &&
			!span_equal(record_name(other), record_name(header)) &&
			is_indexed(vault, records->at[i]))
			return records->at[i];
	}
	return 0;
}

/* A secret that was just given another name counts under that one alone. */
static int leave_old_name(struct adoption *adoption)
{
	struct vault *vault = adoption->vault;
	uint64_t last = adoption->last;
	uint64_t behind = 0;

	if (last != 0 && record_header(vault, last)->flags & RECORD_MOVED)
		behind = find_left_behind(adoption, last);
	if (behind == 0)
		return 0;
	take_off_index(vault, behind);
	return offsets_add(&adoption->older, behind);
}

static int index_records(struct adoption *adoption)
{
	const struct offsets *records = &adoption->records;
	int r = index_fill(
		adoption->vault->index, records->at, records->count, choose_later, adoption);

	if (r == 0)
		r = adoption->failed;
	return r == 0 ? leave_old_name(adoption) : r;
}

/* -- what was committed -------------------------------------------------------------------- */

/*
 * What a commit lists. What is staged is a record; what is none any more has been published, or its
 * life was over, and something else may be there by now.
 */
static int look_at_listed(void *context, uint64_t offset, uint64_t sequence)
{
	struct adoption *adoption = context;
	struct vault *vault = adoption->vault;
	enum block_kind kind;

	if (ledger_block(vault->ledger, offset) < sizeof(struct header))
		return 0;
	kind = block_kind(record_header(vault, offset));
	if (!block_kind_almost(kind, BLOCK_STAGED))
		return 0;
	adoption->looked++;
	adoption_rest(adoption);
	if (!record_proved(vault, offset))
		return kind == BLOCK_STAGED ? adoption_suspect(adoption, LOSS_SECRET, offset) : 0;
	/* It was listed once more since, or is another batch's. */
	if (sequence_at(vault, offset) != sequence)
		return 0;
	if (kind != BLOCK_STAGED)
		return adoption_suspect(adoption, LOSS_SECRET, offset);
	if (offsets_add(&adoption->staged, offset) < 0)
		return -ENOMEM;
	return adoption_add_record(adoption, offset);
}

/* The list of records stays in the order in which they lie. */
static int find_staged(struct adoption *adoption)
{
	const struct offsets *commits = &adoption->commits;
	int r = 0;

	for (size_t i = 0; i < commits->count && r == 0; i++)
		r = commit_each(adoption->vault, commits->at[i], look_at_listed, adoption);
	coffer_forget(adoption->vault->coffer);
	if (adoption->staged.count > 0)
		offsets_sort(&adoption->records);
	return r;
}

/* -- claiming ------------------------------------------------------------------------------ */

static int claim_extents(struct vault *vault, const struct header *header)
{
	uint64_t size = get_number(header->size);
	struct span table = record_table(vault, record_place(header), size);
	uint64_t place = record_place(header);
	int r;

	if (size == 0)
		return 0;
	if (extents_in(chunks_in(size)) == 1)
		return ledger_claim(vault->ledger, place, extent_size(size, 0));
	if (table.size == 0)
		return -EINVAL;
	r = ledger_claim(vault->ledger, place, sizeof(struct table) + table.size);
	for (uint64_t i = 0; i < table.size / sizeof(uint64_t) && r == 0; i++)
		r = ledger_claim(vault->ledger, bytes_get64(table.data + i * sizeof(uint64_t)),
			extent_size(size, i));
	return r;
}

/* Into the list of those that need more than their blocks, if it is one. */
static int sort_in(struct adoption *adoption, uint64_t offset)
{
	const struct header *header = record_header(adoption->vault, offset);

	if (quota_reserve(adoption->vault, bytes_get32(header->owner)) < 0)
		return -ENOMEM;
	quota_take(adoption->vault, offset);
	if (header->flags & RECORD_SESSION)
		return offsets_add(&adoption->over, offset);
	if (header->flags & RECORD_CONSUMED)
		return offsets_add(&adoption->tombstones, offset);
	if (header->flags & RECORD_STREAM)
		return stream_adopt(adoption->vault, offset);
	return lifetime_adopt(adoption->vault, offset);
}

/* It lies in what another record has a better right to: nothing is to lead there. */
static int leave_astray(struct adoption *adoption, uint64_t offset)
{
	take_off_index(adoption->vault, offset);
	return offsets_add(&adoption->astray, offset);
}

static int claim_record(struct adoption *adoption, uint64_t offset)
{
	struct vault *vault = adoption->vault;
	const struct header *header = record_header(vault, offset);

	if (ledger_claim(vault->ledger, offset, record_block_size(header)) < 0)
		return leave_astray(adoption, offset);
	if (claim_extents(vault, header) < 0)
		return offsets_add(&adoption->broken, offset);
	return sort_in(adoption, offset);
}

/* In the order in which they lie, which costs far less than that of the index. */
static int claim_records(struct adoption *adoption)
{
	struct offsets *older = &adoption->older;
	size_t passed = 0;
	int r = 0;

	offsets_sort(older);
	for (size_t i = 0; i < adoption->records.count && r == 0; i++) {
		uint64_t offset = adoption->records.at[i];

		if (passed < older->count && older->at[passed] == offset)
			passed++;
		else
			r = claim_record(adoption, offset);
	}
	return r;
}

static int claim_former(void *context, uint64_t offset)
{
	return claim_record(context, offset);
}

/* Those that are surplus are wiped as older records are. */
static int adopt_formers(struct adoption *adoption)
{
	struct vault *vault = adoption->vault;
	int r = formers_adopt(vault, &adoption->formers, &adoption->records, &adoption->older);
	size_t i = adoption->astray.count;

	if (r == 0)
		r = formers_each(vault, claim_former, adoption);
	for (; i < adoption->astray.count && r == 0; i++)
		former_drop(vault, adoption->astray.at[i]);
	return r;
}

/* -- the end ------------------------------------------------------------------------------- */

/*
 * Before what is older is wiped: half wiped it would be taken for what is not what was written. It
 * ends while what follows it is still staged, and the commit ends last.
 */
static void set_kinds(struct vault *vault, const struct offsets *offsets, enum block_kind kind)
{
	for (size_t i = 0; i < offsets->count; i++)
		block_set_kind(
			ledger_at(vault->ledger, offsets->at[i], sizeof(struct block)), kind);
}

/* The same of what is right, and nobody's any more. */
static void leave_unclaimed(struct vault *vault, const struct offsets *offsets)
{
	for (size_t i = 0; i < offsets->count; i++)
		if (!ledger_is_claimed(vault->ledger, offsets->at[i]))
			block_set_kind(
				ledger_at(vault->ledger, offsets->at[i], sizeof(struct block)),
				BLOCK_NOTHING);
}

/* Formers come last in a list and go first; with a secret go all of its formers. */
static void take_out(
	struct vault *vault, const struct offsets *offsets, bool intact, enum event_kind kind)
{
	for (size_t i = offsets->count; i > 0; i--)
		if (record_well_formed(vault, offsets->at[i - 1]))
			vault_take_out(vault, offsets->at[i - 1], intact, kind);
}

static const struct vault *sorted_vault;

static int by_sequence(const void *a, const void *b)
{
	uint64_t x = sequence_at(sorted_vault, *(const uint64_t *)a);
	uint64_t y = sequence_at(sorted_vault, *(const uint64_t *)b);

	return (x > y) - (x < y);
}

static int adopt_tombstones(struct adoption *adoption)
{
	struct offsets *tombstones = &adoption->tombstones;
	int r = 0;

	sorted_vault = adoption->vault;
	if (tombstones->count > 1)
		qsort(tombstones->at, tombstones->count, sizeof(*tombstones->at), by_sequence);
	for (size_t i = 0; i < tombstones->count && r == 0; i++)
		r = tombstone_adopt(adoption->vault, tombstones->at[i]);
	return r;
}

/*
 * Whether names lead elsewhere now, and nothing was told of it: what was lost, and what is
 * published here of a batch.
 */
static bool names_have_changed(const struct adoption *adoption)
{
	return adoption->staged.count > 0 || adoption->vault->lost[LOSS_SECRET] > 0;
}

static int adopt(struct adoption *adoption, struct coffer_notes *notes)
{
	struct vault *vault = adoption->vault;
	int r = adoption_find_blocks(adoption);

	if (r == 0)
		r = find_staged(adoption);
	if (r == 0)
		r = index_records(adoption);
	if (r == 0)
		r = claim_records(adoption);
	if (r == 0)
		r = adopt_formers(adoption);
	if (r == 0)
		r = streams_adopt(vault, &adoption->segments, &adoption->chunks);
	if (r == 0)
		r = answers_adopt(vault, &adoption->answers, adoption->highest);
	if (r == 0)
		r = tokens_adopt(vault, &adoption->tokens);
	if (r == 0)
		r = adopt_tombstones(adoption);
	if (r == 0)
		events_adopt(vault, adoption->events, adoption->highest);
	if (r == 0)
		r = ledger_let_write(vault->ledger);
	/* Up to here nothing is changed, from here on nothing fails. */
	if (r < 0)
		return r;
	adoption_count_losses(adoption);
	events_settle(vault, names_have_changed(adoption));
	leave_unclaimed(vault, &adoption->segments);
	leave_unclaimed(vault, &adoption->chunks);
	leave_unclaimed(vault, &adoption->tokens);
	set_kinds(vault, &adoption->older, BLOCK_NOTHING);
	set_kinds(vault, &adoption->staged, BLOCK_RECORD);
	/* The commit's number is given away, whether anything else shows it or not. */
	vault->sequence = adoption->highest;
	atomic_store(&notes->number, vault->sequence);
	set_kinds(vault, &adoption->commits, BLOCK_NOTHING);
	ledger_settle(vault->ledger);
	take_out(vault, &adoption->broken, false, EVENT_NONE);
	take_out(vault, &adoption->over, true, EVENT_EXPIRE);
	streams_settle(vault);
	tombstones_settle(vault);
	/* What was broken was counted for nobody. */
	vault->doubtful = false;
	return 0;
}

int vault_adopt(struct vault *vault)
{
	struct coffer_notes *notes = coffer_notes(vault->coffer);
	struct adoption adoption = { .vault = vault };
	int r;

	if (!notes)
		return -EKEYEXPIRED;
	adoption.given = adoption.highest = atomic_load(&notes->number);
	r = adopt(&adoption, notes);
	finish(&adoption);
	coffer_forget(vault->coffer);
	if (r < 0)
		return r;
	/* Whatever a purge had not wiped yet is not a loss. */
	if (atomic_exchange(&notes->purging, 0))
		memset(vault->lost, 0, sizeof(vault->lost));
	return 0;
}
