/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/index.h"

#include <sodium.h>
#include <stdlib.h>

/*
 * What index.c is made of: a hash table (index_table.c) and a tree of the names in order
 * (index_tree.c), both over the same references.
 */

/* A reference rests as its number of 16-byte units, in 32 bits; 0 is none. */
#define INDEX_UNIT 16

/* Slots of the smallest table, and nodes of the smallest tree. */
#define INDEX_CAPACITY_MIN 16

/* Grown by a quarter rather than doubled: memory for secrets is dearer than a rare copy. */
#define INDEX_GROWTH 4

/* The hash stands beside the reference, so that a mismatch costs no look into the record. */
struct slot {
	uint32_t hash;
	uint32_t unit;
};

/*
 * Where two names first differ, and what lies on either side. Packed: two bytes a secret. The
 * method is D. J. Bernstein's crit-bit tree, which is Morrison's PATRICIA (1968).
 */
struct node {
	uint32_t child[2]; /* a unit or the number of a node */
	uint16_t place;    /* of the first bit that differs; above it, which child is a leaf */
} __attribute__((packed));

/* One end of an edge: a leaf with a reference, or a node. */
struct link {
	uint32_t value;
	bool leaf;
};

/* Points at the leaf that was added last: the nodes on its way, whose places only grow. */
struct finger {
	struct span name; /* of the leaf */
	size_t depth;
	uint32_t nodes[(INDEX_NAME_MAX + 1) * 8];
};

struct index {
	struct index_source source;
	uint8_t key[crypto_shorthash_KEYBYTES];
	uint64_t promised; /* names for which there is to be a place, beside those that are there */

	/* The table. */
	struct slot *slots;
	uint64_t capacity;
	uint64_t count;

	/* The tree. */
	struct node *nodes;
	uint32_t nodes_capacity;
	uint32_t nodes_used;  /* nodes from here on were never used */
	uint32_t nodes_spare; /* number + 1 of the first given back; child[0] of it is the next */
	bool planted;         /* there is a root */
	struct link root;
};

static inline uint32_t unit_of(uint64_t reference)
{
	uint64_t unit = reference / INDEX_UNIT;

	if (reference % INDEX_UNIT != 0 || unit == 0 || unit > UINT32_MAX)
		abort();
	return (uint32_t)unit;
}

static inline uint64_t reference_of(uint32_t unit)
{
	return (uint64_t)unit * INDEX_UNIT;
}

static inline struct span name_of(const struct index *index, uint32_t unit)
{
	return index->source.name(index->source.context, reference_of(unit));
}

static inline bool is_sound(const struct index *index, uint32_t unit)
{
	return index->source.sound(index->source.context, reference_of(unit));
}

/* -- the table ----------------------------------------------------------------------------- */

/* Returns 0 or -ENOMEM; `capacity` holds more than is there. */
int index_table_resize(struct index *index, uint64_t capacity);

/* Sees to it that so many further names have a place. Returns 0 or -ENOMEM. */
int index_table_reserve(struct index *index, uint64_t more);

/* A table that is nearly empty again gives its memory back, if there is some for a smaller one. */
void index_table_shrink(struct index *index);

/* What a name has its place by. */
uint32_t index_table_hash(const struct index *index, struct span name);

/* What has that hash is looked for before long: its slot is fetched from memory meanwhile. */
void index_table_expect(const struct index *index, uint32_t hash);

/* The unit that stands under a name of that hash; or 0, and `unit` does. Its place is reserved. */
uint32_t index_table_enter(struct index *index, struct span name, uint32_t hash, uint32_t unit);

/* Adds a name; its place is reserved. */
void index_table_add(struct index *index, struct span name, uint32_t unit);

/* Puts another unit under a name whose unit is there. */
void index_table_replace(struct index *index, struct span name, uint32_t old, uint32_t unit);

/* Takes out a unit that is there under a name. */
void index_table_remove(struct index *index, struct span name, uint32_t unit);

/*
 * Whether what a unit stands for still has the name that it was filed under. Costs the name and
 * nothing else: whoever lists beside a secret that is not its own learns nothing of its size.
 */
bool index_table_is_filed(const struct index *index, uint32_t unit);

/* -- the tree ------------------------------------------------------------------------------ */

/* Sees to it that so many further names have a place. Returns 0 or -ENOMEM. */
int index_tree_reserve(struct index *index, uint64_t more);

/* Adds a name that stands in the table; its place is reserved. */
void index_tree_add(struct index *index, struct span name, uint32_t unit);

/*
 * The same, faster where names come nearly in order, while the tree is filled that was empty and in
 * which no name was overwritten. The finger begins as all zeros.
 */
void index_tree_add_near(
	struct index *index, struct finger *finger, struct span name, uint32_t unit);

/* Puts another unit under a name, if the old one has not been taken out of the order. */
void index_tree_replace(struct index *index, struct span name, uint32_t old, uint32_t unit);

/* Takes a unit out that stands under a name, if it has not been taken out of the order. */
void index_tree_remove(struct index *index, struct span name, uint32_t unit);

/* Empties the tree. */
void index_tree_clear(struct index *index);
