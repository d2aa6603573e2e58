/* SPDX-License-Identifier: Apache-2.0 */

/* Who has lost an answer asks once more, and has the first one: of tokens and wraps. */
#include "tests/unit/token_rig.h"

/* What the first answer was. */
static uint8_t drawn[VAULT_TOKEN_SIZE];

static struct request wish(const char *name)
{
	static struct grant grants[2];

	grants[0] = (struct grant){ span_text("get"), span_text("~/*") };
	grants[1] = (struct grant){ span_text("stat,ls"), span_text("web/**") };
	return (struct request){ .verb = VERB_ISSUE_TOKEN,
		.name = span_text(name),
		.grants = { grants, 2 },
		.numbered = true,
		.number = { 1 } };
}

/* The first one that is asked for is the one that is drawn. */
static void first_of(const struct peer *peer, struct request request)
{
	struct note_of_reply *note = ask(peer, request);

	ck_assert_msg(note->code == 0, "%s", note->detail);
	ck_assert_int_eq(note->body, BODY_ISSUED);
	memcpy(drawn, note->key, sizeof(drawn));
}

static int code_of(const struct peer *peer, struct request request)
{
	struct note_of_reply *note = ask(peer, request);

	if (note->code == 0) {
		ck_assert_int_eq(note->body, BODY_ISSUED);
		ck_assert_mem_eq(note->key, drawn, sizeof(drawn));
	}
	return note->code;
}

static int show(size_t who)
{
	return ask_of(who, (struct request){ .verb = VERB_SHOW_TOKEN, .token = drawn })->code;
}

START_TEST(a_repeated_issue_makes_one_token)
{
	struct request request = wish("~/ci");

	store(&user, "~/a", 10);
	first_of(&user, request);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(code_of(&user, request), 0);
		ck_assert_uint_eq(tokens_count(house.tokens), 1);
	}
	next_process();
	ck_assert_int_eq(code_of(&user, request), 0);
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
	ck_assert_int_eq(show(0), 0);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	/* What came of it since is no part of the answer, and it is not made anew. */
	ck_assert_int_eq(take_back_numbered("~/ci", 1), 0);
	ck_assert_int_eq(code_of(&user, request), 0);
	ck_assert_uint_eq(tokens_count(house.tokens), 0);
	ck_assert_int_eq(show(0), STATUS_GONE);
	ck_assert_uint_eq(vault_broken(house.vault), 0);
}
END_TEST

static void conflicts(const struct peer *peer, struct request request)
{
	ck_assert_int_eq(code_of(peer, request), STATUS_CONFLICT);
	ck_assert_str_eq(
		notebook_last(&book)->detail, "the request's number was used for another one");
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
}

/* The same number is the same wish, or none. */
START_TEST(its_number_is_good_for_no_other_wish)
{
	const struct grant more[] = { { span_text("get"), span_text("~/*") },
		{ span_text("*"), span_text("web/**") } };
	struct request request = wish("~/ci"), other;

	request.uses = 3;
	request.of_uid = true;
	request.uid = 1001;
	first_of(&user, request);
	other = request;
	other.name = span_text("~/other");
	conflicts(&user, other);
	other = request;
	other.uses = 0;
	conflicts(&user, other);
	other = request;
	other.uid = 1002;
	conflicts(&user, other);
	other.of_uid = false;
	conflicts(&user, other);
	other = request;
	other.unit = span_text("a.service");
	conflicts(&user, other);
	other = request;
	other.grants.count = 1;
	conflicts(&user, other);
	other = request;
	other.grants.grant = more;
	conflicts(&user, other);
	other = request;
	other.lifetime.ttl_ms = 60000;
	conflicts(&user, other);
	ck_assert_int_eq(code_of(&user, request), 0);
	/* Of somebody else it is another one, and no wrap is a token. */
	other = request;
	ck_assert_int_eq(ask(&peers[0], other)->code, 0);
	ck_assert_mem_ne(notebook_last(&book)->key, drawn, sizeof(drawn));
	store(&user, "~/ci", 10);
	other.verb = VERB_WRAP;
	other.grants.count = 0;
	other.of_uid = false;
	ck_assert_int_eq(ask(&user, other)->code, 0);
	ck_assert_mem_ne(notebook_last(&book)->key, drawn, sizeof(drawn));
	ck_assert_int_eq(code_of(&user, request), 0);
}
END_TEST

