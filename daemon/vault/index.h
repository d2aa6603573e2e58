/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * From names to references: a hash table for looking up, a crit-bit tree for going through names
 * in byte order. Names stay where they are, in what the references stand for; the index asks for
 * them. A reference is an offset in the ledger: a multiple of 16, not 0, below 64 GiB.
 *
 * Names hold no NUL and have at most INDEX_NAME_MAX bytes.
 */
struct index;

#define INDEX_NAME_MAX 511 /* bytes: a place in a name has 12 bits */

/* How the index sees what a reference stands for. */
struct index_source {
	/* The name; any bytes at all when what stands there was overwritten. */
	struct span (*name)(void *context, uint64_t reference);

	/*
	 * Whether it is what was written. Asked only of what index_next is about to return: what
	 * is not sound is taken out of the order.
	 */
	bool (*sound)(void *context, uint64_t reference);

	void *context;
};

/* Returns 0 or -ENOMEM. `source` is copied. */
int index_new(struct index **indexp, const struct index_source *source);
void index_free(struct index *index);

/* Names held, and bytes that they take here. */
uint64_t index_count(const struct index *index);
uint64_t index_bytes(const struct index *index);

/*
 * The reference under a name, or 0. *suspectp becomes a reference that was stored under the same
 * hash of 32 bits but now has another name, or 0: if that one is not sound, it is the one.
 */
uint64_t index_find(const struct index *index, struct span name, uint64_t *suspectp);

/* Makes room for so many names in all. Returns 0, or -ENOMEM; nothing is lost then. */
int index_reserve(struct index *index, uint64_t count);

/* Adds a name that is not there. Returns 0, or -ENOMEM; nothing is changed then. */
int index_insert(struct index *index, struct span name, uint64_t reference);

/*
 * Which of two references of one name stays. It changes nothing that they stand for. `more` is the
 * later one in the list.
 */
typedef uint64_t (*index_choose_fn)(void *context, uint64_t there, uint64_t more);

/*
 * Forgets everything and adds the names of `references`, none of which was overwritten. Each is
 * hashed once, and names that come in their order cost no way through the tree: far less than one
 * index_insert after the other. Returns 0, or -ENOMEM; nothing is in it then.
 */
int index_fill(struct index *index, const uint64_t *references, size_t count,
	index_choose_fn choose, void *context);

/*
 * Sees to it that so many names can be added later with index_insert_promised, which cannot fail,
 * whatever is inserted in between. Returns 0 or -ENOMEM. What is not used is given back.
 */
int index_promise(struct index *index, uint64_t count);
void index_insert_promised(struct index *index, struct span name, uint64_t reference);
void index_withdraw(struct index *index, uint64_t count);

/* Puts another reference under a name. Cannot fail; the old one must be there. */
void index_replace(struct index *index, struct span name, uint64_t old, uint64_t reference);

/* Takes a name out, even if what the reference stands for was overwritten. It must be there. */
void index_remove(struct index *index, struct span name, uint64_t reference);

/*
 * The first sound reference in byte order whose name begins with `prefix` and sorts after `after`
 * (empty: from the beginning); 0 when there is none. Costs the length of the names; of references
 * whose names do not begin with `prefix`, nothing is asked but the name.
 */
uint64_t index_next(struct index *index, struct span prefix, struct span after);

/* Goes through all references in no order. */
void index_each(
	const struct index *index, void (*visit)(void *context, uint64_t reference), void *context);

/*
 * The same, some slots at a time: *atp is 0 at first and tells how far it is. Other references may
 * be put in the place of what is visited. What is inserted or removed in between moves others a
 * little: a few may be passed over, or be visited twice. Returns 1 at the end, 0 when there is
 * more; and what `visit` returns if that is not 0: then the same one is the next.
 */
#define INDEX_WALK_SLOTS 64
int index_walk(const struct index *index, uint64_t *atp,
	int (*visit)(void *context, uint64_t reference), void *context);

/* Forgets everything. */
void index_clear(struct index *index);
