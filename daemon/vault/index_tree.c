/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/index_inside.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* Places in a name: 8 to a byte, the most significant bit first, zeros behind the end. */
#define PLACE_BITS 12
#define PLACE_MASK ((1u << PLACE_BITS) - 1)

_Static_assert((INDEX_NAME_MAX + 1) * 8 == 1 << PLACE_BITS, "every place in a name has a number");

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

static int widen_nodes(struct index *index, uint64_t least)
{
	uint64_t capacity = index->nodes_capacity + index->nodes_capacity / INDEX_GROWTH;
	struct node *nodes;

	if (capacity < least)
		capacity = least;
	if (capacity < INDEX_CAPACITY_MIN)
		capacity = INDEX_CAPACITY_MIN;
	if (capacity > UINT32_MAX)
		return -ENOMEM;
	nodes = reallocarray(index->nodes, capacity, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	index->nodes = nodes;
	index->nodes_capacity = (uint32_t)capacity;
	return 0;
}

/* So many names take a node less; those of names that are gone are taken again. */
int index_tree_reserve(struct index *index, uint64_t more)
{
	uint64_t names = index->count + index->promised + more;

	return names <= (uint64_t)index->nodes_capacity + 1 ? 0 : widen_nodes(index, names - 1);
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

void index_tree_clear(struct index *index)
{
	/* What is promised keeps its room. */
	if (index->promised == 0) {
		free(index->nodes);
		index->nodes = NULL;
		index->nodes_capacity = 0;
	}
	index->nodes_used = index->nodes_spare = 0;
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
	index_tree_clear(index);
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
		if (span_equal(name_of(index, *unitp), name) || index_table_is_filed(index, *unitp))
			return true;
		splice(index, path);
	}
	return false;
}

/* Hangs a leaf into an edge, where its name parts from those below. Returns the new node. */
static uint32_t branch(
	struct index *index, struct edge edge, struct span name, size_t place, struct link leaf)
{
	uint32_t number = take_node(index);
	struct node *node = &index->nodes[number];

	*node = (struct node){ .place = (uint16_t)place };
	set_child(node, side_at(name, place), leaf);
	set_child(node, !side_at(name, place), link_at(index, edge));
	set_link(index, edge, (struct link){ .value = number });
	return number;
}

void index_tree_add(struct index *index, struct span name, uint32_t unit)
{
	struct link leaf = { .value = unit, .leaf = true };
	uint32_t near;
	size_t place;

	if (!nearest(index, name, &near)) {
		index->root = leaf;
		index->planted = true;
	} else if (differ(name_of(index, near), name, &place)) {
		branch(index, follow(index, name, place, NULL).edge, name, place, leaf);
	} else {
		/* What stood there was overwritten, with this very name. */
		set_link(index, follow(index, name, EVERY_PLACE, NULL).edge, leaf);
	}
}

/* The edge below the node that the finger is at, towards a name. */
static struct edge edge_towards(
	const struct index *index, const struct finger *finger, struct span name)
{
	uint32_t node;

	if (finger->depth == 0)
		return (struct edge){ 0 };
	node = finger->nodes[finger->depth - 1];
	return (struct edge){
		.below = true, .node = node, .side = side_at(name, place_of(&index->nodes[node]))
	};
}

/* Up, until no place on the way is behind `place`. Returns whether the last one is that place. */
static bool lift(const struct index *index, struct finger *finger, size_t place)
{
	size_t last = 0;

	while (finger->depth > 0) {
		last = place_of(&index->nodes[finger->nodes[finger->depth - 1]]);
		if (last <= place)
			break;
		finger->depth--;
	}
	return finger->depth > 0 && last == place;
}

/* Down to the leaf that a name leads to. */
static struct span reach(const struct index *index, struct finger *finger, struct span name)
{
	struct link link = link_at(index, edge_towards(index, finger, name));

	while (!link.leaf) {
		const struct node *node = &index->nodes[link.value];

		finger->nodes[finger->depth++] = link.value;
		link = child_of(node, side_at(name, place_of(node)));
	}
	return name_of(index, link.value);
}

/*
 * Moves the finger to the edge that a name parts from. All names below an edge agree up to the
 * place where they part, so that the last one speaks for all, unless others have parted from it at
 * that very place: then one of theirs does. Returns false when the name is there.
 */
static bool point(
	const struct index *index, struct finger *finger, struct span name, size_t *placep)
{
	struct span near;

	if (!differ(finger->name, name, placep))
		return false;
	if (!lift(index, finger, *placep))
		return true;
	near = reach(index, finger, name);
	if (!differ(near, name, placep))
		return false;
	(void)lift(index, finger, *placep);
	return true;
}

void index_tree_add_near(
	struct index *index, struct finger *finger, struct span name, uint32_t unit)
{
	struct link leaf = { .value = unit, .leaf = true };
	struct edge edge;
	size_t place;

	if (!index->planted) {
		index->root = leaf;
		index->planted = true;
	} else if (point(index, finger, name, &place)) {
		edge = edge_towards(index, finger, name);
		finger->nodes[finger->depth++] = branch(index, edge, name, place, leaf);
	} else {
		set_link(index, edge_towards(index, finger, name), leaf);
	}
	finger->name = name;
}

void index_tree_replace(struct index *index, struct span name, uint32_t old, uint32_t unit)
{
	struct edge edge;

	if (!index->planted)
		return;
	edge = follow(index, name, EVERY_PLACE, NULL).edge;
	if (link_at(index, edge).value == old)
		set_link(index, edge, (struct link){ .value = unit, .leaf = true });
}

void index_tree_remove(struct index *index, struct span name, uint32_t unit)
{
	struct path path;

	if (!index->planted)
		return;
	path = follow(index, name, EVERY_PLACE, NULL);
	if (link_at(index, path.edge).value == unit)
		splice(index, path);
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

		if (inside ? is_sound(index, unit) : index_table_is_filed(index, unit))
			return inside ? reference_of(unit) : 0;
		splice(index, leaf);
	}
	return 0;
}