/* Older clients send none. */
START_TEST(without_a_number_each_is_another_one)
{
	struct request request = wish("~/ci");
	uint8_t first[VAULT_TOKEN_SIZE];

	request.numbered = false;
	ck_assert_int_eq(ask(&user, request)->code, 0);
	memcpy(first, notebook_last(&book)->key, sizeof(first));
	ck_assert_int_eq(ask(&user, request)->code, STATUS_CONFLICT);
	request.name = span_text("~/other");
	ck_assert_int_eq(ask(&user, request)->code, 0);
	ck_assert_mem_ne(notebook_last(&book)->key, first, sizeof(first));
}
END_TEST

START_TEST(a_repeated_wrap_is_the_same_whatever_was_stored_since)
{
	struct request request = {
		.verb = VERB_WRAP, .name = span_text("~/a"), .numbered = true, .uses = 2
	};
	struct request unwrap = { .verb = VERB_UNWRAP, .token = drawn };
	struct request other = request;

	store(&user, "~/a", 10);
	first_of(&user, request);
	ck_assert_int_eq(ask_of(0, unwrap)->body, BODY_VALUE);
	next_process();
	ck_assert_int_eq(code_of(&user, request), 0);
	other.uses = 1;
	ck_assert_int_eq(code_of(&user, other), STATUS_CONFLICT);
	store(&user, "~/a", 20);
	ck_assert_int_eq(code_of(&user, request), 0);
	/* It is one of the first version still, of which there was one use. */
	ck_assert_int_eq(ask_of(0, unwrap)->code, STATUS_GONE);
	ck_assert_int_eq(ask(&user, changing(VERB_REMOVE, "~/a"))->code, 0);
	ck_assert_int_eq(code_of(&user, request), 0);
	ck_assert_ptr_null(tokens_first(house.tokens)->next);
}
END_TEST

/* A wrap by the last use of a token, and once more. */
START_TEST(a_repeated_wrap_is_no_other_use_of_a_token)
{
	struct request issue = wish("~/ci");
	struct request request = {
		.verb = VERB_WRAP, .name = span_text("~1000/a"), .numbered = true
	};

	store(&user, "~/a", 10);
	issue.uses = 1;
	first_of(&user, issue);
	ck_assert_int_eq(show(0), 0);
	ck_assert_int_eq(ask_of(0, request)->code, 0);
	memcpy(drawn, notebook_last(&book)->key, sizeof(drawn));
	ck_assert_int_eq(ask_of(0, request)->code, 0);
	ck_assert_mem_eq(notebook_last(&book)->key, drawn, sizeof(drawn));
	request.number[0] = 7;
	ck_assert_int_eq(ask_of(0, request)->code, STATUS_DENIED);
}
END_TEST

/* What belongs to a number does so under one master. */
START_TEST(after_a_purge_it_is_another_one)
{
	first_of(&user, wish("~/ci"));
	daemon_purge(&house);
	ck_assert_int_eq(ask(&user, wish("~/ci"))->code, 0);
	ck_assert_mem_ne(notebook_last(&book)->key, drawn, sizeof(drawn));
	ck_assert_int_eq(show(0), STATUS_DENIED);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("token_repeat");

	tcase_add_checked_fixture(claims, open_lasting_house, close_house);
	tcase_add_test(claims, a_repeated_issue_makes_one_token);
	tcase_add_test(claims, its_number_is_good_for_no_other_wish);
	tcase_add_test(claims, without_a_number_each_is_another_one);
	tcase_add_test(claims, a_repeated_wrap_is_the_same_whatever_was_stored_since);
	tcase_add_test(claims, a_repeated_wrap_is_no_other_use_of_a_token);
	tcase_add_test(claims, after_a_purge_it_is_another_one);
	return claims_run(claims, "token_repeat");
}
