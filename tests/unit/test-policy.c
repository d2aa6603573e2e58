/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "daemon/policy/policy.h"
#include "tests/unit/claims.h"

/* The defaults: root, the daemon's own user, and a space for everybody. */

static const struct policy policy = { .own = 500 };
static const struct peer root = { .uid = 0, .pidfd = -1 };
static const struct peer own = { .uid = 500, .pidfd = -1 };
static const struct peer user = { .uid = 1000, .pidfd = -1 };

/* Every shape a filed name or prefix may have. */
static const char *const shapes[] = { "", "w", "web/db", "~", "~/x", "~0", "~0/x", "~500/x",
	"~1000", "~1000/", "~1000/x", "~10000/x", "~4294967294/x", "web/~1000/x" };

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Whether `peer` has every right to a name but the one that all have, or none of them. */
static bool has_rights(const struct policy *rules, const struct peer *peer, const char *name)
{
	bool first = policy_allows(rules, peer, RIGHT_GET, span_text(name));

	for (enum right right = RIGHT_GET; right <= RIGHT_STAT; right++)
		ck_assert_msg(policy_allows(rules, peer, right, span_text(name)) == first,
			"uid %ld: right %d to '%s'", (long)peer->uid, (int)right, name);
	return first;
}

START_TEST(root_and_the_daemons_own_user_may_do_everything)
{
	for (size_t i = 0; i < SHAPES; i++) {
		ck_assert(has_rights(&policy, &root, shapes[i]));
		ck_assert(has_rights(&policy, &own, shapes[i]));
	}
	ck_assert(policy_privileged(&policy, &root));
	ck_assert(policy_privileged(&policy, &own));
}
END_TEST

START_TEST(every_other_user_owns_its_own_space_and_nothing_else)
{
	static const char *const not_his[] = { "", "w", "web", "web/db", "~", "~/", "~/x", "~0/x",
		"~1/x", "~100/x", "~500/x", "~10000/x", "~2000/x", "~4294967294/x", "1000/x",
		"web/~1000/x", " ~1000/x", "~1000", "~1000x/y", "~01000/x", "~-1000/x" };

	ck_assert(has_rights(&policy, &user, "~1000/x"));
	ck_assert(has_rights(&policy, &user, "~1000/a/b/~0/c"));
	ck_assert(has_rights(&policy, &user, "~1000/"));
	for (size_t i = 0; i < sizeof(not_his) / sizeof(not_his[0]); i++)
		ck_assert_msg(!has_rights(&policy, &user, not_his[i]), "'%s'", not_his[i]);
	ck_assert(!policy_privileged(&policy, &user));
}
END_TEST

START_TEST(no_two_users_share_a_space)
{
	static const uid_t uids[] = { 1, 10, 100, 501, 1000, 1001, 10000, 65534, 2147483647,
		2147483648, 4294967294 };
	char name[32];

	for (size_t i = 0; i < sizeof(uids) / sizeof(uids[0]); i++)
		for (size_t j = 0; j < sizeof(uids) / sizeof(uids[0]); j++) {
			struct peer peer = { .uid = uids[j], .pidfd = -1 };

			snprintf(name, sizeof(name), "~%lu/x", (unsigned long)uids[i]);
			ck_assert_int_eq(has_rights(&policy, &peer, name), i == j);
		}
}
END_TEST

START_TEST(neighbours_of_the_privileged_uids_are_strangers)
{
	static const uid_t uids[] = { 1, 499, 501, 5000, 50, 65534, 65536, 66036, 4294967294 };

	for (size_t i = 0; i < sizeof(uids) / sizeof(uids[0]); i++) {
		struct peer peer = { .uid = uids[i], .pidfd = -1 };

		ck_assert(!policy_privileged(&policy, &peer));
		ck_assert(!has_rights(&policy, &peer, "web/db"));
	}
}
END_TEST

