/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/index.h"

#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A reference rests as its number of 16-byte units, in 32 bits; 0 is none. */
#define UNIT 16

/* Slots of the smallest table, and nodes of the smallest tree. */
#define CAPACITY_MIN 16

/* Grown by a quarter rather than doubled: memory for secrets is dearer than a rare copy. */
#define GROWTH 4

/* Places in a name: 8 to a byte, the most significant bit first, zeros behind the end. */
#define PLACE_BITS 12
#define PLACE_MASK ((1u << PLACE_BITS) - 1)

_Static_assert((INDEX_NAME_MAX + 1) * 8 == 1 << PLACE_BITS, "every place in a name has a number");

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

struct index {
	struct index_source source;
	uint8_t key[crypto_shorthash_KEYBYTES];

	struct slot *slots;
	uint64_t capacity;
	uint64_t count;

	struct node *nodes;
	uint32_t nodes_capacity;
	uint32_t nodes_used;  /* nodes from here on were never used */
	uint32_t nodes_spare; /* number + 1 of the first given back; child[0] of it is the next */
	bool planted;         /* there is a root */
	struct link root;
};

static uint32_t unit_of(uint64_t reference)
{
	uint64_t unit = reference / UNIT;

	if (reference % UNIT != 0 || unit == 0 || unit > UINT32_MAX)
		abort();
	return (uint32_t)unit;
}

static uint64_t reference_of(uint32_t unit)
{
	return (uint64_t)unit * UNIT;
}

static struct span name_of(const struct index *index, uint32_t unit)
{
	return index->source.name(index->source.context, reference_of(unit));
}

static bool is_sound(const struct index *index, uint32_t unit)
{
	return index->source.sound(index->source.context, reference_of(unit));
}

/* -- the table: open addressing, linear probing -------------------------------------------- */

static uint32_t hash_of(const struct index *index, struct span name)
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

static int resize_table(struct index *index, uint64_t capacity)
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
static int reserve_slot(struct index *index)
{
	if ((index->count + 1) * 4 <= index->capacity * 3)
		return 0;
	return resize_table(index, index->capacity + index->capacity / GROWTH);
}

