/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_as.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/policy_inside.h"

/* Bytes of a word in a message: what is wrong with it has to be told, too. */
#define WORD_SHOWN 100

static bool no_user(void *context, const char *name, uid_t *uidp)
{
	(void)context;
	(void)name;
	(void)uidp;
	return false;
}

static bool no_group(void *context, const char *name, gid_t *gidp)
{
	(void)context;
	(void)name;
	(void)gidp;
	return false;
}

/* Where a text of a kind goes, or NULL. */
static const char **place_of(struct policy_subject *subject, enum selector_kind kind)
{
	switch (kind) {
	case SELECT_UNIT:
		return &subject->unit;
	case SELECT_USERUNIT:
		return &subject->userunit;
	case SELECT_TOKEN:
		return &subject->token;
	case SELECT_CRED:
		return &subject->cred;
	case SELECT_LISTENER:
		return &subject->listener;
	case SELECT_SLICE:
		return &subject->slice;
	case SELECT_LABEL:
		return &subject->label;
	default:
		return NULL;
	}
}

/* The first group is that of the process, as good as any other. NULL, or what is wrong. */
static const char *take(struct policy_as *as, const struct selector *selector)
{
	struct policy_subject *subject = &as->subject;
	const char **place = place_of(subject, selector->kind);

	if (selector->kind == SELECT_ANYBODY)
		return "is nobody in particular";
	if (selector->kind == SELECT_GID) {
		if (subject->gid == (gid_t)POLICY_AS_NOBODY)
			subject->gid = (gid_t)selector->id;
		as->groups[subject->group_count++] = selector->id;
		return NULL;
	}
	if (place ? *place != NULL : subject->uid != (uid_t)POLICY_AS_NOBODY)
		return "is a second one of its kind";
	if (place)
		*place = selector->text;
	else
		subject->uid = (uid_t)selector->id;
	return NULL;
}

int policy_as_read(
	struct policy_as *as, const struct span *words, size_t count, struct config_fault *fault)
{
	static const struct policy_names names = { .user = no_user, .group = no_group };
	struct selector selector;

	*as = (struct policy_as){ .texts = policy_book_new() };
	as->subject = (struct policy_subject){ .uid = (uid_t)POLICY_AS_NOBODY,
		.gid = (gid_t)POLICY_AS_NOBODY,
		.groups = as->groups,
		.pinned = true };
	if (!as->texts)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *wrong = NULL;

		if (i >= POLICY_AS_MAX)
			wrong = "is one selector too many";
		else if (words[i].size > 0 && memchr(words[i].data, ' ', words[i].size))
			wrong = "has a blank; %20 stands for one";
		else
			wrong = selector_parse(as->texts, &selector, words[i], &names);

		if (!wrong && !selector.text)
			return -ENOMEM;
		if (!wrong)
			wrong = take(as, &selector);
		if (!wrong)
			continue;
		config_fault_say(fault, "'%.*s' %s",
			(int)(words[i].size < WORD_SHOWN ? words[i].size : WORD_SHOWN),
			(const char *)words[i].data, wrong);
		return -EINVAL;
	}
	qsort(as->groups, as->subject.group_count, sizeof(as->groups[0]), selector_compare_ids);
	return 0;
}

void policy_as_finish(struct policy_as *as)
{
	as->texts = policy_book_free(as->texts);
}
