/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdlib.h>

#include "daemon/vault/term.h"
#include "tests/unit/claims.h"

/* What ends, and when: against a list that is gone through from end to end. */

#define MODEL_MAX 600
#define HOLDERS 7

struct expected {
	uint64_t offset; /* 0: free */
	uint64_t deadline_ms;
	int session;
	int process;
};

static struct terms *terms;
static struct expected model[MODEL_MAX];
static struct holder *holders[2][HOLDERS]; /* of sessions, of processes */
static int emptied;

static void set_up(void)
{
	if (sodium_init() < 0)
		abort();
	ck_assert_int_eq(terms_new(&terms), 0);
}

static void tear_down(void)
{
	terms_free(terms);
}

static void add(uint64_t offset, uint64_t deadline_ms, struct holder *session)
{
	struct term_of of = { .deadline_ms = deadline_ms, .holders = { [BOND_SESSION] = session } };

	ck_assert_int_eq(terms_reserve(terms), 0);
	terms_add(terms, offset, &of);
}

START_TEST(nothing_ends_where_nothing_is)
{
	struct term_of of;

	ck_assert_uint_eq(terms_next_ms(terms), UINT64_MAX);
	ck_assert_uint_eq(terms_next_over(terms, UINT64_MAX), 0);
	ck_assert(!terms_over(terms, 16, UINT64_MAX));
	ck_assert(!terms_look(terms, 16, &of));
	terms_drop(terms, 16);
	terms_move(terms, 16, 32);
	terms_defer(terms, 16, 1);
	ck_assert_uint_eq(terms_count(terms), 0);
}
END_TEST

START_TEST(a_deadline_is_reached_and_not_before)
{
	add(16, 1000, NULL);
	ck_assert_uint_eq(terms_next_ms(terms), 1000);
	ck_assert(!terms_over(terms, 16, 999));
	ck_assert_uint_eq(terms_next_over(terms, 999), 0);
	ck_assert(terms_over(terms, 16, 1000));
	ck_assert_uint_eq(terms_next_over(terms, 1000), 16);
	terms_move(terms, 16, 4096);
	ck_assert(!terms_over(terms, 16, 1000));
	ck_assert_uint_eq(terms_next_over(terms, 1000), 4096);
	terms_defer(terms, 4096, 2000);
	ck_assert(!terms_over(terms, 4096, 1999));
	terms_drop(terms, 4096);
	ck_assert_uint_eq(terms_next_ms(terms), UINT64_MAX);
}
END_TEST

static void on_emptied(void *context)
{
	emptied++;
	holder_free(*(struct holder **)context);
	*(struct holder **)context = NULL;
}

START_TEST(all_that_hangs_on_a_holder_ends_with_it_the_oldest_first)
{
	struct holder *holder = holder_new(NULL, NULL);

	for (uint64_t i = 1; i <= 100; i++)
		add(16 * i, i % 3 == 0 ? 5000 : 0, holder);
	add(16 * 101, 0, NULL);
	ck_assert_uint_eq(holder_count(holder), 100);
	ck_assert_uint_eq(holder_oldest(holder), 16);
	ck_assert_uint_eq(terms_next_over(terms, 1), 0);
	holder_end(terms, holder);
	ck_assert(holder_ended(holder));
	ck_assert_uint_eq(terms_next_ms(terms), 0);
	ck_assert(!terms_over(terms, 16 * 101, 1));
	for (uint64_t i = 1; i <= 100; i++) {
		ck_assert(terms_over(terms, 16 * i, 1));
		ck_assert_uint_eq(terms_next_over(terms, 1), 16 * i);
		terms_drop(terms, 16 * i);
	}
	ck_assert_uint_eq(terms_next_ms(terms), UINT64_MAX);
	ck_assert_uint_eq(terms_count(terms), 1);
}
END_TEST

START_TEST(a_holder_is_told_when_nothing_hangs_on_it_any_more)
{
	struct holder *holder = NULL;

	holder = holder_new(on_emptied, &holder);
	emptied = 0;
	add(16, 0, holder);
	add(32, 0, holder);
	terms_drop(terms, 16);
	ck_assert_int_eq(emptied, 0);
	terms_drop(terms, 32);
	ck_assert_int_eq(emptied, 1);
	/* Unless it has ended: it is the terms' then, with or without anything on it. */
	holder = holder_new(on_emptied, &holder);
	add(16, 0, holder);
	holder_end(terms, holder);
	terms_drop(terms, 16);
	ck_assert_int_eq(emptied, 1);
	holder_end(terms, holder_new(on_emptied, &holder));
	/* And when all terms end at once. */
	holder = holder_new(on_emptied, &holder);
	add(16, 0, holder);
	terms_free(terms);
	ck_assert_int_eq(emptied, 2);
	ck_assert_int_eq(terms_new(&terms), 0);
}
END_TEST

