/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/claims.h"
#include "tests/unit/policy_rig.h"

/* What a policy means that was written down. */

static struct policy policy = { .own = 500 };
static struct config_fault fault;

static void tear_down(void)
{
	policy.book = policy_book_free(policy.book);
}

static void policy_says(const char *text)
{
	policy_book_free(policy.book);
	policy.book = rig_book((const char *const[]){ text, NULL });
}

static struct policy_verdict decide(
	const struct policy_subject *subject, enum right right, const char *name)
{
	return policy_decide(&policy, subject, right, span_text(name), 0);
}

static bool may(uid_t uid, enum right right, const char *name)
{
	const struct policy_subject subject = { .uid = uid, .gid = (gid_t)uid };

	return decide(&subject, right, name).allowed;
}

/* -- what is read -------------------------------------------------------------------------- */

static void refused_bytes(const char *text, size_t size, unsigned line, const char *word)
{
	struct policy_book *book = policy_book_new();
	char place[32];
	int r = rig_read(book, text, size, "the.conf", &fault);

	if (r == 0)
		r = policy_book_seal(book, &fault);
	policy_book_free(book);
	ck_assert_msg(r == -EBADMSG, "taken: %s", text);
	snprintf(place, sizeof(place), "the.conf:%u: ", line);
	ck_assert_msg(strncmp(fault.text, place, strlen(place)) == 0 && strstr(fault.text, word),
		"'%s' is not about line %u and '%s'", fault.text, line, word);
}

static void refused(const char *text, unsigned line, const char *word)
{
	refused_bytes(text, strlen(text), line, word);
}

/* A line below [namespace web]. */
static void refused_line(const char *words, const char *word)
{
	char text[512];

	snprintf(text, sizeof(text), "[namespace web]\n%s\n", words);
	refused(text, 2, word);
}

START_TEST(a_text_that_says_nothing_says_nothing)
{
	static const char *const texts[] = { "", "# a\n; b\n", "[namespace web]\n",
		"[namespace web]\n[namespace /]\n[namespace web]\n",
		"\xef\xbb\xbf[namespace web]" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		policy_says(texts[i]);
		ck_assert_uint_eq(policy_book_rules(policy.book), 0);
		ck_assert(!may(1000, RIGHT_GET, "web/x"));
		ck_assert(may(1000, RIGHT_GET, "~1000/x"));
		ck_assert(may(0, RIGHT_GET, "web/x"));
	}
}
END_TEST

START_TEST(what_is_not_known_is_named_with_file_and_line)
{
	refused("[demon]\n", 1, "unknown section [demon]; there is [namespace NAME]");
	refused("\n[namespace]\n", 2, "unknown section [namespace]");
	refused("allow = get * uid:1\n", 1, "before any section");
	refused_line("allows = get * uid:1", "unknown key 'allows'");
	refused_line("words", "neither");
	refused_line("allow = fetch * uid:1", "'fetch' is no operation");
	refused_line("allow = get,list * uid:1", "'list' is no operation");
	refused_line("allow = get,*  * uid:1", "'*' is no operation");
	refused_line("allow = get,,set * uid:1", "'' is no operation");
	refused_line("allow = get,get * uid:1", "'get' stands there twice");
	refused_line("allow = get, set * uid:1", "'' is no operation");
	refused_line("allow = get * pid:1", "'pid:1' is no selector");
	refused_line("allow = get * exe:/bin/sh", "'exe:/bin/sh' is no selector");
	refused_line("allow = get * uid", "'uid' is no selector");
	refused_line("allow = get * 1000", "'1000' is no selector");
	refused_line("deny = get * UID:1", "'UID:1' is no selector");
	refused_line("allow = get * uid:1 anytime", "'anytime' is no selector");
	refused_line("allow = get * user:carol", "'user:carol' is no user here");
	refused_line("allow = get * user:1000", "'user:1000' is no user here");
	refused_line("allow = get * uid:carol", "'uid:carol' is no user here");
	refused_line("allow = get * group:alice", "'group:alice' is no group here");
	refused_line("owner = gid:carol", "owner: 'gid:carol' is no group here");
	refused_line("allow = get * uid:1 until=tomorrow", "'tomorrow' is no date");
}
END_TEST

