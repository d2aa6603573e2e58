/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_as.h"
#include "tests/unit/policy_rig.h"
#include "tests/unit/request_rig.h"

/* What policy says, and to whom it is told. */

static const char rules[] = "[namespace web/prod]\n"
			    "owner = gid:40\n"
			    "allow = get db-* uid:1000\n"
			    "deny = get db-secret anybody\n"
			    "allow = set ** unit:nginx.service\n";

static void policy_says(const char *text)
{
	policy_book_free(house.policy.book);
	house.policy.book = rig_book((const char *const[]){ text, NULL });
}

/* `as` may be NULL: the caller. */
static const struct note_of_reply *explain(
	const struct peer *peer, const char *operation, const char *name, const char *as)
{
	static struct span words[POLICY_AS_MAX + 1];
	static char text[512];
	struct request request = { .verb = VERB_EXPLAIN,
		.operation = span_text(operation),
		.name = span_text(name),
		.as = words };

	snprintf(text, sizeof(text), "%s", as ? as : "");
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		words[request.as_count++] = span_text(word);
	return ask(peer, request);
}

static void says(const struct note_of_reply *note, enum policy_cause cause, const char *file,
	unsigned line, const char *section, const char *rule)
{
	ck_assert_int_eq(note->code, 0);
	ck_assert_int_eq(note->body, BODY_VERDICT);
	ck_assert_uint_eq(note->verdict.cause, cause);
	ck_assert_int_eq(note->verdict.allowed,
		cause != POLICY_BY_NOTHING && cause != POLICY_BY_DENY &&
			cause != POLICY_BY_SILENCE);
	ck_assert_str_eq(note->file, file);
	ck_assert_uint_eq(note->verdict.line, line);
	ck_assert_str_eq(note->section, section);
	ck_assert_str_eq(note->rule, rule);
}

START_TEST(the_line_that_decides_is_named)
{
	policy_says(rules);
	says(explain(&user, "get", "web/prod/db-1", NULL), POLICY_BY_ALLOW, "a.conf", 3, "", "");
	says(explain(&user, "get", "web/prod/db-secret", NULL), POLICY_BY_DENY, "a.conf", 4, "",
		"");
	says(explain(&root, "get", "web/prod/db-secret", NULL), POLICY_BY_DENY, "a.conf", 4, "",
		"");
	says(explain(&root, "get", "x", NULL), POLICY_BY_PRIVILEGE, "", 0, "", "");
	says(explain(&user, "rm", "~/x", NULL), POLICY_BY_OWN_SPACE, "", 0, "", "");
	says(explain(&root, "set", "web/prod/x", "gid:40"), POLICY_BY_OWNER, "a.conf", 2, "", "");
}
END_TEST

START_TEST(the_line_that_would_be_missing_makes_it_allowed)
{
	char text[1024];

	policy_says(rules);
	says(explain(&root, "stat", "web/prod/a b/c", "uid:1000 gid:7 label:l"), POLICY_BY_NOTHING,
		"", 0, "[namespace web/prod]", "allow = stat a%20b/c uid:1000 label:l");
	snprintf(text, sizeof(text), "%s%s\n%s\n", rules, notebook_last(&book)->section,
		notebook_last(&book)->rule);
	policy_says(text);
	ck_assert(explain(&root, "stat", "web/prod/a b/c", "uid:1000 gid:7 label:l")
			  ->verdict.allowed);
	ck_assert(!explain(&root, "stat", "web/prod/a b/c", "uid:1001 label:l")->verdict.allowed);
	says(explain(&root, "get", "web/prod/x", "unit:nginx.service"), POLICY_BY_NOTHING, "", 0,
		"[namespace web/prod]", "allow = get x unit:nginx.service");
}
END_TEST

/* As it would be done: who asks with a reason is told what comes of it with one. */
START_TEST(what_takes_a_reason_is_told)
{
	struct request request = {
		.verb = VERB_EXPLAIN, .operation = span_text("get"), .name = span_text("vault/x")
	};

	policy_says("[namespace vault]\nallow = * ** uid:1000\nrequire-reason = get\n");
	says(explain(&user, "get", "vault/x", NULL), POLICY_BY_SILENCE, "a.conf", 3, "", "");
	says(explain(&root, "get", "vault/x", NULL), POLICY_BY_SILENCE, "a.conf", 3, "", "");
	says(explain(&root, "get", "vault/x", "uid:1000"), POLICY_BY_SILENCE, "a.conf", 3, "", "");
	says(explain(&user, "set", "vault/x", NULL), POLICY_BY_ALLOW, "a.conf", 2, "", "");
	house.policy.reasons = (struct policy_reasons){
		.rights = RIGHT_BIT(RIGHT_SET), .file = "the.conf", .line = 9
	};
	says(explain(&user, "set", "vault/x", NULL), POLICY_BY_SILENCE, "the.conf", 9, "", "");
	says(explain(&user, "set", "~/x", NULL), POLICY_BY_SILENCE, "the.conf", 9, "", "");
	/* No reason is a right: what is missing first is told first. */
	says(explain(&user, "set", "x", NULL), POLICY_BY_NOTHING, "", 0, "[namespace /]",
		"allow = set x uid:1000");
	request.reason = span_text("on call");
	says(ask(&user, request), POLICY_BY_ALLOW, "a.conf", 2, "", "");
	says(ask(&root, request), POLICY_BY_PRIVILEGE, "", 0, "", "");
}
END_TEST

