/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault_commit.h"

/* What the files of adopting share. */

struct adoption {
	struct vault *vault;
	uint64_t given;   /* sequence numbers that were given away; one more may have been */
	uint64_t highest; /* that was found */
	uint64_t last;    /* the record that has it; 0: none */
	unsigned looked;  /* under this view */
	int failed;       /* -ENOMEM once a record had no place in a list */
	struct offsets records;
	struct offsets formers; /* versions that were rotated */
	struct offsets suspects[LOSS_COUNT];
	struct offsets pieces;     /* of streams, perhaps; suspects as well */
	struct offsets older;      /* records whose names have later ones */
	struct offsets over;       /* records that end here */
	struct offsets broken;     /* records that lead to what is not theirs */
	struct offsets astray;     /* records that lie in what is not theirs */
	struct offsets tombstones; /* to be told in their order */
	struct offsets segments;
	struct offsets chunks;
	struct offsets answers;
	struct offsets tokens;
	struct offsets commits;
	struct offsets staged; /* records that are to be published */
	uint64_t events;       /* where the ring of events lies; 0: there is none */
};

/* Of the record there. */
static inline uint64_t sequence_at(const struct vault *vault, uint64_t offset)
{
	return get_number(record_header(vault, offset)->sequence);
}

/* By place. */
void offsets_sort(struct offsets *offsets);

/* Into the list of records, or that of formers. Returns 0 or -ENOMEM. */
int adoption_add_record(struct adoption *adoption, uint64_t offset);

/* A block, or a record, is not what was written, perhaps. Return 0 or -ENOMEM. */
int adoption_suspect(struct adoption *adoption, enum vault_loss loss, uint64_t offset);
int adoption_suspect_record(struct adoption *adoption, uint64_t offset);

/* Nothing uses the masters for long without a break: to be called behind every look with a key. */
void adoption_rest(struct adoption *adoption);

/* Goes through all bytes for blocks. Returns 0 or -ENOMEM. Touches the ledger key. */
int adoption_find_blocks(struct adoption *adoption);

/* Tells the vault what of the suspects was one, once all is claimed. Touches the ledger key. */
void adoption_count_losses(struct adoption *adoption);

/* -- whether a block is what it says (vault_answer.c, vault_stream_adopt.c) ---------------- */

/* Whether a record that is found by its name has that sequence number. */
bool vault_has_sequence(const struct vault *vault, uint64_t sequence);

/* Whether a block of its kind is an answer. Touches the ledger key. */
bool answer_adoptable(const struct vault *vault, uint64_t offset);

/* As commit_suspicious, of one that is not. */
bool answer_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest);

/* The same of tokens (vault_token.c). */
bool token_adoptable(const struct vault *vault, uint64_t offset);
bool token_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest);

/* Whether a block of their kind is a segment's, or a chunk's. Touch the ledger key. */
bool segment_adoptable(const struct vault *vault, uint64_t offset);
bool chunk_adoptable(const struct vault *vault, uint64_t offset);

/* As commit_suspicious. */
bool segment_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest);
bool chunk_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest);

/* Whether such a one was of a stream that is adopted. Touches the ledger key. */
bool stream_piece_lost(const struct vault *vault, uint64_t offset);

/* -- streams that are adopted (vault_stream_adopt.c) --------------------------------------- */

/* A record is a stream's. Returns 0 or -ENOMEM. */
int stream_adopt(struct vault *vault, uint64_t offset);

/* Gives segments and chunks to the streams, and claims their blocks. Returns 0 or -ENOMEM. */
int streams_adopt(struct vault *vault, struct offsets *segments, struct offsets *chunks);

/* Whether a segment that those requests of that number wrote has its end. */
bool stream_was_ended_by(
	const struct vault *vault, const uint8_t number[static MESSAGE_NUMBER_SIZE]);

/* Ends those that have nothing left to read, once the ledger is settled. */
void streams_settle(struct vault *vault);
