/* SPDX-License-Identifier: Apache-2.0 */

/* Why a token lets nobody do anything is told to whoever shows it, and to whoever may ask. */
#include "tests/unit/token_rig.h"

#include "daemon/policy/policy_as.h"

struct issued {
	uint8_t bytes[VAULT_TOKEN_SIZE];
};

/* By user 1000, for all that it has. */
static struct issued issue(struct request request)
{
	const struct grant grant = { span_text("get"), span_text("web/*") };
	struct note_of_reply *note;
	struct issued issued;

	request.verb = VERB_ISSUE_TOKEN;
	request.grants = (struct grants){ &grant, 1 };
	note = ask(&user, request);
	ck_assert_msg(note->code == 0, "%s", note->detail);
	memcpy(issued.bytes, note->key, sizeof(issued.bytes));
	return issued;
}

static struct note_of_reply *show(size_t who, const struct issued *issued)
{
	return ask_of(who, (struct request){ .verb = VERB_SHOW_TOKEN, .token = issued->bytes });
}

static struct request explaining(const char *operation, const char *name)
{
	return (struct request){
		.verb = VERB_EXPLAIN, .operation = span_text(operation), .name = span_text(name)
	};
}

/* What the first session's user is told: by policy, and by whoami. */
static void is_told(bool allowed, enum policy_token_fault fault)
{
	struct note_of_reply *note = ask_of(0, explaining("get", "web/a"));

	ck_assert_int_eq(note->code, 0);
	ck_assert_int_eq(note->verdict.allowed, allowed);
	ck_assert_uint_eq(note->verdict.token_fault, fault);
	ck_assert_uint_eq(
		note->verdict.cause, allowed ? POLICY_BY_TOKEN : (uint32_t)POLICY_BY_NOTHING);
	note = ask_of(0, (struct request){ .verb = VERB_WHOAMI });
	ck_assert_uint_eq(note->caller.token_fault, fault);
	ck_assert_uint_eq(note->caller.token.size, strlen("~1000/ci"));
	/* And so it is. */
	ck_assert_int_eq(get_of(0, "web/a"), allowed ? 0 : STATUS_DENIED);
}

static void end_now(void)
{
	struct token *token = tokens_find(house.tokens, span_text("~1000/ci"));

	ck_assert_ptr_nonnull(token);
	token->kept.end_ms = token->policy.end_ms = daemon_now_ms();
}

static struct issued begin(struct request request)
{
	struct issued issued;

	rule("[namespace web]\nallow = get * uid:1000\n");
	store(&root, "web/a", 10);
	request.name = span_text("~/ci");
	issued = issue(request);
	ck_assert_int_eq(show(0, &issued)->code, 0);
	return issued;
}

START_TEST(one_that_is_used_up_lets_nobody_do_anything)
{
	struct issued issued = begin((struct request){ .uses = 1 });
	struct note_of_reply *note = ask_of(0, explaining("get", "web/a"));

	ck_assert(note->verdict.allowed);
	is_told(true, POLICY_TOKEN_COUNTS);
	is_told(false, POLICY_TOKEN_USED_UP);
	/* The line that would be missing is one without a token. */
	note = ask_of(0, explaining("get", "web/a"));
	ck_assert_str_eq(note->rule, "allow = get a uid:1001");
	note = show(1, &issued);
	ck_assert_int_eq(note->code, STATUS_GONE);
	ck_assert_str_eq(note->detail, "the token was used as often as it might be");
	/* What one may without it one may. */
	rule("[namespace web]\nallow = get * uid:1000\nallow = get * uid:1001\n");
	note = ask_of(0, explaining("get", "web/a"));
	ck_assert_uint_eq(note->verdict.cause, POLICY_BY_ALLOW);
	ck_assert_uint_eq(note->verdict.token_fault, POLICY_TOKEN_USED_UP);
	/* A rule that denies it to the token does so, as it is shown. */
	rule("[namespace web]\nallow = get * uid:1001\ndeny = get * token:~1000/ci\n");
	note = ask_of(0, explaining("get", "web/a"));
	ck_assert_uint_eq(note->verdict.cause, POLICY_BY_DENY);
	ck_assert_int_eq(get_of(0, "web/a"), STATUS_DENIED);
}
END_TEST

