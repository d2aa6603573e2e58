/* SPDX-License-Identifier: Apache-2.0 */

/* The index is included as source, so that its memory can be made to run out at every step. */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static void *rationed_calloc(size_t count, size_t size);
static void *rationed_reallocarray(void *old, size_t count, size_t size);

#define calloc rationed_calloc
#define reallocarray rationed_reallocarray
#include "daemon/vault/index.c"
#include "daemon/vault/index_fill.c"
#include "daemon/vault/index_table.c"
#include "daemon/vault/index_tree.c"
#undef calloc
#undef reallocarray

#include <check.h>
#include <stdio.h>

#include "tests/unit/claims.h"

#define NAMES 3000
#define NAME_SIZE 40
#define STEPS 100000

/* A stored name, as a record would hold it. */
struct entry {
	char name[NAME_SIZE];
	size_t size;
	bool stored;
	bool broken;
};

static struct entry *entries;
static size_t entry_count;

/* How often the index looked into an entry. */
static size_t looks;

/* How often it asked whether one is sound; that costs what the record holds, tags and all. */
static size_t sound_looks;

/* Allocations that still succeed; negative: all of them. */
static int ration = -1;

static bool use_ration(void)
{
	if (ration == 0)
		return false;
	if (ration > 0)
		ration--;
	return true;
}

static void *rationed_calloc(size_t count, size_t size)
{
	return use_ration() ? calloc(count, size) : NULL;
}

static void *rationed_reallocarray(void *old, size_t count, size_t size)
{
	return use_ration() ? reallocarray(old, count, size) : NULL;
}

static uint64_t reference(size_t i)
{
	return (i + 1) * 16;
}

static struct span name(size_t i)
{
	return span_of(entries[i].name, entries[i].size);
}

static struct span look_at_name(void *context, uint64_t at)
{
	(void)context;
	looks++;
	/* No assertion: this is asked for millions of times. */
	if (at / 16 - 1 >= entry_count)
		ck_abort_msg("the index asks for what it was not given");
	return name(at / 16 - 1);
}

static bool look_at_soundness(void *context, uint64_t at)
{
	(void)context;
	looks++;
	sound_looks++;
	return !entries[at / 16 - 1].broken;
}

static struct index *new_index(size_t count)
{
	static const struct index_source source = { .name = look_at_name,
		.sound = look_at_soundness };
	struct index *index = NULL;

	entries = calloc(count, sizeof(*entries));
	entry_count = count;
	ck_assert_ptr_nonnull(entries);
	ck_assert_int_eq(index_new(&index, &source), 0);
	return index;
}

static void free_index(struct index *index)
{
	index_free(index);
	free(entries);
}

static int compare(struct span a, struct span b)
{
	size_t least_size = a.size < b.size ? a.size : b.size;
	int r = least_size > 0 ? memcmp(a.data, b.data, least_size) : 0;

	return r != 0 ? r : (a.size > b.size) - (a.size < b.size);
}

/* Few letters and lengths, so that names share beginnings, begin others, and come again. */
static struct span draw_name(char out[NAME_SIZE])
{
	static const char letters[] = "ab/~\x7f\xc3\xbf";
	size_t size = 1 + randombytes_uniform(randombytes_uniform(8) == 0 ? NAME_SIZE - 1 : 7);

	for (size_t i = 0; i < size; i++)
		out[i] = letters[randombytes_uniform(sizeof(letters) - 1)];
	return span_of(out, size);
}

/* -- the naive model: goes through everything ---------------------------------------------- */

static size_t model_find(struct span wanted)
{
	for (size_t i = 0; i < entry_count; i++)
		if (entries[i].stored && span_equal(name(i), wanted))
			return i;
	return entry_count;
}

static uint64_t model_next(struct span prefix, struct span after)
{
	size_t best = entry_count;

	for (size_t i = 0; i < entry_count; i++) {
		if (!entries[i].stored || entries[i].broken || !span_starts_with(name(i), prefix))
			continue;
		if (after.size > 0 && compare(name(i), after) <= 0)
			continue;
		if (best == entry_count || compare(name(i), name(best)) < 0)
			best = i;
	}
	return best < entry_count ? reference(best) : 0;
}

static size_t free_entry(void)
{
	for (;;) {
		size_t i = randombytes_uniform((uint32_t)entry_count);

		if (!entries[i].stored)
			return i;
	}
}

