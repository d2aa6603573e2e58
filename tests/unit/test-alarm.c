/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "daemon/request/alarm.h"
#include "tests/unit/claims.h"

/* Who makes alarms makes few lines of them, and none of another one's go. */

static struct alarms alarms;
static uint64_t now_ms;

static void set_up(void)
{
	memset(&alarms, 0, sizeof(alarms));
	now_ms = 5000000;
}

/* How many of `count` are told; *left_outp: what the last of those said. */
static size_t told(uint32_t uid, size_t count, uint64_t *left_outp)
{
	size_t lines = 0;

	for (size_t i = 0; i < count; i++)
		lines += alarm_may_tell(&alarms, uid, now_ms, left_outp);
	return lines;
}

START_TEST(the_first_few_are_told_at_once)
{
	uint64_t left_out = 99;

	ck_assert_uint_eq(told(1000, ALARMS_AT_ONCE, &left_out), ALARMS_AT_ONCE);
	ck_assert_uint_eq(left_out, 0);
	ck_assert_uint_eq(told(1000, 1, &left_out), 0);
}
END_TEST

START_TEST(then_one_a_second_with_how_many_were_left_out)
{
	uint64_t left_out = 99;

	ck_assert_uint_eq(told(1000, 100000, &left_out), ALARMS_AT_ONCE);
	now_ms += ALARM_PAUSE_MS;
	ck_assert_uint_eq(told(1000, 1, &left_out), 1);
	ck_assert_uint_eq(left_out, 100000 - ALARMS_AT_ONCE);
	ck_assert_uint_eq(told(1000, 1000, &left_out), 0);
	for (int i = 0; i < 50; i++) {
		now_ms += ALARM_PAUSE_MS;
		ck_assert_uint_eq(told(1000, 1000, &left_out), 1);
	}
	ck_assert_uint_eq(left_out, 999);
	/* Who is silent has as many as at first again, and no more. */
	now_ms += 3600000;
	ck_assert_uint_eq(told(1000, 1000, &left_out), ALARMS_AT_ONCE);
}
END_TEST

START_TEST(a_flood_of_one_leaves_nothing_of_anothers_out)
{
	uint64_t left_out = 99;

	told(1000, 100000, &left_out);
	ck_assert_uint_eq(told(1001, 1, &left_out), 1);
	ck_assert_uint_eq(left_out, 0);
	ck_assert_uint_eq(told(0, 1, &left_out), 1);
	ck_assert_uint_eq(left_out, 0);
}
END_TEST

/* However many users somebody is. */
START_TEST(many_users_are_bounded_all_together)
{
	uint64_t left_out = 0, before;
	size_t lines = 0;

	for (uint32_t uid = 1; uid <= 10000; uid++)
		lines += told(uid, 100, &left_out);
	ck_assert_uint_eq(lines, ALARM_USERS * ALARMS_AT_ONCE);
	/* Nothing that was left out is forgotten with whose place it had. */
	now_ms += 3600000;
	before = alarms.users[0].left_out;
	ck_assert_uint_eq(told(20000, 1, &left_out), 1);
	ck_assert_uint_eq(alarms.users[0].left_out, before + 100 - ALARMS_AT_ONCE);
	ck_assert_uint_eq(left_out, 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("alarm");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, the_first_few_are_told_at_once);
	tcase_add_test(claims, then_one_a_second_with_how_many_were_left_out);
	tcase_add_test(claims, a_flood_of_one_leaves_nothing_of_anothers_out);
	tcase_add_test(claims, many_users_are_bounded_all_together);
	return claims_run(claims, "alarm");
}
