/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/status.h"
#include "daemon/vault/vault_quota.h"

/* -- reading ------------------------------------------------------------------------------- */

/* What a record that was found by its name stands for. */
static int judge(struct vault *vault, uint64_t offset)
{
	if (!record_intact(vault, offset))
		return STATUS_INTEGRITY;
	if (record_over(vault, offset)) {
		vault_end_record(vault, offset);
		return STATUS_NOT_FOUND;
	}
	return record_header(vault, offset)->flags & RECORD_CONSUMED ? STATUS_GONE : 0;
}

int vault_look_up(struct vault *vault, struct span name, uint64_t *offsetp)
{
	uint64_t suspect;
	int r = vault_check_key(vault);

	if (r != 0)
		return r;
	if (vault->batches)
		batches_hurry(vault, name);
	*offsetp = index_find(vault->index, name, &suspect);
	if (*offsetp != 0)
		return judge(vault, *offsetp);
	if (suspect == 0 || record_intact(vault, suspect))
		return STATUS_NOT_FOUND;
	*offsetp = suspect;
	return STATUS_INTEGRITY;
}

int vault_find(struct vault *vault, struct span name, struct record **recordp)
{
	return vault_find_version(vault, name, 0, recordp);
}

/* Where a version is that was rotated: what vault_look_up returns. */
static int look_up_former(struct vault *vault, uint64_t version, uint64_t *offsetp)
{
	uint64_t secret = get_number(record_header(vault, *offsetp)->secret);
	uint64_t offset = former_find(vault, secret, version);

	if (offset == 0)
		return STATUS_NOT_FOUND;
	*offsetp = offset;
	return judge(vault, offset);
}

int vault_find_version(
	struct vault *vault, struct span name, uint64_t version, struct record **recordp)
{
	uint64_t offset;
	int r = record_reserve(vault);

	if (r == 0)
		r = vault_look_up(vault, name, &offset);
	if (r == 0 && version != 0 && !(record_header(vault, offset)->flags & RECORD_STREAM) &&
		version != get_number(record_header(vault, offset)->version))
		r = look_up_former(vault, version, &offset);
	if (r == 0)
		*recordp = record_handle(vault, offset);
	return r;
}

int vault_next(struct vault *vault, struct span prefix, struct span after, struct record **recordp)
{
	uint64_t offset;
	int r = record_reserve(vault);

	if (r == 0)
		r = vault_check_key(vault);
	if (r != 0)
		return r;
	offset = index_next(vault->index, prefix, after);
	if (offset == 0)
		return STATUS_NOT_FOUND;
	*recordp = record_handle(vault, offset);
	return 0;
}

/* A secret; STATUS_INVALID where a stream is. */
static int look_up_secret(struct vault *vault, struct span name, uint64_t *offsetp)
{
	int r = vault_look_up(vault, name, offsetp);

	return r == 0 && record_header(vault, *offsetp)->flags & RECORD_STREAM ? STATUS_INVALID : r;
}

/* -- writing ------------------------------------------------------------------------------- */

/* Now, in a number's range however the clock is set. */
static uint64_t now_ms(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0 || now.tv_sec < 0)
		return 0;
	return ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) & NUMBER_MAX;
}

/* What a put is about to make, in the order it is made; undone by `abandon`. */
struct draft {
	const struct vault_put *put;
	const struct header *old; /* NULL: the name is new */
	uint64_t old_offset;
	uint64_t tombstone; /* in the way of a new name; 0: none */
	uint64_t version;
	uint64_t table; /* 0: the value is one extent */
	uint64_t offset;
	uint64_t former; /* the version before, if it has a grace; 0: none */
	size_t tags_size;
};

size_t vault_tags_size(const struct tags *tags)
{
	size_t size = 0;

	for (size_t i = 0; i < tags->count; i++)
		size += TAG_PREFIX + tags->tag[i].key.size + tags->tag[i].value.size;
	return size;
}

/* Bytes of the tags: a rotation has those that were. */
static size_t tags_size(const struct draft *draft)
{
	return draft->put->rotation.asked ? record_tags(draft->old).size
					  : vault_tags_size(&draft->put->tags);
}

