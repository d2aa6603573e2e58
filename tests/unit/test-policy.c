/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "daemon/policy.h"
#include "tests/unit/claims.h"

static const struct policy policy = { .own = 500 };
static const struct peer root = { .uid = 0 };
static const struct peer own = { .uid = 500 };
static const struct peer user = { .uid = 1000 };

START_TEST(root_and_the_daemons_own_user_may_do_everything)
{
	for (enum right right = RIGHT_NONE; right <= RIGHT_STAT; right++) {
		ck_assert(policy_allows(&policy, &root, right, span_text("web/db")));
		ck_assert(policy_allows(&policy, &own, right, span_text("~1000/x")));
	}
}
END_TEST

START_TEST(every_other_user_owns_its_own_space_and_nothing_else)
{
	for (enum right right = RIGHT_GET; right <= RIGHT_STAT; right++) {
		ck_assert(policy_allows(&policy, &user, right, span_text("~1000/x")));
		ck_assert(!policy_allows(&policy, &user, right, span_text("~100/x")));
		ck_assert(!policy_allows(&policy, &user, right, span_text("~10000/x")));
		ck_assert(!policy_allows(&policy, &user, right, span_text("~0/x")));
		ck_assert(!policy_allows(&policy, &user, right, span_text("web/db")));
		ck_assert(!policy_allows(&policy, &user, right, span_text("~1000")));
	}
}
END_TEST

START_TEST(anybody_may_ask_for_a_sign_of_life)
{
	ck_assert(policy_allows(&policy, &user, RIGHT_NONE, span_text("")));
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("policy");

	tcase_add_test(claims, root_and_the_daemons_own_user_may_do_everything);
	tcase_add_test(claims, every_other_user_owns_its_own_space_and_nothing_else);
	tcase_add_test(claims, anybody_may_ask_for_a_sign_of_life);
	return claims_run(claims, "policy");
}
