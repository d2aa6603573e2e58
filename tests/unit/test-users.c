/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/users.h"

#include <check.h>

#include "tests/unit/claims.h"

static struct users users;

static void set_up(void)
{
	users = (struct users){ 0 };
}

static void tear_down(void)
{
	while (users.first)
		user_leave(&users, users.first);
}

START_TEST(all_connections_of_a_uid_are_one_user)
{
	struct user *a = user_enter(&users, 1000);
	struct user *b = user_enter(&users, 1001);

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_ne(a, b);
	ck_assert_ptr_eq(user_enter(&users, 1000), a);
	ck_assert_uint_eq(a->sessions, 2);
	ck_assert_uint_eq(users.count, 2);
	user_leave(&users, a);
	ck_assert_uint_eq(users.count, 2);
	user_leave(&users, a);
	ck_assert_uint_eq(users.count, 1);
	ck_assert_ptr_eq(users.first, b);
}
END_TEST

START_TEST(who_is_alone_has_all_of_the_time)
{
	struct user *a = user_enter(&users, 1000);
	struct user *b;

	users_begin_round(&users);
	user_spend(&users, a, UINT32_MAX);
	ck_assert_uint_eq(user_share(&users, a), UINT64_MAX);
	b = user_enter(&users, 1001);
	ck_assert_uint_eq(user_share(&users, a), 0);
	ck_assert_uint_eq(user_share(&users, b), USER_SHARE_NS);
	user_leave(&users, b);
	ck_assert_uint_eq(user_share(&users, a), UINT64_MAX);
}
END_TEST

START_TEST(each_round_brings_everybody_one_share)
{
	struct user *a = user_enter(&users, 1000);
	struct user *b = user_enter(&users, 1001);

	users_begin_round(&users);
	user_spend(&users, a, USER_SHARE_NS - 1);
	ck_assert_uint_eq(user_share(&users, a), 1);
	user_spend(&users, a, 10);
	ck_assert_uint_eq(user_share(&users, a), 0);
	ck_assert_uint_eq(user_share(&users, b), USER_SHARE_NS);
	users_begin_round(&users);
	ck_assert_uint_eq(user_share(&users, a), USER_SHARE_NS);
	user_spend(&users, a, 10);
	ck_assert_uint_eq(user_share(&users, a), USER_SHARE_NS - 10);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("users");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, all_connections_of_a_uid_are_one_user);
	tcase_add_test(claims, who_is_alone_has_all_of_the_time);
	tcase_add_test(claims, each_round_brings_everybody_one_share);
	return claims_run(claims, "users");
}