/* Whether there is room in a record for what it is to say. */
static bool fits(const struct vault_put *put)
{
	if (put->name.size == 0 || put->name.size > NAME_FILED_MAX ||
		put->tags.count > MESSAGE_TAGS_MAX)
		return false;
	for (size_t i = 0; i < put->tags.count; i++)
		if (put->tags.tag[i].key.size > MESSAGE_TAG_KEY_MAX ||
			put->tags.tag[i].value.size > MESSAGE_TAG_VALUE_MAX)
			return false;
	return true;
}

int vault_check_conditions(
	const struct conditions *conditions, const struct header *old, uint64_t *versionp)
{
	uint64_t current = old ? get_number(old->version) : 0;

	if ((conditions->create_only && old) ||
		(conditions->compare && conditions->version != current)) {
		*versionp = current;
		return STATUS_CONFLICT;
	}
	return 0;
}

/* The same, and STATUS_FROZEN when they hold but must not be made. */
static int check_change(
	const struct conditions *conditions, const struct header *old, uint64_t *versionp)
{
	int r = vault_check_conditions(conditions, old, versionp);

	return r == 0 && old && old->flags & RECORD_FROZEN ? STATUS_FROZEN : r;
}

/* What there is under the name, and whether it may be succeeded. */
static int look_up_old(struct vault *vault, struct draft *draft, uint64_t *versionp)
{
	const struct vault_put *put = draft->put;
	int r = look_up_secret(vault, put->name, &draft->old_offset);

	if (r == 0)
		draft->old = record_header(vault, draft->old_offset);
	else if ((r != STATUS_GONE && r != STATUS_NOT_FOUND) || put->rotation.asked)
		return r;
	if (r == STATUS_GONE)
		draft->tombstone = draft->old_offset;
	return check_change(&put->conditions, draft->old, versionp);
}

/* Whose it will be. */
static uint32_t owner_of(const struct draft *draft)
{
	return draft->old ? bytes_get32(draft->old->owner) : draft->put->owner;
}

/* Whether there may be the new version, of a value that may be counted for somebody already. */
static int check_quotas(
	struct vault *vault, const struct draft *draft, uint64_t size, const struct value *value)
{
	const struct vault_put *put = draft->put;
	struct growth growth = { .names = !draft->old,
		.bytes = quota_of_version(put->name.size, tags_size(draft), size) };

	if (!put->limited)
		return 0;
	if (value)
		growth.held = quota_held(value, owner_of(draft));
	/* A version that has a grace stays. */
	if (draft->old && put->rotation.grace_ms == 0)
		growth.less = quota_back(vault, draft->old_offset);
	return quota_check(vault, owner_of(draft), &growth);
}

int vault_may_put(struct vault *vault, const struct vault_put *put, uint64_t *versionp)
{
	struct draft draft = { .put = put };
	int r = look_up_old(vault, &draft, versionp);

	return r == 0 ? check_quotas(vault, &draft, put->size, NULL) : r;
}

/* Takes the blocks that the record needs. Returns 0 or STATUS_LIMIT; `abandon` gives them back. */
static int take_blocks(struct vault *vault, const struct value *value, struct draft *draft)
{
	size_t table = (size_t)table_size(value->count);
	size_t size = sizeof(struct header) + lifetime_size(draft->put, draft->old) +
		draft->put->name.size + draft->tags_size;

	if (value->count > 1 && ledger_take(vault->ledger, table, &draft->table) < 0)
		return STATUS_LIMIT;
	return ledger_take(vault->ledger, size, &draft->offset) < 0 ? STATUS_LIMIT : 0;
}

static void abandon(struct vault *vault, const struct draft *draft)
{
	if (draft->table != 0)
		ledger_give(vault->ledger, draft->table);
	if (draft->offset != 0)
		vault_give(vault, draft->offset);
	if (draft->former != 0)
		rotation_undo(vault, draft->former);
	events_drop(vault);
}