START_TEST(one_that_has_ended_does_neither)
{
	begin((struct request){ .lifetime = { .ttl_ms = 60000 } });
	is_told(true, POLICY_TOKEN_COUNTS);
	end_now();
	is_told(false, POLICY_TOKEN_ENDED);
	daemon_expire(&house);
	is_told(false, POLICY_TOKEN_ENDED);
}
END_TEST

START_TEST(one_that_is_revoked_does_neither)
{
	struct issued issued = begin((struct request){ 0 });

	ask(&user, (struct request){ .verb = VERB_REVOKE_TOKEN, .name = span_text("~/ci") });
	is_told(false, POLICY_TOKEN_REVOKED);
	ck_assert_int_eq(show(1, &issued)->code, STATUS_GONE);
	ck_assert_str_eq(notebook_last(&book)->detail, "the token was revoked");
}
END_TEST

START_TEST(one_that_is_purged_does_neither)
{
	begin((struct request){ 0 });
	daemon_purge(&house);
	store(&root, "web/a", 10);
	is_told(false, POLICY_TOKEN_REVOKED);
}
END_TEST

/* Whom it is for is told to whoever has it. */
START_TEST(one_of_somebody_else_is_told_as_such)
{
	struct issued issued =
		begin((struct request){ .of_uid = true, .uid = (uint32_t)peers[0].uid });

	is_told(true, POLICY_TOKEN_COUNTS);
	ck_assert_int_eq(show(1, &issued)->code, STATUS_DENIED);
	ck_assert_str_eq(notebook_last(&book)->detail, "the token is for another user");
	ask(&user, (struct request){ .verb = VERB_REVOKE_TOKEN, .name = span_text("~/ci") });
	issued = issue(
		(struct request){ .name = span_text("~/ci"), .unit = span_text("nginx.service") });
	ck_assert_int_eq(show(0, &issued)->code, STATUS_DENIED);
	ck_assert_str_eq(notebook_last(&book)->detail, "the token is for another unit");
	/* It was in that unit when it began to show it. */
	session_shows(&sessions[0], &house, tokens_find(house.tokens, span_text("~1000/ci")));
	is_told(false, POLICY_TOKEN_OF_UNIT);
}
END_TEST

/* -- asked again ----------------------------------------------------------------------------- */

START_TEST(a_repeated_revoke_has_its_first_answer)
{
	issue((struct request){ .name = span_text("~/ci") });
	ck_assert_int_eq(take_back_numbered("~/none", 1), STATUS_NOT_FOUND);
	ck_assert_int_eq(take_back_numbered("~/ci", 2), 0);
	ck_assert_int_eq(take_back_numbered("~/ci", 2), 0);
	ck_assert_int_eq(take_back_numbered("~/ci", 3), STATUS_NOT_FOUND);
	ck_assert_str_eq(notebook_last(&book)->detail, "no such token");
	ck_assert_int_eq(take_back_numbered("~/other", 2), STATUS_CONFLICT);
	/* One that follows it is not meant by it. */
	issue((struct request){ .name = span_text("~/ci") });
	ck_assert_int_eq(take_back_numbered("~/ci", 2), 0);
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
	next_process();
	ck_assert_int_eq(take_back_numbered("~/ci", 2), 0);
	ck_assert_uint_eq(tokens_count(house.tokens), 1);
	ck_assert_uint_eq(vault_broken(house.vault), 0);
}
END_TEST

/* -- of others ----------------------------------------------------------------------------- */

