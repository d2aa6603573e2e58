/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/text.h"
#include "daemon/vault/vault_inside.h"
#include "tests/unit/request_rig.h"

/* Upgrades: who may ask, what is answered at once, and what is told of those that failed. */

#define KEEPER 4711

static const struct peer own = { .uid = 4242, .pidfd = -1 };

static void set_up_kept(void)
{
	set_up();
	house.upgrades.keeper = KEEPER;
}

static const struct note_of_reply *upgrade(const struct peer *peer)
{
	const struct note_of_reply *note = ask(peer, (struct request){ .verb = VERB_UPGRADE });

	/* There is nothing to wait for. */
	ck_assert_ptr_nonnull(note);
	ck_assert_uint_eq(transfers.count, 0);
	return note;
}

static const struct state *status(const struct peer *peer)
{
	return &ask(peer, (struct request){ .verb = VERB_STATUS })->state;
}

static void fails(const char *words)
{
	struct config_fault fault = { { 0 } };

	snprintf(fault.text, sizeof(fault.text), "%s", words);
	daemon_upgrade_failed(&house, &fault);
}

START_TEST(only_who_may_do_everything_upgrades)
{
	ck_assert_int_eq(upgrade(&user)->code, STATUS_DENIED);
	ck_assert(!house.upgrades.asked && !house.upgrades.under_way);
	ck_assert_int_eq(upgrade(&own)->code, 0);
	ck_assert(house.upgrades.asked);
	ck_assert_uint_eq(house.upgrades.uid, own.uid);
}
END_TEST

START_TEST(a_stranger_is_not_told_whether_there_is_a_keeper)
{
	char words[sizeof(book.notes[0].detail)];

	strcpy(words, upgrade(&user)->detail);
	house.upgrades.keeper = 0;
	ck_assert_int_eq(upgrade(&user)->code, STATUS_DENIED);
	ck_assert_str_eq(notebook_last(&book)->detail, words);
}
END_TEST

START_TEST(without_a_keeper_it_is_refused)
{
	house.upgrades.keeper = 0;
	ck_assert_int_eq(upgrade(&root)->code, STATUS_NO);
	ck_assert_ptr_nonnull(strstr(notebook_last(&book)->detail, "keep"));
	ck_assert_int_eq(notebook_last(&book)->body, BODY_NONE);
	ck_assert(!house.upgrades.asked && !house.upgrades.under_way);
	ck_assert_uint_eq(status(&root)->keeper, 0);
	ck_assert(!status(&root)->upgrading);
}
END_TEST

START_TEST(the_answer_is_the_state_that_it_begins_with)
{
	const struct note_of_reply *note;

	ck_assert(!status(&root)->upgrading);
	fails("one before");
	note = upgrade(&root);
	ck_assert_int_eq(note->code, 0);
	ck_assert_int_eq(note->body, BODY_STATE);
	ck_assert_uint_eq(note->state.keeper, KEEPER);
	ck_assert_uint_eq(note->state.failed_upgrades, 1);
	ck_assert(note->state.upgrading && note->state.counts);
	ck_assert(house.upgrades.asked);
	ck_assert(status(&root)->upgrading);
}
END_TEST

START_TEST(one_that_is_under_way_is_not_begun_again)
{
	upgrade(&root);
	house.upgrades.asked = false; /* as the loop does, once it has been begun */
	ck_assert_int_eq(upgrade(&own)->code, 0);
	ck_assert(notebook_last(&book)->state.upgrading);
	ck_assert(!house.upgrades.asked);
	ck_assert_uint_eq(house.upgrades.uid, root.uid);
	fails("no such file");
	upgrade(&own);
	ck_assert(house.upgrades.asked);
	ck_assert_uint_eq(house.upgrades.uid, own.uid);
}
END_TEST

START_TEST(a_failure_is_counted_and_its_reason_told)
{
	const struct state *state;

	upgrade(&root);
	fails("the program does not start");
	state = status(&root);
	ck_assert(!state->upgrading);
	ck_assert_uint_eq(state->keeper, KEEPER);
	ck_assert_uint_eq(state->failed_upgrades, 1);
	ck_assert(span_equal(state->upgrade_fault, span_text("the program does not start")));
	fails("and again");
	state = status(&root);
	ck_assert_uint_eq(state->failed_upgrades, 2);
	ck_assert(span_equal(state->upgrade_fault, span_text("and again")));
}
END_TEST

START_TEST(a_stranger_is_told_of_the_keeper_and_of_no_failure)
{
	const struct state *state;

	fails("a path that is nobody's business");
	for (unsigned loss = 0; loss < LOSS_COUNT; loss++)
		house.vault->lost[loss] = 3 + loss;
	upgrade(&root);
	state = status(&user);
	ck_assert_uint_eq(state->keeper, KEEPER);
	ck_assert(state->upgrading && !state->counts);
	ck_assert_uint_eq(state->failed_upgrades, 0);
	ck_assert_uint_eq(state->upgrade_fault.size, 0);
	ck_assert_uint_eq(state->broken, 0);
	ck_assert_uint_eq(state->broken_formers + state->broken_consumed + state->broken_streams +
			state->broken_answers + state->broken_tokens,
		0);
	state = status(&root);
	ck_assert_uint_eq(state->broken, 3 + LOSS_SECRET);
	ck_assert_uint_eq(state->broken_formers, 3 + LOSS_FORMER);
	ck_assert_uint_eq(state->broken_consumed, 3 + LOSS_CONSUMED);
	ck_assert_uint_eq(state->broken_streams, 3 + LOSS_STREAM);
	ck_assert_uint_eq(state->broken_answers, 3 + LOSS_ANSWER);
	ck_assert_uint_eq(state->broken_tokens, 3 + LOSS_TOKEN);
}
END_TEST

START_TEST(a_reason_is_text_whatever_was_said)
{
	static const char *const words[] = { "'\xff'", "'\xc3'", "'\x1b[2J'", "'\xc2\x9b'",
		"'\x7f'", "'\xc3\xa4'" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		fails(words[i]);
		ck_assert_ptr_null(text_fault(status(&root)->upgrade_fault));
		ck_assert_uint_eq(status(&root)->upgrade_fault.size, strlen(words[i]));
	}
	ck_assert_str_eq(house.upgrades.fault.text, words[5]);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_upgrade");

	tcase_add_checked_fixture(claims, set_up_kept, tear_down);
	tcase_add_test(claims, only_who_may_do_everything_upgrades);
	tcase_add_test(claims, a_stranger_is_not_told_whether_there_is_a_keeper);
	tcase_add_test(claims, without_a_keeper_it_is_refused);
	tcase_add_test(claims, the_answer_is_the_state_that_it_begins_with);
	tcase_add_test(claims, one_that_is_under_way_is_not_begun_again);
	tcase_add_test(claims, a_failure_is_counted_and_its_reason_told);
	tcase_add_test(claims, a_stranger_is_told_of_the_keeper_and_of_no_failure);
	tcase_add_test(claims, a_reason_is_text_whatever_was_said);
	return claims_run(claims, "upgrades of the daemon");
}