static void store(size_t i, struct span what)
{
	memcpy(entries[i].name, what.data, what.size);
	entries[i].size = what.size;
	entries[i].stored = true;
}

/* Inserts, replaces or removes one name in both. */
static void change(struct index *index, struct span what, size_t *countp)
{
	size_t old = model_find(what);
	size_t i;

	if (old == entry_count && *countp < entry_count / 2) {
		i = free_entry();
		store(i, what);
		ck_assert_int_eq(index_insert(index, name(i), reference(i)), 0);
		++*countp;
	} else if (old < entry_count && randombytes_uniform(3) == 0) {
		i = free_entry();
		store(i, what);
		index_replace(index, what, reference(old), reference(i));
		entries[old].stored = false;
	} else if (old < entry_count) {
		index_remove(index, what, reference(old));
		entries[old].stored = false;
		--*countp;
	}
}

static void check_find(const struct index *index, struct span what)
{
	size_t i = model_find(what);
	uint64_t suspect;
	uint64_t found = index_find(index, what, &suspect);

	ck_assert_uint_eq(found, i < entry_count ? reference(i) : 0);
}

static void check_next(struct index *index)
{
	char a[NAME_SIZE];
	char b[NAME_SIZE];
	struct span prefix = draw_name(a);
	struct span after = draw_name(b);

	if (randombytes_uniform(2) == 0)
		prefix.size = randombytes_uniform(3);
	if (randombytes_uniform(3) == 0)
		after.size = 0;
	ck_assert_uint_eq(index_next(index, prefix, after), model_next(prefix, after));
}

START_TEST(it_agrees_with_a_naive_model)
{
	struct index *index = new_index(400);
	char buffer[NAME_SIZE];
	size_t count = 0;

	for (int i = 0; i < STEPS; i++) {
		struct span what = draw_name(buffer);

		change(index, what, &count);
		ck_assert_uint_eq(index_count(index), count);
		check_find(index, what);
		check_find(index, draw_name(buffer));
		check_next(index);
	}
	free_index(index);
}
END_TEST

/* -- many at once -------------------------------------------------------------------------- */

/* Which of two of a name stays: every other time the later one. The other is not stored. */
static uint64_t choose_by_turns(void *context, uint64_t there, uint64_t more)
{
	size_t *turns = context;
	bool later = ++*turns % 2 == 0;

	ck_assert(span_equal(name(there / 16 - 1), name(more / 16 - 1)));
	entries[(later ? there : more) / 16 - 1].stored = false;
	return later ? more : there;
}

static int by_name(const void *a, const void *b)
{
	return compare(name(*(const uint64_t *)a / 16 - 1), name(*(const uint64_t *)b / 16 - 1));
}

/* References 1 to `count`: as they come, in the order of their names, or in the opposite. */
static uint64_t *list_of(size_t count, int order)
{
	uint64_t *list = calloc(count + 1, sizeof(*list));

	ck_assert_ptr_nonnull(list);
	for (size_t i = 0; i < count; i++)
		list[i] = reference(i);
	if (order > 0)
		qsort(list, count, sizeof(*list), by_name);
	for (size_t i = 0; order > 1 && i < count / 2; i++) {
		uint64_t other = list[count - 1 - i];

		list[count - 1 - i] = list[i];
		list[i] = other;
	}
	return list;
}

/* Fills an index with names that come again, and goes on with it. */
static void check_filled(struct index *index, size_t count, int order)
{
	uint64_t *list = list_of(count, order);
	char buffer[NAME_SIZE];
	size_t turns = 0;
	size_t left;

	ck_assert_int_eq(index_fill(index, list, count, choose_by_turns, &turns), 0);
	left = count - turns;
	ck_assert_uint_eq(index_count(index), left);
	for (size_t i = 0; i < count; i++)
		check_find(index, name(i));
	for (int i = 0; i < 200; i++)
		check_next(index);
	for (int i = 0; i < 200; i++) {
		struct span what = draw_name(buffer);

		change(index, what, &left);
		check_find(index, what);
		check_next(index);
	}
	ck_assert_uint_eq(index_count(index), left);
	free(list);
}