static void says(const char *operation, const char *as, enum policy_cause cause,
	enum policy_token_fault fault, const char *missing)
{
	static struct span words[POLICY_AS_MAX];
	static char text[256];
	struct request request = explaining(operation, "web/a");
	struct note_of_reply *note;

	snprintf(text, sizeof(text), "%s", as);
	request.as = words;
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		words[request.as_count++] = span_text(word);
	note = ask(&root, request);
	ck_assert_msg(note->code == 0, "%s", note->detail);
	ck_assert_uint_eq(note->verdict.cause, cause);
	ck_assert_int_eq(
		note->verdict.allowed, cause == POLICY_BY_ALLOW || cause == POLICY_BY_TOKEN);
	ck_assert_uint_eq(note->verdict.token_fault, fault);
	ck_assert_str_eq(note->rule, missing);
}

START_TEST(what_is_said_of_a_token_is_what_it_is)
{
	static const char ci[] = "uid:1001 token:~1000/ci";

	rule("[namespace web]\nallow = get * uid:1000\nallow = get,set * token:~1000/none\n");
	says("get", "uid:1001 token:~1000/none", POLICY_BY_NOTHING, POLICY_TOKEN_UNKNOWN, "");
	begin((struct request){ .of_uid = true, .uid = 1001, .uses = 1 });
	says("get", ci, POLICY_BY_TOKEN, POLICY_TOKEN_COUNTS, "");
	says("get", "uid:1002 token:~1000/ci", POLICY_BY_NOTHING, POLICY_TOKEN_OF_UID, "");
	says("get", "token:~1000/ci", POLICY_BY_NOTHING, POLICY_TOKEN_OF_UID, "");
	says("get", "uid:1000 token:~1000/ci", POLICY_BY_ALLOW, POLICY_TOKEN_OF_UID, "");
	/* A rule that names it gives no more than it grants. */
	rule("[namespace web]\nallow = get,set * token:~1000/ci\n");
	says("get", ci, POLICY_BY_ALLOW, POLICY_TOKEN_COUNTS, "");
	says("set", ci, POLICY_BY_NOTHING, POLICY_TOKEN_GRANTS, "");
	rule("[namespace web]\n");
	says("get", ci, POLICY_BY_NOTHING, POLICY_TOKEN_ISSUER,
		"allow = get a uid:1001 token:~1000/ci");
	rule("[namespace web]\nallow = get a uid:1001 token:~1000/ci\n");
	says("get", ci, POLICY_BY_ALLOW, POLICY_TOKEN_COUNTS, "");
	ck_assert_int_eq(get_of(0, "web/a"), 0);
	says("get", ci, POLICY_BY_NOTHING, POLICY_TOKEN_USED_UP, "");
	/* One that follows it under its name is what is meant then. */
	issue((struct request){ .name = span_text("~/ci") });
	says("get", ci, POLICY_BY_ALLOW, POLICY_TOKEN_COUNTS, "");
	ask(&user, (struct request){ .verb = VERB_REVOKE_TOKEN, .name = span_text("~/ci") });
	says("get", ci, POLICY_BY_NOTHING, POLICY_TOKEN_REVOKED, "");
	rule("[namespace web]\ndeny = get * anybody\n");
	says("get", ci, POLICY_BY_DENY, POLICY_TOKEN_REVOKED, "");
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("token_fault");

	tcase_add_checked_fixture(claims, open_lasting_house, close_house);
	tcase_add_test(claims, one_that_is_used_up_lets_nobody_do_anything);
	tcase_add_test(claims, one_that_has_ended_does_neither);
	tcase_add_test(claims, one_that_is_revoked_does_neither);
	tcase_add_test(claims, one_that_is_purged_does_neither);
	tcase_add_test(claims, one_of_somebody_else_is_told_as_such);
	tcase_add_test(claims, a_repeated_revoke_has_its_first_answer);
	tcase_add_test(claims, what_is_said_of_a_token_is_what_it_is);
	return claims_run(claims, "token_fault");
}
