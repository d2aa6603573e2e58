/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_adopt_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The bytes of a ledger are gone through once for blocks. What claims to be one and is not what was
 * written is remembered: whether it was one shows when it is known what is where.
 */

/* Blocks whose tags are looked at under one view of the masters: less than its 2 ms. */
#define VIEW_BLOCKS 512

/* Of each kind that are not what was written, remembered until it is known what they lie in. */
#define SUSPECTS_MAX 65536

/* The same of pieces of streams: each may have to be held against all streams there are. */
#define PIECES_MAX 4096

/* -- finding ------------------------------------------------------------------------------- */

int adoption_add_record(struct adoption *adoption, uint64_t offset)
{
	uint64_t sequence = sequence_at(adoption->vault, offset);

	if (sequence >= adoption->highest) {
		adoption->highest = sequence;
		adoption->last = offset;
	}
	if (record_header(adoption->vault, offset)->flags & RECORD_FORMER)
		return offsets_add(&adoption->formers, offset);
	return offsets_add(&adoption->records, offset);
}

static int remember(
	const struct adoption *adoption, struct offsets *suspects, size_t most, uint64_t offset)
{
	if (suspects->count >= most ||
		ledger_is_link(adoption->vault->ledger, offset + LEDGER_UNIT))
		return 0;
	return offsets_add(suspects, offset);
}

int adoption_suspect(struct adoption *adoption, enum vault_loss loss, uint64_t offset)
{
	return remember(adoption, &adoption->suspects[loss], SUSPECTS_MAX, offset);
}

/* What a record was, whether it is to be believed or not. */
static enum vault_loss loss_of(const struct vault *vault, uint64_t offset)
{
	uint8_t flags = record_header(vault, offset)->flags;

	if (flags & RECORD_FORMER)
		return LOSS_FORMER;
	if (flags & RECORD_CONSUMED)
		return LOSS_CONSUMED;
	return flags & RECORD_STREAM ? LOSS_STREAM : LOSS_SECRET;
}

int adoption_suspect_record(struct adoption *adoption, uint64_t offset)
{
	return adoption_suspect(adoption, loss_of(adoption->vault, offset), offset);
}

/* Whether its numbers can have been given away: those of ciphertext hardly ever. */
static bool is_counted(const struct adoption *adoption, uint64_t offset)
{
	const struct vault *vault = adoption->vault;
	uint64_t sequence;

	if (ledger_block(vault->ledger, offset) < sizeof(struct header))
		return false;
	sequence = sequence_at(vault, offset);
	return sequence > 0 && sequence <= adoption->given + 1 &&
		get_number(record_header(vault, offset)->secret) <= sequence;
}

/*
 * Every record has a name and a version. Where one byte was overwritten, this or what counts it is
 * as it was. The links of free runs are numbers and zeros behind them.
 */
static bool could_be_record(const struct vault *vault, uint64_t offset)
{
	const struct header *header;

	if (!record_fits(vault, offset))
		return false;
	header = record_header(vault, offset);
	return record_name(header).size > 0 && get_number(header->version) <= NUMBER_LIKELY;
}

/* What claims to be a record. How far it reaches, if it is one. */
static int look_at_record(struct adoption *adoption, uint64_t offset, uint64_t *sizep)
{
	struct vault *vault = adoption->vault;
	bool counted = is_counted(adoption, offset);

	if (counted && record_well_formed(vault, offset) &&
		record_likely(vault, record_header(vault, offset)) &&
		record_proved(vault, offset)) {
		*sizep = record_block_size(record_header(vault, offset));
		return adoption_add_record(adoption, offset);
	}
	return counted || could_be_record(vault, offset) ? adoption_suspect_record(adoption, offset)
							 : 0;
}

/* A record whose kind alone was overwritten would vanish without a word. */
static bool was_record(struct adoption *adoption, uint64_t offset, unsigned kind)
{
	const struct vault *vault = adoption->vault;
	uint8_t tag[BLOCK_TAG_SIZE];

	if (!block_kind_almost(kind, BLOCK_RECORD) || !record_fits(vault, offset))
		return false;
	adoption->looked++;
	return record_likely(vault, record_header(vault, offset)) &&
		record_tag(vault, record_header(vault, offset), tag) == 0 &&
		memcmp(tag, record_header(vault, offset)->block.tag, sizeof(tag)) == 0;
}

