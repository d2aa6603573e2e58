/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/penalty.h"
#include "tests/unit/claims.h"

/* Who guesses waits, longer each time, and nobody else does. */

static struct penalties *penalties;
static uint64_t now_ms;

static void set_up(void)
{
	now_ms = 1000000;
	ck_assert_int_eq(penalties_new(&penalties), 0);
}

static void tear_down(void)
{
	penalties_free(penalties);
}

/* Waits as long as it takes, and answers. Returns the wait. */
static uint64_t ask(uint32_t uid, bool wrong)
{
	uint64_t begin = now_ms;
	uint64_t until;

	if (penalty_enter(penalties, uid, now_ms, &until) == 1) {
		ck_assert_uint_gt(until, now_ms);
		now_ms = until - 1;
		ck_assert_int_eq(penalty_enter(penalties, uid, now_ms, &until), 1);
		now_ms = until;
		ck_assert_int_eq(penalty_enter(penalties, uid, now_ms, &until), 0);
	}
	penalty_leave(penalties, uid, now_ms, wrong);
	return now_ms - begin;
}

START_TEST(each_wrong_answer_costs_twice_as_much_up_to_a_minute)
{
	uint64_t expected = PENALTY_FIRST_MS;

	ck_assert_uint_eq(ask(1, true), 0);
	for (int i = 0; i < 9; i++) {
		ck_assert_uint_eq(ask(1, true), expected);
		expected *= 2;
	}
	for (int i = 0; i < 5; i++) {
		uint64_t waited = ask(1, true);

		ck_assert_uint_ge(waited, PENALTY_MOST_MS / 2);
		ck_assert_uint_le(waited, PENALTY_MOST_MS);
	}
}
END_TEST

START_TEST(nobody_else_waits)
{
	for (int i = 0; i < 8; i++)
		ask(1, true);
	ck_assert_uint_eq(ask(2, true), 0);
	ck_assert_uint_eq(ask(3, false), 0);
	ck_assert_uint_gt(ask(1, false), 1000);
}
END_TEST

START_TEST(a_right_answer_is_free_and_makes_up_for_nothing)
{
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(ask(1, false), 0);
	ask(1, true);
	ask(1, true);
	ck_assert_uint_eq(ask(1, false), 2 * PENALTY_FIRST_MS);
	ck_assert_uint_eq(ask(1, false), 0);
	ask(1, true);
	ck_assert_uint_eq(ask(1, true), 4 * PENALTY_FIRST_MS);
}
END_TEST

START_TEST(time_makes_up_for_it)
{
	for (int i = 0; i < 4; i++)
		ask(1, true);
	now_ms += 2 * PENALTY_FORGIVE_MS;
	ask(1, true);
	ck_assert_uint_eq(ask(1, true), 4 * PENALTY_FIRST_MS);
	now_ms += 100 * PENALTY_FORGIVE_MS;
	ask(1, true);
	ck_assert_uint_eq(ask(1, true), PENALTY_FIRST_MS);
}
END_TEST

START_TEST(one_comparison_of_a_uid_is_made_at_a_time)
{
	uint64_t until;

	ck_assert_int_eq(penalty_enter(penalties, 1, now_ms, &until), 0);
	ck_assert_int_eq(penalty_enter(penalties, 1, now_ms, &until), 1);
	ck_assert_uint_gt(until, now_ms);
	ck_assert_uint_lt(until, now_ms + PENALTY_FIRST_MS);
	ck_assert_int_eq(penalty_enter(penalties, 2, now_ms, &until), 0);
	penalty_leave(penalties, 1, now_ms, true);
	ck_assert_int_eq(penalty_enter(penalties, 1, now_ms, &until), 1);
	ck_assert_uint_eq(until, now_ms + PENALTY_FIRST_MS);
	penalty_leave(penalties, 2, now_ms, false);
}
END_TEST

/* Many uids at a time, and long after: what is forgiven takes no memory, which the sanitizer sees.
 */
