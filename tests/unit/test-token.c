/* SPDX-License-Identifier: Apache-2.0 */

/* Who lets whom do what by a token: request_serve with invented peers, and what the ledger keeps.
 */
#include "tests/unit/token_rig.h"

/* -- tokens -------------------------------------------------------------------------------- */

struct issued {
	uint8_t bytes[VAULT_TOKEN_SIZE];
};

static struct request wish(const char *name, const struct grant *grant)
{
	return (struct request){
		.verb = VERB_ISSUE_TOKEN, .name = span_text(name), .grants = { grant, 1 }
	};
}

static struct issued issue_as(const struct peer *issuer, struct request request)
{
	struct note_of_reply *note = ask(issuer, request);
	struct issued issued;

	ck_assert_msg(note->code == 0, "%s", note->detail);
	ck_assert_int_eq(note->body, BODY_ISSUED);
	memcpy(issued.bytes, note->key, sizeof(issued.bytes));
	return issued;
}

static struct issued issue(const char *name, const char *operations, const char *glob)
{
	const struct grant grant = { span_text(operations), span_text(glob) };

	return issue_as(&user, wish(name, &grant));
}

static struct issued issue_uses(const char *name, const char *glob, uint32_t uses)
{
	const struct grant grant = { span_text("*"), span_text(glob) };
	struct request request = wish(name, &grant);

	request.uses = uses;
	return issue_as(&user, request);
}

static struct note_of_reply *show(size_t who, const struct issued *issued)
{
	return ask_of(who,
		(struct request){
			.verb = VERB_SHOW_TOKEN, .token = issued ? issued->bytes : NULL });
}

static int take_back(const struct peer *peer, const char *name)
{
	return ask(peer, (struct request){ .verb = VERB_REVOKE_TOKEN, .name = span_text(name) })
		->code;
}

/* -- what a token lets do ------------------------------------------------------------------ */

START_TEST(its_bearer_may_what_it_grants_of_what_its_issuer_may)
{
	struct issued issued;

	store(&user, "~/db/a", 10);
	store(&user, "~/other", 10);
	store(&root, "shared/a", 10);
	issued = issue("~/ci", "get,stat", "~/db/*");
	ck_assert_int_eq(get_of(0, "~1000/db/a"), STATUS_DENIED);
	ck_assert_int_eq(show(0, &issued)->code, 0);
	ck_assert_int_eq(get_of(0, "~1000/db/a"), 0);
	ck_assert_int_eq(get_of(0, "~1000/db/none"), STATUS_NOT_FOUND);
	ck_assert_int_eq(get_of(0, "~1000/other"), STATUS_DENIED);
	ck_assert_int_eq(get_of(0, "~1000/db/a/b"), STATUS_DENIED);
	ck_assert_int_eq(get_of(0, "shared/a"), STATUS_DENIED);
	ck_assert_int_eq(ask_of(0, changing(VERB_REMOVE, "~1000/db/a"))->code, STATUS_DENIED);
	/* Only of that session, and only as long as it is shown. */
	ck_assert_int_eq(get_of(1, "~1000/db/a"), STATUS_DENIED);
	ck_assert_int_eq(show(0, NULL)->code, 0);
	ck_assert_int_eq(get_of(0, "~1000/db/a"), STATUS_DENIED);
}
END_TEST