/* So would a commit, and with it all that was not published yet. */
static bool was_commit(struct adoption *adoption, uint64_t offset, unsigned kind)
{
	if (!block_kind_almost(kind, BLOCK_COMMIT))
		return false;
	adoption->looked++;
	return commit_intact(adoption->vault, offset);
}

/* What is looked for by no name. */
struct nameless {
	unsigned kind;
	bool (*suspicious)(const struct vault *vault, uint64_t offset, uint64_t highest);
	bool (*adoptable)(const struct vault *vault, uint64_t offset);
};

static const struct nameless any_segment = { BLOCK_SEGMENT, segment_suspicious, segment_adoptable };
static const struct nameless any_chunk = { BLOCK_CHUNK, chunk_suspicious, chunk_adoptable };
static const struct nameless any_answer = { BLOCK_ANSWER, answer_suspicious, answer_adoptable };
static const struct nameless any_token = { BLOCK_TOKEN, token_suspicious, token_adoptable };

/* And so would those. Few that were none come as far as to the tag. */
static bool was_nameless(
	struct adoption *adoption, uint64_t offset, unsigned kind, const struct nameless *what)
{
	if (!block_kind_almost(kind, what->kind) ||
		!what->suspicious(adoption->vault, offset, adoption->given + 1))
		return false;
	adoption->looked++;
	return what->adoptable(adoption->vault, offset);
}

/* What claims to be nothing of ours. */
static int look_at_other(struct adoption *adoption, uint64_t offset, unsigned kind)
{
	if (was_record(adoption, offset, kind))
		return adoption_suspect_record(adoption, offset);
	if (was_commit(adoption, offset, kind))
		return adoption_suspect(adoption, LOSS_SECRET, offset);
	if (was_nameless(adoption, offset, kind, &any_segment) ||
		was_nameless(adoption, offset, kind, &any_chunk))
		return remember(adoption, &adoption->pieces, PIECES_MAX, offset);
	if (was_nameless(adoption, offset, kind, &any_token))
		return adoption_suspect(adoption, LOSS_TOKEN, offset);
	return was_nameless(adoption, offset, kind, &any_answer)
		? adoption_suspect(adoption, LOSS_ANSWER, offset)
		: 0;
}

/* What claims to make a batch happen. */
static int look_at_commit(struct adoption *adoption, uint64_t offset)
{
	struct vault *vault = adoption->vault;
	uint64_t highest = adoption->given + 1;

	if (!commit_intact(vault, offset))
		return commit_suspicious(vault, offset, highest)
			? adoption_suspect(adoption, LOSS_SECRET, offset)
			: 0;
	if (commit_sequence(vault, offset) > highest)
		return adoption_suspect(adoption, LOSS_SECRET, offset);
	if (commit_sequence(vault, offset) >= adoption->highest) {
		adoption->highest = commit_sequence(vault, offset);
		adoption->last = 0;
	}
	return offsets_add(&adoption->commits, offset);
}

static int look_at_segment(struct adoption *adoption, uint64_t offset)
{
	if (segment_adoptable(adoption->vault, offset))
		return offsets_add(&adoption->segments, offset);
	return segment_suspicious(adoption->vault, offset, adoption->given + 1)
		? remember(adoption, &adoption->pieces, PIECES_MAX, offset)
		: 0;
}

static int look_at_chunk_block(struct adoption *adoption, uint64_t offset)
{
	if (chunk_adoptable(adoption->vault, offset))
		return offsets_add(&adoption->chunks, offset);
	return chunk_suspicious(adoption->vault, offset, adoption->given + 1)
		? remember(adoption, &adoption->pieces, PIECES_MAX, offset)
		: 0;
}

static int look_at_answer(struct adoption *adoption, uint64_t offset)
{
	if (answer_adoptable(adoption->vault, offset))
		return offsets_add(&adoption->answers, offset);
	return answer_suspicious(adoption->vault, offset, adoption->given + 1)
		? adoption_suspect(adoption, LOSS_ANSWER, offset)
		: 0;
}

/* There is one, and nothing begins in it. */
static int look_at_events(struct adoption *adoption, uint64_t offset, uint64_t *sizep)
{
	uint64_t size;

	if (events_adoptable(adoption->vault, offset, &size)) {
		adoption->events = offset;
		*sizep = size;
	}
	return 0;
}

