/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/status.h"
#include "daemon/vault/vault_quota.h"

/*
 * A change of what a record says of its value is a new header before the same chunks. For a moment
 * both are there: whoever adopts the ledger then knows which of the two counts.
 */

/* -- a new header before the same chunks --------------------------------------------------- */

/* All but the tag; `room` bytes are for the lifetime. */
static void write_copy(
	struct header *header, const struct header *old, struct span name, size_t room)
{
	struct span tags = record_tags(old);
	uint8_t *words;

	memcpy((uint8_t *)header + sizeof(header->block), block_rest(old, sizeof(*old)).data,
		block_rest(old, sizeof(*old)).size);
	header->flags &= (uint8_t)~RECORD_MOVED;
	header->lifetime_size = (uint8_t)room;
	bytes_put16(header->name_size, (uint16_t)name.size);
	if (room > 0)
		*lifetime_bytes(header) = old->lifetime_size > 0 ? *lifetime_bytes(old)
								 : (struct lifetime_bytes){ 0 };
	words = (uint8_t *)header + record_name_start(header);
	memcpy(words, name.data, name.size);
	if (tags.size > 0)
		memcpy(words + name.size, tags.data, tags.size);
}

int record_copy(struct vault *vault, uint64_t offset, const struct copy *copy, uint64_t *offsetp)
{
	const struct header *old = record_header(vault, offset);
	struct span name = copy->name.size > 0 ? copy->name : record_name(old);
	size_t room = copy->limited ? sizeof(struct lifetime_bytes) : old->lifetime_size;

	if (vault->sequence >= NUMBER_MAX ||
		ledger_take(vault->ledger, sizeof(*old) + room + name.size + record_tags(old).size,
			offsetp) < 0)
		return STATUS_LIMIT;
	write_copy(record_header(vault, *offsetp), old, name, room);
	return 0;
}

void record_copy_into(struct vault *vault, uint64_t offset, uint64_t to)
{
	const struct header *old = record_header(vault, offset);

	write_copy(record_header(vault, to), old, record_name(old), old->lifetime_size);
}

/* Gives the copy the next number and makes it whole; it is gone when that fails. */
static int seal_copy(struct vault *vault, uint64_t copy)
{
	struct header *header = record_header(vault, copy);
	int r;

	put_number(header->sequence, vault->sequence + 1);
	r = record_seal(vault, header);
	if (r < 0)
		vault_give(vault, copy);
	return r;
}

int record_put_in_place(struct vault *vault, uint64_t offset, uint64_t copy)
{
	struct header *header = record_header(vault, copy);
	int r = seal_copy(vault, copy);

	if (r < 0)
		return r;
	promise_write(vault, get_number(header->version), vault->sequence + 1, 0);
	block_set_kind(header, BLOCK_RECORD);
	vault_count_on(vault);
	if (header->flags & RECORD_FORMER) {
		former_move(vault, offset, copy);
	} else {
		index_replace(vault->index, record_name(header), offset, copy);
		formers_follow(vault, copy);
	}
	record_move(vault, offset, copy);
	vault_give(vault, offset);
	return 0;
}

int record_publish_copy(struct vault *vault, uint64_t offset, uint64_t copy)
{
	int r = record_put_in_place(vault, offset, copy);

	if (r == 0 && !(record_header(vault, copy)->flags & RECORD_FORMER))
		batches_disturb(vault, record_name(record_header(vault, copy)));
	return r;
}

int vault_begin_change(struct vault *vault, struct span name, const struct conditions *conditions,
	uint64_t *offsetp, uint64_t *versionp)
{
	int r = vault_look_up(vault, name, offsetp);

	if (r != 0)
		return r;
	if (record_header(vault, *offsetp)->flags & RECORD_STREAM)
		return STATUS_INVALID;
	*versionp = get_number(record_header(vault, *offsetp)->version);
	return vault_check_conditions(conditions, record_header(vault, *offsetp), versionp);
}

/* -- freezing ------------------------------------------------------------------------------ */

int vault_freeze(struct vault *vault, struct span name, bool frozen,
	const struct conditions *conditions, uint64_t *versionp)
{
	uint64_t offset;
	uint64_t copy;
	struct header *header;
	int r = vault_begin_change(vault, name, conditions, &offset, versionp);

	if (r != 0)
		return r;
	header = record_header(vault, offset);
	if (((header->flags & RECORD_FROZEN) != 0) == frozen)
		return 0;
	r = record_copy(vault, offset, &(struct copy){ 0 }, &copy);
	if (r != 0)
		return r;
	record_header(vault, copy)->flags ^= RECORD_FROZEN;
	return record_publish_copy(vault, offset, copy);
}

/* -- another name -------------------------------------------------------------------------- */

/* Whether a name is free: 0, and the tombstone that is in the way (0: none). */
static int look_for_room(
	struct vault *vault, struct span name, uint64_t *tombstonep, uint64_t *versionp)
{
	int r = vault_look_up(vault, name, tombstonep);

