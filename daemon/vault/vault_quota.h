/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault_inside.h"

/*
 * The tally of what each uid has, and whether it may have more. A version counts by what its header
 * says, so that the tally of what is adopted is that of what was left; a stream by what is in it; a
 * value that is on its way by its bytes.
 */

/* Sees to it that something can be counted for a uid. Returns 0 or -ENOMEM. */
int quota_reserve(struct vault *vault, uint32_t uid);

/* What a record counts. A tombstone is nothing, and a stream counts by itself. */
struct tally_sum quota_of_record(const struct header *header);

/*
 * The bytes that its owner gets back with the end of a record; what he is reading himself, he goes
 * on having.
 */
uint64_t quota_back(const struct vault *vault, uint64_t offset);

/* Bytes that tags take in a record (vault.c). */
size_t vault_tags_size(const struct tags *tags);

/* What a version counts under a name, with tags and a value of so many bytes. */
static inline uint64_t quota_of_version(size_t name, size_t tags, uint64_t size)
{
	return VAULT_BESIDE + name + tags + size;
}

/* What a value on its way counts, of so many bytes. */
static inline struct tally_sum quota_of_coming(uint64_t size)
{
	return (struct tally_sum){ .bytes = size, .coming = size };
}

/* The owner of a record has what it counts; its place is reserved. And has it no more. */
void quota_take(struct vault *vault, uint64_t offset);
void quota_give(struct vault *vault, uint64_t offset);

/* The same of bytes, and of names, that no header tells of. */
void quota_take_sum(struct vault *vault, uint32_t uid, struct tally_sum sum);
void quota_give_sum(struct vault *vault, uint32_t uid, struct tally_sum sum);

/* A record is gone of which nothing is to be believed: the tally is made anew before it is used. */
void quota_doubt(struct vault *vault);

/*
 * A record that is pinned was retired: its first reader has its bytes from now on, until he is
 * through with it; then the next one.
 */
void readers_take(struct vault *vault, struct record *record);

/* Nobody has anything. */
void quota_clear(struct vault *vault);

/* What is about to be stored. */
struct growth {
	uint64_t names;
	uint64_t bytes;
	uint64_t less; /* of bytes that go with it */
	uint64_t held; /* of those bytes that are counted already */
};

/*
 * Whether the owner may have that: 0, or STATUS_LIMIT, and vault_refusal tells of it. What takes no
 * more than goes with it is let in, whatever there is. Touches the ledger key.
 */
int quota_check(struct vault *vault, uint32_t owner, const struct growth *growth);

/* Goes through the records of all batches (vault_restore.c). */
void batches_each(
	struct vault *vault, void (*visit)(void *context, uint64_t offset), void *context);

/* As much of what is under way as is counted for that owner. */
uint64_t quota_held(const struct value *value, uint32_t owner);

/*
 * record_retire of one that has nothing beside its header, and counts for nobody: a stream's
 * (vault_record.c).
 */
void record_retire_bare(struct vault *vault, uint64_t offset);

/* -- values under way (vault_value.c) ------------------------------------------------------ */

/* Wipes what was appended. */
void value_empty(struct vault *vault, struct value *value);

/* Frees a value without its extents, which are a record's now. */
void value_drop(struct vault *vault, struct value *value);
