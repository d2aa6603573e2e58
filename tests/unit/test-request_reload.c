/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/text.h"
#include "daemon/request/petition.h"
#include "tests/unit/request_rig.h"

/* Reloads: who may ask, and who is told what came of it. */

static const struct peer own = { .uid = 4242, .pidfd = -1 };

/* Asks, and is not answered yet. Returns the request's id. */
static uint64_t asks(const struct peer *peer)
{
	uint64_t id = next_id;

	ck_assert_ptr_null(ask(peer, (struct request){ .verb = VERB_RELOAD }));
	ck_assert(house.reloads.asked);
	ck_assert(transfers_has(&transfers, id));
	return id;
}

static void look(void)
{
	ck_assert_int_eq(petitions_look(&transfers, &house, &book.answers), 0);
}

static void reloads(const char *fault)
{
	struct config_fault words = { { 0 } };

	if (fault)
		snprintf(words.text, sizeof(words.text), "%s", fault);
	daemon_reloaded(&house, fault ? &words : NULL);
	ck_assert(!house.reloads.asked);
	look();
}

static bool is_called(void)
{
	return wait_queue_next(&house.waits) == &transfers.party;
}

START_TEST(only_who_may_do_everything_reloads)
{
	ck_assert_int_eq(ask(&user, (struct request){ .verb = VERB_RELOAD })->code, STATUS_DENIED);
	ck_assert(!house.reloads.asked);
	asks(&root);
	asks(&own);
	ck_assert_uint_eq(transfers.count, 2);
}
END_TEST

START_TEST(the_answer_comes_once_it_is_done)
{
	uint64_t id = asks(&root);

	look();
	ck_assert_uint_eq(book.count, 0);
	reloads(NULL);
	ck_assert(is_called());
	ck_assert_uint_eq(book.count, 1);
	ck_assert_uint_eq(notebook_last(&book)->id, id);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_str_eq(notebook_last(&book)->detail, "");
	ck_assert(!transfers_has(&transfers, id));
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_refusal_is_1_and_says_why)
{
	asks(&root);
	reloads("the.conf:12: unknown key 'colour'");
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_NO);
	ck_assert_str_eq(notebook_last(&book)->detail, "the.conf:12: unknown key 'colour'");
	/* And it is over with the next one. */
	asks(&root);
	reloads(NULL);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
}
END_TEST

START_TEST(whoever_asks_meanwhile_is_told_by_the_next_one)
{
	uint64_t id = asks(&root);

	reloads(NULL);
	look();
	ck_assert_uint_eq(book.count, 1);
	id = asks(&root);
	look();
	ck_assert_uint_eq(book.count, 1);
	reloads("the.conf: no");
	ck_assert_uint_eq(book.count, 2);
	ck_assert_uint_eq(notebook_last(&book)->id, id);
}
END_TEST

START_TEST(all_who_wait_are_told)
{
	for (size_t i = 0; i < TRANSFERS_MAX; i++)
		asks(&root);
	ck_assert_int_eq(ask(&root, (struct request){ .verb = VERB_RELOAD })->code, STATUS_LIMIT);
	book.count = 0;
	reloads(NULL);
	ck_assert_uint_eq(book.count, TRANSFERS_MAX);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(one_can_be_cancelled_and_is_done_all_the_same)
{
	uint64_t id = asks(&root);

	(void)ask(&root, (struct request){ .verb = VERB_CANCEL, .target = id });
	ck_assert_uint_eq(book.count, 2);
	ck_assert_uint_eq(book.notes[0].id, id);
	ck_assert_int_eq(book.notes[0].code, STATUS_TIMEOUT);
	ck_assert(house.reloads.asked);
	reloads(NULL);
	ck_assert_uint_eq(book.count, 2);
	ck_assert(!is_called());
}
END_TEST

START_TEST(who_asked_and_left_is_forgotten)
{
	asks(&root);
	transfers_finish(&transfers, &house);
	reloads(NULL);
	ck_assert_uint_eq(book.count, 0);
	ck_assert(!is_called());
}
END_TEST

START_TEST(an_answer_is_text_whatever_the_file_holds)
{
	static const char *const faults[] = { "the.conf:1: '\xff'", "the.conf:1: '\xc3'",
		"the.conf:1: '\x1b[2J'", "the.conf:1: '\xc2\x9b'", "the.conf:1: '\x7f'",
		"the.conf:1: '\xc3\xa4'" };
	const struct note_of_reply *note;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		asks(&root);
		reloads(faults[i]);
		note = notebook_last(&book);
		ck_assert_ptr_null(text_fault(span_text(note->detail)));
		ck_assert_int_eq(strncmp(note->detail, "the.conf:1: '", 13), 0);
	}
	ck_assert_str_eq(notebook_last(&book)->detail, faults[5]);
}
END_TEST

/* A stream that was full may take more now. */
START_TEST(whoever_waits_for_anything_looks_again)
{
	struct request get = {
		.verb = VERB_GET, .name = span_text("absent"), .wait_ms = 60000, .id = 77
	};

	ck_assert_ptr_null(ask(&root, get));
	ck_assert(!is_called());
	reloads(NULL);
	ck_assert(is_called());
	ck_assert(transfers_has(&transfers, 77));
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_reload");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, only_who_may_do_everything_reloads);
	tcase_add_test(claims, the_answer_comes_once_it_is_done);
	tcase_add_test(claims, a_refusal_is_1_and_says_why);
	tcase_add_test(claims, whoever_asks_meanwhile_is_told_by_the_next_one);
	tcase_add_test(claims, all_who_wait_are_told);
	tcase_add_test(claims, one_can_be_cancelled_and_is_done_all_the_same);
	tcase_add_test(claims, who_asked_and_left_is_forgotten);
	tcase_add_test(claims, an_answer_is_text_whatever_the_file_holds);
	tcase_add_test(claims, whoever_waits_for_anything_looks_again);
	return claims_run(claims, "reloads of the daemon");
}