START_TEST(a_line_has_all_its_parts_once)
{
	refused_line("allow =", "nothing says what");
	refused_line("allow = get", "nothing says where");
	refused_line("allow = get *", "no selector says for whom");
	refused_line("allow = get * until=2027-01-31", "no selector says for whom");
	refused_line("owner =", "no selector");
	refused_line("allow = get * uid:", "nothing behind its colon");
	refused_line("allow = get * uid:1 anybody", "'anybody' stands beside");
	refused_line("allow = get * uid:1 user:alice", "a second 'uid'");
	refused_line("allow = get * unit:a.service unit:b.service", "a second 'unit'");
	refused_line("allow = get * uid:1 until=2027-01-31 until=2027-01-31", "a second 'until='");
	refused_line("allow = get * uid:1 pid-weak", "'pid-weak' stands without");
	refused_line("allow = get * userunit:a.service", "needs a 'uid'");
	refused("[namespace web]\nowner = uid:1\nowner = uid:1\n", 3, "first in line 2");
	refused("[namespace web]\nmax-ttl = 1d\nmax-ttl = 1d\n", 3, "first in line 2");
	refused("[namespace web]\nowner = uid:1\n[namespace web]\n\nowner = uid:1\n", 5,
		"'owner' of [namespace web] is set a second time (first in the.conf:2)");
	refused("[namespace /]\nmax-ttl = 1d\n[namespace /]\nmax-ttl = 2d\n", 4,
		"'max-ttl' of [namespace /]");
	refused_line("require-reason =", "nothing says what");
	refused_line("require-reason = get, rm", "has a blank");
	refused_line("require-reason = get rm", "has a blank");
	refused_line("require-reason = steal", "'steal' is no operation");
	refused_line("require-reason = get,ls", "ls and watch need no reason");
	refused("[namespace web]\nrequire-reason = get\nrequire-reason = rm\n", 3,
		"first in line 2");
	refused("[namespace /]\nrequire-reason = get\n[namespace /]\nrequire-reason = rm\n", 4,
		"'require-reason' of [namespace /]");
	refused("[namespace web]\nallow = get a uid:1\n  set b uid:1\n", 3, "indented");
	refused("[namespace web]\nallow = get a uid:1\n  [namespace b]\n", 3, "indented");
}
END_TEST

START_TEST(values_are_taken_whole_or_not)
{
	static const char *const ids[] = { "uid:-1", "uid:+1", "uid:1x", "uid:0x1",
		"uid:4294967295", "uid:4294967296", "uid:18446744073709551616", "gid:4294967295",
		"unit:nginx", "unit:.service", "unit:nginx.", "slice:ci", "slice:ci.service",
		"unit:nginx.timer", "unit:a/b.service", "unit:a%20b.service", "unit:ci-*.service",
		"unit:ci-%2A.service", "userunit:a,b.service uid:1", "slice:ci/a.slice",
		"listener:*", "label:a*", "token:~/ci", "token:ci-*", "token:a//b", "label:%",
		"label:%4", "label:%zz", "label:a%00", "label:\x01", "label:%ff" };
	static const char *const dates[] = { "", "2027", "2027-02-29", "2027-13-01", "2027-00-01",
		"2027-01-00", "2027-1-31", "27-01-31", "1969-12-31", "2027-01-31T24:00:00Z",
		"2027-01-31T18:00:00", "2027-01-31t18:00:00z", "2027-01-31T18:00:60Z", "2027/01/31",
		"2027-01-31x" };
	static const char *const times[] = { "0s", "7", "d", "-1d", "1.5h", "7 d", "1w", "36501d",
		"18446744073709551617s" };
	char line[128];

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		snprintf(line, sizeof(line), "allow = get * %s", ids[i]);
		refused_line(line, "allow: ");
	}
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		snprintf(line, sizeof(line), "allow = get * uid:1 until=%s", dates[i]);
		refused_line(line, "is no date");
	}
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		snprintf(line, sizeof(line), "max-ttl = %s", times[i]);
		refused_line(line, "is no time");
	}
	refused_bytes("[namespace web]\nallow = get a\0 uid:1\n", 37, 2, "NUL");
}
END_TEST

