/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "common/wire/name.h"
#include "daemon/policy/policy.h"
#include "daemon/policy/policy_glob.h"

/* The namespace that the line belongs into: one that is there, else the name's folder, as written
 * with a slash at its end; "" for all names. */
static struct span find_space(const struct policy *policy, struct span name)
{
	struct span space =
		policy->book ? policy_book_space_of(policy->book, name) : span_of(NULL, 0);
	size_t size = name.size;

	if (space.size > 0)
		return space;
	while (size > 0 && name.data[size - 1] != '/')
		size--;
	return span_of(name.data, size);
}

void policy_missing(char out[POLICY_MISSING_MAX], const struct policy *policy,
	const struct policy_subject *subject, enum right right, struct span name, int64_t now)
{
	struct policy_verdict verdict = policy_decide(policy, subject, right, name, now);
	struct span space = find_space(policy, name);
	char title[3 * NAME_FILED_MAX + 1], glob[3 * NAME_FILED_MAX + 1];

	out[0] = '\0';
	if (verdict.cause != POLICY_BY_NOTHING || !right_name(right) || name.size == 0)
		return;
	glob_write(title, sizeof(title), span_of(space.data, space.size > 0 ? space.size - 1 : 0));
	glob_write(glob, sizeof(glob), span_of(name.data + space.size, name.size - space.size));
	snprintf(out, POLICY_MISSING_MAX, "[namespace %s]\nallow = %s %s uid:%lu\n",
		title[0] ? title : "/", right_name(right), glob, (unsigned long)subject->uid);
}
