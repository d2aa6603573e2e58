/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/index_inside.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Open addressing, linear probing. */

uint32_t index_table_hash(const struct index *index, struct span name)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t word;

	crypto_shorthash(hash, name.data, name.size, index->key);
	memcpy(&word, hash, sizeof(word));
	return word;
}

/* Any capacity will do, and growing keeps the order of the slots. */
static uint64_t home(uint32_t hash, uint64_t capacity)
{
	return hash * capacity >> 32;
}

static uint64_t behind(uint64_t at, uint64_t capacity)
{
	return at + 1 < capacity ? at + 1 : 0;
}

static void put_slot(struct slot *slots, uint64_t capacity, struct slot slot)
{
	uint64_t at = home(slot.hash, capacity);

	while (slots[at].unit != 0)
		at = behind(at, capacity);
	slots[at] = slot;
}

int index_table_resize(struct index *index, uint64_t capacity)
{
	struct slot *slots = calloc(capacity, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint64_t i = 0; i < index->capacity; i++)
		if (index->slots[i].unit != 0)
			put_slot(slots, capacity, index->slots[i]);
	free(index->slots);
	index->slots = slots;
	index->capacity = capacity;
	return 0;
}

/* At most three quarters of the slots are taken. */
int index_table_reserve(struct index *index, uint64_t more)
{
	uint64_t taken = index->count + index->promised + more;
	uint64_t capacity = index->capacity + index->capacity / INDEX_GROWTH;

	if (taken * 4 <= index->capacity * 3)
		return 0;
	if (taken * 4 > capacity * 3)
		capacity = taken * 4 / 3 + 1;
	return index_table_resize(index, capacity);
}

void index_table_shrink(struct index *index)
{
	uint64_t capacity = (index->count + index->promised) * 2;

	if (capacity < INDEX_CAPACITY_MIN)
		capacity = INDEX_CAPACITY_MIN;
	if (capacity < index->capacity / 4)
		(void)index_table_resize(index, capacity);
}

void index_table_expect(const struct index *index, uint32_t hash)
{
	__builtin_prefetch(&index->slots[home(hash, index->capacity)], 1);
}

/* The slot that holds a unit under a hash; it is there. */
static uint64_t slot_at(const struct index *index, uint32_t hash, uint32_t unit)
{
	uint64_t at = home(hash, index->capacity);

	while (index->slots[at].unit != unit) {
		if (index->slots[at].unit == 0)
			abort();
		at = behind(at, index->capacity);
	}
	return at;
}

/* Empties a slot and moves up what was only here because it was taken. */
static void empty_slot(struct index *index, uint64_t hole)
{
	uint64_t capacity = index->capacity;
	uint64_t at = hole;

	for (;;) {
		uint64_t from_home;
		uint64_t from_hole;

		at = behind(at, capacity);
		if (index->slots[at].unit == 0)
			break;
		from_home = (at + capacity - home(index->slots[at].hash, capacity)) % capacity;
		from_hole = (at + capacity - hole) % capacity;
		if (from_home >= from_hole) {
			index->slots[hole] = index->slots[at];
			hole = at;
		}
	}
	index->slots[hole] = (struct slot){ 0 };
	index->count--;
}

bool index_table_is_filed(const struct index *index, uint32_t unit)
{
	uint32_t hash = index_table_hash(index, name_of(index, unit));
	uint64_t at = home(hash, index->capacity);

	while (index->slots[at].unit != 0) {
		if (index->slots[at].unit == unit)
			return index->slots[at].hash == hash;
		at = behind(at, index->capacity);
	}
	return false;
}

uint32_t index_table_enter(struct index *index, struct span name, uint32_t hash, uint32_t unit)
{
	uint64_t at = home(hash, index->capacity);

	while (index->slots[at].unit != 0) {
		const struct slot *slot = &index->slots[at];

		if (slot->hash == hash && span_equal(name_of(index, slot->unit), name))
			return slot->unit;
		at = behind(at, index->capacity);
	}
	index->slots[at] = (struct slot){ .hash = hash, .unit = unit };
	index->count++;
	return 0;
}

void index_table_add(struct index *index, struct span name, uint32_t unit)
{
	put_slot(index->slots, index->capacity,
		(struct slot){ .hash = index_table_hash(index, name), .unit = unit });
	index->count++;
}

void index_table_replace(struct index *index, struct span name, uint32_t old, uint32_t unit)
{
	index->slots[slot_at(index, index_table_hash(index, name), old)].unit = unit;
}

void index_table_remove(struct index *index, struct span name, uint32_t unit)
{
	empty_slot(index, slot_at(index, index_table_hash(index, name), unit));
	index_table_shrink(index);
}

uint64_t index_find(const struct index *index, struct span name, uint64_t *suspectp)
{
	uint32_t hash = index_table_hash(index, name);
	const struct slot *slot;

	*suspectp = 0;
	for (uint64_t at = home(hash, index->capacity);; at = behind(at, index->capacity)) {
		slot = &index->slots[at];
		if (slot->unit == 0)
			return 0;
		if (slot->hash != hash)
			continue;
		if (span_equal(name_of(index, slot->unit), name))
			return reference_of(slot->unit);
		*suspectp = reference_of(slot->unit);
	}
}