START_TEST(a_glob_is_one_that_a_name_can_be_like)
{
	static const char *const globs[] = { "/x", "a//b", "a/", "/", "./a", "a/../b", "a***", "a?",
		"a[bc]", "{a,b}", "a\\b", "%", "%4", "%G1", "%00", "%01", "%7f", "a%ff" };
	static const char *const spaces[] = { "", " web", "/web", "web/", "web//a", "../web", "~",
		"~/x", "~alice", "web/*", "web%00", "w\x01" };
	static const char *const roots[] = { "~/x", "~", "~*", "~alice/x", "~1000" };
	char line[256];

	for (size_t i = 0; i < sizeof(globs) / sizeof(globs[0]); i++) {
		snprintf(line, sizeof(line), "deny = get %s uid:1", globs[i]);
		refused_line(line, "deny: '");
	}
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		snprintf(line, sizeof(line), "[namespace %s]\n", spaces[i]);
		refused(line, 1, "the name ");
	}
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		snprintf(line, sizeof(line), "[namespace /]\nallow = get %s uid:1\n", roots[i]);
		refused(line, 2, "allow: '");
	}
	refused("[namespace ~1000]\nowner = uid:1\n", 2, "belongs to that user");
}
END_TEST

/* -- what it means ------------------------------------------------------------------------- */