/* What a header names as its place: the one extent, or a table. */
static uint64_t write_table(struct vault *vault, const struct value *value, uint64_t offset)
{
	struct table *table;
	uint8_t *out;

	if (offset == 0)
		return value->extents[0];
	table = ledger_at(vault->ledger, offset, (size_t)table_size(value->count));
	*table = (struct table){ 0 };
	out = (uint8_t *)(table + 1);
	for (size_t i = 0; i < value->count; i++)
		bytes_put64(out + i * sizeof(uint64_t), value->extents[i]);
	return offset;
}

static uint8_t *append(uint8_t *out, struct span span)
{
	if (span.size > 0)
		memcpy(out, span.data, span.size);
	return out + span.size;
}

static void write_words(struct header *header, const struct draft *draft)
{
	const struct vault_put *put = draft->put;
	uint8_t *out = append((uint8_t *)header + record_name_start(header), put->name);

	if (put->rotation.asked) {
		append(out, record_tags(draft->old));
		return;
	}
	for (size_t i = 0; i < put->tags.count; i++) {
		const struct tag *tag = &put->tags.tag[i];

		*out++ = (uint8_t)tag->key.size;
		bytes_put16(out, (uint16_t)tag->value.size);
		out = append(append(out + 2, tag->key), tag->value);
	}
}

/* Everything but the wrapped key and the tag. */
static void write_header(struct vault *vault, const struct value *value, const struct draft *draft)
{
	const struct vault_put *put = draft->put;
	const struct header *old = draft->old;
	struct header *header = record_header(vault, draft->offset);
	uint64_t now = now_ms();
	uint64_t sequence = vault->sequence + 1;

	*header = (struct header){ .flags = put->frozen ? RECORD_FROZEN : 0,
		.lifetime_size = (uint8_t)lifetime_size(put, old) };
	put_number(header->secret, old ? get_number(old->secret) : sequence);
	put_number(header->version, draft->version);
	put_number(header->sequence, sequence);
	put_number(header->created, old ? get_number(old->created) : now);
	put_number(header->changed, now);
	put_number(header->size, value->size);
	bytes_put32(
		header->place, (uint32_t)(write_table(vault, value, draft->table) / LEDGER_UNIT));
	bytes_put32(header->owner, old ? bytes_get32(old->owner) : put->owner);
	bytes_put16(header->name_size, (uint16_t)put->name.size);
	bytes_put16(header->tags_size, (uint16_t)draft->tags_size);
	write_words(header, draft);
}

/* Wraps the data key and computes the tag: the record is whole then. */
static int seal_header(struct vault *vault, const struct draft *draft)
{
	struct header *header = record_header(vault, draft->offset);
	int r = enclave_wrap(header->wrapped, draft->put->key, ENCLAVE_KEY_SIZE,
		record_binding(header), vault->coffer, COFFER_VAULT);

	return r < 0 ? r : record_seal(vault, header);
}

int vault_make_way(struct vault *vault, uint64_t offset, uint64_t tombstone)
{
	if (tombstone != 0 && index_reserve(vault->index, index_count(vault->index)) < 0)
		return -ENOMEM;
	block_set_kind(record_header(vault, offset), BLOCK_RECORD);
	if (tombstone != 0)
		vault_end_record(vault, tombstone);
	return 0;
}

/* The one step that makes the new version the one that is found. */
static int publish(struct vault *vault, const struct draft *draft)
{
	promise_write(vault, draft->version, vault->sequence + 1, 0);
	event_write(vault, EVENT_SET, draft->put->name, draft->version,
		(struct event_cause){ .by = vault->sequence + 1 });
	if (vault_make_way(vault, draft->offset, draft->tombstone) < 0)
		return STATUS_LIMIT;
	if (draft->old)
		index_replace(vault->index, draft->put->name, draft->old_offset, draft->offset);
	else if (index_insert(vault->index, draft->put->name, draft->offset) < 0)
		return STATUS_LIMIT;
	vault_count_on(vault);
	events_count(vault);
	quota_take(vault, draft->offset);
	formers_follow(vault, draft->offset);
	lifetime_begin(vault, draft->offset, draft->put, draft->old_offset);
	batches_disturb(vault, draft->put->name);
	return 0;
}