START_TEST(the_daemons_user_is_the_one_it_runs_as)
{
	const struct policy roots = { .own = 0 };
	const struct policy users = { .own = 1000 };

	ck_assert(!policy_privileged(&roots, &own));
	ck_assert(!policy_privileged(&roots, &user));
	ck_assert(!has_rights(&roots, &user, "web/db"));
	ck_assert(has_rights(&roots, &root, "web/db"));
	ck_assert(has_rights(&users, &user, "web/db"));
	ck_assert(has_rights(&users, &user, "~2000/x"));
	ck_assert(!has_rights(&users, &own, "web/db"));
	/* Root stays privileged in a user's own daemon. */
	ck_assert(policy_privileged(&users, &root));
	ck_assert(has_rights(&users, &root, "~1000/x"));
}
END_TEST

START_TEST(only_the_uid_counts)
{
	uint32_t groups[] = { 0, 4, 500 };
	struct peer peer = { .uid = 1000,
		.gid = 0,
		.pid = 1,
		.groups = groups,
		.group_count = 3,
		.label = "system_u:system_r:init_t:s0",
		.pidfd = -1 };

	ck_assert(!policy_privileged(&policy, &peer));
	for (size_t i = 0; i < SHAPES; i++)
		ck_assert_int_eq(has_rights(&policy, &peer, shapes[i]),
			has_rights(&policy, &user, shapes[i]));
	/* And a privileged uid needs nothing else. */
	peer = (struct peer){ .uid = 0, .gid = 1000, .pid = 0, .pidfd = -1 };
	ck_assert(has_rights(&policy, &peer, "web/db"));
}
END_TEST

START_TEST(a_name_counts_by_its_bytes_and_ends_where_its_span_ends)
{
	/* What lies behind the span would make it good. */
	ck_assert(!policy_allows(&policy, &user, RIGHT_GET, span_of("~1000/x", 5)));
	ck_assert(policy_allows(&policy, &user, RIGHT_GET, span_of("~1000/x", 6)));
	ck_assert(!policy_allows(&policy, &user, RIGHT_GET, span_of("~100\0/x", 7)));
	ck_assert(!policy_allows(&policy, &user, RIGHT_GET, span_of(NULL, 0)));
}
END_TEST

START_TEST(anybody_may_ask_for_a_sign_of_life)
{
	static const struct peer nobody = { .uid = 65534, .pidfd = -1 };

	for (size_t i = 0; i < SHAPES; i++) {
		ck_assert(policy_allows(&policy, &user, RIGHT_NONE, span_text(shapes[i])));
		ck_assert(policy_allows(&policy, &nobody, RIGHT_NONE, span_text(shapes[i])));
		ck_assert(policy_allows(&policy, &root, RIGHT_NONE, span_text(shapes[i])));
	}
}
END_TEST

START_TEST(the_same_question_has_the_same_answer)
{
	/* Whoever asked in between: the verdict hangs on nothing but the question. */
	for (int round = 0; round < 3; round++) {
		ck_assert(!has_rights(&policy, &user, "web/db"));
		ck_assert(has_rights(&policy, &root, "web/db"));
		ck_assert(!has_rights(&policy, &user, "web/db"));
		ck_assert(has_rights(&policy, &user, "~1000/web/db"));
	}
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("policy");

	tcase_add_test(claims, root_and_the_daemons_own_user_may_do_everything);
	tcase_add_test(claims, every_other_user_owns_its_own_space_and_nothing_else);
	tcase_add_test(claims, no_two_users_share_a_space);
	tcase_add_test(claims, neighbours_of_the_privileged_uids_are_strangers);
	tcase_add_test(claims, the_daemons_user_is_the_one_it_runs_as);
	tcase_add_test(claims, only_the_uid_counts);
	tcase_add_test(claims, a_name_counts_by_its_bytes_and_ends_where_its_span_ends);
	tcase_add_test(claims, anybody_may_ask_for_a_sign_of_life);
	tcase_add_test(claims, the_same_question_has_the_same_answer);
	return claims_run(claims, "policy");
}
