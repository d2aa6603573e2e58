/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/policy.h"
#include "tests/bench/measure.h"

/*
 * What a decision costs with 1,000 rules, written down in shapes that put them into one heap or
 * another; beside it the decision of a daemon without any, and the reading of the file.
 */

#define RULES 1000
#define GROUPS 32
#define CALLS 20000

static char text[RULES * 128];
static size_t used;
static struct policy policy = { .own = 500 };
static uint32_t groups[GROUPS];
static struct peer peer = { .uid = 1000, .gid = 1000, .groups = groups, .pidfd = -1 };
static struct span name;
static bool expected;

static bool no_user(void *context, const char *user, uid_t *uidp)
{
	(void)context;
	(void)user;
	(void)uidp;
	return false;
}

static bool no_group(void *context, const char *group, gid_t *gidp)
{
	(void)context;
	(void)group;
	(void)gidp;
	return false;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	used += (size_t)vsnprintf(text + used, sizeof(text) - used, format, arguments);
	va_end(arguments);
}

static void read_text(void)
{
	static const struct policy_names names = { .user = no_user, .group = no_group };
	struct config_fault fault;

	policy_book_free(policy.book);
	policy.book = policy_book_new();
	if (!policy.book ||
		policy_book_read(policy.book, text, used, "bench.conf", &names, &fault) < 0 ||
		policy_book_seal(policy.book, &fault) < 0) {
		fprintf(stderr, "%s\n", fault.text);
		exit(1);
	}
}

static void run_decision(void)
{
	if (policy_allows(&policy, &peer, RIGHT_GET, name) != expected)
		abort();
}

static void row(const char *shape, const char *asked, bool allowed)
{
	name = span_text(asked);
	expected = allowed;
	printf("%-34s %-24s %-4s %8.3f us\n", shape, asked, allowed ? "yes" : "no",
		measure(run_decision, CALLS));
}

/* Says a policy of 1,000 lines, each by its number. */
static void begin(void (*line)(int))
{
	used = 0;
	say("[namespace web]\n");
	for (int i = 0; i < RULES; i++)
		line(i);
	read_text();
	if (policy_book_rules(policy.book) != RULES)
		abort();
}

static void in_namespaces(int i)
{
	say("[namespace ns%d/prod]\nallow = get,watch db-* uid:1000\n", i);
}

static void with_globs(int i)
{
	say("allow = get db%d-* uid:1000\n", i);
}

static void for_users(int i)
{
	say("allow = get ** uid:%d\n", 501 + i);
}

static void for_groups(int i)
{
	say("allow = get ** gid:%d\n", 3 * i);
}

static void of_units(int i)
{
	say("allow = get ** uid:1000 unit:u%d.service\n", i);
}

static void of_one_unit(int i)
{
	say("allow = get ** uid:%d unit:u.service\n", 501 + i);
}

static void for_one_user(int i)
{
	say("%s = get,set *-%d/** uid:1000\n", i % 2 ? "deny" : "allow", i);
}

static void ending(int i)
{
	say("allow = get ** uid:%d until=2099-12-31\n", 501 + i);
}

int main(void)
{
	peer.group_count = GROUPS;
	for (int i = 0; i < GROUPS; i++)
		groups[i] = 3 * ((uint32_t)i * RULES / GROUPS) + 1;
	printf("a decision of policy with %d rules\n", RULES);
	printf("%-34s %-24s %-4s %11s\n", "rules", "name", "", "a decision");
	row("none", "web/prod/db-main", false);
	row("none", "~1000/prod/db-main", true);
	begin(in_namespaces);
	row("in 1,000 namespaces", "ns500/prod/db-main", true);
	row("in 1,000 namespaces", "ns500/prod/other", false);
	begin(with_globs);
	row("with 1,000 globs in one", "web/db500-main", true);
	row("with 1,000 globs in one", "web/dx500-main", false);
	begin(for_users);
	row("for 1,000 users of one", "web/prod/db-main", true);
	begin(for_groups);
	row("for 1,000 groups; peer in 32", "web/prod/db-main", false);
	begin(ending);
	row("for 1,000 users, each to an end", "web/prod/db-main", true);
	begin(of_units);
	row("for one user in 1,000 units", "web/prod/db-main", false);
	begin(of_one_unit);
	row("for 1,000 users in one unit", "web/prod/db-main", false);
	begin(for_one_user);
	row("for one, all begin with a star", "web/prod-1/db-main", false);
	begin(in_namespaces);
	printf("reading and compiling %zu bytes: %.0f us\n", used, measure(read_text, 10));
	policy_book_free(policy.book);
	return 0;
}
