/* SPDX-License-Identifier: Apache-2.0 */

/* What goes on for long hangs on a token, and is a use of it: request_serve with invented peers. */
#include "tests/unit/token_rig.h"

#include "daemon/request/sweep.h"
#include "daemon/request/walk.h"

struct issued {
	uint8_t bytes[VAULT_TOKEN_SIZE];
};

static struct issued issue(const char *name, const char *glob, uint32_t uses)
{
	const struct grant grant = { span_text("*"), span_text(glob) };
	struct note_of_reply *note = ask(&user,
		(struct request){ .verb = VERB_ISSUE_TOKEN,
			.name = span_text(name),
			.grants = { &grant, 1 },
			.uses = uses });
	struct issued issued;

	ck_assert_int_eq(note->code, 0);
	memcpy(issued.bytes, note->key, sizeof(issued.bytes));
	return issued;
}

static void show(const struct issued *issued)
{
	ck_assert_int_eq(
		ask_of(0, (struct request){ .verb = VERB_SHOW_TOKEN, .token = issued->bytes })
			->code,
		0);
}

/* Stores by whatever the session shows. */
static int put(const char *name)
{
	struct request set = with_chunks(setting(name, 10), 10, 0, 1);

	seal(10);
	return ask_of(0, set)->code;
}

/* How many secrets it purged. */
static uint64_t purge(void)
{
	ask_of(0, changing(VERB_PURGE, ""));
	while (sessions[0].sweeps)
		ck_assert_int_eq(sweeps_go_on(&sessions[0], &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->body, BODY_PURGED);
	return notebook_last(&book)->secrets;
}

/* Of what was stored by a token, where one may nothing without. */
START_TEST(a_purge_by_a_token_is_a_use_of_it)
{
	struct issued issued;

	rule("[namespace web]\nallow = set,rm ** uid:1000\n");
	issued = issue("~/four", "web/*", 4);
	show(&issued);
	ck_assert_int_eq(put("web/a"), 0);
	ck_assert_int_eq(put("web/b"), 0);
	ck_assert_uint_eq(purge(), 2);
	ck_assert_int_eq(put("web/c"), 0);
	ck_assert_int_eq(put("web/d"), STATUS_DENIED);
	/* There is none left. */
	ck_assert_uint_eq(purge(), 0);
	ck_assert_int_eq(ask(&root, getting("web/c"))->code, 0);
}
END_TEST

/* One that is shown while a list goes on is used by it, too. */
START_TEST(a_list_by_two_tokens_is_a_use_of_either)
{
	struct issued some = issue("~/some", "~/a/*", 0), others = issue("~/others", "~/b/*", 1);
	char name[16];

	for (int i = 0; i <= WALK_LOOKS; i++) {
		snprintf(name, sizeof(name), "~/a/%02d", i);
		store(&user, name, 10);
		book.count = 0;
	}
	store(&user, "~/b/1", 10);
	show(&some);
	ask_of(0, (struct request){ .verb = VERB_LIST, .name = span_text("~1000/") });
	ck_assert_ptr_nonnull(sessions[0].walks);
	show(&others);
	while (sessions[0].walks)
		ck_assert_int_eq(walks_go_on(&sessions[0], &house, &book.answers), 0);
	ck_assert_str_eq(book.notes[book.count - 2].name, "~1000/b/1");
	ck_assert_int_eq(get_of(0, "~1000/b/1"), STATUS_DENIED);
}
END_TEST

/* No quota holds what tokens take. */
START_TEST(tokens_of_many_words_are_fewer)
{
	struct grant grants[16];
	struct request request = { .verb = VERB_ISSUE_TOKEN, .grants = { grants, 16 } };
	char glob[230], name[16];
	size_t issued = 0;

	memset(glob, 'a', sizeof(glob) - 1);
	glob[sizeof(glob) - 1] = '\0';
	for (size_t i = 0; i < 16; i++)
		grants[i] = (struct grant){ span_text("get"), span_text(glob) };
	do {
		snprintf(name, sizeof(name), "~/%zu", issued++);
		request.name = span_text(name);
		request.id = 0;
		book.count = 0;
	} while (ask(&user, request)->code == 0);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_LIMIT);
	ck_assert_ptr_nonnull(strstr(notebook_last(&book)->detail, "2 MiB"));
	ck_assert_uint_gt(issued * 16 * sizeof(glob), TOKENS_SIZE_MAX / 10 * 9);
	ck_assert_uint_lt((issued - 1) * 16 * strlen(glob), TOKENS_SIZE_MAX);
	/* Those that are of no use give way, as many as it takes; and the limit is one user's. */
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "~/%d", i);
		ck_assert_int_eq(ask(&user,
					 (struct request){ .verb = VERB_REVOKE_TOKEN,
						 .name = span_text(name) })
					 ->code,
			0);
	}
	ck_assert_int_eq(ask(&user, request)->code, 0);
	request.name = span_text("~/other");
	ck_assert_int_eq(ask_of(1, request)->code, 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("token_uses");

	tcase_add_checked_fixture(claims, open_lasting_house, close_house);
	tcase_add_test(claims, a_purge_by_a_token_is_a_use_of_it);
	tcase_add_test(claims, a_list_by_two_tokens_is_a_use_of_either);
	tcase_add_test(claims, tokens_of_many_words_are_fewer);
	return claims_run(claims, "token_uses");
}
