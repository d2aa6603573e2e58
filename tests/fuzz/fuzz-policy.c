/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/policy/policy.h"
#include "tests/fuzz/fuzz.h"

static bool find_user(void *context, const char *name, uid_t *uidp)
{
	(void)context;
	return *uidp = 1000, strcmp(name, "alice") == 0;
}

static bool find_group(void *context, const char *name, gid_t *gidp)
{
	(void)context;
	return *gidp = 40, strcmp(name, "ops") == 0;
}

/* Whatever it says: a line that would be missing is read, and would not be missing any more. */
static void ask(const struct policy *policy, const char *name, enum right right)
{
	static const struct policy_names names = { .user = find_user, .group = find_group };
	static const uint32_t groups[] = { 40, 41 };
	const struct policy_subject subject = { .uid = 1000,
		.gid = 100,
		.groups = groups,
		.group_count = 2,
		.unit = "a.service",
		.token = "t",
		.pinned = true };
	struct policy_verdict verdict =
		policy_decide(policy, &subject, right, span_text(name), 1800000000);
	struct policy second = { .own = 0 };
	struct config_fault fault;
	char line[POLICY_MISSING_MAX];

	MUST(verdict.allowed || verdict.cause == POLICY_BY_DENY ||
		verdict.cause == POLICY_BY_NOTHING);
	MUST(!verdict.file || (strcmp(verdict.file, "fuzz.conf") == 0 && verdict.line > 0));
	policy_missing(line, policy, &subject, right, span_text(name), 1800000000);
	MUST((line[0] != '\0') == (verdict.cause == POLICY_BY_NOTHING));
	if (line[0] == '\0')
		return;
	second.book = policy_book_new();
	MUST(second.book &&
		policy_book_read(second.book, line, strlen(line), "m", &names, &fault) == 0 &&
		policy_book_seal(second.book, &fault) == 0);
	MUST(policy_decide(&second, &subject, right, span_text(name), 0).allowed);
	policy_book_free(second.book);
}

/* A text is taken whole, or refused with words that name the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct policy_names names = { .user = find_user, .group = find_group };
	static const char *const asked[] = { "a", "web/a", "web/prod/db-1", "~1000/x", "~1/x",
		"web/a b" };
	struct policy policy = { .own = 0, .book = policy_book_new() };
	struct config_fault fault;
	int r;

	MUST(policy.book);
	memset(&fault, 0, sizeof(fault));
	r = policy_book_read(policy.book, (const char *)data, size, "fuzz.conf", &names, &fault);
	if (r == 0)
		r = policy_book_seal(policy.book, &fault);
	MUST(r == 0 || strncmp(fault.text, "fuzz.conf:", 10) == 0);
	MUST(memchr(fault.text, '\0', sizeof(fault.text)));
	for (size_t i = 0; r == 0 && i < sizeof(asked) / sizeof(asked[0]); i++)
		for (enum right right = RIGHT_GET; right < RIGHT_RULE; right++)
			ask(&policy, asked[i], right);
	policy_book_free(policy.book);
	return 0;
}
