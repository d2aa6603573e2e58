/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/request/desk.h"

#include <errno.h>
#include <stdbool.h>

/*
 * A list or an export: it looks at one name after another, in steps, so that others have their
 * turns however much there is that the caller may not see. How much that is tells nothing but the
 * time it takes. It ends with its session.
 */
struct walk;

/* Names that one step looks at, at most, and one at least. */
#define WALK_LOOKS 64

/* What a step returns when there is more to look at. */
#define WALK_ON (-EAGAIN)

/* Returns 0 when the answer is given, WALK_ON, a status that is still to be answered, or a negative
 * errno. `desk` has the walk's copy of the request. */
typedef int walk_step(struct desk *desk, struct walk *walk);

struct walk {
	struct walk *next;
	walk_step *step;
	struct request request; /* its texts are in `bytes` */
	struct scope scope;
	bool over;           /* there is nothing left to look at */
	unsigned looks;      /* that it may still take at what the caller may see */
	uint32_t left;       /* list: infos that may still be told */
	uint64_t left_out;   /* export: secrets that were passed over, as no bundle takes them */
	bool told;           /* list: one at least has been told */
	uint64_t token_used; /* the number of the one that is counted; 0: none so far */
	size_t seen_size;    /* list: where an answer may end, which names it */
	char seen[NAME_FILED_MAX]; /* the last that the caller may list */
	char filed[NAME_FILED_MAX];
	struct tag tag[MESSAGE_TAGS_MAX];
	char bytes[];
};

/*
 * Begins what is asked at `desk`, which needs `right` for each name: takes `looks` at what the
 * caller may see, at most. Returns as a step does, but 0 where it goes on.
 */
int walk_begin(struct desk *desk, enum right right, walk_step *step, unsigned looks);

/* Whether a step may go on that has taken so many looks. */
bool walk_may_look(const struct daemon *daemon, unsigned looks);

/* NULL when there is none with this id. */
struct walk *walk_find(const struct transfers *transfers, uint64_t id);
void walk_end(struct transfers *transfers, struct walk *walk);

/* A step of the oldest one. Returns 0 or a negative errno. */
int walks_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);