START_TEST(an_index_that_was_filled_is_like_one_that_grew)
{
	char buffer[NAME_SIZE];

	for (size_t count = 0; count < 150; count = count < 10 ? count + 1 : count + 7) {
		struct index *index = new_index(400);

		for (size_t i = 0; i < count; i++)
			store(i, draw_name(buffer));
		check_filled(index, count, _i);
		free_index(index);
	}
}
END_TEST

/* -- many names ---------------------------------------------------------------------------- */

/* Names as services have them: spaces of users, programs, keys. */
static void name_entry(size_t i)
{
	entries[i].size = (size_t)snprintf(
		entries[i].name, NAME_SIZE, "~%zu/program-%zu/key-%zu", i % 7, i / 7 % 1000, i);
	entries[i].stored = true;
}

static struct index *new_full_index(size_t count)
{
	struct index *index = new_index(count);

	for (size_t i = 0; i < count; i++) {
		name_entry(i);
		ck_assert_int_eq(index_insert(index, name(i), reference(i)), 0);
	}
	return index;
}

/* Goes through all names with a prefix and returns how many there are. */
static size_t count_in_order(struct index *index, struct span prefix)
{
	struct span after = { 0 };
	size_t count = 0;

	for (;;) {
		uint64_t at = index_next(index, prefix, after);

		if (at == 0)
			return count;
		if (compare(after, name(at / 16 - 1)) >= 0 ||
			!span_starts_with(name(at / 16 - 1), prefix))
			ck_abort_msg("a name is out of order");
		after = name(at / 16 - 1);
		count++;
	}
}

START_TEST(names_come_in_byte_order_each_once)
{
	struct index *index = new_full_index(70000);

	ck_assert_uint_eq(count_in_order(index, span_of("", 0)), 70000);
	ck_assert_uint_eq(count_in_order(index, span_text("~3/")), 10000);
	ck_assert_uint_eq(count_in_order(index, span_text("~3/program-77/")), 10);
	ck_assert_uint_eq(count_in_order(index, name(12345)), 1);
	ck_assert_uint_eq(count_in_order(index, span_text("~9")), 0);
	free_index(index);
}
END_TEST

/* Looks into entries that filling costs in an order. */
static size_t cost_of_filling(size_t count, int order)
{
	struct index *index = new_index(count);
	uint64_t *list;
	size_t turns = 0;

	for (size_t i = 0; i < count; i++)
		name_entry(i);
	list = list_of(count, order);
	looks = 0;
	ck_assert_int_eq(index_fill(index, list, count, choose_by_turns, &turns), 0);
	ck_assert_uint_eq(turns, 0);
	count = looks;
	ck_assert_uint_eq(count_in_order(index, span_of("", 0)), index_count(index));
	free(list);
	free_index(index);
	return count;
}

/* A few have the hash of another. */
START_TEST(names_that_come_in_order_are_looked_at_once)
{
	ck_assert_uint_le(cost_of_filling(30000, 1), 30000 + 10);
	ck_assert_uint_le(cost_of_filling(30000, 2), 30000 + 10);
	/* What comes as it will is held against what is there. */
	ck_assert_uint_gt(cost_of_filling(30000, 0), 30000 + 1000);
}
END_TEST

/* Looks into entries that listing a few names with a prefix costs, a name. */
static size_t cost_of_listing(size_t stored)
{
	struct index *index = new_full_index(stored);
	size_t count;

	looks = 0;
	count = count_in_order(index, span_text("~3/program-1/"));
	ck_assert_uint_ge(count, 1);
	count = looks / count;
	free_index(index);
	return count;
}

START_TEST(listing_costs_what_it_returns_not_what_is_stored)
{
	ck_assert_uint_le(cost_of_listing(100), 10);
	ck_assert_uint_le(cost_of_listing(100000), 10);
}
END_TEST

/* How many records the index asks about while someone goes through a space. */
static size_t sound_looks_in(struct index *index, const char *space)
{
	struct span prefix = span_of(space, strlen(space));
	struct span after = span_of("", 0);
	uint64_t at;

	sound_looks = 0;
	while ((at = index_next(index, prefix, after)) != 0)
		after = name(at / 16 - 1);
	return sound_looks;
}

