/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_quota.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"

/* -- values under way ---------------------------------------------------------------------- */

int value_new(struct vault *vault, struct value **valuep)
{
	struct value *value = calloc(1, sizeof(*value));

	if (!value)
		return STATUS_LIMIT;
	value->next = vault->values;
	if (value->next)
		value->next->previous = value;
	vault->values = value;
	*valuep = value;
	return 0;
}

uint64_t value_size(const struct value *value)
{
	return value->size;
}

uint64_t value_chunks(const struct value *value)
{
	return value->chunks;
}

struct span value_chunk(const struct vault *vault, const struct value *value, uint64_t number)
{
	size_t size = ENCLAVE_CHUNK_SIZE;
	uint64_t offset;

	if (value->purged || number >= value->chunks)
		return span_of(NULL, 0);
	if (number + 1 == value->chunks)
		size = (size_t)(value->size - number * ENCLAVE_CHUNK_PLAIN) + ENCLAVE_TAG_SIZE;
	offset = value->extents[number / EXTENT_CHUNKS] +
		number % EXTENT_CHUNKS * ENCLAVE_CHUNK_SIZE;
	return span_of(ledger_at(vault->ledger, offset, size), size);
}

bool value_purged(const struct value *value)
{
	return value->purged;
}

int value_count_for(struct vault *vault, struct value *value, uint32_t owner)
{
	value->owner = owner;
	value->owned = true;
	return quota_reserve(vault, owner) < 0 ? STATUS_LIMIT : 0;
}

/* It counts no more. */
static void stop_counting(struct vault *vault, struct value *value)
{
	if (value->counted > 0)
		quota_give_sum(vault, value->owner, quota_of_coming(value->counted));
	value->counted = 0;
}

/* Wipes what was appended. */
void value_empty(struct vault *vault, struct value *value)
{
	stop_counting(vault, value);
	for (size_t i = 0; i < value->count; i++)
		ledger_give(vault->ledger, value->extents[i]);
	value->count = 0;
}

/* Frees a value without its extents, which are a record's now. */
void value_drop(struct vault *vault, struct value *value)
{
	stop_counting(vault, value);
	if (value->next)
		value->next->previous = value->previous;
	if (value->previous)
		value->previous->next = value->next;
	else
		vault->values = value->next;
	free(value->extents);
	free(value);
}

void value_free(struct vault *vault, struct value *value)
{
	if (!value)
		return;
	value_empty(vault, value);
	value_drop(vault, value);
}

static int reserve_extent(struct value *value)
{
	size_t capacity = value->capacity * 2 + 1;
	uint64_t *extents;

	if (value->count < value->capacity)
		return 0;
	extents = reallocarray(value->extents, capacity, sizeof(*extents));
	if (!extents)
		return STATUS_LIMIT;
	value->extents = extents;
	value->capacity = capacity;
	return 0;
}

/* An extent for the chunk to come: exact for the first of all and for a short one, else whole. */
static int add_extent(struct vault *vault, struct value *value, size_t size)
{
	bool exact = value->chunks == 0 || size < ENCLAVE_CHUNK_SIZE;
	int r = reserve_extent(value);

	if (r != 0)
		return r;
	if (ledger_take(vault->ledger, exact ? size : EXTENT_SIZE, &value->extents[value->count]) <
		0)
		return STATUS_LIMIT;
	value->count++;
	value->room = exact ? 1 : EXTENT_CHUNKS;
	return 0;
}

/* There is a second chunk: the first one moves into a whole extent. */
static int widen_extent(struct vault *vault, struct value *value)
{
	uint64_t *extent = &value->extents[value->count - 1];
	uint64_t whole;

	if (ledger_take(vault->ledger, EXTENT_SIZE, &whole) < 0)
		return STATUS_LIMIT;
	memcpy(ledger_at(vault->ledger, whole, ENCLAVE_CHUNK_SIZE),
		ledger_at(vault->ledger, *extent, ENCLAVE_CHUNK_SIZE), ENCLAVE_CHUNK_SIZE);
	ledger_give(vault->ledger, *extent);
	*extent = whole;
	value->room = EXTENT_CHUNKS;
	return 0;
}

static void count_chunk(struct vault *vault, struct value *value, uint64_t size)
{
	quota_take_sum(vault, value->owner, quota_of_coming(size));
	value->counted += size;
}

int value_append(struct vault *vault, struct value *value, struct span chunk)
{
	size_t place = value->chunks % EXTENT_CHUNKS;
	uint64_t offset;
	int r = 0;

	if (value->purged)
		return STATUS_GONE;
	if (value->ended || chunk.size <= ENCLAVE_TAG_SIZE || chunk.size > ENCLAVE_CHUNK_SIZE)
		return STATUS_INTEGRITY;
	if (value->size > NUMBER_MAX - ENCLAVE_CHUNK_PLAIN ||
		(value->owned && quota_reserve(vault, value->owner) < 0))
		return STATUS_LIMIT;
	if (place == 0)
		r = add_extent(vault, value, chunk.size);
	else if (place == value->room)
		r = widen_extent(vault, value);
	if (r != 0)
		return r;
	offset = value->extents[value->count - 1] + place * ENCLAVE_CHUNK_SIZE;
	memcpy(ledger_at(vault->ledger, offset, chunk.size), chunk.data, chunk.size);
	value->size += chunk.size - ENCLAVE_TAG_SIZE;
	value->chunks++;
	if (value->owned)
		count_chunk(vault, value, chunk.size - ENCLAVE_TAG_SIZE);
	value->ended = chunk.size < ENCLAVE_CHUNK_SIZE;
	return 0;
}
