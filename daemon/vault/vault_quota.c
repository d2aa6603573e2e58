/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_quota.h"

#include <errno.h>

#include "common/status.h"
#include "daemon/vault/vault_stream_inside.h"

/* Records whose tags are looked at under one view of the masters: less than its 2 ms. */
#define RECOUNT_VIEW 512

int quota_reserve(struct vault *vault, uint32_t uid)
{
	return tally_reserve(&vault->tally, uid);
}

struct tally_sum quota_of_record(const struct header *header)
{
	if (header->flags & (RECORD_CONSUMED | RECORD_STREAM))
		return (struct tally_sum){ 0 };
	return (struct tally_sum){ .names = !(header->flags & RECORD_FORMER),
		.bytes = quota_of_version(bytes_get16(header->name_size),
			bytes_get16(header->tags_size), get_number(header->size)) };
}

void quota_take_sum(struct vault *vault, uint32_t uid, struct tally_sum sum)
{
	if (sum.names > 0 || sum.bytes > 0)
		tally_add(&vault->tally, uid, sum);
}

void quota_give_sum(struct vault *vault, uint32_t uid, struct tally_sum sum)
{
	if (!tally_drop(&vault->tally, uid, sum))
		quota_doubt(vault);
}

void quota_take(struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);

	quota_take_sum(vault, bytes_get32(header->owner), quota_of_record(header));
}

void quota_give(struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);

	quota_give_sum(vault, bytes_get32(header->owner), quota_of_record(header));
}

void quota_doubt(struct vault *vault)
{
	vault->doubtful = true;
}

static void each_pinned(
	struct vault *vault, void (*visit)(void *context, struct record *record), void *context)
{
	for (size_t i = 0; vault->pinned_count > 0 && i < PIN_CHAINS; i++)
		for (struct record *at = vault->pinned[i]; at; at = at->next)
			visit(context, at);
}

static void forget_pinned(void *context, struct record *record)
{
	(void)context;
	record->counted = 0;
}

void quota_clear(struct vault *vault)
{
	tally_clear(&vault->tally);
	each_pinned(vault, forget_pinned, NULL);
	vault->doubtful = false;
}

uint64_t quota_held(const struct value *value, uint32_t owner)
{
	return value->owner == owner ? value->counted : 0;
}

/* -- what is still read -------------------------------------------------------------------- */

static uint64_t read_bytes(const struct record *record)
{
	return VAULT_BESIDE + record->size;
}

uint64_t quota_back(const struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);
	const struct record *record = record_pinned(vault, offset);
	uint64_t bytes = quota_of_record(header).bytes;

	if (record && record->readers && record->readers->uid == bytes_get32(header->owner))
		bytes -= read_bytes(record) < bytes ? read_bytes(record) : bytes;
	return bytes;
}

/* Without memory for his place it counts for nobody. */
void readers_take(struct vault *vault, struct record *record)
{
	if (!record->readers || quota_reserve(vault, record->readers->uid) < 0)
		return;
	record->payer = record->readers->uid;
	record->counted = read_bytes(record);
	quota_take_sum(vault, record->payer, (struct tally_sum){ .bytes = record->counted });
}

struct record *record_pin_for(struct record *record, struct reader *reader)
{
	reader->next = record->readers;
	record->readers = reader;
	return record_pin(record);
}

void record_unpin_for(struct vault *vault, struct record *record, struct reader *reader)
{
	struct reader **at = &record->readers;
	uint64_t counted = record->counted;

	while (*at != reader)
		at = &(*at)->next;
	*at = reader->next;
	if (counted > 0) {
		record->counted = 0;
		quota_give_sum(vault, record->payer, (struct tally_sum){ .bytes = counted });
		readers_take(vault, record);
	}
	record_unpin(vault, record);
}

/* -- counting anew ------------------------------------------------------------------------- */

struct recount {
	struct vault *vault;
	unsigned looked; /* under this view */
	bool failed;     /* there was no memory for somebody's place */
};

static void count_sum(struct recount *recount, uint32_t uid, struct tally_sum sum)
{
	if (quota_reserve(recount->vault, uid) < 0)
		recount->failed = true;
	else
		quota_take_sum(recount->vault, uid, sum);
}

static void count_header(struct recount *recount, uint64_t offset)
{
	const struct header *header = record_header(recount->vault, offset);

	count_sum(recount, bytes_get32(header->owner), quota_of_record(header));
}

/* What is not what was written is nobody's. */
static void count_record(void *context, uint64_t offset)
{
	struct recount *recount = context;

	if (record_intact(recount->vault, offset))
		count_header(recount, offset);
	if (++recount->looked % RECOUNT_VIEW == 0)
		coffer_forget(recount->vault->coffer);
}

static int count_former(void *context, uint64_t offset)
{
	count_record(context, offset);
	return 0;
}

/* To these no name leads, and some are of no kind yet. */
static void count_apart(void *context, uint64_t offset)
{
	struct recount *recount = context;

	if (record_proved(recount->vault, offset))
		count_header(recount, offset);
}

static void count_stream(void *context, const struct stream *stream)
{
	count_sum(context, stream->owner, stream->counted);
}