START_TEST(a_list_asks_nothing_of_the_secrets_of_others)
{
	static const char *const stored[] = { "u/1/a", "u/2/a", "u/2/b", "u/4/a", "u/40/a" };
	struct index *index = new_index(5);

	for (size_t i = 0; i < 5; i++) {
		store(i, span_of(stored[i], strlen(stored[i])));
		ck_assert_int_eq(index_insert(index, name(i), reference(i)), 0);
	}
	ck_assert_uint_eq(sound_looks_in(index, "u/2/"), 2);
	ck_assert_uint_eq(sound_looks_in(index, "u/3/"), 0);
	ck_assert_uint_eq(sound_looks_in(index, "u/0/"), 0);
	ck_assert_uint_eq(sound_looks_in(index, "u/5/"), 0);
	ck_assert_uint_eq(index_next(index, span_of("u/2/", 4), span_of("u/2/b", 5)), 0);
	ck_assert_uint_eq(sound_looks, 0);
	free_index(index);
}
END_TEST

START_TEST(a_name_that_is_not_there_costs_no_look_into_a_record)
{
	struct index *index = new_full_index(20000);
	char buffer[NAME_SIZE];
	uint64_t suspect;

	looks = 0;
	for (int i = 0; i < 20000; i++) {
		int size = snprintf(buffer, sizeof(buffer), "absent-%d", i);

		ck_assert_uint_eq(index_find(index, span_of(buffer, (size_t)size), &suspect), 0);
	}
	/* Two names in 2^32 share a hash. */
	ck_assert_uint_le(looks, 3);
	free_index(index);
}
END_TEST

static const size_t sizes[] = { 100, 1000, 12345, 100000, 200000 };

START_TEST(both_together_take_less_than_32_bytes_a_name)
{
	struct index *index = new_full_index(sizes[_i]);

	ck_assert_uint_le(index_bytes(index) - sizeof(struct index), 32 * sizes[_i]);
	printf("%zu names: %.1f bytes a name\n", sizes[_i],
		(double)index_bytes(index) / (double)sizes[_i]);
	free_index(index);
}
END_TEST

START_TEST(what_is_removed_gives_its_memory_back)
{
	struct index *index = new_full_index(50000);
	uint64_t suspect;

	for (size_t i = 0; i < 50000; i++) {
		index_remove(index, name(i), reference(i));
		entries[i].stored = false;
		if (i % 1000 == 0)
			ck_assert_uint_eq(
				index_find(index, name(49999), &suspect), reference(49999));
	}
	ck_assert_uint_eq(index_count(index), 0);
	ck_assert_uint_le(index_bytes(index), 4096);
	ck_assert_uint_eq(index_next(index, span_of("", 0), span_of("", 0)), 0);
	free_index(index);
}
END_TEST

static void count_visit(void *context, uint64_t at)
{
	(void)at;
	++*(size_t *)context;
}

START_TEST(clearing_forgets_everything)
{
	struct index *index = new_full_index(5000);
	size_t visited = 0;
	uint64_t suspect;

	index_each(index, count_visit, &visited);
	ck_assert_uint_eq(visited, 5000);
	index_clear(index);
	ck_assert_uint_eq(index_count(index), 0);
	ck_assert_uint_le(index_bytes(index), 4096);
	ck_assert_uint_eq(index_find(index, name(7), &suspect), 0);
	ck_assert_uint_eq(index_next(index, span_of("", 0), span_of("", 0)), 0);
	index_each(index, count_visit, &visited);
	ck_assert_uint_eq(visited, 5000);
	ck_assert_int_eq(index_insert(index, name(7), reference(7)), 0);
	ck_assert_uint_eq(index_next(index, span_of("", 0), span_of("", 0)), reference(7));
	free_index(index);
}
END_TEST

/* -- things that go wrong ------------------------------------------------------------------ */

START_TEST(without_memory_nothing_is_half_inserted)
{
	struct index *index = new_index(2000);
	size_t refused = 0;
	uint64_t suspect;

	for (size_t i = 0; i < 2000; i++) {
		int r;

		name_entry(i);
		for (int allowed = 0;; allowed++) {
			ration = allowed;
			r = index_insert(index, name(i), reference(i));
			ration = -1;
			if (r == 0)
				break;
			refused++;
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_uint_eq(index_count(index), i);
			ck_assert_uint_eq(index_find(index, name(i), &suspect), 0);
			entries[i].stored = false;
			if (refused % 8 == 0)
				ck_assert_uint_eq(count_in_order(index, span_of("", 0)), i);
			entries[i].stored = true;
		}
	}
	ck_assert_uint_gt(refused, 30);
	ck_assert_uint_eq(count_in_order(index, span_of("", 0)), 2000);
	free_index(index);
}
END_TEST

