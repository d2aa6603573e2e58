/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/policy/policy_book.h"
#include "daemon/policy/policy_glob.h"
#include "daemon/policy/policy_subject.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a policy lies in memory: for the files that make it and look into it. */

/*
 * What a line can tell a caller by. Its key is the one that the fewest lines have, else the first
 * in this order: lines with the same beginning of a name are sorted by it, so that few are looked
 * at.
 */
enum selector_kind {
	SELECT_UID,
	SELECT_UNIT,
	SELECT_USERUNIT,
	SELECT_TOKEN,
	SELECT_CRED,
	SELECT_LISTENER,
	SELECT_SLICE,
	SELECT_LABEL,
	SELECT_GID, /* the group of the process, or one of its supplementary ones */
	SELECT_ANYBODY,
};

struct selector {
	enum selector_kind kind;
	uint32_t id;      /* of a user or group, else selector_digest of the text */
	const char *text; /* "" for a user or group */
};

/* Whoever all of them match, the key first once it is sealed; nobody when there is none. */
struct who {
	struct selector *selectors;
	size_t count;
	bool weak; /* units count, though no pidfd holds the process */
};

/* Where something stands. */
struct source {
	const char *file;
	unsigned line; /* 0: nowhere */
};

/* An allow or a deny. */
struct rule {
	struct glob glob;
	struct who who;
	uint32_t rights; /* a bit each */
	bool deny;
	int64_t until; /* the last second that it holds in, since 1970 */
	struct source source;
};

struct space {
	struct span literal; /* its name and a slash; of the one for all names: nothing */
	struct who owner;
	struct source owner_source;
	uint64_t max_ttl_ms; /* 0: none */
	struct source max_ttl_source;
	uint32_t reasons; /* rights, a bit each: who uses one has to say why */
	struct source reasons_source;
};

/* Rules of one place with the same kind of key, sorted by it. */
struct run {
	enum selector_kind kind;
	size_t first;
	size_t count;
};

#define NO_PLACE SIZE_MAX

/* What names begin with: all that is said of those that begin with it. */
struct place {
	struct span literal;
	size_t parent; /* the longest other that this one begins with; NO_PLACE: none */
	size_t first_run;
	size_t run_count;
	const struct space *space; /* NULL: it is none's */
};

struct block;

struct policy_book {
	struct block *blocks; /* texts and selectors */
	struct rule *rules;   /* from `places` on sorted by literal, key, and place in the files */
	uint32_t *ids;        /* of each rule's key, close together for the search */
	size_t rule_count;
	size_t rule_room;
	struct space *spaces; /* likewise; one a name then */
	size_t space_count;
	size_t space_room;
	struct place *places; /* sorted by literal */
	size_t place_count;
	struct run *runs;
	size_t run_count;
	bool expires;    /* one rule does, at least */
	bool asks_where; /* one rule or owner names a unit or a slice, at least */
};

/* Room that lasts as long as the book. NULL without memory. */
void *policy_book_take(struct policy_book *book, size_t size);
const char *policy_book_text(struct policy_book *book, struct span text);

/* Places for another rule and namespace, empty. NULL without memory. Either moves all others. */
struct rule *policy_book_rule(struct policy_book *book);
struct space *policy_book_space(struct policy_book *book);

/* A number that the same texts have in common, and others may have as well. */
uint32_t selector_digest(const char *text);

/* Ascending order of uint32_t, for qsort and bsearch. */
int selector_compare_ids(const void *a, const void *b);

/* Order of two of a kind, by number and then by text. */
int selector_compare(const struct selector *a, const struct selector *b);

/*
 * Reads one "KIND:VALUE" of a line; the text is put into the book. NULL, or what is wrong, as a
 * sentence part; *namep then tells which name is not known, or is NULL.
 */
const char *selector_parse(struct policy_book *book, struct selector *selector, struct span word,
	const struct policy_names *names);

/* How a kind is written, and whether it tells of units. */
const char *selector_kind_name(enum selector_kind kind);
bool selector_is_unit(enum selector_kind kind);

/* What a subject has of a kind of text; NULL when that is not known. */
const char *selector_text(const struct policy_subject *subject, enum selector_kind kind);

/*
 * Whether all match. With `doubtful` units do though no pidfd holds the process, and any unit does
 * of one that may be in any; and a group does whose number others have, too.
 */
bool who_matches(const struct who *who, const struct policy_subject *subject, bool doubtful);