/* -- against the list ---------------------------------------------------------------------- */

static bool model_over(const struct expected *at, uint64_t now)
{
	return at->offset != 0 && at->deadline_ms != 0 && at->deadline_ms <= now;
}

static void check_against_model(uint64_t now)
{
	uint64_t next = UINT64_MAX;
	uint64_t over = terms_next_over(terms, now);
	size_t count = 0;
	bool found = over == 0;

	for (size_t i = 0; i < MODEL_MAX; i++) {
		const struct expected *at = &model[i];
		struct term_of of;

		if (at->offset == 0)
			continue;
		count++;
		if (at->deadline_ms != 0 && at->deadline_ms < next)
			next = at->deadline_ms;
		ck_assert_int_eq(terms_over(terms, at->offset, now), model_over(at, now));
		ck_assert(terms_look(terms, at->offset, &of));
		ck_assert_uint_eq(of.deadline_ms, at->deadline_ms);
		ck_assert_ptr_eq(of.holders[BOND_SESSION], holders[0][at->session]);
		ck_assert_ptr_eq(of.holders[BOND_PROCESS], holders[1][at->process]);
		found = found || (at->offset == over && model_over(at, now));
	}
	ck_assert(found);
	ck_assert(next > now || over != 0);
	ck_assert_uint_eq(terms_count(terms), count);
	ck_assert_uint_eq(terms_next_ms(terms), next);
}

static uint64_t random_deadline(void)
{
	return randombytes_uniform(3) == 0 ? 0 : 1 + randombytes_uniform(1000);
}

static void step(uint64_t *offset)
{
	struct expected *at = &model[randombytes_uniform(MODEL_MAX)];

	if (at->offset == 0) {
		struct term_of of = { .deadline_ms = random_deadline() };

		*at = (struct expected){ .offset = *offset += 16,
			.deadline_ms = of.deadline_ms,
			.session = (int)randombytes_uniform(HOLDERS),
			.process = (int)randombytes_uniform(HOLDERS) };
		of.holders[BOND_SESSION] = holders[0][at->session];
		of.holders[BOND_PROCESS] = holders[1][at->process];
		ck_assert_int_eq(terms_reserve(terms), 0);
		terms_add(terms, at->offset, &of);
		return;
	}
	switch (randombytes_uniform(3)) {
	case 0:
		terms_drop(terms, at->offset);
		at->offset = 0;
		return;
	case 1:
		terms_move(terms, at->offset, *offset += 16);
		at->offset = *offset;
		return;
	default:
		at->deadline_ms = random_deadline();
		terms_defer(terms, at->offset, at->deadline_ms);
	}
}

START_TEST(whatever_is_done_it_says_what_a_list_would)
{
	uint64_t offset = 0;

	/* The first one is none at all. */
	for (int i = 1; i < HOLDERS; i++)
		for (int kind = 0; kind < 2; kind++)
			holders[kind][i] = holder_new(NULL, NULL);
	for (int i = 0; i < 20000; i++) {
		step(&offset);
		if (i % 50 == 0)
			check_against_model(randombytes_uniform(1100));
	}
	for (size_t i = 0; i < MODEL_MAX; i++)
		if (model[i].offset != 0) {
			terms_drop(terms, model[i].offset);
			model[i].offset = 0;
		}
	check_against_model(1);
	for (int i = 1; i < HOLDERS; i++)
		for (int kind = 0; kind < 2; kind++)
			holder_free(holders[kind][i]);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, nothing_ends_where_nothing_is);
	tcase_add_test(claims, a_deadline_is_reached_and_not_before);
	tcase_add_test(claims, all_that_hangs_on_a_holder_ends_with_it_the_oldest_first);
	tcase_add_test(claims, a_holder_is_told_when_nothing_hangs_on_it_any_more);
	tcase_add_test(claims, whatever_is_done_it_says_what_a_list_would);
	return claims_run(claims, "term");
}
