/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_book.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/policy_inside.h"

/* -- room ---------------------------------------------------------------------------------- */

#define BLOCK_SIZE 16384

/* Nothing in it ever moves. */
struct block {
	struct block *next;
	size_t used;
	alignas(max_align_t) char bytes[BLOCK_SIZE];
};

void *policy_book_take(struct policy_book *book, size_t size)
{
	struct block *block = book->blocks;
	char *taken;

	size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	if (size > BLOCK_SIZE)
		return NULL;
	if (!block || BLOCK_SIZE - block->used < size) {
		block = malloc(sizeof(*block));
		if (!block)
			return NULL;
		block->next = book->blocks;
		block->used = 0;
		book->blocks = block;
	}
	taken = block->bytes + block->used;
	block->used += size;
	return taken;
}

const char *policy_book_text(struct policy_book *book, struct span text)
{
	char *copy = policy_book_take(book, text.size + 1);

	if (!copy)
		return NULL;
	if (text.size > 0)
		memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	return copy;
}

/* Room for one more in an array. Returns whether there is. */
static bool grow(void **arrayp, size_t count, size_t *roomp, size_t size)
{
	size_t room = *roomp ? 2 * *roomp : 64;
	void *array;

	if (count < *roomp)
		return true;
	array = reallocarray(*arrayp, room, size);
	if (!array)
		return false;
	*arrayp = array;
	*roomp = room;
	return true;
}

struct rule *policy_book_rule(struct policy_book *book)
{
	void *rules = book->rules;

	if (!grow(&rules, book->rule_count, &book->rule_room, sizeof(struct rule)))
		return NULL;
	book->rules = rules;
	return &book->rules[book->rule_count++];
}

struct space *policy_book_space(struct policy_book *book)
{
	void *spaces = book->spaces;

	if (!grow(&spaces, book->space_count, &book->space_room, sizeof(struct space)))
		return NULL;
	book->spaces = spaces;
	return &book->spaces[book->space_count++];
}

struct policy_book *policy_book_new(void)
{
	return calloc(1, sizeof(struct policy_book));
}

void *policy_book_free(struct policy_book *book)
{
	struct block *next;

	if (!book)
		return NULL;
	for (struct block *block = book->blocks; block; block = next) {
		next = block->next;
		free(block);
	}
	free(book->rules);
	free(book->spaces);
	free(book->ids);
	free(book->places);
	free(book->runs);
	free(book);
	return NULL;
}

/* -- order --------------------------------------------------------------------------------- */

