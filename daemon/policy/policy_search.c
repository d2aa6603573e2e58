/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/policy/policy_inside.h"
#include "daemon/policy/policy_right.h"

/*
 * Few of the rules can say anything of a name: those whose beginning it shares. Their places are a
 * chain, from the longest to "", found by one search by halves; within one, rules are sorted by
 * what they tell a caller by.
 */

struct search {
	const struct policy_book *book;
	const struct policy_query *query;
	const struct rule *deny;
	const struct rule *allow;
};

/* -- places -------------------------------------------------------------------------------- */

static size_t common_size(struct span a, struct span b)
{
	size_t least = a.size < b.size ? a.size : b.size;
	size_t size = 0;

	while (size < least && a.data[size] == b.data[size])
		size++;
	return size;
}

/* How many of the places sort before or with the name. */
static size_t places_before(const struct policy_book *book, struct span name)
{
	size_t low = 0, high = book->place_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct span literal = book->places[middle].literal;
		size_t least = literal.size < name.size ? literal.size : name.size;
		int order = least > 0 ? memcmp(literal.data, name.data, least) : 0;

		if (order < 0 || (order == 0 && literal.size <= name.size))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct place *parent_of(const struct policy_book *book, const struct place *place)
{
	return place->parent == NO_PLACE ? NULL : &book->places[place->parent];
}

/*
 * The longest place that the name begins with, or NULL. Whatever sorts between such a place and the
 * name begins with that place, too: so it is the last one before the name, or one of its parents.
 */
static const struct place *find_place(const struct policy_book *book, struct span name)
{
	size_t before = places_before(book, name);
	const struct place *place = before > 0 ? &book->places[before - 1] : NULL;
	size_t common = place ? common_size(place->literal, name) : 0;

	while (place && place->literal.size > common)
		place = parent_of(book, place);
	return place;
}

/* -- rules --------------------------------------------------------------------------------- */

/*
 * Where it is doubtful whether a rule is meant, one that denies is, and one that allows is not:
 * units of processes that no pidfd holds or whose place is not known; a group whose number is that
 * of others, too; and a star at a name's beginning in a user's own space.
 */
static bool is_meant(const struct search *search, const struct rule *rule)
{
	const struct policy_query *query = search->query;
	struct span name = query->name;
	size_t size = rule->glob.literal.size;

	if (!(rule->rights & RIGHT_BIT(query->right)) || query->now > rule->until)
		return false;
	if (size == 0 && name.data[0] == '~' && !rule->deny)
		return false;
	return who_matches(&rule->who, query->subject, rule->deny) &&
		glob_matches(rule->glob.tail, span_of(name.data + size, name.size - size));
}

/* Whether the search is over: a deny is found. The first of each is the one that is told. */
static bool look_at(struct search *search, const struct rule *rule)
{
	const struct rule **foundp = rule->deny ? &search->deny : &search->allow;

	if (!*foundp && is_meant(search, rule))
		*foundp = rule;
	return search->deny != NULL;
}

/* Of numbers in ascending order, from `first` to `end`, the first that is not below this one. */
static size_t first_not_below(const uint32_t *ids, size_t first, size_t end, uint32_t id)
{
	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (ids[middle] < id)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

/* All from `first` on whose key has this number. Returns where they end, or may begin. */
static size_t look_at_key(struct search *search, size_t first, size_t end, uint32_t id)
{
	const struct policy_book *book = search->book;
	size_t at = first_not_below(book->ids, first, end, id);

	while (at < end && book->ids[at] == id)
		if (look_at(search, &book->rules[at++]))
			break;
	return at;
}

/* Whatever their keys. */
static void look_at_all(struct search *search, size_t first, size_t end)
{
	while (first < end && !look_at(search, &search->book->rules[first]))
		first++;
}

/* Both are sorted: whichever is behind is moved on, so that the shorter of them counts. */
static void look_at_groups(struct search *search, const struct run *run)
{
	const struct policy_subject *subject = search->query->subject;
	size_t at = run->first, end = run->first + run->count, group = 0;

	look_at_key(search, at, end, (uint32_t)subject->gid);
	while (!search->deny && at < end) {
		group = first_not_below(
			subject->groups, group, subject->group_count, search->book->ids[at]);
		if (group == subject->group_count)
			break;
		at = look_at_key(search, at, end, subject->groups[group]);
	}
	if (!search->deny && subject->shares_group)
		look_at_key(search, run->first, end, (uint32_t)subject->shared_group);
}

static void look_at_run(struct search *search, const struct run *run)
{
	const struct policy_subject *subject = search->query->subject;
	size_t end = run->first + run->count;
	const char *text;

	if (run->kind == SELECT_GID) {
		look_at_groups(search, run);
	} else if (run->kind == SELECT_ANYBODY) {
		look_at_key(search, run->first, end, 0);
	} else if (run->kind == SELECT_UID) {
		look_at_key(search, run->first, end, (uint32_t)subject->uid);
	} else if (selector_is_unit(run->kind) && subject->lost) {
		look_at_all(search, run->first, end);
	} else {
		text = selector_text(subject, run->kind);
		if (text)
			look_at_key(search, run->first, end, selector_digest(text));
	}
}

static void look_at_place(struct search *search, const struct place *place)
{
	for (size_t i = 0; i < place->run_count && !search->deny; i++)
		look_at_run(search, &search->book->runs[place->first_run + i]);
}

/* -- the answer ---------------------------------------------------------------------------- */

/* The deepest namespace that has an owner. A user's own space has none here. */
static const struct space *find_owned(
	const struct policy_book *book, const struct place *place, struct span name)
{
	if (name.data[0] == '~')
		return NULL;
	while (place && !(place->space && place->space->owner.count > 0))
		place = parent_of(book, place);
	return place ? place->space : NULL;
}

static struct policy_answer answer(enum policy_word word, const struct source *source)
{
	return (struct policy_answer){ .word = word, .file = source->file, .line = source->line };
}

struct policy_answer policy_book_ask(
	const struct policy_book *book, const struct policy_query *query)
{
	struct search search = { .book = book, .query = query };
	const struct policy_answer silent = { .word = POLICY_SILENT };
	const struct place *first;
	const struct space *space;

	if (query->name.size == 0)
		return silent;
	first = find_place(book, query->name);
	for (const struct place *place = first; place && !search.deny;
		place = parent_of(book, place))
		look_at_place(&search, place);
	if (search.deny)
		return answer(POLICY_DENIED, &search.deny->source);
	if (search.allow)
		return answer(POLICY_ALLOWED, &search.allow->source);
	space = find_owned(book, first, query->name);
	if (space && who_matches(&space->owner, query->subject, false))
		return answer(POLICY_OWNED, &space->owner_source);
	return silent;
}

uint64_t policy_book_max_ttl(const struct policy_book *book, struct span name)
{
	uint64_t least = 0;

	for (const struct place *place = find_place(book, name); place;
		place = parent_of(book, place)) {
		uint64_t limit = place->space ? place->space->max_ttl_ms : 0;

		if (limit != 0 && (least == 0 || limit < least))
			least = limit;
	}
	return least;
}

struct policy_answer policy_book_reason(
	const struct policy_book *book, unsigned right, struct span name)
{
	for (const struct place *place = find_place(book, name); place;
		place = parent_of(book, place))
		if (place->space && place->space->reasons & RIGHT_BIT(right))
			return answer(POLICY_DENIED, &place->space->reasons_source);
	return (struct policy_answer){ .word = POLICY_SILENT };
}

struct span policy_book_space_of(const struct policy_book *book, struct span name)
{
	const struct place *place = find_place(book, name);

	while (place && !place->space)
		place = parent_of(book, place);
	return place ? place->literal : span_of(NULL, 0);
}

/* -- what may be allowed somewhere ---------------------------------------------------------- */

/* Whether a rule or the owner of a place lets the subject do something there, denied or not. */
static bool grants(
	const struct policy_book *book, const struct place *place, const struct policy_query *query)
{
	if (place->space && who_matches(&place->space->owner, query->subject, false))
		return true;
	for (size_t i = 0; i < place->run_count; i++) {
		const struct run *run = &book->runs[place->first_run + i];

		for (size_t at = run->first; at < run->first + run->count; at++) {
			const struct rule *rule = &book->rules[at];

			if (!rule->deny && (rule->rights & RIGHT_BIT(query->right)) &&
				query->now <= rule->until &&
				who_matches(&rule->who, query->subject, false))
				return true;
		}
	}
	return false;
}

bool policy_book_grants(const struct policy_book *book, const struct policy_query *query)
{
	struct span name = query->name;

	for (const struct place *place = find_place(book, name); place;
		place = parent_of(book, place))
		/* No star at the beginning stands for anything in a user's own space. */
		if ((place->literal.size > 0 || name.size == 0 || name.data[0] != '~') &&
			grants(book, place, query))
			return true;
	return false;
}

bool policy_book_grants_below(const struct policy_book *book, const struct policy_query *query)
{
	struct span prefix = query->name;

	if (policy_book_grants(book, query))
		return true;
	for (size_t i = places_before(book, prefix);
		i < book->place_count && span_starts_with(book->places[i].literal, prefix); i++)
		if (grants(book, &book->places[i], query))
			return true;
	return false;
}

struct span policy_book_next(const struct policy_book *book, const struct policy_query *query)
{
	for (size_t i = places_before(book, query->name); i < book->place_count; i++)
		if (grants(book, &book->places[i], query))
			return book->places[i].literal;
	return span_of(NULL, 0);
}