	if (r == STATUS_GONE)
		return 0;
	*tombstonep = 0;
	if (r == 0) {
		*versionp = 0;
		return STATUS_CONFLICT;
	}
	return r == STATUS_NOT_FOUND ? 0 : r;
}

static int begin_move(struct vault *vault, const struct vault_move *move, uint64_t *offsetp,
	uint64_t *tombstonep, uint64_t *versionp)
{
	int r = vault_begin_change(vault, move->name, &move->conditions, offsetp, versionp);

	if (r == 0 && record_header(vault, *offsetp)->flags & RECORD_FROZEN)
		return STATUS_FROZEN;
	/* A second look at the name could find that it is over, and take out what was found. */
	if (r == 0 && span_equal(move->name, move->to)) {
		*versionp = 0;
		return STATUS_CONFLICT;
	}
	return r == 0 ? look_for_room(vault, move->to, tombstonep, versionp) : r;
}

/* It is the owner's from then on, under another name; versions in their grace are whose they were.
 */
static int check_owner(struct vault *vault, const struct vault_move *move, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);
	bool another = move->owner != bytes_get32(header->owner);
	struct growth growth = { .names = another,
		.bytes = quota_of_version(
			move->to.size, record_tags(header).size, get_number(header->size)),
		.less = another ? 0 : quota_of_record(header).bytes };
	int r = move->limited ? quota_check(vault, move->owner, &growth) : 0;

	return r == 0 && quota_reserve(vault, move->owner) < 0 ? STATUS_LIMIT : r;
}

/* The secret is under both names then, until the old record is wiped. */
static int publish_under(
	struct vault *vault, const struct vault_move *move, uint64_t offset, uint64_t tombstone)
{
	uint64_t version = get_number(record_header(vault, offset)->version);
	struct event_cause cause = { .by = vault->sequence + 1 };

	promise_write(vault, version, vault->sequence + 1, 0);
	event_write(vault, EVENT_REMOVE, move->name, version, cause);
	event_write(vault, EVENT_SET, move->to, version, cause);
	if (vault_make_way(vault, offset, tombstone) < 0 ||
		index_insert(vault->index, move->to, offset) < 0) {
		vault_give(vault, offset);
		events_drop(vault);
		return STATUS_LIMIT;
	}
	vault_count_on(vault);
	events_count(vault);
	return 0;
}

int vault_move(struct vault *vault, const struct vault_move *move, uint64_t *versionp)
{
	uint64_t offset;
	uint64_t tombstone;
	uint64_t copy;
	int r = begin_move(vault, move, &offset, &tombstone, versionp);

	if (r == 0)
		r = check_owner(vault, move, offset);
	if (r == 0)
		r = record_copy(vault, offset, &(struct copy){ .name = move->to }, &copy);
	if (r != 0)
		return r;
	record_header(vault, copy)->flags |= RECORD_MOVED;
	bytes_put32(record_header(vault, copy)->owner, move->owner);
	r = seal_copy(vault, copy);
	if (r == 0)
		r = publish_under(vault, move, copy, tombstone);
	if (r != 0)
		return r;
	index_remove(vault->index, move->name, offset);
	quota_give(vault, offset);
	quota_take(vault, copy);
	formers_follow(vault, copy);
	batches_disturb(vault, move->name);
	batches_disturb(vault, move->to);
	record_move(vault, offset, copy);
	vault_give(vault, offset);
	return 0;
}

/* -- rotations ----------------------------------------------------------------------------- */

int rotation_begin(struct vault *vault, uint64_t offset, uint64_t grace_ms, uint64_t *formerp)
{
	struct header *header;
	uint64_t copy;
	int r = terms_reserve(vault->terms) < 0 || formers_are_full(vault, offset) ? STATUS_LIMIT
										   : 0;

	if (r == 0)
		r = record_copy(vault, offset, &(struct copy){ .limited = true }, &copy);
	if (r != 0)
		return r;
	header = record_header(vault, copy);
	header->flags |= RECORD_FORMER;
	lifetime_shorten(vault, header, grace_ms);
	r = record_seal(vault, header);
	if (r == 0 && former_add(vault, copy) < 0)
		r = STATUS_LIMIT;
	if (r != 0) {
		vault_give(vault, copy);
		return r;
	}
	block_set_kind(header, BLOCK_RECORD);
	*formerp = copy;
	return 0;
}

void rotation_undo(struct vault *vault, uint64_t former)
{
	former_drop(vault, former);
	vault_give(vault, former);
}

void rotation_end(struct vault *vault, uint64_t offset, uint64_t former)
{
	quota_give(vault, offset);
	quota_take(vault, former);
	record_move(vault, offset, former);
	lifetime_renew(vault, former);
	vault_give(vault, offset);
}
