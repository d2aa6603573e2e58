/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/users.h"

#include <check.h>

#include "tests/unit/claims.h"

static struct users users;
static uint64_t now_us;

static void set_up(void)
{
	users = (struct users){ 0 };
	now_us = 5000000;
}

static void tear_down(void)
{
	users_finish(&users);
}

static struct user *enter(uint32_t uid)
{
	struct user *user = user_enter(&users, uid, now_us);

	ck_assert_ptr_nonnull(user);
	return user;
}

START_TEST(all_connections_of_a_uid_are_one_user)
{
	struct user *a = enter(1000);
	struct user *b = enter(1001);

	ck_assert_ptr_ne(a, b);
	ck_assert_ptr_eq(enter(1000), a);
	ck_assert_uint_eq(a->connections, 2);
	ck_assert_uint_eq(users.count, 2);
	user_leave(a);
	ck_assert_uint_eq(users.count, 2);
	user_leave(a);
	ck_assert_uint_eq(users.count, 1);
	/* The next one who comes finds only those who are there. */
	ck_assert_ptr_eq(enter(1001), b);
	ck_assert_ptr_eq(users.first, b);
	ck_assert_ptr_null(b->next);
}
END_TEST

/* -- quotas -------------------------------------------------------------------------------- */

START_TEST(without_quotas_there_is_no_limit)
{
	struct user *a = enter(1000);

	for (int i = 0; i < 10000; i++) {
		enter(1000);
		ck_assert_int_eq(user_come(a, now_us), HELLO_NOT_REFUSED);
		ck_assert_int_eq(user_begin_session(a), HELLO_NOT_REFUSED);
		a->inflight++;
		ck_assert(user_may_ask(a));
	}
}
END_TEST

START_TEST(sessions_are_counted_for_each_user_alone)
{
	struct user *a = enter(1000);
	struct user *b = enter(1001);

	users.quotas.sessions = 3;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(user_begin_session(a), HELLO_NOT_REFUSED);
	ck_assert_int_eq(user_begin_session(a), HELLO_TOO_MANY_SESSIONS);
	ck_assert_int_eq(user_begin_session(b), HELLO_NOT_REFUSED);
	user_end_session(a);
	ck_assert_int_eq(user_begin_session(a), HELLO_NOT_REFUSED);
	ck_assert_int_eq(user_begin_session(a), HELLO_TOO_MANY_SESSIONS);
	/* What is in force now counts. */
	users.quotas.sessions = 4;
	ck_assert_int_eq(user_begin_session(a), HELLO_NOT_REFUSED);
}
END_TEST

START_TEST(who_does_not_shake_hands_has_twice_as_many)
{
	struct user *a = enter(1000);

	users.quotas.sessions = 2;
	for (int i = 0; i < 3; i++) {
		enter(1000);
		ck_assert_int_eq(user_come(a, now_us), HELLO_NOT_REFUSED);
	}
	enter(1000);
	ck_assert_int_eq(user_come(a, now_us), HELLO_TOO_MANY_SESSIONS);
	user_leave(a);
	ck_assert_int_eq(user_come(a, now_us), HELLO_NOT_REFUSED);
}
END_TEST

START_TEST(handshakes_are_one_seconds_worth_and_then_as_fast_as_they_may)
{
	struct user *a = enter(1000);

	users.quotas.handshakes = 10;
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(user_come(a, now_us), HELLO_NOT_REFUSED);
	ck_assert_int_eq(user_come(a, now_us), HELLO_TOO_MANY_HANDSHAKES);
	now_us += 99999;
	ck_assert_int_eq(user_come(a, now_us), HELLO_TOO_MANY_HANDSHAKES);
	now_us += 1;
	ck_assert_int_eq(user_come(a, now_us), HELLO_NOT_REFUSED);
	ck_assert_int_eq(user_come(a, now_us), HELLO_TOO_MANY_HANDSHAKES);
	/* However long nobody came, it is one second's worth. */
	now_us += 3600000000;
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(user_come(a, now_us), HELLO_NOT_REFUSED);
	ck_assert_int_eq(user_come(a, now_us), HELLO_TOO_MANY_HANDSHAKES);
}
END_TEST

START_TEST(who_goes_and_comes_again_has_not_paid)
{
	struct user *a = enter(1000);

	users.quotas.handshakes = 2;
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(user_come(a, now_us), HELLO_NOT_REFUSED);
	user_leave(a);
	enter(1001);
	ck_assert_ptr_eq(enter(1000), a);
	ck_assert_int_eq(user_come(a, now_us), HELLO_TOO_MANY_HANDSHAKES);
	user_leave(a);
	now_us += 1000000;
	enter(1001);
	ck_assert_ptr_null(users.first->next);
}
END_TEST

/* -- shares -------------------------------------------------------------------------------- */

START_TEST(who_is_alone_has_all_of_the_time)
{
	struct user *a = enter(1000);
	struct user *b;

	users_begin_round(&users);
	user_spend(a, UINT32_MAX);
	ck_assert_uint_eq(user_share(a), UINT64_MAX);
	b = enter(1001);
	ck_assert_uint_eq(user_share(a), 0);
	ck_assert_uint_eq(user_share(b), USER_SHARE_NS);
	user_leave(b);
	ck_assert_uint_eq(user_share(a), UINT64_MAX);
}
END_TEST

START_TEST(one_is_let_in_a_round_whatever_was_spent)
{
	struct user *a = enter(1000);
	struct user *b = enter(1001);

	for (int i = 0; i < 3; i++) {
		users_begin_round(&users);
		user_spend(a, 10 * USER_SHARE_NS);
		ck_assert(user_let_in(a));
		ck_assert(!user_let_in(a));
		ck_assert(user_let_in(b));
	}
}
END_TEST

START_TEST(each_round_brings_everybody_one_share)
{
	struct user *a = enter(1000);
	struct user *b = enter(1001);

	users_begin_round(&users);
	user_spend(a, USER_SHARE_NS - 1);
	ck_assert_uint_eq(user_share(a), 1);
	user_spend(a, 10);
	ck_assert_uint_eq(user_share(a), 0);
	ck_assert_uint_eq(user_share(b), USER_SHARE_NS);
	users_begin_round(&users);
	ck_assert_uint_eq(user_share(a), USER_SHARE_NS);
	user_spend(a, 10);
	ck_assert_uint_eq(user_share(a), USER_SHARE_NS - 10);
	ck_assert_uint_eq(users.spent_ns, 10);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("users");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, all_connections_of_a_uid_are_one_user);
	tcase_add_test(claims, without_quotas_there_is_no_limit);
	tcase_add_test(claims, sessions_are_counted_for_each_user_alone);
	tcase_add_test(claims, who_does_not_shake_hands_has_twice_as_many);
	tcase_add_test(claims, handshakes_are_one_seconds_worth_and_then_as_fast_as_they_may);
	tcase_add_test(claims, who_goes_and_comes_again_has_not_paid);
	tcase_add_test(claims, who_is_alone_has_all_of_the_time);
	tcase_add_test(claims, one_is_let_in_a_round_whatever_was_spent);
	tcase_add_test(claims, each_round_brings_everybody_one_share);
	return claims_run(claims, "users");
}
