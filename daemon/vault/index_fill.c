/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/index_inside.h"

#include <errno.h>
#include <stdlib.h>

/* Many names at once, as they are found. */

/* So many names later a slot has come out of memory. A power of two. */
#define NAMES_AHEAD 8

/* A name whose slot is on its way. */
struct expected {
	struct span name;
	uint32_t hash;
	uint32_t unit;
};

/* Too large for the stack that adopting runs on. */
struct filling {
	struct index *index;
	index_choose_fn choose;
	void *context;
	struct finger finger;
	struct expected expected[NAMES_AHEAD];
};

static void expect(struct filling *filling, size_t i, uint64_t reference)
{
	struct expected *expected = &filling->expected[i % NAMES_AHEAD];
	uint32_t unit = unit_of(reference);
	struct span name = name_of(filling->index, unit);

	/* Whoever gathers them has looked: there is no place in a longer one that has a number. */
	if (name.size > INDEX_NAME_MAX)
		abort();
	*expected = (struct expected){
		.name = name, .hash = index_table_hash(filling->index, name), .unit = unit
	};
	index_table_expect(filling->index, expected->hash);
}

static void enter(struct filling *filling, const struct expected *more)
{
	struct index *index = filling->index;
	uint32_t there = index_table_enter(index, more->name, more->hash, more->unit);

	if (there == 0)
		index_tree_add_near(index, &filling->finger, more->name, more->unit);
	else if (filling->choose(filling->context, reference_of(there), reference_of(more->unit)) !=
		reference_of(there))
		index_replace(index, more->name, reference_of(there), reference_of(more->unit));
}

static void fill(struct filling *filling, const uint64_t *references, size_t count)
{
	for (size_t i = 0; i < count + NAMES_AHEAD; i++) {
		if (i >= NAMES_AHEAD)
			enter(filling, &filling->expected[i % NAMES_AHEAD]);
		if (i < count)
			expect(filling, i, references[i]);
	}
}

int index_fill(struct index *index, const uint64_t *references, size_t count,
	index_choose_fn choose, void *context)
{
	struct filling *filling = calloc(1, sizeof(*filling));
	int r = filling ? 0 : -ENOMEM;

	index_clear(index);
	if (r == 0)
		r = index_reserve(index, count);
	if (r == 0) {
		filling->index = index;
		filling->choose = choose;
		filling->context = context;
		fill(filling, references, count);
	}
	free(filling);
	return r;
}
