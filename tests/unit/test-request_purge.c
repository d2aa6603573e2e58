/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/repeat.h"
#include "daemon/request/sweep.h"
#include "tests/unit/request_rig.h"

/* Purges of everything, and of what is one caller's own; the end of the daemon. */

static const struct peer own = { .uid = 4242, .pidfd = -1 };

static struct request purging(bool all)
{
	struct request request = { .verb = VERB_PURGE, .numbered = true, .all = all };

	request.id = next_id++;
	randombytes_buf(request.number, sizeof(request.number));
	return request;
}

/* Steps, as turns of a session would take them. Returns how many. */
static size_t go_on(void)
{
	size_t steps = 0;

	for (; transfers.sweeps; steps++)
		ck_assert_int_eq(sweeps_go_on(&transfers, &house, &book.answers), 0);
	return steps;
}

static void purges(const struct peer *peer, struct request request, uint64_t count)
{
	size_t before = book.count;

	(void)ask(peer, request);
	go_on();
	ck_assert_uint_eq(book.count, before + 1);
	ck_assert_uint_eq(notebook_last(&book)->id, request.id);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_int_eq(notebook_last(&book)->body, BODY_PURGED);
	ck_assert_uint_eq(notebook_last(&book)->secrets, count);
	book.count = 0;
}

static int code_of(const struct peer *peer, const char *name)
{
	int code = ask(peer, (struct request){ .verb = VERB_STAT, .name = span_text(name) })->code;

	book.count = 0;
	return code;
}

static void keeps(const struct peer *peer, const char *name)
{
	ck_assert_int_eq(store(peer, name, 20000)->code, 0);
	book.count = 0;
}