static int write_record(struct vault *vault, const struct value *value, struct draft *draft)
{
	int r = take_blocks(vault, value, draft);

	if (r == 0) {
		write_header(vault, value, draft);
		r = lifetime_write(
			vault, record_header(vault, draft->offset), draft->put, draft->old);
	}
	if (r == 0)
		r = table_seal(vault, record_header(vault, draft->offset));
	return r == 0 ? seal_header(vault, draft) : r;
}

static int make_record(struct vault *vault, const struct value *value, struct draft *draft)
{
	uint64_t grace_ms = draft->put->rotation.asked ? draft->put->rotation.grace_ms : 0;
	int r = write_record(vault, value, draft);

	if (r == 0 && grace_ms > 0)
		r = rotation_begin(vault, draft->old_offset, grace_ms, &draft->former);
	return r == 0 ? publish(vault, draft) : r;
}

void vault_count_on(struct vault *vault)
{
	struct coffer_notes *notes = coffer_notes(vault->coffer);

	vault->sequence++;
	if (notes)
		atomic_store(&notes->number, vault->sequence);
}

static int begin_draft(struct vault *vault, struct draft *draft, uint64_t *versionp)
{
	int r = look_up_old(vault, draft, versionp);

	if (r != 0)
		return r;
	draft->version = draft->old ? get_number(draft->old->version) + 1 : 1;
	draft->tags_size = tags_size(draft);
	return draft->version > NUMBER_MAX || vault->sequence >= NUMBER_MAX ? STATUS_LIMIT : 0;
}

/* What was under the name before the new version. */
static void leave_old(struct vault *vault, const struct draft *draft)
{
	if (draft->former != 0)
		rotation_end(vault, draft->old_offset, draft->former);
	else if (draft->old)
		record_retire(vault, draft->old_offset, true);
}

/* The last extent keeps what it uses. */
static void trim_value(struct vault *vault, const struct value *value)
{
	size_t last = value->count - 1;

	ledger_trim(vault->ledger, value->extents[last], (size_t)extent_size(value->size, last));
}

int vault_put(
	struct vault *vault, struct value **valuep, const struct vault_put *put, uint64_t *versionp)
{
	struct draft draft = { .put = put };
	struct value *value = *valuep;
	int r;

	if (value->purged)
		return STATUS_GONE;
	if (value->chunks == 0 || !fits(put))
		return STATUS_INVALID;
	r = begin_draft(vault, &draft, versionp);
	if (r == 0)
		r = check_quotas(vault, &draft, value->size, value);
	if (r == 0 && quota_reserve(vault, owner_of(&draft)) < 0)
		r = STATUS_LIMIT;
	if (r != 0)
		return r;
	r = make_record(vault, value, &draft);
	if (r != 0) {
		abandon(vault, &draft);
		return r;
	}
	trim_value(vault, value);
	leave_old(vault, &draft);
	*versionp = draft.version;
	value_drop(vault, value);
	*valuep = NULL;
	return 0;
}

int vault_write_apart(struct vault *vault, struct value **valuep, const struct vault_put *put,
	uint64_t version, uint64_t *offsetp)
{
	struct draft draft = {
		.put = put, .version = version, .tags_size = vault_tags_size(&put->tags)
	};
	struct value *value = *valuep;
	int r;

	if (value->purged)
		return STATUS_GONE;
	if (value->chunks == 0 || !fits(put))
		return STATUS_INVALID;
	r = vault->sequence >= NUMBER_MAX || quota_reserve(vault, put->owner) < 0
		? STATUS_LIMIT
		: write_record(vault, value, &draft);
	if (r != 0) {
		abandon(vault, &draft);
		return r;
	}
	/* The number is this secret's from now on. The tag is still to come. */
	vault_count_on(vault);
	quota_take(vault, draft.offset);
	sodium_memzero(record_header(vault, draft.offset)->block.tag, BLOCK_TAG_SIZE);
	lifetime_begin(vault, draft.offset, put, 0);
	trim_value(vault, value);
	value_drop(vault, value);
	*valuep = NULL;
	*offsetp = draft.offset;
	return 0;
}