static void count_pinned(void *context, struct record *record)
{
	if (record->counted > 0)
		count_sum(context, record->payer, (struct tally_sum){ .bytes = record->counted });
}

/* The places of those who have something are there: memory is taken for none of them. */
static void count_anew(struct vault *vault)
{
	struct recount recount = { .vault = vault };

	tally_clear(&vault->tally);
	index_each(vault->index, count_record, &recount);
	(void)formers_each(vault, count_former, &recount);
	batches_each(vault, count_apart, &recount);
	streams_each(vault, count_stream, &recount);
	each_pinned(vault, count_pinned, &recount);
	for (const struct value *value = vault->values; value; value = value->next)
		if (value->counted > 0)
			count_sum(&recount, value->owner, quota_of_coming(value->counted));
	coffer_forget(vault->coffer);
	vault->doubtful = recount.failed;
}

struct tally_sum vault_usage(struct vault *vault, uint32_t uid)
{
	if (vault->doubtful)
		count_anew(vault);
	return tally_of(&vault->tally, uid);
}

/* -- whether there may be more ------------------------------------------------------------- */

void vault_set_quotas(struct vault *vault, const struct vault_quotas *quotas)
{
	vault->quotas = *quotas;
}

struct vault_refusal vault_refusal(struct vault *vault)
{
	struct vault_refusal refusal = vault->refusal;

	vault->refusal = (struct vault_refusal){ 0 };
	return refusal;
}

static struct vault_refusal find_refusal(
	const struct vault *vault, uint32_t owner, const struct growth *growth)
{
	const struct vault_quotas *quotas = &vault->quotas;
	struct tally_sum sum = tally_of(&vault->tally, owner);
	uint64_t used = sum.bytes - (growth->held < sum.bytes ? growth->held : sum.bytes);
	uint64_t more = growth->bytes > growth->less ? growth->bytes - growth->less : 0;

	if (quotas->names > 0 && growth->names > 0 && sum.names >= quotas->names)
		return (struct vault_refusal){ QUOTA_COUNT, owner, quotas->names, sum.names,
			growth->names };
	if (quotas->bytes > 0 && more > 0 && (used > quotas->bytes || more > quotas->bytes - used))
		return (struct vault_refusal){ QUOTA_BYTES, owner, quotas->bytes, used, more };
	return (struct vault_refusal){ 0 };
}

int quota_check(struct vault *vault, uint32_t owner, const struct growth *growth)
{
	vault->refusal = (struct vault_refusal){ 0 };
	if (owner == 0 || owner == vault->quotas.own)
		return 0;
	vault->refusal = find_refusal(vault, owner, growth);
	/* Nobody is refused by a tally that may be wrong. */
	if (vault->refusal.quota != QUOTA_NONE && vault->doubtful) {
		count_anew(vault);
		vault->refusal = find_refusal(vault, owner, growth);
	}
	return vault->refusal.quota != QUOTA_NONE ? STATUS_LIMIT : 0;
}

/*
 * All that is on its way may have the room that is left, and as much as that which this one is to
 * replace, however many of them are to replace it.
 */
static bool fits_beside(
	const struct vault *vault, const struct value *value, uint64_t bytes, uint64_t old)
{
	struct tally_sum sum = tally_of(&vault->tally, value->owner);
	uint64_t stored = sum.bytes - (sum.coming < sum.bytes ? sum.coming : sum.bytes);
	uint64_t most = vault->quotas.bytes;
	uint64_t room = old + (most > stored ? most - stored : 0);
	uint64_t others = sum.coming - (value->counted < sum.coming ? value->counted : sum.coming);

	return most == 0 || (others <= room && bytes <= room - others);
}

int value_may_have(struct vault *vault, const struct value *value, const struct value_plan *plan)
{
	struct growth growth = { .names = plan->stored && value->chunks == 0,
		.bytes = quota_of_version(plan->name.size, 0, plan->size),
		.held = value->counted };
	uint64_t offset;
	uint64_t old;
	int r = value->purged ? 0 : quota_check(vault, value->owner, &growth);

	if (r != STATUS_LIMIT || vault_look_up(vault, plan->name, &offset) != 0)
		return r;
	old = quota_back(vault, offset);
	growth.names = 0;
	growth.less = old;
	r = quota_check(vault, value->owner, &growth);
	if (r != 0 || fits_beside(vault, value, growth.bytes, old))
		return r;
	/* Others are on their way in that room. */
	growth.less = 0;
	return quota_check(vault, value->owner, &growth);
}

int stream_may_begin(
	struct vault *vault, const struct stream *stream, struct span name, uint32_t owner)
{
	struct growth growth = { .bytes = VAULT_BESIDE };

	if (!stream) {
		growth.names = 1;
		growth.bytes += quota_of_version(name.size, 0, 0);
	}
	return quota_check(vault, stream ? stream->owner : owner, &growth);
}

int stream_may_take(const struct stream *stream, uint64_t bytes)
{
	const struct growth growth = { .bytes = bytes };

	return quota_check(stream->vault, stream->owner, &growth);
}