START_TEST(its_issuer_may_no_more_and_nor_may_its_bearer)
{
	struct issued issued = issue("~/all", "*", "**");

	store(&root, "web/a", 10);
	show(0, &issued);
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000\n");
	ck_assert_int_eq(get_of(0, "web/a"), 0);
	rule("[namespace web]\nallow = get * uid:1000\ndeny = get * uid:1000\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000\ndeny = get * uid:1001\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000\ndeny = get * token:~1000/all\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000 until=2001-01-01\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
	/* What the daemon as a whole is asked is no token's. */
	issued = issue_as(
		&root, wish("all", &(const struct grant){ span_text("*"), span_text("**") }));
	show(0, &issued);
	ck_assert_int_eq(get_of(0, "web/a"), 0);
	ck_assert_int_eq(ask_of(0, (struct request){ .verb = VERB_SHUTDOWN })->code, STATUS_DENIED);
	ck_assert(!house.ending);
}
END_TEST

/* Groups of the issuer count as they were when it issued. */
START_TEST(an_issuer_is_in_its_groups)
{
	static uint32_t groups[] = { 33, 40 };
	struct peer issuer = {
		.uid = 1000, .gid = 1000, .groups = groups, .group_count = 2, .pidfd = -1
	};
	const struct grant grant = { span_text("get"), span_text("web/*") };
	struct issued issued = issue_as(&issuer, wish("~/ci", &grant));

	store(&root, "web/a", 10);
	show(0, &issued);
	rule("[namespace web]\nallow = get * group:ops\n");
	ck_assert_int_eq(get_of(0, "web/a"), 0);
	next_process();
	show(0, &issued);
	rule("[namespace web]\nallow = get * group:ops\n");
	ck_assert_int_eq(get_of(0, "web/a"), 0);
	rule("[namespace web]\nallow = get * group:ops\ndeny = get * group:web\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
}
END_TEST

/* A group whose number others have, too, is denied and not allowed. */
START_TEST(an_issuer_may_be_in_a_group_that_nobody_knows)
{
	struct peer issuer = { .uid = 1000,
		.gid = (gid_t)-1,
		.shares_group = true,
		.shared_group = 65534,
		.pidfd = -1 };
	const struct grant grant = { span_text("get"), span_text("web/*") };
	struct issued issued = issue_as(&issuer, wish("~/ci", &grant));

	store(&root, "web/a", 10);
	next_process();
	show(0, &issued);
	rule("[namespace web]\nallow = get * gid:65534\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
	rule("[namespace web]\nallow = get * uid:1000\n");
	ck_assert_int_eq(get_of(0, "web/a"), 0);
	rule("[namespace web]\nallow = get * uid:1000\ndeny = get * gid:65534\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
}
END_TEST

START_TEST(a_rule_can_name_a_token)
{
	const struct grant grant = { span_text("get"), span_text("web/a*") };
	struct issued issued = issue_as(&user, wish("~/ci", &grant));

	store(&root, "web/a", 10);
	store(&root, "web/b", 10);
	rule("[namespace web]\nallow = get,set * token:~1000/ci uid:1001\n");
	show(0, &issued);
	show(1, &issued);
	ck_assert_int_eq(get_of(0, "web/a"), 0);
	/* But lets no more do than the token does, and only whom it says. */
	ck_assert_int_eq(get_of(0, "web/b"), STATUS_DENIED);
	ck_assert_int_eq(store_with(&peers[0], setting("web/a", 10), 10)->code, STATUS_DENIED);
	ck_assert_int_eq(get_of(1, "web/a"), STATUS_DENIED);
	/* Somebody's own token is not the one of that name. */
	rule("[namespace web]\nallow = get * token:ci\n");
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
}
END_TEST

START_TEST(a_list_shows_what_a_token_lets_list)
{
	struct issued issued = issue("~/ls", "ls", "~/b/*");
	struct request list = { .verb = VERB_LIST };
	size_t before;

	store(&user, "~/a", 10);
	store(&user, "~/b/1", 10);
	store(&user, "~/b/2", 10);
	store(&user, "~/c", 10);
	store(&peers[0], "~/own", 10);
	show(0, &issued);
	before = book.count;
	ask_of(0, list);
	ck_assert_uint_eq(book.count, before + 4);
	ck_assert_str_eq(book.notes[before].name, "~1000/b/1");
	ck_assert_str_eq(book.notes[before + 1].name, "~1000/b/2");
	ck_assert_str_eq(book.notes[before + 2].name, "~/own");
	show(0, NULL);
	before = book.count;
	ask_of(0, list);
	ck_assert_uint_eq(book.count, before + 2);
}
END_TEST

/* -- how often ----------------------------------------------------------------------------- */

START_TEST(one_use_is_one_use_whoever_shows_it)
{
	struct issued issued = issue_uses("~/once", "~/*", 1);
	int allowed = 0;

	store(&user, "~/a", 10);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(show(i, &issued)->code, 0);
	for (size_t i = 0; i < 9; i++) {
		int code = get_of(i % 3, "~1000/a");

		ck_assert(code == 0 || code == STATUS_DENIED);
		allowed += code == 0;
	}
	ck_assert_int_eq(allowed, 1);
	ck_assert_ptr_nonnull(strstr(notebook_last(&book)->detail, "used as often"));
	/* Who has it is told so, and the name is free. */
	ck_assert_int_eq(show(0, &issued)->code, STATUS_GONE);
	issue_uses("~/once", "~/*", 1);
}
END_TEST

START_TEST(what_one_may_do_oneself_is_no_use)
{
	struct issued issued = issue_uses("~/once", "**", 1);

	store(&peers[0], "~/mine", 10);
	store(&user, "~/a", 10);
	issued = issue_uses("~/two", "~/*", 2);
	show(0, &issued);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(get_of(0, "~/mine"), 0);
	ck_assert_int_eq(ask_of(0, (struct request){ .verb = VERB_PING })->code, 0);
	/* What is not there was asked for all the same. */
	ck_assert_int_eq(get_of(0, "~1000/none"), STATUS_NOT_FOUND);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
}
END_TEST

START_TEST(a_repeat_is_no_other_use)
{
	struct issued issued = issue_uses("~/once", "~/*", 1);
	struct request remove = changing(VERB_REMOVE, "~1000/a");

	store(&user, "~/a", 10);
	store(&user, "~/b", 10);
	show(0, &issued);
	ck_assert_int_eq(ask_of(0, remove)->code, 0);
	remove.id = next_id++;
	ck_assert_int_eq(ask_of(0, remove)->code, 0);
	ck_assert_int_eq(ask_of(0, changing(VERB_REMOVE, "~1000/b"))->code, STATUS_DENIED);
	/* Its number is not good for another one. */
	remove = changing(VERB_REMOVE, "~1000/b");
	memcpy(remove.number, (uint8_t[MESSAGE_NUMBER_SIZE]){ 7 }, sizeof(remove.number));
	ck_assert_int_eq(ask_of(0, remove)->code, STATUS_DENIED);
	ck_assert_int_eq(ask(&user, getting("~/b"))->code, 0);
}
END_TEST

/* Nor does an answered number let anything pass that is not answered by it. */
START_TEST(a_number_that_has_its_answer_is_no_use_for_anything_else)
{
	struct issued issued = issue_uses("~/once", "~/*", 1);
	struct request answered = changing(VERB_REMOVE, "~/own");
	struct request again = getting("~1000/a");
	static const enum verb verbs[] = { VERB_GET, VERB_STAT, VERB_WRAP, VERB_LIST, VERB_EXPORT };

	store(&user, "~/a", 10);
	store(&peers[0], "~/own", 10);
	ck_assert_int_eq(ask_of(0, answered)->code, 0);
	show(0, &issued);
	again.numbered = true;
	memcpy(again.number, answered.number, sizeof(again.number));
	ck_assert_int_eq(ask_of(0, again)->code, 0);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		again.id = next_id++;
		again.verb = verbs[i];
		if (verbs[i] == VERB_LIST)
			again.name = span_text("~1000/");
		ck_assert_int_eq(ask_of(0, again)->code, STATUS_DENIED);
	}
	again = with_chunks(setting("~1000/b", 10), 10, 0, 1);
	memcpy(again.number, answered.number, sizeof(again.number));
	again.verb = VERB_STAGE;
	ck_assert_int_eq(ask_of(0, again)->code, STATUS_DENIED);
}
END_TEST

/* What was answered once, and is forgotten while its repeat is on the way, is not done anew. */
START_TEST(a_repeat_whose_answer_is_forgotten_stores_nothing)
{
	struct issued issued = issue_uses("~/once", "~/*", 1);
	struct request answered = setting("~/own", 20000), repeat = setting("~1000/a", 20000);

	store_with(&peers[0], answered, 20000);
	memcpy(repeat.number, answered.number, sizeof(repeat.number));
	store(&user, "~/b", 10);
	show(0, &issued);
	ck_assert_int_eq(get_of(0, "~1000/b"), 0);
	seal(20000);
	ask_of(0, with_chunks(repeat, 20000, 0, 1));
	for (size_t i = 0; i < REPEAT_KEPT; i++) {
		ask(&peers[0], changing(VERB_REMOVE, "~/none"));
		book.count = 0;
	}
	ck_assert_int_ne(ask_of(0, with_chunks(going_on(repeat.id), 20000, 1, 1))->code, 0);
	ck_assert_int_eq(ask(&user, getting("~/a"))->code, STATUS_NOT_FOUND);
}
END_TEST

START_TEST(a_list_is_one_use_whatever_it_shows)
{
	struct issued issued = issue_uses("~/two", "~/*", 2);
	struct request list = { .verb = VERB_LIST, .name = span_text("~1000/"), .details = true };
	size_t before;

	for (int i = 0; i < 5; i++)
		store(&user, (const char *[]){ "~/a", "~/b", "~/c", "~/d", "~/e" }[i], 10);
	show(0, &issued);
	before = book.count;
	ck_assert_int_eq(ask_of(0, list)->code, 0);
	ck_assert_uint_eq(book.count, before + 6);
	ck_assert_uint_eq(book.notes[before].info_size, 10);
	ck_assert_int_eq(
		ask_of(0, (struct request){ .verb = VERB_EXPORT, .name = span_text("~1000/") })
			->body,
		BODY_RECORD);
	before = book.count;
	ck_assert_int_eq(ask_of(0, list)->code, STATUS_DENIED);
	ck_assert_uint_eq(book.count, before + 1);
}
END_TEST

START_TEST(a_watch_is_one_use_whatever_it_tells)
{
	struct issued issued = issue_uses("~/once", "~/*", 1);
	struct request watch = { .verb = VERB_WATCH, .name = span_text("~1000/") };
	size_t before;

	for (size_t i = 0; i < 2; i++) {
		show(i, &issued);
		ck_assert_int_eq(ask_of(i, watch)->body, BODY_MARK);
	}
	store(&user, "~/a", 10);
	store(&user, "~/b", 10);
	before = book.count;
	ck_assert_int_eq(watches_go_on(&sessions[0], &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, before + 2);
	ck_assert_int_eq(book.notes[before].body, BODY_EVENT);
	/* There was one. */
	ck_assert_int_eq(watches_go_on(&sessions[1], &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, before + 2);
	store(&user, "~/c", 10);
	before = book.count;
	ck_assert_int_eq(watches_go_on(&sessions[0], &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, before + 1);
	take_back(&user, "~/once");
	issued = issue_uses("~/more", "~/*", 1);
	show(2, &issued);
	ask_of(2, watch);
	take_back(&user, "~/more");
	store(&user, "~/d", 10);
	before = book.count;
	ck_assert_int_eq(watches_go_on(&sessions[2], &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, before);
}
END_TEST

START_TEST(uses_are_counted_over_a_crash)
{
	struct issued issued = issue_uses("~/three", "~/*", 3);

	store(&user, "~/a", 10);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(show(0, &issued)->code, 0);
		ck_assert_int_eq(get_of(0, "~1000/a"), 0);
		next_process();
	}
	ck_assert_int_eq(show(0, &issued)->code, STATUS_GONE);
	ck_assert_uint_eq(vault_broken(house.vault), 0);
}
END_TEST

/* -- how long ------------------------------------------------------------------------------ */

static void end_now(const char *name)
{
	struct token *token = tokens_find(house.tokens, span_text(name));

	ck_assert_ptr_nonnull(token);
	token->kept.end_ms = token->policy.end_ms = daemon_now_ms();
}

START_TEST(after_its_time_a_token_is_none)
{
	const struct grant grant = { span_text("get"), span_text("~/*") };
	struct request request = wish("~/short", &grant);
	struct issued issued;

	store(&user, "~/a", 10);
	request.lifetime.ttl_ms = 60000;
	issued = issue_as(&user, request);
	show(0, &issued);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	ck_assert_uint_le(daemon_expiry_ms(&house), daemon_now_ms() + 60000);
	next_process();
	ck_assert_int_eq(show(0, &issued)->code, 0);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	end_now("~1000/short");
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
	ck_assert_int_eq(show(1, &issued)->code, STATUS_DENIED);
	daemon_expire(&house);
	ck_assert_ptr_null(tokens_first(house.tokens));
	/* The one who shows it still has nothing of it. */
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
}
END_TEST

START_TEST(one_that_is_revoked_is_over_at_once)
{
	struct issued issued = issue("~/ci", "*", "~/*");
	struct request waiting = getting("~1000/later");

	store(&user, "~/a", 10);
	show(0, &issued);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	waiting.wait_ms = 10000;
	ck_assert_ptr_null(ask_of(0, waiting));
	ck_assert_int_eq(take_back(&peers[1], "~1000/ci"), STATUS_DENIED);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	ck_assert_int_eq(take_back(&user, "~/ci"), 0);
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
	ck_assert_int_eq(show(1, &issued)->code, STATUS_GONE);
	ck_assert_int_eq(take_back(&user, "~/ci"), STATUS_NOT_FOUND);
	/* What waits is asked once more. */
	store(&user, "~/later", 10);
	ck_assert_int_eq(waiters_look(&sessions[0], &house, &book.answers), 0);
	ck_assert_uint_eq(notebook_last(&book)->id, waiting.id);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_DENIED);
	next_process();
	ck_assert_int_eq(show(1, &issued)->code, STATUS_GONE);
	/* For a day. */
	tokens_first(house.tokens)->kept.end_ms = daemon_now_ms();
	ck_assert_int_eq(show(1, &issued)->code, STATUS_DENIED);
}
END_TEST

/* Others may have all of it. */
START_TEST(one_is_revoked_without_memory_too)
{
	struct issued issued = issue_uses("~/ci", "~/*", 5);
	struct rlimit limit;
	int use, revoke;

	store(&user, "~/a", 10);
	show(0, &issued);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	limit = use_up_memory();
	use = get_of(0, "~1000/a");
	revoke = take_back(&user, "~/ci");
	/* What is claimed is written to a file. */
	setrlimit(RLIMIT_FSIZE, &limit);
	/* Nothing could be counted, and so nothing was let do. */
	ck_assert_int_eq(use, STATUS_LIMIT);
	ck_assert_int_eq(revoke, 0);
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
	ck_assert_int_eq(show(1, &issued)->code, STATUS_DENIED);
	ck_assert_int_eq(take_back(&user, "~/ci"), STATUS_NOT_FOUND);
}
END_TEST

/* Its last use goes on, though the token is used up by it. */
START_TEST(what_waits_by_its_last_use_is_answered)
{
	struct issued issued = issue_uses("~/once", "~/*", 1);
	struct request waiting = getting("~1000/later");

	show(0, &issued);
	waiting.wait_ms = 10000;
	ck_assert_ptr_null(ask_of(0, waiting));
	ck_assert_int_eq(get_of(0, "~1000/later"), STATUS_DENIED);
	store(&user, "~/later", 10);
	ck_assert_int_eq(waiters_look(&sessions[0], &house, &book.answers), 0);
	ck_assert_uint_eq(notebook_last(&book)->id, waiting.id);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
}
END_TEST

START_TEST(a_purge_of_everything_ends_them_all)
{
	struct issued issued = issue("~/ci", "*", "~/*");

	show(0, &issued);
	daemon_purge(&house);
	store(&user, "~/a", 10);
	ck_assert_uint_eq(tokens_count(house.tokens), 0);
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
	ck_assert_int_eq(show(1, &issued)->code, STATUS_DENIED);
	next_process();
	ck_assert_uint_eq(vault_broken(house.vault), 0);
	ck_assert_uint_eq(tokens_count(house.tokens), 0);
}
END_TEST

/* -- by whom ------------------------------------------------------------------------------- */

START_TEST(one_of_a_uid_is_shown_by_nobody_else)
{
	const struct grant grant = { span_text("get"), span_text("~/*") };
	struct request request = wish("~/his", &grant);
	struct issued issued;

	store(&user, "~/a", 10);
	request.of_uid = true;
	request.uid = 1002;
	issued = issue_as(&user, request);
	ck_assert_int_eq(show(0, &issued)->code, STATUS_DENIED);
	ck_assert_int_eq(get_of(0, "~1000/a"), STATUS_DENIED);
	ck_assert_int_eq(show(1, &issued)->code, 0);
	ck_assert_int_eq(get_of(1, "~1000/a"), 0);
}
END_TEST

START_TEST(one_of_a_unit_is_shown_from_there_alone)
{
	const struct grant grant = { span_text("get"), span_text("~/*") };
	static struct peer_place place = { .known = true, .pinned = true };
	struct request request = wish("~/its", &grant);
	struct policy_subject subject;
	struct issued issued;
	const struct policy_token *token;

	request.unit = span_text("nginx.service");
	issued = issue_as(&user, request);
	ck_assert_int_eq(show(0, &issued)->code, STATUS_DENIED);
	token = &tokens_find(house.tokens, span_text("~1000/its"))->policy;
	/* peer_locate finds an invented peer's place nowhere. */
	strcpy(place.unit, "nginx.service");
	peers[1].place = &place;
	subject = policy_subject_of(&peers[1]);
	ck_assert(policy_token_counts(token, &subject, 0));
	place.pinned = false;
	subject = policy_subject_of(&peers[1]);
	ck_assert(!policy_token_counts(token, &subject, 0));
	place.pinned = true;
	place.known = false;
	subject = policy_subject_of(&peers[1]);
	ck_assert(!policy_token_counts(token, &subject, 0));
	place.known = true;
	strcpy(place.unit, "nginx.servicf");
	subject = policy_subject_of(&peers[1]);
	ck_assert(!policy_token_counts(token, &subject, 0));
	peers[1].place = NULL;
}
END_TEST

START_TEST(a_wrong_one_slows_down_its_caller_alone)
{
	struct issued issued = issue("~/ci", "*", "~/*");
	struct issued wrong = issued;
	size_t before;

	wrong.bytes[31] ^= 1;
	ck_assert_int_eq(show(0, &wrong)->code, STATUS_DENIED);
	before = book.count;
	ck_assert_ptr_null(show(0, &issued));
	ck_assert_uint_ne(showings_deadline(&sessions[0]), 0);
	ck_assert_int_eq(showings_look(&sessions[0], &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, before);
	ck_assert_int_eq(show(1, &issued)->code, 0);
	usleep((PENALTY_FIRST_MS + 10) * 1000);
	ck_assert_int_eq(showings_look(&sessions[0], &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_ptr_nonnull(sessions[0].shown);
	ck_assert_uint_eq(sessions[0].count, 0);
	/* One that waits can be given up. */
	ck_assert_int_eq(show(0, &wrong)->code, STATUS_DENIED);
	before = next_id;
	ck_assert_ptr_null(show(0, &issued));
	ask_of(0, (struct request){ .verb = VERB_CANCEL, .target = before });
	ck_assert_uint_eq(book.notes[book.count - 2].id, before);
	ck_assert_int_eq(book.notes[book.count - 2].code, STATUS_TIMEOUT);
}
END_TEST

START_TEST(names_outside_of_its_space_are_not_everybodys)
{
	const struct grant grant = { span_text("get"), span_text("**") };
	size_t before;

	ck_assert_int_eq(ask(&user, wish("ci", &grant))->code, STATUS_DENIED);
	ck_assert_int_eq(ask(&user, wish("~1001/ci", &grant))->code, STATUS_DENIED);
	issue_as(&root, wish("ci", &grant));
	issue_as(&user, wish("~/b", &grant));
	issue_as(&user, wish("~/a", &grant));
	ck_assert_int_eq(ask(&user, wish("~/a", &grant))->code, STATUS_CONFLICT);
	ck_assert_int_eq(take_back(&user, "ci"), STATUS_DENIED);
	before = book.count;
	ask(&user, (struct request){ .verb = VERB_LIST_TOKENS });
	ck_assert_uint_eq(book.count, before + 3);
	ck_assert_str_eq(book.notes[before].name, "~/a");
	ck_assert_str_eq(book.notes[before + 1].name, "~/b");
	ck_assert_uint_eq(book.notes[before].token.issuer, 1000);
	before = book.count;
	ask(&root, (struct request){ .verb = VERB_LIST_TOKENS });
	ck_assert_uint_eq(book.count, before + 4);
	ck_assert_str_eq(book.notes[before].name, "ci");
	before = book.count;
	ask(&root, (struct request){ .verb = VERB_LIST_TOKENS, .after = span_text("~1000/a") });
	ck_assert_uint_eq(book.count, before + 2);
}
END_TEST

/* It is told that the token does it, and not which line lets its issuer. */
START_TEST(what_it_lets_do_is_explained)
{
	struct issued issued = issue("~/ci", "get", "**");
	struct request explain = {
		.verb = VERB_EXPLAIN, .operation = span_text("get"), .name = span_text("web/a")
	};
	struct note_of_reply *note;

	rule("[namespace web]\nallow = get * uid:1000\n");
	ck_assert(!ask_of(0, explain)->verdict.allowed);
	show(0, &issued);
	note = ask_of(0, explain);
	ck_assert(note->verdict.allowed);
	ck_assert_uint_eq(note->verdict.cause, POLICY_BY_TOKEN);
	ck_assert_str_eq(note->file, "");
	ck_assert_uint_eq(note->verdict.line, 0);
	explain.operation = span_text("set");
	ck_assert(!ask_of(0, explain)->verdict.allowed);
	/* Of its own rules it is told as before. */
	rule("[namespace web]\nallow = get * uid:1001\n");
	explain.operation = span_text("get");
	note = ask_of(0, explain);
	ck_assert_uint_eq(note->verdict.cause, POLICY_BY_ALLOW);
	ck_assert_uint_eq(note->verdict.line, 2);
}
END_TEST

/* No look is taken for what its issuer could not see: whoever has it from himself sees no more. */
START_TEST(it_reaches_no_further_than_its_issuer)
{
	const struct grant grant = { span_text("*"), span_text("**") };
	struct issued issued = issue_as(&peers[0], wish("~/all", &grant));
	const struct policy *policy = &house.policy;
	char next[NAME_FILED_MAX];

	show(0, &issued);
	ck_assert(!policy_reaches(policy, &peers[0], RIGHT_LIST, span_text("")));
	ck_assert_uint_eq(policy_next(policy, &peers[0], RIGHT_LIST, span_text("web/a"), next), 7);
	ck_assert_mem_eq(next, "~1001.\xff", 7);
	show(1, &issued);
	ck_assert(!policy_reaches(policy, &peers[1], RIGHT_LIST, span_text("web/a")));
	ck_assert(policy_reaches(policy, &peers[1], RIGHT_LIST, span_text("")));
	ck_assert(policy_reaches(policy, &peers[1], RIGHT_LIST, span_text("~1001/a")));
	policy_next(policy, &peers[1], RIGHT_LIST, span_text("web/a"), next);
	ck_assert_mem_eq(next, "~1001.\xff", 7);
	rule("[namespace web]\nallow = ls * uid:1001\n");
	ck_assert(policy_reaches(policy, &peers[1], RIGHT_LIST, span_text("web/a")));
	policy_next(policy, &peers[1], RIGHT_LIST, span_text("web/a"), next);
	ck_assert_mem_eq(next, "web/a", 5);
	policy_next(policy, &peers[1], RIGHT_LIST, span_text("a"), next);
	ck_assert_mem_eq(next, "web.\xff", 5);
}
END_TEST

/* Whoever issues with a token in hand gives away what is his own, not what the token lets him. */
START_TEST(a_token_is_not_passed_on)
{
	const struct grant grant = { span_text("*"), span_text("**") };
	struct issued issued = issue("~/ci", "*", "~/*");
	struct issued other;

	store(&user, "~/a", 10);
	show(0, &issued);
	ck_assert_int_eq(get_of(0, "~1000/a"), 0);
	other = issue_as(&peers[0], wish("~/mine", &grant));
	show(2, &other);
	ck_assert_int_eq(get_of(2, "~1000/a"), STATUS_DENIED);
}
END_TEST

START_TEST(whoami_names_it)
{
	struct issued issued = issue("~/ci", "get", "~/*");

	ck_assert_uint_eq(ask_of(0, (struct request){ .verb = VERB_WHOAMI })->caller.token.size, 0);
	show(0, &issued);
	ck_assert_uint_eq(ask_of(0, (struct request){ .verb = VERB_WHOAMI })->caller.token.size,
		strlen("~1000/ci"));
	ck_assert_int_eq(show(0, NULL)->code, 0);
	ck_assert_uint_eq(ask_of(0, (struct request){ .verb = VERB_WHOAMI })->caller.token.size, 0);
}
END_TEST

START_TEST(what_cannot_be_granted_is_refused)
{
	static const char *const rows[][2] = { { "fetch", "a" }, { "get,", "a" }, { "", "a" },
		{ "get", "a***" }, { "get", "/a" }, { "get", "a?" }, { "get", "~" },
		{ "purge", "a" } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct grant grant = { span_text(rows[i][0]), span_text(rows[i][1]) };

		ck_assert_int_eq(ask(&user, wish("~/x", &grant))->code, STATUS_INVALID);
	}
	ck_assert_uint_eq(tokens_count(house.tokens), 0);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(those_that_are_used_up_make_room)
{
	char name[16];

	for (int i = 0; i < TOKENS_MAX; i++) {
		snprintf(name, sizeof(name), "~/%d", i);
		issue(name, "get", "~/*");
		book.count = 0;
	}
	ck_assert_int_eq(
		ask(&user,
			wish("~/more", &(const struct grant){ span_text("get"), span_text("a") }))
			->code,
		STATUS_LIMIT);
	/* That is one user's limit. */
	issue_as(&root, wish("ci", &(const struct grant){ span_text("get"), span_text("a") }));
	take_back(&user, "~/17");
	issue("~/more", "get", "~/*");
	ck_assert_uint_eq(tokens_count(house.tokens), TOKENS_MAX + 1);
}
END_TEST

/* -- what is kept -------------------------------------------------------------------------- */

static bool is_in_ledger(const uint8_t *bytes, size_t size)
{
	off_t end = lseek(ledger, 0, SEEK_END);
	const uint8_t *all = mmap(NULL, (size_t)end, PROT_READ, MAP_SHARED, ledger, 0);
	bool found;

	ck_assert_ptr_ne(all, MAP_FAILED);
	found = memmem(all, (size_t)end, bytes, size) != NULL;
	munmap((void *)(uintptr_t)all, (size_t)end);
	return found;
}

START_TEST(the_ledger_holds_no_token)
{
	struct issued issued = issue_uses("~/ci", "~/look-for-this", 5);
	uint8_t hash[VAULT_TOKEN_HASH_SIZE];
	uint8_t before[VAULT_TOKEN_HASH_SIZE];

	show(0, &issued);
	get_of(0, "~1000/look-for-this");
	ck_assert_int_eq(vault_token_hash(house.vault, issued.bytes, hash), 0);
	/* What is there is found. */
	ck_assert(is_in_ledger(hash, sizeof(hash)));
	ck_assert(is_in_ledger((const uint8_t *)"look-for-this", 13));
	for (size_t i = 0; i + 8 <= sizeof(issued.bytes); i++)
		ck_assert(!is_in_ledger(issued.bytes + i, 8));
	/* And the hash is one that nobody makes without the vault's master. */
	memcpy(before, hash, sizeof(before));
	daemon_purge(&house);
	ck_assert_int_eq(vault_token_hash(house.vault, issued.bytes, hash), 0);
	ck_assert_mem_ne(hash, before, sizeof(hash));
	ck_assert(!is_in_ledger(before, sizeof(before)));
}
END_TEST

/* Tokens are brought together with the rest, and are the same ones. */
START_TEST(compacting_moves_them)
{
	static struct issued issued[60];
	static uint64_t places[60];
	struct token *token;
	unsigned moved = 0;
	char name[16];

	for (int i = 0; i < 60; i++) {
		for (int j = 0; j < 4; j++) {
			snprintf(name, sizeof(name), "~/v%d", 4 * i + j);
			ck_assert_int_eq(store(&user, name, 12000)->code, 0);
		}
		snprintf(name, sizeof(name), "~/%d", i);
		issued[i] = issue_uses(name, "~/*", 3);
		places[i] = tokens_first(house.tokens)->kept.place;
		book.count = 0;
	}
	for (int i = 0; i < 240; i++) {
		snprintf(name, sizeof(name), "~/v%d", i);
		ask(&user, changing(VERB_REMOVE, name));
		book.count = 0;
	}
	store(&user, "~/a", 10);
	while (daemon_expiry_ms(&house) == 0)
		daemon_expire(&house);
	token = tokens_first(house.tokens);
	for (int i = 60; i-- > 0; token = token->next)
		moved += token->kept.place != places[i];
	ck_assert_uint_gt(moved, 30);
	for (int round = 0; round < 2; round++) {
		ck_assert_uint_eq(tokens_count(house.tokens), 60);
		for (size_t i = 0; i < 60; i++) {
			ck_assert_int_eq(show(i % 3, &issued[i])->code, 0);
			ck_assert_int_eq(get_of(i % 3, "~1000/a"), 0);
			book.count = 0;
		}
		next_process();
	}
	ck_assert_uint_eq(vault_broken(house.vault), 0);
	for (token = tokens_first(house.tokens); token; token = token->next)
		ck_assert_uint_eq(token->kept.left, 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("token");

	tcase_add_checked_fixture(claims, open_lasting_house, close_house);
	tcase_add_test(claims, its_bearer_may_what_it_grants_of_what_its_issuer_may);
	tcase_add_test(claims, its_issuer_may_no_more_and_nor_may_its_bearer);
	tcase_add_test(claims, an_issuer_is_in_its_groups);
	tcase_add_test(claims, an_issuer_may_be_in_a_group_that_nobody_knows);
	tcase_add_test(claims, a_rule_can_name_a_token);
	tcase_add_test(claims, a_list_shows_what_a_token_lets_list);
	tcase_add_test(claims, one_use_is_one_use_whoever_shows_it);
	tcase_add_test(claims, what_one_may_do_oneself_is_no_use);
	tcase_add_test(claims, a_repeat_is_no_other_use);
	tcase_add_test(claims, a_number_that_has_its_answer_is_no_use_for_anything_else);
	tcase_add_test(claims, a_repeat_whose_answer_is_forgotten_stores_nothing);
	tcase_add_test(claims, a_list_is_one_use_whatever_it_shows);
	tcase_add_test(claims, a_watch_is_one_use_whatever_it_tells);
	tcase_add_test(claims, uses_are_counted_over_a_crash);
	tcase_add_test(claims, after_its_time_a_token_is_none);
	tcase_add_test(claims, one_that_is_revoked_is_over_at_once);
	tcase_add_test(claims, one_is_revoked_without_memory_too);
	tcase_add_test(claims, what_waits_by_its_last_use_is_answered);
	tcase_add_test(claims, a_purge_of_everything_ends_them_all);
	tcase_add_test(claims, one_of_a_uid_is_shown_by_nobody_else);
	tcase_add_test(claims, one_of_a_unit_is_shown_from_there_alone);
	tcase_add_test(claims, a_wrong_one_slows_down_its_caller_alone);
	tcase_add_test(claims, names_outside_of_its_space_are_not_everybodys);
	tcase_add_test(claims, it_reaches_no_further_than_its_issuer);
	tcase_add_test(claims, a_token_is_not_passed_on);
	tcase_add_test(claims, what_it_lets_do_is_explained);
	tcase_add_test(claims, whoami_names_it);
	tcase_add_test(claims, what_cannot_be_granted_is_refused);
	tcase_add_test(claims, those_that_are_used_up_make_room);
	tcase_add_test(claims, the_ledger_holds_no_token);
	tcase_add_test(claims, compacting_moves_them);
	return claims_run(claims, "tokens");
}
