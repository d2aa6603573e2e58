/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/request/wait_queue.h"
#include "tests/unit/claims.h"

/* More names than chains, so that chains are shared. */
#define NAMES 2000

static struct wait_queue queue;
static struct wait_party parties[NAMES];
static struct wait waits[NAMES];
static char names[NAMES][16];

static struct span name(int i)
{
	return span_text(names[i]);
}

static void set_up(void)
{
	if (sodium_init() < 0)
		abort();
	wait_queue_init(&queue);
	memset(parties, 0, sizeof(parties));
	for (int i = 0; i < NAMES; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "u/%d/w", i);
		wait_queue_enter(&queue, &waits[i], &parties[i], name(i));
	}
}

START_TEST(a_name_calls_those_who_wait_for_it_and_nobody_else)
{
	for (int i = 0; i < NAMES; i++) {
		wait_queue_call(&queue, name(i));
		ck_assert_ptr_eq(wait_queue_next(&queue), &parties[i]);
		ck_assert_ptr_null(wait_queue_next(&queue));
	}
	wait_queue_call(&queue, span_text("nobody"));
	ck_assert_ptr_null(wait_queue_next(&queue));
}
END_TEST

START_TEST(who_waits_for_several_names_is_called_once_a_round)
{
	struct wait again;

	wait_queue_enter(&queue, &again, &parties[1], name(2));
	wait_queue_call(&queue, name(1));
	wait_queue_call(&queue, name(1));
	wait_queue_call(&queue, name(2));
	ck_assert_ptr_eq(wait_queue_next(&queue), &parties[1]);
	ck_assert_ptr_eq(wait_queue_next(&queue), &parties[2]);
	ck_assert_ptr_null(wait_queue_next(&queue));
	wait_queue_leave(&again);
	wait_queue_call(&queue, name(2));
	ck_assert_ptr_eq(wait_queue_next(&queue), &parties[2]);
	ck_assert_ptr_null(wait_queue_next(&queue));
}
END_TEST

START_TEST(who_calls_one_another_without_end_pass_nobody_by)
{
	for (int i = 0; i < 3; i++)
		wait_queue_call(&queue, name(i));
	for (int i = 0; i < 3; i++) {
		ck_assert(wait_queue_has_called(&queue));
		ck_assert_ptr_eq(wait_queue_next(&queue), &parties[i]);
		wait_queue_call(&queue, name(i));
	}
}
END_TEST

START_TEST(everybody_is_called_once)
{
	wait_queue_call_all(&queue);
	for (int i = 0; i < NAMES; i++)
		ck_assert_ptr_nonnull(wait_queue_next(&queue));
	ck_assert_ptr_null(wait_queue_next(&queue));
}
END_TEST

START_TEST(who_has_left_is_not_called)
{
	for (int i = 0; i < NAMES; i += 2)
		wait_queue_leave(&waits[i]);
	for (int i = 0; i < NAMES; i++) {
		wait_queue_call(&queue, name(i));
		ck_assert_ptr_eq(wait_queue_next(&queue), i % 2 == 0 ? NULL : &parties[i]);
	}
}
END_TEST

/* -- what is followed ---------------------------------------------------------------------- */

START_TEST(what_happens_calls_those_who_follow_it_and_nobody_else)
{
	struct follow all, some, others;

	wait_queue_follow(&queue, &all, &parties[0], span_of(NULL, 0));
	wait_queue_follow(&queue, &some, &parties[1], span_text("web/"));
	wait_queue_follow(&queue, &others, &parties[2], span_text("web/x"));
	wait_queue_tell(&queue, span_text("web/a"), 0, 1);
	ck_assert_ptr_eq(wait_queue_next(&queue), &parties[1]);
	ck_assert_ptr_eq(wait_queue_next(&queue), &parties[0]);
	ck_assert_ptr_null(wait_queue_next(&queue));
	/* Whom it does not concern has seen it; the others are to look. */
	ck_assert_uint_eq(others.place, 1);
	ck_assert_uint_eq(some.place, 0);
	/* Who is behind stays there until it looks by itself. */
	wait_queue_tell(&queue, span_text("b"), 1, 2);
	ck_assert_uint_eq(others.place, 2);
	ck_assert_uint_eq(some.place, 0);
	wait_queue_unfollow(&some);
	wait_queue_unfollow(&all);
	while (wait_queue_next(&queue))
		;
	/* What happens to all names happens to each. */
	wait_queue_tell(&queue, span_of(NULL, 0), 2, 3);
	ck_assert_ptr_eq(wait_queue_next(&queue), &parties[2]);
	ck_assert_ptr_null(wait_queue_next(&queue));
	ck_assert_uint_eq(others.place, 2);
	wait_queue_unfollow(&others);
	wait_queue_tell(&queue, span_of(NULL, 0), 3, 4);
	ck_assert_ptr_null(wait_queue_next(&queue));
}
END_TEST

START_TEST(who_is_not_concerned_for_long_is_called_all_the_same)
{
	struct follow follow;

	wait_queue_follow(&queue, &follow, &parties[0], span_text("web/"));
	follow.latest = 2;
	wait_queue_tell(&queue, span_text("a"), 0, 1);
	ck_assert_ptr_null(wait_queue_next(&queue));
	wait_queue_tell(&queue, span_text("a"), 1, 2);
	ck_assert_ptr_eq(wait_queue_next(&queue), &parties[0]);
	wait_queue_unfollow(&follow);
}
END_TEST

START_TEST(a_party_may_end_while_it_is_called)
{
	for (int i = 0; i < 3; i++)
		wait_queue_call(&queue, name(i));
	wait_queue_leave(&waits[1]);
	wait_party_end(&parties[1]);
	wait_party_end(&parties[1]);
	for (int i = 0; i < 2; i++) {
		struct wait_party *party = wait_queue_next(&queue);

		ck_assert(party == &parties[0] || party == &parties[2]);
	}
	ck_assert_ptr_null(wait_queue_next(&queue));
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("wait_queue");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, a_name_calls_those_who_wait_for_it_and_nobody_else);
	tcase_add_test(claims, who_waits_for_several_names_is_called_once_a_round);
	tcase_add_test(claims, who_calls_one_another_without_end_pass_nobody_by);
	tcase_add_test(claims, everybody_is_called_once);
	tcase_add_test(claims, who_has_left_is_not_called);
	tcase_add_test(claims, what_happens_calls_those_who_follow_it_and_nobody_else);
	tcase_add_test(claims, who_is_not_concerned_for_long_is_called_all_the_same);
	tcase_add_test(claims, a_party_may_end_while_it_is_called);
	return claims_run(claims, "wait_queue");
}