/* A line that a file could not have is none. */
START_TEST(a_line_that_would_be_too_long_is_not_told)
{
	char name[NAME_MAX_SIZE + 1];

	memset(name, 'n', NAME_MAX_SIZE);
	name[NAME_MAX_SIZE] = '\0';
	says(explain(&user, "get", name, NULL), POLICY_BY_NOTHING, "", 0, "", "");
	name[150] = '\0';
	ck_assert_str_ne(explain(&user, "get", name, NULL)->rule, "");
}
END_TEST

START_TEST(nobody_is_told_what_is_written_of_others)
{
	policy_says(rules);
	/* Neither which namespaces there are, nor what others may. */
	says(explain(&user, "set", "web/prod/deep/x", NULL), POLICY_BY_NOTHING, "", 0,
		"[namespace web/prod/deep]", "allow = set x uid:1000");
	says(explain(&user, "set", "web/none/deep/x", NULL), POLICY_BY_NOTHING, "", 0,
		"[namespace web/none/deep]", "allow = set x uid:1000");
	says(explain(&root, "set", "web/prod/deep/x", "uid:1000"), POLICY_BY_NOTHING, "", 0,
		"[namespace web/prod]", "allow = set deep/x uid:1000");
	ck_assert_int_eq(explain(&user, "get", "x", "uid:1000")->code, STATUS_DENIED);
	ck_assert_int_eq(explain(&user, "get", "x", "uid:0")->code, STATUS_DENIED);
	ck_assert_int_eq(explain(&user, "get", "x", "nonsense")->code, STATUS_DENIED);
}
END_TEST

START_TEST(what_is_said_does_not_tell_what_is_there)
{
	struct note_of_reply absent;

	policy_says(rules);
	for (int i = 0; i < 2; i++) {
		const char *name = i == 0 ? "web/prod/db-1" : "web/prod/x";

		absent = *explain(&user, "get", name, NULL);
		store(&root, name, 1);
		absent.id = next_id;
		ck_assert_mem_eq(
			explain(&user, "get", name, NULL)->file, absent.file, sizeof(absent.file));
		ck_assert_int_eq(notebook_last(&book)->code, absent.code);
		ck_assert_int_eq(notebook_last(&book)->verdict.cause, (int)absent.verdict.cause);
		ck_assert_str_eq(notebook_last(&book)->rule, absent.rule);
	}
}
END_TEST

static void is_wrong(const char *operation, const char *as, const char *words)
{
	const struct note_of_reply *note = explain(&root, operation, "x", as);

	ck_assert_int_eq(note->code, STATUS_INVALID);
	ck_assert_msg(strstr(note->detail, words) != NULL, "'%s'", note->detail);
}

START_TEST(what_cannot_be_is_named)
{
	char word[512];

	is_wrong("fetch", NULL, "no such operation: get, set, rm");
	is_wrong("*", NULL, "no such operation");
	is_wrong("", NULL, "no such operation");
	is_wrong("get", "uid:1 uid:2", "'uid:2' is a second one of its kind");
	is_wrong("get", "unit:a.service unit:b.service", "is a second one of its kind");
	is_wrong("get", "anybody", "'anybody' is nobody in particular");
	is_wrong("get", "user:root", "'user:root' is no user here");
	is_wrong("get", "pid-weak", "'pid-weak' is no selector");
	is_wrong("get", "uid:4294967295", "'uid:4294967295' is no user here");
	memset(word, 'w', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	is_wrong("get", word, "' is no selector");
}
END_TEST

START_TEST(all_groups_that_are_said_count)
{
	policy_says("[namespace a]\nallow = get ** gid:5 gid:9\n");
	ck_assert(explain(&root, "get", "a/x", "gid:9 gid:7 gid:5")->verdict.allowed);
	ck_assert(!explain(&root, "get", "a/x", "gid:9 gid:7")->verdict.allowed);
	ck_assert(!explain(&root, "get", "a/x", "uid:5 gid:9")->verdict.allowed);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_explain");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, the_line_that_decides_is_named);
	tcase_add_test(claims, the_line_that_would_be_missing_makes_it_allowed);
	tcase_add_test(claims, what_takes_a_reason_is_told);
	tcase_add_test(claims, a_line_that_would_be_too_long_is_not_told);
	tcase_add_test(claims, nobody_is_told_what_is_written_of_others);
	tcase_add_test(claims, what_is_said_does_not_tell_what_is_there);
	tcase_add_test(claims, what_cannot_be_is_named);
	tcase_add_test(claims, all_groups_that_are_said_count);
	return claims_run(claims, "request_explain");
}