START_TEST(many_are_kept_apart)
{
	for (uint32_t uid = 0; uid < 2000; uid++)
		for (uint32_t i = 0; i <= uid % 3; i++) {
			uint64_t until;

			if (penalty_enter(penalties, uid, now_ms, &until) == 0)
				penalty_leave(penalties, uid, now_ms, uid % 2 == 0);
		}
	for (uint32_t uid = 0; uid < 2000; uid++) {
		uint64_t until;

		ck_assert_int_eq(
			penalty_enter(penalties, uid, now_ms, &until), uid % 2 == 0 ? 1 : 0);
		if (uid % 2 == 1)
			penalty_leave(penalties, uid, now_ms, false);
	}
	now_ms += PENALTY_FORGIVE_MS * 2;
	ck_assert_uint_eq(ask(0, false), 0);
}
END_TEST

/* Else those who wait would keep the daemon busy with nothing but their looks. */
START_TEST(those_who_wait_do_not_look_again_together)
{
	uint64_t last = now_ms + 1;
	uint64_t until;

	ck_assert_int_eq(penalty_enter(penalties, 1, now_ms, &until), 0);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(penalty_enter(penalties, 1, now_ms, &until), 1);
		ck_assert_uint_gt(until, last);
		last = until;
	}
	/* However many there are, none waits for long. */
	for (int i = 0; i < 10000; i++)
		ck_assert_int_eq(penalty_enter(penalties, 1, now_ms, &until), 1);
	ck_assert_uint_le(until, now_ms + 1000);
	penalty_leave(penalties, 1, now_ms, false);
	ck_assert_int_eq(penalty_enter(penalties, 1, now_ms, &until), 0);
}
END_TEST

/* Times and all, and no more than that. */
START_TEST(the_next_process_goes_on_where_this_one_was)
{
	struct coffer_guesser told, feared;

	for (int i = 0; i < 4; i++)
		ask(1, true);
	feared = penalty_tell(penalties, 1, now_ms, true);
	told = penalty_tell(penalties, 1, now_ms, false);
	ck_assert_uint_eq(told.wrong, 4);
	ck_assert_uint_eq(told.until_ms, now_ms + PENALTY_FIRST_MS * 8);
	ck_assert_uint_eq(feared.wrong, 5);
	ck_assert_uint_eq(feared.until_ms, now_ms + PENALTY_FIRST_MS * 16);
	ck_assert_uint_eq(penalty_tell(penalties, 2, now_ms, false).wrong, 0);
	ck_assert_uint_eq(penalty_tell(penalties, 2, now_ms, true).wrong, 1);
	penalties_free(penalties);
	ck_assert_int_eq(penalties_new(&penalties), 0);
	ck_assert_int_eq(penalty_take_up(penalties, &told, now_ms), 0);
	ck_assert_uint_eq(ask(1, true), PENALTY_FIRST_MS * 8);
	ck_assert_uint_eq(ask(1, true), PENALTY_FIRST_MS * 16);
	ck_assert_uint_eq(ask(2, true), 0);
}
END_TEST

/* The note may be half written. */
START_TEST(no_note_makes_anybody_wait_for_ever)
{
	const struct coffer_guesser none = {
		.uid = 1, .since_ms = UINT64_MAX, .until_ms = UINT64_MAX
	};
	struct coffer_guesser some = none;

	ck_assert_int_eq(penalty_take_up(penalties, &none, now_ms), 0);
	ck_assert_uint_eq(ask(1, false), 0);
	some.wrong = 1;
	some.uid = 2;
	ck_assert_int_eq(penalty_take_up(penalties, &some, now_ms), 0);
	ck_assert_uint_eq(ask(2, false), PENALTY_MOST_MS);
	ck_assert_uint_eq(ask(2, true), 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, each_wrong_answer_costs_twice_as_much_up_to_a_minute);
	tcase_add_test(claims, those_who_wait_do_not_look_again_together);
	tcase_add_test(claims, nobody_else_waits);
	tcase_add_test(claims, a_right_answer_is_free_and_makes_up_for_nothing);
	tcase_add_test(claims, time_makes_up_for_it);
	tcase_add_test(claims, one_comparison_of_a_uid_is_made_at_a_time);
	tcase_add_test(claims, many_are_kept_apart);
	tcase_add_test(claims, the_next_process_goes_on_where_this_one_was);
	tcase_add_test(claims, no_note_makes_anybody_wait_for_ever);
	return claims_run(claims, "penalty");
}