START_TEST(without_memory_nothing_is_filled)
{
	struct index *index = new_full_index(1000);
	uint64_t *list = list_of(1000, 0);
	size_t turns = 0;
	uint64_t suspect;

	for (int allowed = 0; allowed < 3; allowed++) {
		ration = allowed;
		ck_assert_int_eq(index_fill(index, list, 1000, choose_by_turns, &turns), -ENOMEM);
		ration = -1;
		ck_assert_uint_eq(index_count(index), 0);
		ck_assert_uint_eq(index_find(index, name(7), &suspect), 0);
		ck_assert_uint_eq(index_next(index, span_of("", 0), span_of("", 0)), 0);
	}
	ck_assert_int_eq(index_fill(index, list, 1000, choose_by_turns, &turns), 0);
	ck_assert_uint_eq(count_in_order(index, span_of("", 0)), 1000);
	free(list);
	free_index(index);
}
END_TEST

START_TEST(without_memory_there_is_no_index)
{
	static const struct index_source source = { .name = look_at_name,
		.sound = look_at_soundness };

	for (int allowed = 0; allowed < 2; allowed++) {
		struct index *index = NULL;

		ration = allowed;
		ck_assert_int_eq(index_new(&index, &source), -ENOMEM);
		ck_assert_ptr_null(index);
	}
}
END_TEST

/* Overwrites an entry as a stray write would: its name, and so its seal. */
static void break_entry(size_t i)
{
	entries[i].broken = true;
	switch (randombytes_uniform(3)) {
	case 0:
		entries[i].name[randombytes_uniform((uint32_t)entries[i].size)] ^=
			(char)(1 << randombytes_uniform(8));
		break;
	case 1:
		entries[i].size = randombytes_uniform((uint32_t)entries[i].size);
		break;
	default:
		randombytes_buf(entries[i].name, entries[i].size);
		break;
	}
}

START_TEST(an_overwritten_name_is_a_suspect_and_leads_no_other_astray)
{
	struct index *index = new_full_index(NAMES);
	struct entry *before = malloc(NAMES * sizeof(*before));
	uint64_t suspect;
	size_t whole = NAMES;

	ck_assert_ptr_nonnull(before);
	memcpy(before, entries, NAMES * sizeof(*before));
	for (size_t i = 0; i < NAMES; i += 3) {
		break_entry(i);
		whole--;
	}
	/* New names go in between, and broken ones go out by the names they had. */
	for (size_t i = 0; i < NAMES; i += 6) {
		struct span old = span_of(before[i].name, before[i].size);

		ck_assert_uint_eq(index_find(index, old, &suspect), 0);
		ck_assert_uint_eq(suspect, reference(i));
		index_remove(index, old, reference(i));
		entries[i] = (struct entry){ .stored = true };
		entries[i].size = (size_t)snprintf(
			entries[i].name, NAME_SIZE, "~%zu/program-new/%zu", i % 9, i);
		ck_assert_int_eq(index_insert(index, name(i), reference(i)), 0);
		whole++;
	}
	ck_assert_uint_eq(count_in_order(index, span_of("", 0)), whole);
	for (size_t i = 0; i < NAMES; i++)
		if (!entries[i].broken)
			ck_assert_uint_eq(index_find(index, name(i), &suspect), reference(i));
	/* Whatever the walk has taken out of the order can still be removed. */
	for (size_t i = 0; i < NAMES; i++)
		index_remove(index,
			entries[i].broken ? span_of(before[i].name, before[i].size) : name(i),
			reference(i));
	ck_assert_uint_eq(index_count(index), 0);
	free(before);
	free_index(index);
}
END_TEST

START_TEST(a_name_that_has_no_place_is_refused)
{
	struct index *index = new_index(1);
	uint8_t long_name[INDEX_NAME_MAX + 1];

	memset(long_name, 'a', sizeof(long_name));
	ck_assert_int_eq(
		index_insert(index, span_of(long_name, sizeof(long_name)), 16), -ENAMETOOLONG);
	ck_assert_int_eq(index_insert(index, span_of(long_name, INDEX_NAME_MAX), 16), 0);
	free_index(index);
}
END_TEST

