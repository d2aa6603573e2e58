/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/crash.h"

/*
 * What each uid has, counted by going through the whole ledger, block by block: the tally is held
 * against that. Nothing of the index, of lists beside the ledger, or of the tally itself is
 * believed where the ledger says it.
 */
#define UIDS 5
#define UID_FIRST 1000

/* The last one stands for all others, who have nothing. */
struct counted {
	struct tally_sum of[UIDS];
};

static inline void count_for(struct counted *counted, uint32_t uid, struct tally_sum sum)
{
	struct tally_sum *of =
		&counted->of[uid - UID_FIRST < UIDS - 1 ? uid - UID_FIRST : UIDS - 1];

	of->names += sum.names;
	of->bytes += sum.bytes;
	of->coming += sum.coming;
}

/* In plain words, beside what the vault makes of it. */
static inline struct tally_sum expected_of(const struct header *header)
{
	struct tally_sum sum = { .names = 1, .bytes = 256 };

	if (header->flags & RECORD_CONSUMED)
		return (struct tally_sum){ 0 };
	if (header->flags & RECORD_FORMER)
		sum.names = 0;
	sum.bytes += bytes_get16(header->name_size) + bytes_get16(header->tags_size) +
		get_number(header->size);
	return sum;
}

static inline uint32_t stream_owner(uint64_t id)
{
	return stream_of_id(vault, id)->owner;
}

static inline void count_block(struct counted *counted, uint64_t offset)
{
	enum block_kind kind = block_kind(ledger_at(vault->ledger, offset, sizeof(struct block)));
	const struct chunk_header *chunk;

	if ((kind == BLOCK_RECORD || kind == BLOCK_STAGED) && record_proved(vault, offset)) {
		count_for(counted, bytes_get32(record_header(vault, offset)->owner),
			expected_of(record_header(vault, offset)));
	} else if (kind == BLOCK_SEGMENT && segment_adoptable(vault, offset)) {
		count_for(counted, stream_owner(get_number(segment_at(vault, offset)->stream)),
			(struct tally_sum){ .bytes = 256 });
	} else if (kind == BLOCK_CHUNK && chunk_adoptable(vault, offset)) {
		chunk = chunk_at(vault, offset);
		/* One without bytes is a mark of what was read. */
		if (bytes_get16(chunk->size) > 0)
			count_for(counted, stream_owner(get_number(chunk->stream)),
				(struct tally_sum){
					.bytes = bytes_get16(chunk->size) - ENCLAVE_TAG_SIZE });
	}
}

/* These have no kind yet. */
static inline void count_unready(void *context, uint64_t offset)
{
	if (!record_staged(vault, offset))
		count_for(context, bytes_get32(record_header(vault, offset)->owner),
			expected_of(record_header(vault, offset)));
}

/* What is gone but for its readers; after a purge of everything it counts for nobody. */
static inline void count_read(struct counted *counted)
{
	for (size_t i = 0; i < PIN_CHAINS; i++)
		for (const struct record *at = vault->pinned[i]; at; at = at->next)
			if (at->retired && at->readers && !(at->purged && at->counted == 0))
				count_for(counted, at->readers->uid,
					(struct tally_sum){ .bytes = 256 + at->size });
}

static inline struct counted count_all(void)
{
	struct ledger *ledger = vault->ledger;
	struct counted counted = { 0 };

	for (uint64_t at = ledger_next(ledger, 0); at != 0; at = ledger_next(ledger, at))
		if (ledger_block(ledger, at) >= sizeof(struct chunk_header))
			count_block(&counted, at);
	for (struct batch *batch = vault->batches; batch; batch = batch->next)
		index_each(batch->index, count_unready, &counted);
	for (struct value *value = vault->values; value; value = value->next)
		if (value->owned && !value->purged)
			count_for(&counted, value->owner, quota_of_coming(value->size));
	count_read(&counted);
	coffer_forget(vault->coffer);
	return counted;
}

static inline void check_same(uint32_t uid, struct tally_sum is, struct tally_sum was)
{
	if (memcmp(&is, &was, sizeof(is)) != 0)
		ck_abort_msg("uid %u has %llu names and %llu bytes, %llu of them coming, not %llu "
			     "and %llu, %llu of them coming",
			uid, (unsigned long long)is.names, (unsigned long long)is.bytes,
			(unsigned long long)is.coming, (unsigned long long)was.names,
			(unsigned long long)was.bytes, (unsigned long long)was.coming);
}

/* The tally as it stands, and as it would be if it were made anew. */
static inline struct counted check_tally(void)
{
	struct counted counted = count_all();

	for (uint32_t i = 0; i < UIDS - 1; i++)
		if (!vault->doubtful)
			check_same(UID_FIRST + i, tally_of(&vault->tally, UID_FIRST + i),
				counted.of[i]);
	for (uint32_t i = 0; i < UIDS - 1; i++)
		check_same(UID_FIRST + i, vault_usage(vault, UID_FIRST + i), counted.of[i]);
	vault->doubtful = true;
	for (uint32_t i = 0; i < UIDS - 1; i++)
		check_same(UID_FIRST + i, vault_usage(vault, UID_FIRST + i), counted.of[i]);
	ck_assert(!vault->doubtful);
	return counted;
}