static int compare_spans(struct span a, struct span b)
{
	size_t least = a.size < b.size ? a.size : b.size;
	int order = least > 0 ? memcmp(a.data, b.data, least) : 0;

	return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_sources(const struct source *a, const struct source *b)
{
	int order = a->file && b->file ? strcmp(a->file, b->file) : 0;

	return order ? order : (a->line > b->line) - (a->line < b->line);
}

static int compare_rules(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;
	const struct selector *key = &x->who.selectors[0], *other = &y->who.selectors[0];
	int order = compare_spans(x->glob.literal, y->glob.literal);

	if (order == 0)
		order = (key->kind > other->kind) - (key->kind < other->kind);
	if (order == 0)
		order = selector_compare(key, other);
	return order ? order : compare_sources(&x->source, &y->source);
}

static int compare_spaces(const void *a, const void *b)
{
	const struct space *x = a, *y = b;
	int order = compare_spans(x->literal, y->literal);

	if (order == 0)
		order = compare_sources(&x->owner_source, &y->owner_source);
	if (order == 0)
		order = compare_sources(&x->max_ttl_source, &y->max_ttl_source);
	return order ? order : compare_sources(&x->reasons_source, &y->reasons_source);
}

/* -- namespaces that are written in several pieces ----------------------------------------- */

/* Who comes later in the order of files and lines is the second, however they were read. */
static int fail_twice(struct config_fault *fault, const char *key, const struct space *space,
	const struct source *a, const struct source *b)
{
	bool turned = compare_sources(a, b) > 0;
	const struct source *first = turned ? b : a, *second = turned ? a : b;
	int size = space->literal.size > 0 ? (int)space->literal.size - 1 : 1;

	config_fault_say(fault,
		"%s:%u: '%s' of [namespace %.*s] is set a second time (first in %s:%u)",
		second->file, second->line, key, size,
		space->literal.size > 0 ? (const char *)space->literal.data : "/", first->file,
		first->line);
	return -EBADMSG;
}

static int merge(struct space *into, const struct space *from, struct config_fault *fault)
{
	if (into->owner_source.line > 0 && from->owner_source.line > 0)
		return fail_twice(fault, "owner", into, &into->owner_source, &from->owner_source);
	if (into->max_ttl_source.line > 0 && from->max_ttl_source.line > 0)
		return fail_twice(
			fault, "max-ttl", into, &into->max_ttl_source, &from->max_ttl_source);
	if (into->reasons_source.line > 0 && from->reasons_source.line > 0)
		return fail_twice(fault, "require-reason", into, &into->reasons_source,
			&from->reasons_source);
	if (from->reasons_source.line > 0) {
		into->reasons = from->reasons;
		into->reasons_source = from->reasons_source;
	}
	if (from->owner_source.line > 0) {
		into->owner = from->owner;
		into->owner_source = from->owner_source;
	}
	if (from->max_ttl_source.line > 0) {
		into->max_ttl_ms = from->max_ttl_ms;
		into->max_ttl_source = from->max_ttl_source;
	}
	return 0;
}

/* One of each name is left. */
static int merge_spaces(struct policy_book *book, struct config_fault *fault)
{
	size_t kept = 0;
	int r = 0;

	if (book->space_count > 0)
		qsort(book->spaces, book->space_count, sizeof(book->spaces[0]), compare_spaces);
	for (size_t i = 0; i < book->space_count && r == 0; i++) {
		if (kept > 0 && span_equal(book->spaces[kept - 1].literal, book->spaces[i].literal))
			r = merge(&book->spaces[kept - 1], &book->spaces[i], fault);
		else
			book->spaces[kept++] = book->spaces[i];
	}
	book->space_count = kept;
	return r;
}

/* -- places -------------------------------------------------------------------------------- */

/* The place that stands behind all others so far. Its parent is one of their line. */
static struct place *add_place(struct policy_book *book, struct span literal)
{
	size_t parent = book->place_count > 0 ? book->place_count - 1 : NO_PLACE;
	struct place *place = &book->places[book->place_count++];

	while (parent != NO_PLACE && !span_starts_with(literal, book->places[parent].literal))
		parent = book->places[parent].parent;
	*place = (struct place){
		.literal = literal, .parent = parent, .first_run = book->run_count
	};
	return place;
}

/* All rules from `at` on that begin like it. Returns where they end. */
static size_t add_runs(struct policy_book *book, struct place *place, size_t at)
{
	struct run *run = NULL;

	for (; at < book->rule_count && span_equal(book->rules[at].glob.literal, place->literal);
		at++) {
		enum selector_kind kind = book->rules[at].who.selectors[0].kind;

		if (!run || run->kind != kind) {
			run = &book->runs[book->run_count++];
			*run = (struct run){ .kind = kind, .first = at };
			place->run_count++;
		}
		run->count++;
	}
	return at;
}

/* Where rules and namespaces begin, each once, in order. */
static void add_places(struct policy_book *book)
{
	size_t rule = 0, space = 0;

	while (rule < book->rule_count || space < book->space_count) {
		const struct rule *next = rule < book->rule_count ? &book->rules[rule] : NULL;
		const struct space *other = space < book->space_count ? &book->spaces[space] : NULL;
		int order = !next ? 1
			: !other  ? -1
				  : compare_spans(next->glob.literal, other->literal);
		struct place *place =
			add_place(book, order <= 0 ? next->glob.literal : other->literal);

		if (order >= 0) {
			place->space = other;
			space++;
		}
		if (order <= 0)
			rule = add_runs(book, place, rule);
	}
}

/* -- keys ---------------------------------------------------------------------------------- */

static int compare_selectors(const void *a, const void *b)
{
	const struct selector *x = a, *y = b;

	return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
				  : selector_compare(x, y);
}

/* How many of all selectors are not above this one, or with `below` those below it. */
static size_t count_up_to(
	const struct selector *all, size_t count, const struct selector *selector, bool below)
{
	size_t low = 0;

	while (low < count) {
		size_t middle = low + (count - low) / 2;
		int order = compare_selectors(&all[middle], selector);

		if (order < 0 || (order == 0 && !below))
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

/* The rarest one comes first: they are sorted, so that among equals it is the first kind. */
static void choose_key(struct who *who, const struct selector *all, size_t count)
{
	size_t rarest = SIZE_MAX, chosen = 0;
	struct selector key;

	for (size_t i = 0; i < who->count; i++) {
		size_t times = count_up_to(all, count, &who->selectors[i], false) -
			count_up_to(all, count, &who->selectors[i], true);

		if (times < rarest) {
			rarest = times;
			chosen = i;
		}
	}
	key = who->selectors[chosen];
	who->selectors[chosen] = who->selectors[0];
	who->selectors[0] = key;
}

static int choose_keys(struct policy_book *book)
{
	struct selector *all;
	size_t count = 0;

	for (size_t i = 0; i < book->rule_count; i++)
		count += book->rules[i].who.count;
	all = calloc(count + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < book->rule_count; i++)
		for (size_t j = 0; j < book->rules[i].who.count; j++)
			all[count++] = book->rules[i].who.selectors[j];
	qsort(all, count, sizeof(*all), compare_selectors);
	for (size_t i = 0; i < book->rule_count; i++)
		choose_key(&book->rules[i].who, all, count);
	free(all);
	return 0;
}

/* -- all of it ----------------------------------------------------------------------------- */

static int compile(struct policy_book *book)
{
	book->ids = calloc(book->rule_count + 1, sizeof(*book->ids));
	book->places = calloc(book->rule_count + book->space_count + 1, sizeof(*book->places));
	book->runs = calloc(book->rule_count + 1, sizeof(*book->runs));
	if (!book->ids || !book->places || !book->runs || choose_keys(book) < 0)
		return -ENOMEM;
	if (book->rule_count > 0)
		qsort(book->rules, book->rule_count, sizeof(book->rules[0]), compare_rules);
	for (size_t i = 0; i < book->rule_count; i++)
		book->ids[i] = book->rules[i].who.selectors[0].id;
	add_places(book);
	return 0;
}

int policy_book_seal(struct policy_book *book, struct config_fault *fault)
{
	int r = merge_spaces(book, fault);

	if (r == 0)
		r = compile(book);
	if (r == -ENOMEM)
		config_fault_say(fault, "policy: out of memory");
	return r;
}

bool policy_book_expires(const struct policy_book *book)
{
	return book->expires;
}

bool policy_book_asks_where(const struct policy_book *book)
{
	return book->asks_where;
}

size_t policy_book_rules(const struct policy_book *book)
{
	return book->rule_count;
}
