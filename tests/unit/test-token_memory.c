/* SPDX-License-Identifier: Apache-2.0 */

/* What goes on by a token whose use cannot be written down: it ends, and says so. */
#include "tests/unit/token_rig.h"

#include "daemon/request/sweep.h"

/* By user 1000, for five uses of all that it has; shown by the first of the others. */
static void show_one(void)
{
	const struct grant grant = { span_text("*"), span_text("~/*") };
	struct request request = { .verb = VERB_ISSUE_TOKEN,
		.name = span_text("~/ci"),
		.grants = { &grant, 1 },
		.uses = 5 };
	struct note_of_reply *note = ask(&user, request);
	uint8_t bytes[VAULT_TOKEN_SIZE];

	ck_assert_msg(note->code == 0, "%s", note->detail);
	memcpy(bytes, note->key, sizeof(bytes));
	note = ask_of(0, (struct request){ .verb = VERB_SHOW_TOKEN, .token = bytes });
	ck_assert_int_eq(note->code, 0);
}

START_TEST(a_watch_is_over_and_nothing_is_lost)
{
	struct request watch = { .verb = VERB_WATCH, .name = span_text("~1000/") };
	struct rlimit limit;
	size_t before;
	int r;

	show_one();
	watch.since = ask_of(0, watch)->number;
	store(&user, "~/a", 10);
	before = book.count;
	limit = use_up_memory();
	r = watches_go_on(&sessions[0], &house, &book.answers);
	setrlimit(RLIMIT_FSIZE, &limit);
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(book.count, before + 1);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_LIMIT);
	ck_assert_uint_eq(sessions[0].count, 0);
	/* It comes back with its number. */
	ck_assert(!ask_of(0, watch)->lost);
	ck_assert_int_eq(watches_go_on(&sessions[0], &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->body, BODY_EVENT);
}
END_TEST

static struct note_of_reply *purge(void)
{
	(void)ask_of(0, changing(VERB_PURGE, ""));
	while (sessions[0].sweeps)
		ck_assert_int_eq(sweeps_go_on(&sessions[0], &house, &book.answers), 0);
	return notebook_last(&book);
}

START_TEST(a_purge_is_over_and_passes_nothing_over)
{
	struct request drawn = changing(VERB_GENERATE, "~1000/a");
	struct rlimit limit;
	struct note_of_reply *note;

	/* What is purged may lie outside of one's own space. */
	rule("[namespace web]\nallow = get * uid:1000\n");
	show_one();
	drawn.size = 10;
	ck_assert_int_eq(ask_of(0, drawn)->code, 0);
	limit = use_up_memory();
	note = purge();
	setrlimit(RLIMIT_FSIZE, &limit);
	ck_assert_int_eq(note->code, STATUS_LIMIT);
	ck_assert_uint_eq(note->secrets, 0);
	note = purge();
	ck_assert_int_eq(note->code, 0);
	ck_assert_uint_eq(note->secrets, 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("token_memory");

	tcase_add_checked_fixture(claims, open_lasting_house, close_house);
	tcase_add_test(claims, a_watch_is_over_and_nothing_is_lost);
	tcase_add_test(claims, a_purge_is_over_and_passes_nothing_over);
	return claims_run(claims, "tokens whose use cannot be written down");
}
