/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/tally.h"

#include <sodium.h>
#include <string.h>

#include "tests/unit/claims.h"

/* What each uid has, against an array that has a place for each. */

#define UIDS 3000

static struct tally tally;
static struct tally_sum model[UIDS];

static void set_up(void)
{
	if (sodium_init() < 0)
		abort();
	memset(model, 0, sizeof(model));
}

static void tear_down(void)
{
	tally_finish(&tally);
}

/* Those of users, of containers, whose numbers lie far apart, and the last there can be. */
static uint32_t uid_of(uint32_t i)
{
	return i < 1000 ? i : i < 2000 ? (i - 1000) << 16 : UINT32_MAX - (i - 2000);
}

static void check_all(void)
{
	for (uint32_t i = 0; i < UIDS; i++) {
		struct tally_sum sum = tally_of(&tally, uid_of(i));

		/* Uid 0 is the first of two rows of them. */
		if (i == 0 || i == 1000)
			continue;
		ck_assert_uint_eq(sum.names, model[i].names);
		ck_assert_uint_eq(sum.bytes, model[i].bytes);
		ck_assert_uint_eq(sum.coming, model[i].coming);
	}
}

static void add(uint32_t i, struct tally_sum sum)
{
	ck_assert_int_eq(tally_reserve(&tally, uid_of(i)), 0);
	tally_add(&tally, uid_of(i), sum);
	model[i].names += sum.names;
	model[i].bytes += sum.bytes;
	model[i].coming += sum.coming;
}

static struct tally_sum some_sum(void)
{
	return (struct tally_sum){ .names = randombytes_uniform(3),
		.bytes = randombytes_uniform(1000),
		.coming = randombytes_uniform(2) };
}

static void drop(uint32_t i, struct tally_sum sum)
{
	ck_assert(tally_drop(&tally, uid_of(i), sum));
	model[i].names -= sum.names;
	model[i].bytes -= sum.bytes;
	model[i].coming -= sum.coming;
}

START_TEST(nobody_has_anything_at_first)
{
	struct tally_sum nothing = { 0 };

	check_all();
	ck_assert(tally_drop(&tally, 1000, nothing));
	tally_clear(&tally);
	ck_assert_uint_eq(tally.capacity, 0);
}
END_TEST

START_TEST(each_has_what_was_added_and_not_taken)
{
	for (unsigned step = 0; step < 200000; step++) {
		uint32_t i = randombytes_uniform(UIDS - 1001) + (step % 2 == 0 ? 1 : 1001);
		struct tally_sum sum = some_sum();

		if (randombytes_uniform(3) == 0)
			add(i, sum);
		else
			drop(i, model[i]);
		if (step % 1000 == 0)
			check_all();
	}
	check_all();
}
END_TEST

START_TEST(who_has_nothing_any_more_takes_no_place_for_ever)
{
	for (uint32_t uid = 0; uid < 100000; uid++) {
		ck_assert_int_eq(tally_reserve(&tally, uid), 0);
		tally_add(&tally, uid, (struct tally_sum){ 1, 100, 7 });
		ck_assert(tally_drop(&tally, uid, (struct tally_sum){ 1, 100, 7 }));
	}
	ck_assert_uint_le(tally.capacity, 64);
}
END_TEST

START_TEST(who_has_less_than_goes_has_nothing)
{
	static const struct tally_sum more[] = { { 2, 10, 0 }, { 1, 101, 0 }, { 3, 1000, 0 },
		{ 0, 0, 8 } };
	struct tally_sum left;

	ck_assert_int_eq(tally_reserve(&tally, 7), 0);
	tally_add(&tally, 7, (struct tally_sum){ 1, 100, 7 });
	ck_assert(!tally_drop(&tally, 7, more[_i]));
	left = tally_of(&tally, 7);
	ck_assert_uint_eq(left.names, more[_i].names == 0);
	ck_assert_uint_eq(left.bytes, more[_i].bytes > 100 ? 0 : 100 - more[_i].bytes);
	ck_assert_uint_eq(left.coming, more[_i].coming == 0 ? 7 : 0);
	/* And who was never heard of. */
	ck_assert(!tally_drop(&tally, 8, more[_i]));
	ck_assert_uint_eq(tally_of(&tally, 8).bytes, 0);
}
END_TEST

START_TEST(places_stay_when_all_is_forgotten)
{
	size_t capacity;

	for (uint32_t i = 1; i < 500; i++)
		add(i, (struct tally_sum){ 1, i, 0 });
	check_all();
	capacity = tally.capacity;
	tally_clear(&tally);
	memset(model, 0, sizeof(model));
	check_all();
	for (uint32_t i = 1; i < 500; i++)
		tally_add(&tally, uid_of(i), (struct tally_sum){ 1, 1, 1 });
	ck_assert_uint_eq(tally.capacity, capacity);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, nobody_has_anything_at_first);
	tcase_add_test(claims, each_has_what_was_added_and_not_taken);
	tcase_add_test(claims, who_has_nothing_any_more_takes_no_place_for_ever);
	tcase_add_loop_test(claims, who_has_less_than_goes_has_nothing, 0, 4);
	tcase_add_test(claims, places_stay_when_all_is_forgotten);
	return claims_run(claims, "tally");
}