START_TEST(stars_stand_for_what_they_stand_for)
{
	static const struct {
		const char *glob;
		const char *name; /* below web */
		bool matches;
	} rows[] = { { "a", "a", true }, { "a", "ab", false }, { "a", "a/b", false },
		{ "*", "a", true }, { "*", "a/b", false }, { "**", "a/b", true },
		{ "db-*", "db-", true }, { "db-*", "db-1", true }, { "db-*", "db", false },
		{ "db-*", "db-1/x", false }, { "*-key", "a-key", true },
		{ "*-key", "a-key-", false }, { "*-key", "a/b-key", false },
		{ "**-key", "a/b-key", true }, { "a*b*c", "abbcbc", true },
		{ "a*b*c", "abbcb", false }, { "a*b*c", "ab/c", false }, { "*/x", "a/x", true },
		{ "*/x", "a/b/x", false }, { "**/x", "a/b/x", true }, { "**/x", "x", false },
		{ "a/**/b", "a/c/d/b", true }, { "a/**/b", "a/b", false },
		{ "**a*b", "x/a/ab", true }, { "**a*b", "x/a/b", false },
		{ "*a/b*c", "xa/bxc", true }, { "*a/b*c", "xa/b/c", false }, { "%2A", "*", true },
		{ "%2a", "a", false }, { "a%20b", "a b", true },
		{ "a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
		{ "**a**a**a**a**a**b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false } };
	char text[256], name[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "[namespace web]\nallow = get %s uid:1000\n",
			rows[i].glob);
		snprintf(name, sizeof(name), "web/%s", rows[i].name);
		policy_says(text);
		ck_assert_msg(may(1000, RIGHT_GET, name) == rows[i].matches, "%s against %s",
			rows[i].glob, name);
		ck_assert(!may(1000, RIGHT_SET, name) && !may(1001, RIGHT_GET, name));
	}
}
END_TEST

START_TEST(a_namespace_covers_what_is_below_it_alone)
{
	policy_says("[namespace web/prod]\nallow = get ** uid:1000\n");
	ck_assert(may(1000, RIGHT_GET, "web/prod/a") && may(1000, RIGHT_GET, "web/prod/a/b"));
	ck_assert(!may(1000, RIGHT_GET, "web/prod") && !may(1000, RIGHT_GET, "web/production/a"));
	ck_assert(!may(1000, RIGHT_GET, "web/a") && !may(1000, RIGHT_GET, "x/web/prod/a"));
	ck_assert(!may(1000, RIGHT_GET, ""));
}
END_TEST

START_TEST(any_deny_wins_over_everybody)
{
	policy_says("[namespace web]\nowner = uid:1000\nallow = * ** anybody\n"
		    "[namespace /]\ndeny = get,set web/a anybody\n");
	ck_assert(!may(1000, RIGHT_GET, "web/a") && !may(0, RIGHT_GET, "web/a"));
	ck_assert(!may(500, RIGHT_SET, "web/a") && !may(1, RIGHT_SET, "web/a"));
	ck_assert(may(1000, RIGHT_STAT, "web/a") && may(0, RIGHT_STAT, "web/a"));
	ck_assert(may(1, RIGHT_GET, "web/b"));
	/* Nor is one's own space out of its reach; and nobody can be kept from ruling. */
	policy_says("[namespace /]\ndeny = * ** anybody\n");
	ck_assert(!may(1000, RIGHT_GET, "~1000/x") && !may(0, RIGHT_GET, "x"));
	ck_assert(may(0, RIGHT_RULE, "") && may(1000, RIGHT_NONE, "x"));
	ck_assert(!may(1000, RIGHT_RULE, ""));
}
END_TEST

START_TEST(a_star_allows_nothing_in_somebodys_own_space)
{
	policy_says("[namespace /]\nallow = * ** anybody\nowner = anybody\n");
	ck_assert(may(1001, RIGHT_GET, "a") && may(1001, RIGHT_GET, "a/~1000/x"));
	ck_assert(!may(1001, RIGHT_GET, "~1000/x") && may(1000, RIGHT_GET, "~1000/x"));
	policy_says("[namespace /]\nallow = get ~1000/shared/* uid:1001\n"
		    "[namespace ~1000]\nallow = stat ** uid:1001\n");
	ck_assert(may(1001, RIGHT_GET, "~1000/shared/x") && may(1001, RIGHT_STAT, "~1000/x"));
	ck_assert(!may(1001, RIGHT_GET, "~1000/x") && !may(1001, RIGHT_STAT, "~7/x"));
	policy_says("[namespace /]\nallow = get ~*/pub/* uid:1001\n");
	ck_assert(may(1001, RIGHT_GET, "~7/pub/x") && !may(1001, RIGHT_GET, "~7/x"));
}
END_TEST

START_TEST(the_deepest_owner_owns)
{
	policy_says("[namespace web]\nowner = uid:1000\n[namespace web/prod]\nowner = group:ops\n"
		    "[namespace web/prod/db]\nmax-ttl = 1d\n");
	ck_assert(may(1000, RIGHT_SET, "web/x") && !may(1000, RIGHT_SET, "web/prod/x"));
	ck_assert(may(40, RIGHT_SET, "web/prod/x") && !may(40, RIGHT_SET, "web/x"));
	/* A namespace that says nothing of an owner changes none. */
	ck_assert(may(40, RIGHT_SET, "web/prod/db/x") && !may(1000, RIGHT_SET, "web/prod/db/x"));
	ck_assert(!may(1000, RIGHT_SET, "web"));
}
END_TEST

START_TEST(the_shortest_life_of_all_is_the_most)
{
	policy_says("[namespace /]\nmax-ttl = 7d\n[namespace web]\nmax-ttl = 30d\n"
		    "[namespace web/prod]\nmax-ttl = 90s\nallow = get db-* uid:1\n");
	ck_assert_uint_eq(policy_max_ttl(&policy, span_text("x")), 7 * UINT64_C(86400000));
	ck_assert_uint_eq(policy_max_ttl(&policy, span_text("~1000/x")), 7 * UINT64_C(86400000));
	ck_assert_uint_eq(policy_max_ttl(&policy, span_text("web/x")), 7 * UINT64_C(86400000));
	ck_assert_uint_eq(policy_max_ttl(&policy, span_text("web/prod/db-1")), 90000);
	policy_says("[namespace web]\nmax-ttl = 12h\n");
	ck_assert_uint_eq(policy_max_ttl(&policy, span_text("x")), 0);
	ck_assert_uint_eq(policy_max_ttl(&policy, span_text("web/x")), 43200000);
}
END_TEST

/* Each selector, what it matches, and that it matches nothing in somebody of whom that is not
 * known. */
START_TEST(all_selectors_of_a_line_must_match)
{
	static const uint32_t groups[] = { 7, 40, 99 };
	const struct policy_subject all = { .uid = 1000,
		.gid = 100,
		.groups = groups,
		.group_count = 3,
		.label = "/usr/bin/x (enforce)",
		.unit = "nginx.service",
		.slice = "ci.slice",
		.userunit = "app.service",
		.listener = "ci",
		.token = "deploy",
		.cred = "key",
		.pinned = true };
	const struct policy_subject bare = { .uid = 1, .gid = 1 };
	static const struct {
		const char *who;
		bool matches;
	} rows[] = { { "uid:1000", true }, { "user:alice", true }, { "uid:alice", true },
		{ "uid:1001", false }, { "gid:100", true }, { "gid:40", true },
		{ "group:ops", true }, { "group:web", false }, { "gid:7 gid:99", true },
		{ "gid:7 gid:98", false }, { "label:/usr/bin/x%20(enforce)", true },
		{ "label:/usr/bin/x", false }, { "unit:nginx.service", true },
		{ "unit:ngin.service", false }, { "slice:ci.slice", true },
		{ "slice:c.slice", false }, { "userunit:app.service uid:1000", true },
		{ "userunit:app.service uid:1001", false }, { "listener:ci", true },
		{ "listener:c", false }, { "token:deploy", true }, { "token:Deploy", false },
		{ "cred:key", true }, { "cred:k", false },
		{ "uid:1000 unit:nginx.service group:ops token:deploy", true },
		{ "uid:1000 unit:nginx.service group:web token:deploy", false } };
	char text[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "[namespace web]\nallow = get * %s\n", rows[i].who);
		policy_says(text);
		ck_assert_msg(decide(&all, RIGHT_GET, "web/x").allowed == rows[i].matches, "%s",
			rows[i].who);
		ck_assert_msg(!decide(&bare, RIGHT_GET, "web/x").allowed, "%s", rows[i].who);
	}
}
END_TEST

START_TEST(a_unit_that_no_pidfd_holds_is_denied_but_not_allowed)
{
	struct policy_subject subject = { .uid = 1000, .unit = "a.service", .slice = "b.slice" };

	policy_says("[namespace web]\nallow = get * unit:a.service\n"
		    "allow = set * slice:b.slice pid-weak\n"
		    "allow = stat * uid:1000\ndeny = stat * unit:a.service\n");
	ck_assert(!decide(&subject, RIGHT_GET, "web/x").allowed);
	ck_assert(decide(&subject, RIGHT_SET, "web/x").allowed);
	ck_assert(!decide(&subject, RIGHT_STAT, "web/x").allowed);
	subject.pinned = true;
	ck_assert(decide(&subject, RIGHT_GET, "web/x").allowed);
	ck_assert(!decide(&subject, RIGHT_STAT, "web/x").allowed);
	subject.unit = NULL;
	ck_assert(decide(&subject, RIGHT_STAT, "web/x").allowed);
}
END_TEST

static bool may_at(int64_t now)
{
	const struct policy_subject subject = { .uid = 1000 };

	return policy_decide(&policy, &subject, RIGHT_GET, span_text("web/x"), now).allowed;
}

START_TEST(a_rule_ends_with_its_day_or_second)
{
	policy_says("[namespace web]\nallow = get * uid:1000 until=2027-01-31\n");
	ck_assert(policy_book_expires(policy.book));
	/* date -ud '2027-02-01' +%s */
	ck_assert(may_at(0) && may_at(1801439999) && !may_at(1801440000));
	policy_says("[namespace web]\nallow = get * uid:1000 until=2027-01-31T18:00:00Z\n");
	ck_assert(may_at(1801418400) && !may_at(1801418401));
	policy_says("[namespace web]\nallow = get * uid:1000\ndeny = * * anybody "
		    "until=2027-01-31\n");
	ck_assert(!may_at(1801439999) && may_at(1801440000));
	policy_says("[namespace web]\nallow = get * uid:1000\n");
	ck_assert(!policy_book_expires(policy.book));
}
END_TEST

START_TEST(every_operation_is_one_right)
{
	char text[128];

	for (enum right right = RIGHT_GET; right < RIGHT_RULE; right++) {
		snprintf(text, sizeof(text), "[namespace web]\nallow = %s * uid:1000\n",
			right_name(right));
		policy_says(text);
		for (enum right other = RIGHT_GET; other < RIGHTS; other++)
			ck_assert_int_eq(may(1000, other, "web/x"), right == other);
	}
	policy_says("[namespace web]\nallow = * * uid:1000\n");
	for (enum right right = RIGHT_GET; right < RIGHTS; right++)
		ck_assert_int_eq(may(1000, right, "web/x"), right != RIGHT_RULE);
}
END_TEST

/* -- why ----------------------------------------------------------------------------------- */

static void is_decided(uid_t uid, const char *name, enum policy_cause cause, unsigned line)
{
	const struct policy_subject subject = { .uid = uid };
	struct policy_verdict verdict = decide(&subject, RIGHT_GET, name);

	ck_assert_msg(verdict.cause == cause && verdict.line == line, "%s: %d in line %u", name,
		(int)verdict.cause, verdict.line);
	ck_assert(line == 0 ? !verdict.file : strcmp(verdict.file, "a.conf") == 0);
}

START_TEST(the_line_that_decides_is_told)
{
	policy_says("[namespace web]\nowner = uid:1000\nallow = get a* uid:1001\n"
		    "allow = get ab uid:1001\ndeny = get x anybody\ndeny = get x uid:1000\n");
	is_decided(1000, "web/y", POLICY_BY_OWNER, 2);
	is_decided(1001, "web/a", POLICY_BY_ALLOW, 3);
	is_decided(1001, "web/ab", POLICY_BY_ALLOW, 4);
	is_decided(0, "web/x", POLICY_BY_DENY, 5);
	is_decided(1000, "web/x", POLICY_BY_DENY, 6);
	is_decided(0, "web/y", POLICY_BY_PRIVILEGE, 0);
	is_decided(1001, "web/y", POLICY_BY_NOTHING, 0);
	is_decided(1001, "~1001/y", POLICY_BY_OWN_SPACE, 0);
}
END_TEST

START_TEST(the_line_that_is_missing_would_allow_it)
{
	static const char *const names[] = { "x", "web/x", "web/a b/c;d", "web/*?[]", "~7/x",
		"new/deep/x", "a%b", "web/\xc3\xa4" };
	const struct policy_subject subject = { .uid = 1001 };
	char line[POLICY_MISSING_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		policy_says("[namespace web]\n");
		policy_missing(line, &policy, &subject, RIGHT_GET, span_text(names[i]), 0);
		ck_assert_msg(line[0] != '\0', "%s", names[i]);
		policy_says(line);
		ck_assert_msg(may(1001, RIGHT_GET, names[i]), "%s: %s", names[i], line);
		ck_assert(!may(1002, RIGHT_GET, names[i]) && !may(1001, RIGHT_SET, names[i]));
		ck_assert_uint_eq(policy_book_rules(policy.book), 1);
		policy_missing(line, &policy, &subject, RIGHT_GET, span_text(names[i]), 0);
		ck_assert_str_eq(line, "");
	}
	policy_says("[namespace web]\nowner = uid:1\n");
	policy_missing(line, &policy, &subject, RIGHT_REMOVE, span_text("web/prod/x"), 0);
	ck_assert_str_eq(line, "[namespace web]\nallow = rm prod/x uid:1001\n");
	policy_says("[namespace web]\ndeny = get * anybody\n");
	policy_missing(line, &policy, &subject, RIGHT_GET, span_text("web/x"), 0);
	ck_assert_str_eq(line, "");
}
END_TEST

START_TEST(who_is_allowed_nothing_reaches_nothing)
{
	static const struct peer alice = { .uid = 1000, .pidfd = -1 },
				 bob = { .uid = 1001, .pidfd = -1 }, root = { .pidfd = -1 };

	policy_says("[namespace web]\nallow = ls,get a uid:1000\ndeny = ls * uid:1001\n");
	ck_assert(policy_reaches(&policy, &alice, RIGHT_LIST, span_text("")));
	ck_assert(!policy_reaches(&policy, &alice, RIGHT_SET, span_text("")));
	ck_assert(!policy_reaches(&policy, &bob, RIGHT_LIST, span_text("")));
	ck_assert(policy_reaches(&policy, &root, RIGHT_SET, span_text("")));
	policy_says("[namespace web]\nowner = uid:1001\n");
	ck_assert(policy_reaches(&policy, &bob, RIGHT_LIST, span_text("")));
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("policy_book");

	tcase_add_checked_fixture(claims, NULL, tear_down);
	tcase_add_test(claims, a_text_that_says_nothing_says_nothing);
	tcase_add_test(claims, what_is_not_known_is_named_with_file_and_line);
	tcase_add_test(claims, a_line_has_all_its_parts_once);
	tcase_add_test(claims, values_are_taken_whole_or_not);
	tcase_add_test(claims, a_glob_is_one_that_a_name_can_be_like);
	tcase_add_test(claims, stars_stand_for_what_they_stand_for);
	tcase_add_test(claims, a_namespace_covers_what_is_below_it_alone);
	tcase_add_test(claims, any_deny_wins_over_everybody);
	tcase_add_test(claims, a_star_allows_nothing_in_somebodys_own_space);
	tcase_add_test(claims, the_deepest_owner_owns);
	tcase_add_test(claims, the_shortest_life_of_all_is_the_most);
	tcase_add_test(claims, all_selectors_of_a_line_must_match);
	tcase_add_test(claims, a_unit_that_no_pidfd_holds_is_denied_but_not_allowed);
	tcase_add_test(claims, a_rule_ends_with_its_day_or_second);
	tcase_add_test(claims, every_operation_is_one_right);
	tcase_add_test(claims, the_line_that_decides_is_told);
	tcase_add_test(claims, the_line_that_is_missing_would_allow_it);
	tcase_add_test(claims, who_is_allowed_nothing_reaches_nothing);
	return claims_run(claims, "policy_book");
}
