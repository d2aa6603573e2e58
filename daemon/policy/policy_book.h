/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "daemon/config_fault.h"
#include "daemon/policy/policy_subject.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A policy that was written down: texts are read into it, then it is sealed, and from then on it
 * answers and never changes. In which order the texts came, and the lines in them, has no influence
 * on any answer. policy_text.c describes the language.
 */
struct policy_book;

/* Who is called what. Each returns whether there is somebody with this name. */
struct policy_names {
	bool (*user)(void *context, const char *name, uid_t *uidp);
	bool (*group)(void *context, const char *name, gid_t *gidp);
	void *context;
};

/* NULL without memory. */
struct policy_book *policy_book_new(void);
void *policy_book_free(struct policy_book *book);

/*
 * Reads one text; `path` is for messages, now and later, and is copied. Returns 0; -EBADMSG with
 * the fault said, file and line in it; or -ENOMEM. After a failure the book is good for nothing. No
 * system call but those of `names`.
 */
int policy_book_read(struct policy_book *book, const char *text, size_t size, const char *path,
	const struct policy_names *names, struct config_fault *fault);

/* Makes it answer. Returns as above: two texts may contradict each other. */
int policy_book_seal(struct policy_book *book, struct config_fault *fault);

/* What is asked; `right` is one of those that a rule can name. */
struct policy_query {
	const struct policy_subject *subject;
	unsigned right;   /* enum right */
	struct span name; /* filed, whole */
	int64_t now;      /* seconds since 1970 */
};

/* What a book says to it. */
enum policy_word { POLICY_SILENT, POLICY_DENIED, POLICY_ALLOWED, POLICY_OWNED };

struct policy_answer {
	enum policy_word word;
	const char *file; /* the line that says so; lives as long as the book; NULL: none */
	unsigned line;
};

/*
 * Any deny goes before any allow, that before the owner of the namespace. No allocation, no system
 * call, less than 1 KiB of stack.
 */
struct policy_answer policy_book_ask(
	const struct policy_book *book, const struct policy_query *query);

/* Milliseconds that a secret of this name may live at most: the least that is said; 0: no limit. */
uint64_t policy_book_max_ttl(const struct policy_book *book, struct span name);

/*
 * Whether a namespace that the name lies in wants a reason of who does this (enum right): it is
 * POLICY_DENIED then, by that line, else POLICY_SILENT.
 */
struct policy_answer policy_book_reason(
	const struct policy_book *book, unsigned right, struct span name);

/*
 * Whether any rule or owner lets the subject do this to names that begin as this one does, or as
 * part of it does; denied or not. And behind it, in order, what the first names begin with for
 * which that is so; empty when there are none.
 */
bool policy_book_grants(const struct policy_book *book, const struct policy_query *query);
struct span policy_book_next(const struct policy_book *book, const struct policy_query *query);

/* Whether the first is so for this name, or for any that begins with it. */
bool policy_book_grants_below(const struct policy_book *book, const struct policy_query *query);

/* Whether an answer may change as time goes by. */
bool policy_book_expires(const struct policy_book *book);

/* Whether an answer may hang on unit, slice or userunit. */
bool policy_book_asks_where(const struct policy_book *book);

/* How many rules there are. */
size_t policy_book_rules(const struct policy_book *book);

/* The namespace that a name lies in, the deepest there is, with a slash at its end; "" for none. */
struct span policy_book_space_of(const struct policy_book *book, struct span name);