/* A table that is nearly empty again gives its memory back, if there is some for a smaller one. */
static void shrink_table(struct index *index)
{
	uint64_t capacity = index->count * 2;

	if (capacity < CAPACITY_MIN)
		capacity = CAPACITY_MIN;
	if (capacity < index->capacity / 4)
		(void)resize_table(index, capacity);
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

uint64_t index_find(const struct index *index, struct span name, uint64_t *suspectp)
{
	uint32_t hash = hash_of(index, name);
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

/*
 * Whether what a unit stands for still has the name that it was filed under. Costs the name and
 * nothing else: whoever lists beside a secret that is not its own learns nothing of its size.
 */
static bool is_filed(const struct index *index, uint32_t unit)
{
	uint32_t hash = hash_of(index, name_of(index, unit));
	uint64_t at = home(hash, index->capacity);

	while (index->slots[at].unit != 0) {
		if (index->slots[at].unit == unit)
			return index->slots[at].hash == hash;
		at = behind(at, index->capacity);
	}
	return false;
}

/* -- the tree ------------------------------------------------------------------------------ */

static unsigned place_of(const struct node *node)
{
	return node->place & PLACE_MASK;
}

static struct link child_of(const struct node *node, unsigned side)
{
	return (struct link){ .value = node->child[side],
		.leaf = (node->place >> (PLACE_BITS + side) & 1) != 0 };
}

static void set_child(struct node *node, unsigned side, struct link link)
{
	unsigned bit = 1u << (PLACE_BITS + side);

	node->child[side] = link.value;
	node->place = (uint16_t)(link.leaf ? node->place | bit : node->place & ~bit);
}

static unsigned byte_at(struct span name, size_t at)
{
	return at < name.size ? name.data[at] : 0;
}

/* Which way a name goes at a place. */
static unsigned side_at(struct span name, size_t place)
{
	return byte_at(name, place / 8) >> (7 - place % 8) & 1;
}

/* The first place where two names differ. Returns false when they are the same. */
static bool differ(struct span a, struct span b, size_t *placep)
{
	size_t least = a.size < b.size ? a.size : b.size;
	size_t at = 0;
	unsigned bits;

	while (at < least && a.data[at] == b.data[at])
		at++;
	if (at == a.size && at == b.size)
		return false;
	bits = byte_at(a, at) ^ byte_at(b, at);
	if (bits == 0)
		return false;
	*placep = at * 8 + (size_t)__builtin_clz(bits) - (sizeof(unsigned) * 8 - 8);
	return true;
}

static int widen_nodes(struct index *index)
{
	uint64_t capacity = index->nodes_capacity + index->nodes_capacity / GROWTH;
	struct node *nodes;

	if (capacity < CAPACITY_MIN)
		capacity = CAPACITY_MIN;
	if (capacity > UINT32_MAX)
		return -ENOMEM;
	nodes = reallocarray(index->nodes, capacity, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	index->nodes = nodes;
	index->nodes_capacity = (uint32_t)capacity;
	return 0;
}

/* Sees to it that the next take_node has one to give. */
static int reserve_node(struct index *index)
{
	if (index->nodes_spare != 0 || index->nodes_used < index->nodes_capacity)
		return 0;
	return widen_nodes(index);
}

static uint32_t take_node(struct index *index)
{
	uint32_t number = index->nodes_spare;

	if (number == 0)
		return index->nodes_used++;
	index->nodes_spare = index->nodes[number - 1].child[0];
	return number - 1;
}

static void give_node(struct index *index, uint32_t number)
{
	index->nodes[number] = (struct node){ .child = { index->nodes_spare } };
	index->nodes_spare = number + 1;
}

/* An edge: the root when there is no node above it. */
struct edge {
	bool below; /* a node */
	uint32_t node;
	unsigned side;
};

/* An edge, and the one that leads to where it begins. All zero: the root. */
struct path {
	struct edge above;
	struct edge edge;
};

#define EVERY_PLACE SIZE_MAX

static struct link link_at(const struct index *index, struct edge edge)
{
	return edge.below ? child_of(&index->nodes[edge.node], edge.side) : index->root;
}

static void set_link(struct index *index, struct edge edge, struct link link)
{
	if (edge.below)
		set_child(&index->nodes[edge.node], edge.side, link);
	else
		index->root = link;
}

/* The path goes on below the node that it has reached. */
static struct path descend(const struct index *index, struct path path, unsigned side)
{
	uint32_t node = link_at(index, path.edge).value;

	return (struct path){ .above = path.edge,
		.edge = { .below = true, .node = node, .side = side } };
}

/* The least leaf below a path. */
static struct path least(const struct index *index, struct path path)
{
	while (!link_at(index, path.edge).leaf)
		path = descend(index, path, 0);
	return path;
}

/*
 * Follows a name as long as the places are before `place`: to the leaf where the name is if it is
 * anywhere, or to the edge that it would part from. *turn, if wanted, becomes the way to what sorts
 * behind everything there: the last right that was not taken. It is the root if there is none.
 */
static struct path follow(
	const struct index *index, struct span name, size_t place, struct path *turn)
{
	struct path path = { 0 };
	struct link link = index->root;

	while (!link.leaf && place_of(&index->nodes[link.value]) < place) {
		unsigned side = side_at(name, place_of(&index->nodes[link.value]));

		if (turn && side == 0)
			*turn = descend(index, path, 1);
		path = descend(index, path, side);
		link = link_at(index, path.edge);
	}
	return path;
}

/* Empties the tree. */
static void uproot(struct index *index)
{
	free(index->nodes);
	index->nodes = NULL;
	index->nodes_capacity = index->nodes_used = index->nodes_spare = 0;
	index->planted = false;
}

/* Takes a leaf out of the order; its neighbour takes the place of the node above. */
static void splice(struct index *index, struct path leaf)
{
	if (leaf.edge.below) {
		set_link(index, leaf.above,
			child_of(&index->nodes[leaf.edge.node], !leaf.edge.side));
		give_node(index, leaf.edge.node);
		return;
	}
	uproot(index);
}

/*
 * The leaf that a name leads to. What has another name than it was filed under has no say in where
 * others stand, and is taken out of the order. Returns false when nothing is left.
 */
static bool nearest(struct index *index, struct span name, uint32_t *unitp)
{
	while (index->planted) {
		struct path path = follow(index, name, EVERY_PLACE, NULL);

		*unitp = link_at(index, path.edge).value;
		if (span_equal(name_of(index, *unitp), name) || is_filed(index, *unitp))
			return true;
		splice(index, path);
	}
	return false;
}

/* Hangs a leaf in where its name parts from those that are there. */
static void branch(struct index *index, struct span name, size_t place, struct link leaf)
{
	struct edge edge = follow(index, name, place, NULL).edge;
	uint32_t number = take_node(index);
	struct node *node = &index->nodes[number];

	*node = (struct node){ .place = (uint16_t)place };
	set_child(node, side_at(name, place), leaf);
	set_child(node, !side_at(name, place), link_at(index, edge));
	set_link(index, edge, (struct link){ .value = number });
}

/* Puts a leaf into the order; a node is reserved. */
static void plant(struct index *index, struct span name, uint32_t unit)
{
	struct link leaf = { .value = unit, .leaf = true };
	uint32_t near;
	size_t place;

	if (!nearest(index, name, &near)) {
		index->root = leaf;
		index->planted = true;
	} else if (differ(name_of(index, near), name, &place)) {
		branch(index, name, place, leaf);
	} else {
		/* What stood there was overwritten, with this very name. */
		set_link(index, follow(index, name, EVERY_PLACE, NULL).edge, leaf);
	}
}

/*
 * The leaf behind a name that is there (EVERY_PLACE), or that parts at `place` from what is there:
 * all below that edge agree with each other where the name does not agree with them.
 */
static bool leaf_behind(
	const struct index *index, struct span name, size_t place, struct path *leafp)
{
	struct path turn = { 0 };
	struct path path = follow(index, name, place, &turn);

	if (place != EVERY_PLACE && side_at(name, place) == 0)
		*leafp = least(index, path);
	else if (turn.edge.below)
		*leafp = least(index, turn);
	else
		return false;
	return true;
}

/* The first leaf behind a name, or at it when `at` is set. */
static bool seek(struct index *index, struct span name, bool at, struct path *leafp)
{
	uint32_t near;
	size_t place;

	if (!nearest(index, name, &near))
		return false;
	if (differ(name_of(index, near), name, &place))
		return leaf_behind(index, name, place, leafp);
	if (!at)
		return leaf_behind(index, name, EVERY_PLACE, leafp);
	*leafp = follow(index, name, EVERY_PLACE, NULL);
	return true;
}

static bool sorts_before(struct span a, struct span b)
{
	size_t place;

	return differ(a, b, &place) && side_at(a, place) == 0;
}

uint64_t index_next(struct index *index, struct span prefix, struct span after)
{
	bool at = after.size == 0 || sorts_before(after, prefix);
	struct path leaf;

	while (seek(index, at ? prefix : after, at, &leaf)) {
		uint32_t unit = link_at(index, leaf.edge).value;
		bool inside = span_starts_with(name_of(index, unit), prefix);

		if (inside ? is_sound(index, unit) : is_filed(index, unit))
			return inside ? reference_of(unit) : 0;
		splice(index, leaf);
	}
	return 0;
}

/* -- both ---------------------------------------------------------------------------------- */

int index_insert(struct index *index, struct span name, uint64_t reference)
{
	struct slot slot = { .hash = hash_of(index, name), .unit = unit_of(reference) };
	int r;

	if (name.size > INDEX_NAME_MAX)
		return -ENAMETOOLONG;
	r = reserve_slot(index);
	if (r == 0)
		r = reserve_node(index);
	if (r < 0)
		return r;
	put_slot(index->slots, index->capacity, slot);
	index->count++;
	plant(index, name, slot.unit);
	return 0;
}

void index_replace(struct index *index, struct span name, uint64_t old, uint64_t reference)
{
	uint64_t at = slot_at(index, hash_of(index, name), unit_of(old));
	struct edge edge;

	index->slots[at].unit = unit_of(reference);
	if (!index->planted)
		return;
	edge = follow(index, name, EVERY_PLACE, NULL).edge;
	if (link_at(index, edge).value == unit_of(old))
		set_link(index, edge, (struct link){ .value = unit_of(reference), .leaf = true });
}

void index_remove(struct index *index, struct span name, uint64_t reference)
{
	struct path path;

	empty_slot(index, slot_at(index, hash_of(index, name), unit_of(reference)));
	if (index->planted) {
		path = follow(index, name, EVERY_PLACE, NULL);
		if (link_at(index, path.edge).value == unit_of(reference))
			splice(index, path);
	}
	shrink_table(index);
}

void index_each(
	const struct index *index, void (*visit)(void *context, uint64_t reference), void *context)
{
	for (uint64_t i = 0; i < index->capacity; i++)
		if (index->slots[i].unit != 0)
			visit(context, reference_of(index->slots[i].unit));
}

void index_clear(struct index *index)
{
	uproot(index);
	memset(index->slots, 0, index->capacity * sizeof(*index->slots));
	index->count = 0;
	shrink_table(index);
}

int index_new(struct index **indexp, const struct index_source *source)
{
	struct index *index = calloc(1, sizeof(*index));
	int r;

	if (!index)
		return -ENOMEM;
	index->source = *source;
	crypto_shorthash_keygen(index->key);
	r = resize_table(index, CAPACITY_MIN);
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