static int look_at_token(struct adoption *adoption, uint64_t offset)
{
	if (token_adoptable(adoption->vault, offset))
		return offsets_add(&adoption->tokens, offset);
	return token_suspicious(adoption->vault, offset, adoption->given + 1)
		? adoption_suspect(adoption, LOSS_TOKEN, offset)
		: 0;
}

static int look_at(struct adoption *adoption, uint64_t offset, uint64_t *sizep)
{
	struct vault *vault = adoption->vault;
	enum block_kind kind = block_kind(ledger_at(vault->ledger, offset, sizeof(struct block)));

	switch (kind) {
	case BLOCK_RECORD:
		adoption->looked++;
		return look_at_record(adoption, offset, sizep);
	case BLOCK_SEGMENT:
		adoption->looked++;
		return look_at_segment(adoption, offset);
	case BLOCK_CHUNK:
		adoption->looked++;
		return look_at_chunk_block(adoption, offset);
	case BLOCK_ANSWER:
		adoption->looked++;
		return look_at_answer(adoption, offset);
	case BLOCK_TOKEN:
		adoption->looked++;
		return look_at_token(adoption, offset);
	case BLOCK_COMMIT:
		adoption->looked++;
		return look_at_commit(adoption, offset);
	case BLOCK_EVENTS:
		adoption->looked++;
		return look_at_events(adoption, offset, sizep);
	default:
		return look_at_other(adoption, offset, kind);
	}
}

/* Nothing uses the masters for long without a break. */
void adoption_rest(struct adoption *adoption)
{
	if (adoption->looked < VIEW_BLOCKS)
		return;
	adoption->looked = 0;
	coffer_forget(adoption->vault->coffer);
}

int adoption_find_blocks(struct adoption *adoption)
{
	const struct ledger *ledger = adoption->vault->ledger;
	uint64_t begin = 0;
	uint64_t end = 0;
	int r = 0;

	while (r == 0 && ledger_written(ledger, end, &begin, &end)) {
		uint64_t size;

		if (begin == 0)
			begin = LEDGER_UNIT;
		/* A look behind the end would make a page of what is none. */
		for (uint64_t at = begin; at + sizeof(struct block) <= end && r == 0; at += size) {
			size = LEDGER_UNIT;
			r = look_at(adoption, at, &size);
			adoption_rest(adoption);
		}
	}
	coffer_forget(adoption->vault->coffer);
	return r;
}

/* -- what is lost -------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void offsets_sort(struct offsets *offsets)
{
	if (offsets->count > 1)
		qsort(offsets->at, offsets->count, sizeof(*offsets->at), by_offset);
}

/*
 * Those that lie in the chunks of an intact record are that one's ciphertext and nobody's block.
 * What a commit lists twice is one all the same.
 */
static uint64_t count_suspects(const struct vault *vault, struct offsets *suspects)
{
	uint64_t count = 0;

	offsets_sort(suspects);
	for (size_t i = 0; i < suspects->count; i++)
		count += (i == 0 || suspects->at[i] != suspects->at[i - 1]) &&
			!ledger_is_claimed(vault->ledger, suspects->at[i]);
	return count;
}

/* What is of no stream that is there was about to be wiped, or goes with its stream. */
static uint64_t count_pieces(struct adoption *adoption)
{
	const struct vault *vault = adoption->vault;
	const struct offsets *pieces = &adoption->pieces;
	uint64_t count = 0;

	for (size_t i = 0; i < pieces->count; i++, adoption_rest(adoption)) {
		adoption->looked++;
		count += !ledger_is_claimed(vault->ledger, pieces->at[i]) &&
			stream_piece_lost(vault, pieces->at[i]);
	}
	return count;
}

void adoption_count_losses(struct adoption *adoption)
{
	struct vault *vault = adoption->vault;

	for (unsigned loss = 0; loss < LOSS_COUNT; loss++)
		vault->lost[loss] = count_suspects(vault, &adoption->suspects[loss]);
	vault->lost[LOSS_STREAM] += count_pieces(adoption);
	for (size_t i = 0; i < adoption->broken.count; i++)
		vault->lost[loss_of(vault, adoption->broken.at[i])]++;
	for (size_t i = 0; i < adoption->astray.count; i++)
		vault->lost[loss_of(vault, adoption->astray.at[i])]++;
}