int vault_remove(struct vault *vault, struct span name, const struct conditions *conditions,
	uint64_t *versionp)
{
	const struct header *header;
	uint64_t offset;
	uint64_t version = 0;
	int r = vault_look_up(vault, name, &offset);
	bool intact = r == 0;

	/* What was overwritten has no version to compare with, but has to go somehow. */
	if (r != 0 && (r != STATUS_INTEGRITY || conditions->compare))
		return r;
	header = record_header(vault, offset);
	if (intact) {
		version = get_number(header->version);
		*versionp = version;
		if (conditions->compare && conditions->version != version)
			return STATUS_CONFLICT;
		if (header->flags & RECORD_FROZEN)
			return STATUS_FROZEN;
	}
	*versionp = version;
	if (intact)
		promise_write(vault, version, 0, get_number(header->sequence));
	if (intact) {
		vault_take_out(vault, offset, true, EVENT_REMOVE);
		return 0;
	}
	/* It is found by nobody any more, whether it is taken out or not. */
	event_write(vault, EVENT_REMOVE, name, 0, (struct event_cause){ .by = vault->sequence });
	vault_take_out_damaged(vault, name, offset);
	events_count(vault);
	return 0;
}

/* The record goes first: without it, its formers are nobody's. */
void vault_take_out(struct vault *vault, uint64_t offset, bool intact, enum event_kind kind)
{
	const struct header *header = record_header(vault, offset);
	uint64_t secret = get_number(header->secret);
	bool former = header->flags & RECORD_FORMER;
	bool told = event_write_end(vault, kind, offset);

	if (former) {
		former_drop(vault, offset);
	} else {
		index_remove(vault->index, record_name(header), offset);
		batches_disturb(vault, record_name(header));
	}
	record_retire(vault, offset, intact);
	if (told)
		events_count(vault);
	if (!former)
		formers_end(vault, secret);
}

void vault_take_out_damaged(struct vault *vault, struct span name, uint64_t offset)
{
	index_remove(vault->index, name, offset);
	batches_disturb(vault, name);
	record_retire(vault, offset, false);
	formers_end_behind(vault, offset);
}

/* -- streams ------------------------------------------------------------------------------- */

/* All that a stream's record says: whose it is, since when, and what it is called. */
static int write_stream(
	struct vault *vault, struct span name, uint32_t owner, uint64_t sequence, uint64_t offset)
{
	struct header *header = record_header(vault, offset);
	uint64_t now = now_ms();

	*header = (struct header){ .flags = RECORD_STREAM };
	put_number(header->secret, sequence);
	put_number(header->sequence, sequence);
	put_number(header->created, now);
	put_number(header->changed, now);
	bytes_put32(header->owner, owner);
	bytes_put16(header->name_size, (uint16_t)name.size);
	memcpy((uint8_t *)header + record_name_start(header), name.data, name.size);
	return record_seal(vault, header);
}

int vault_put_stream(
	struct vault *vault, struct span name, uint32_t owner, uint64_t *offsetp, uint64_t *idp)
{
	uint64_t sequence = vault->sequence + 1;
	uint64_t tombstone;
	int r;

	if (name.size == 0 || name.size > NAME_FILED_MAX)
		return STATUS_INVALID;
	if (vault_look_up(vault, name, &tombstone) != STATUS_GONE)
		tombstone = 0;
	if (sequence > NUMBER_MAX ||
		ledger_take(vault->ledger, sizeof(struct header) + name.size, offsetp) < 0)
		return STATUS_LIMIT;
	r = write_stream(vault, name, owner, sequence, *offsetp);
	if (r == 0)
		r = vault_make_way(vault, *offsetp, tombstone) < 0 ||
				index_insert(vault->index, name, *offsetp) < 0
			? STATUS_LIMIT
			: 0;
	if (r != 0) {
		vault_give(vault, *offsetp);
		return r;
	}
	vault_count_on(vault);
	*idp = sequence;
	batches_disturb(vault, name);
	return 0;
}