START_TEST(a_purge_of_everything_leaves_nothing_and_new_secrets_work)
{
	keeps(&root, "shared");
	keeps(&user, "~/mine");
	purges(&root, purging(true), 2);
	ck_assert_int_eq(code_of(&root, "shared"), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_of(&user, "~/mine"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
	keeps(&root, "shared");
	ck_assert_int_eq(code_of(&root, "shared"), 0);
	/* Once more, by the daemon's own user. */
	purges(&own, purging(true), 1);
}
END_TEST

/* Their blocks are theirs until they make room, however often everything was purged since. */
START_TEST(answers_from_before_purges_give_back_nothing_of_anybodys)
{
	for (size_t i = 0; i < 20; i++)
		keeps(&root, "first");
	purges(&root, purging(true), 1);
	purges(&root, purging(true), 0);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
	for (size_t i = 0; i < 20; i++) {
		char name[16];

		snprintf(name, sizeof(name), "~/then-%zu", i);
		keeps(&user, name);
	}
	/* As many as make all of the first ones give way. */
	for (size_t i = 0; i < REPEAT_KEPT; i++) {
		(void)ask(&root, changing(VERB_REMOVE, "none"));
		keeps(&root, "last");
		book.count = 0;
	}
	for (size_t i = 0; i < 20; i++) {
		char name[16];

		snprintf(name, sizeof(name), "~/then-%zu", i);
		(void)ask(&user, getting(name));
		ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
		ck_assert_int_eq(notebook_last(&book)->code, 0);
		ck_assert_uint_eq(notebook_last(&book)->bytes_size, enclave_sealed_size(20000));
		ck_assert_mem_eq(
			notebook_last(&book)->bytes, sealed, notebook_last(&book)->bytes_size);
		book.count = 0;
	}
}
END_TEST

START_TEST(only_who_may_do_everything_purges_everything)
{
	keeps(&root, "shared");
	keeps(&user, "~/mine");
	ck_assert_int_eq(ask(&user, purging(true))->code, STATUS_DENIED);
	ck_assert_int_eq(code_of(&root, "shared"), 0);
	ck_assert_int_eq(code_of(&user, "~/mine"), 0);
}
END_TEST

START_TEST(a_users_own_is_its_space_and_nothing_else)
{
	static const struct peer other = { .uid = 100, .pidfd = -1 };
	static const struct peer longer = { .uid = 10001, .pidfd = -1 };

	keeps(&root, "shared");
	keeps(&root, "~1000/from-root");
	keeps(&user, "~/a");
	keeps(&user, "~/b/c");
	keeps(&other, "~/a");
	keeps(&longer, "~/a");
	purges(&user, purging(false), 3);
	ck_assert_int_eq(code_of(&user, "~/a"), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_of(&user, "~/b/c"), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_of(&root, "shared"), 0);
	ck_assert_int_eq(code_of(&other, "~/a"), 0);
	ck_assert_int_eq(code_of(&longer, "~/a"), 0);
	purges(&user, purging(false), 0);
}
END_TEST

START_TEST(who_stores_everywhere_owns_what_it_stored_first)
{
	keeps(&root, "roots");
	keeps(&own, "owns");
	keeps(&own, "~/owns");
	keeps(&root, "owns");
	keeps(&user, "~/a");
	purges(&own, purging(false), 2);
	ck_assert_int_eq(code_of(&root, "owns"), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_of(&root, "roots"), 0);
	ck_assert_int_eq(code_of(&user, "~/a"), 0);
	purges(&root, purging(false), 1);
	ck_assert_int_eq(code_of(&root, "roots"), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_of(&user, "~/a"), 0);
}
END_TEST

START_TEST(a_repeat_gets_the_first_answer_and_purges_nothing)
{
	struct request mine = purging(false), all = purging(true);

	keeps(&user, "~/a");
	purges(&user, mine, 1);
	keeps(&user, "~/a");
	mine.id = next_id++;
	purges(&user, mine, 1);
	ck_assert_int_eq(code_of(&user, "~/a"), 0);
	purges(&root, all, 1);
	keeps(&user, "~/a");
	all.id = next_id++;
	purges(&root, all, 1);
	ck_assert_int_eq(code_of(&user, "~/a"), 0);
	/* The number of one kind is none of the other kind. */
	all.id = next_id++;
	all.all = false;
	ck_assert_int_eq(ask(&root, all)->code, STATUS_CONFLICT);
}
END_TEST

START_TEST(much_is_purged_in_steps)
{
	char name[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "~/%d", i);
		ck_assert_int_eq(store(&user, name, 1)->code, 0);
		book.count = 0;
	}
	(void)ask(&user, purging(false));
	ck_assert_uint_eq(book.count, 0);
	ck_assert(transfers.sweeps != NULL);
	/* Others are served between two steps, and what has not been reached is there. */
	keeps(&root, "meanwhile");
	ck_assert_uint_gt(go_on(), 10);
	ck_assert_uint_eq(notebook_last(&book)->secrets, 1000);
	ck_assert_uint_eq(vault_count(house.vault), 1);
}
END_TEST

START_TEST(a_purge_under_way_can_be_cancelled)
{
	struct request request = purging(false);

	keeps(&user, "~/a");
	(void)ask(&user, request);
	(void)ask(&user, (struct request){ .verb = VERB_CANCEL, .target = request.id });
	ck_assert_uint_eq(book.count, 2);
	ck_assert_uint_eq(book.notes[0].id, request.id);
	ck_assert_int_eq(book.notes[0].code, STATUS_TIMEOUT);
	ck_assert_int_eq(book.notes[1].code, 0);
	ck_assert_ptr_null(transfers.sweeps);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

/* A get whose chunks are still leaving, when its secret is purged by whoever may. */
START_TEST(a_get_under_way_ends_with_12)
{
	bool all = _i == 1;
	struct request get = { .verb = VERB_GET, .name = span_text("~1000/a") };

	ck_assert_int_eq(store(&user, "~/a", 200000)->code, 0);
	book.count = 0;
	book.frames = 1;
	get.id = next_id++;
	(void)ask(&root, get);
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert(!notebook_last(&book)->chunks.final);
	book.count = 0;
	purges(all ? &root : &user, purging(all), 1);
	book.frames = SIZE_MAX;
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert_uint_eq(notebook_last(&book)->id, get.id);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_GONE);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(a_set_under_way_ends_with_12_when_everything_is_purged)
{
	struct request request = setting("a", 100000);

	seal(100000);
	ck_assert_ptr_null(ask(&root, with_chunks(request, 100000, 0, 2)));
	purges(&root, purging(true), 0);
	ck_assert_int_eq(
		ask(&root, with_chunks(going_on(request.id), 100000, 2, 4))->code, STATUS_GONE);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(only_who_may_do_everything_ends_the_daemon)
{
	ck_assert_int_eq(
		ask(&user, (struct request){ .verb = VERB_SHUTDOWN })->code, STATUS_DENIED);
	ck_assert(!house.ending);
	ck_assert_int_eq(ask(&own, (struct request){ .verb = VERB_SHUTDOWN })->code, 0);
	ck_assert(house.ending);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_purge");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, a_purge_of_everything_leaves_nothing_and_new_secrets_work);
	tcase_add_test(claims, answers_from_before_purges_give_back_nothing_of_anybodys);
	tcase_add_test(claims, only_who_may_do_everything_purges_everything);
	tcase_add_test(claims, a_users_own_is_its_space_and_nothing_else);
	tcase_add_test(claims, who_stores_everywhere_owns_what_it_stored_first);
	tcase_add_test(claims, a_repeat_gets_the_first_answer_and_purges_nothing);
	tcase_add_test(claims, much_is_purged_in_steps);
	tcase_add_test(claims, a_purge_under_way_can_be_cancelled);
	tcase_add_loop_test(claims, a_get_under_way_ends_with_12, 0, 2);
	tcase_add_test(claims, a_set_under_way_ends_with_12_when_everything_is_purged);
	tcase_add_test(claims, only_who_may_do_everything_ends_the_daemon);
	return claims_run(claims, "purges of the daemon");
}
