/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/index.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/vault/index_inside.h"

static int reserve(struct index *index, uint64_t more)
{
	int r = index_table_reserve(index, more);

	return r == 0 ? index_tree_reserve(index, more) : r;
}

static void add(struct index *index, struct span name, uint64_t reference)
{
	index_table_add(index, name, unit_of(reference));
	index_tree_add(index, name, unit_of(reference));
}

int index_reserve(struct index *index, uint64_t count)
{
	return count > index->count ? reserve(index, count - index->count) : 0;
}

int index_insert(struct index *index, struct span name, uint64_t reference)
{
	int r;

	if (name.size > INDEX_NAME_MAX)
		return -ENAMETOOLONG;
	r = reserve(index, 1);
	if (r == 0)
		add(index, name, reference);
	return r;
}

int index_promise(struct index *index, uint64_t count)
{
	int r = reserve(index, count);

	if (r == 0)
		index->promised += count;
	return r;
}

void index_insert_promised(struct index *index, struct span name, uint64_t reference)
{
	index_withdraw(index, 1);
	add(index, name, reference);
}

void index_withdraw(struct index *index, uint64_t count)
{
	if (count > index->promised)
		abort();
	index->promised -= count;
}

void index_replace(struct index *index, struct span name, uint64_t old, uint64_t reference)
{
	index_table_replace(index, name, unit_of(old), unit_of(reference));
	index_tree_replace(index, name, unit_of(old), unit_of(reference));
}

void index_remove(struct index *index, struct span name, uint64_t reference)
{
	index_tree_remove(index, name, unit_of(reference));
	index_table_remove(index, name, unit_of(reference));
}

void index_each(
	const struct index *index, void (*visit)(void *context, uint64_t reference), void *context)
{
	for (uint64_t i = 0; i < index->capacity; i++)
		if (index->slots[i].unit != 0)
			visit(context, reference_of(index->slots[i].unit));
}

/*
 * The table keeps the order of its slots when it gets another size: how far the walk is, is a part
 * of 2^32 of them.
 */
int index_walk(const struct index *index, uint64_t *atp,
	int (*visit)(void *context, uint64_t reference), void *context)
{
	uint64_t slot = (*atp * index->capacity + UINT32_MAX) >> 32;

	for (unsigned i = 0; i < INDEX_WALK_SLOTS && slot < index->capacity; i++) {
		uint32_t unit = index->slots[slot].unit;
		int r = unit != 0 ? visit(context, reference_of(unit)) : 0;

		if (r != 0)
			return r;
		*atp = (++slot << 32) / index->capacity;
	}
	return slot < index->capacity ? 0 : 1;
}

void index_clear(struct index *index)
{
	index_tree_clear(index);
	memset(index->slots, 0, index->capacity * sizeof(*index->slots));
	index->count = 0;
	index_table_shrink(index);
}

int index_new(struct index **indexp, const struct index_source *source)
{
	struct index *index = calloc(1, sizeof(*index));
	int r;

	if (!index)
		return -ENOMEM;
	index->source = *source;
	crypto_shorthash_keygen(index->key);
	r = index_table_resize(index, INDEX_CAPACITY_MIN);
	if (r < 0) {
		free(index);
		return r;
	}
	*indexp = index;
	return 0;
}

void index_free(struct index *index)
{
	if (!index)
		return;
	free(index->nodes);
	free(index->slots);
	free(index);
}

uint64_t index_count(const struct index *index)
{
	return index->count;
}

uint64_t index_bytes(const struct index *index)
{
	return sizeof(*index) + index->capacity * sizeof(*index->slots) +
		index->nodes_capacity * sizeof(*index->nodes);
}