START_TEST(names_that_differ_in_their_last_bit_are_two)
{
	struct index *index = new_index(3);
	uint64_t suspect;

	store(0, span_text("a"));
	store(1, span_text("ab"));
	store(2, span_text("ac"));
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(index_insert(index, name(2 - i), reference(2 - i)), 0);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(index_find(index, name(i), &suspect), reference(i));
	ck_assert_uint_eq(count_in_order(index, span_text("a")), 3);
	ck_assert_uint_eq(count_in_order(index, span_text("ab")), 1);
	free_index(index);
}
END_TEST

/* Whatever others take and give back meanwhile. */
START_TEST(what_was_promised_needs_no_memory)
{
	enum { OTHERS = 200, PROMISED = 1000 };
	struct index *index = new_index(OTHERS + PROMISED + NAMES);
	size_t inserted = 0;
	uint64_t suspect;
	char text[NAME_SIZE];

	for (size_t i = 0; i < OTHERS + PROMISED + NAMES; i++) {
		snprintf(text, sizeof(text), "%zu/%zu", i * 7919 % 1000, i);
		store(i, span_text(text));
	}
	for (size_t i = 0; i < OTHERS; i++)
		ck_assert_int_eq(index_insert(index, name(i), reference(i)), 0);
	ration = 0;
	ck_assert_int_eq(index_promise(index, PROMISED), -ENOMEM);
	ration = 1;
	ck_assert_int_eq(index_promise(index, PROMISED), -ENOMEM);
	ration = -1;
	ck_assert_int_eq(index_promise(index, PROMISED), 0);
	ration = 0;
	while (index_insert(index, name(OTHERS + PROMISED + inserted),
		       reference(OTHERS + PROMISED + inserted)) == 0)
		inserted++;
	ck_assert_uint_lt(inserted, NAMES);
	/* Down to nothing, and to the first of what was promised. */
	for (size_t i = 0; i < OTHERS; i++)
		index_remove(index, name(i), reference(i));
	for (size_t i = 0; i < inserted; i++)
		index_remove(index, name(OTHERS + PROMISED + i), reference(OTHERS + PROMISED + i));
	index_insert_promised(index, name(OTHERS), reference(OTHERS));
	index_remove(index, name(OTHERS), reference(OTHERS));
	for (size_t i = OTHERS + 1; i < OTHERS + PROMISED - 1; i++)
		index_insert_promised(index, name(i), reference(i));
	index_withdraw(index, 1);
	ration = -1;
	ck_assert_uint_eq(index_count(index), PROMISED - 2);
	for (size_t i = OTHERS + 1; i < OTHERS + PROMISED - 1; i++)
		ck_assert_uint_eq(index_find(index, name(i), &suspect), reference(i));
	ck_assert_uint_eq(count_in_order(index, span_of(NULL, 0)), index_count(index));
	free_index(index);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("index");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(claims, 100);
	tcase_add_test(claims, it_agrees_with_a_naive_model);
	tcase_add_loop_test(claims, an_index_that_was_filled_is_like_one_that_grew, 0, 3);
	tcase_add_test(claims, names_that_come_in_order_are_looked_at_once);
	tcase_add_test(claims, names_come_in_byte_order_each_once);
	tcase_add_test(claims, listing_costs_what_it_returns_not_what_is_stored);
	tcase_add_test(claims, a_list_asks_nothing_of_the_secrets_of_others);
	tcase_add_test(claims, a_name_that_is_not_there_costs_no_look_into_a_record);
	tcase_add_loop_test(claims, both_together_take_less_than_32_bytes_a_name, 0,
		sizeof(sizes) / sizeof(sizes[0]));
	tcase_add_test(claims, what_is_removed_gives_its_memory_back);
	tcase_add_test(claims, clearing_forgets_everything);
	tcase_add_test(claims, without_memory_nothing_is_half_inserted);
	tcase_add_test(claims, without_memory_nothing_is_filled);
	tcase_add_test(claims, without_memory_there_is_no_index);
	tcase_add_test(claims, what_was_promised_needs_no_memory);
	tcase_add_test(claims, an_overwritten_name_is_a_suspect_and_leads_no_other_astray);
	tcase_add_test(claims, a_name_that_has_no_place_is_refused);
	tcase_add_test(claims, names_that_differ_in_their_last_bit_are_two);
	return claims_run(claims, "index");
}
