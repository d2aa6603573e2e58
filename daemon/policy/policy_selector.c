/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "common/wire/name.h"
#include "common/wire/text.h"
#include "daemon/peer_place.h"
#include "daemon/policy/policy_inside.h"
#include "daemon/quantity.h"

/* More than a line has. */
#define VALUE_MAX 256

/* -- values -------------------------------------------------------------------------------- */

static bool find_user(const struct policy_names *names, const char *text, uint32_t *idp)
{
	uid_t uid;

	if (!names->user(names->context, text, &uid))
		return false;
	*idp = (uint32_t)uid;
	return true;
}

static bool find_group(const struct policy_names *names, const char *text, uint32_t *idp)
{
	gid_t gid;

	if (!names->group(names->context, text, &gid))
		return false;
	*idp = (uint32_t)gid;
	return true;
}

static const char *read_user(
	struct selector *selector, const char *text, const struct policy_names *names)
{
	return find_user(names, text, &selector->id) ? NULL : "is no user here";
}

static const char *read_uid(
	struct selector *selector, const char *text, const struct policy_names *names)
{
	return quantity_read_id(text, &selector->id) ? NULL : read_user(selector, text, names);
}

static const char *read_group(
	struct selector *selector, const char *text, const struct policy_names *names)
{
	return find_group(names, text, &selector->id) ? NULL : "is no group here";
}

static const char *read_gid(
	struct selector *selector, const char *text, const struct policy_names *names)
{
	return quantity_read_id(text, &selector->id) ? NULL : read_group(selector, text, names);
}

/* What nobody can be called would match nothing, and nobody would be told. */
static const char *read_unit(
	struct selector *selector, const char *text, const struct policy_names *names)
{
	(void)selector;
	(void)names;
	return peer_place_is_unit(span_text(text)) ? NULL : "is no unit, such as nginx.service";
}

static const char *read_slice(
	struct selector *selector, const char *text, const struct policy_names *names)
{
	(void)selector;
	(void)names;
	return peer_place_is_slice(span_text(text)) ? NULL : "is no slice, such as ci.slice";
}

static const char *read_token(
	struct selector *selector, const char *text, const struct policy_names *names)
{
	(void)selector;
	(void)names;
	if (text[0] == '~' && text[1] == '/')
		return "begins with '~', which is another space for each caller; write ~UID";
	return name_fault(span_text(text));
}

/* -- the words ----------------------------------------------------------------------------- */

static const struct {
	const char *word;
	enum selector_kind kind;
	const char *(*read)(struct selector *, const char *, const struct policy_names *);
} words[] = {
	/* The first of a kind is how it is written. */
	{ "uid", SELECT_UID, read_uid },
	{ "user", SELECT_UID, read_user },
	{ "gid", SELECT_GID, read_gid },
	{ "group", SELECT_GID, read_group },
	{ "unit", SELECT_UNIT, read_unit },
	{ "userunit", SELECT_USERUNIT, read_unit },
	{ "slice", SELECT_SLICE, read_slice },
	{ "label", SELECT_LABEL, NULL },
	{ "listener", SELECT_LISTENER, NULL },
	{ "token", SELECT_TOKEN, read_token },
	{ "cred", SELECT_CRED, NULL },
};

#define WORDS (sizeof(words) / sizeof(words[0]))

const char *selector_kind_name(enum selector_kind kind)
{
	for (size_t i = 0; i < WORDS; i++)
		if (words[i].kind == kind)
			return words[i].word;
	return "anybody";
}

bool selector_is_unit(enum selector_kind kind)
{
	return kind == SELECT_UNIT || kind == SELECT_USERUNIT || kind == SELECT_SLICE;
}

/* The row of a word, or WORDS. */
static size_t find_word(struct span word)
{
	size_t i = 0;

	while (i < WORDS && !span_equal(span_text(words[i].word), word))
		i++;
	return i;
}

static bool has_id(enum selector_kind kind)
{
	return kind == SELECT_UID || kind == SELECT_GID;
}

const char *selector_parse(struct policy_book *book, struct selector *selector, struct span word,
	const struct policy_names *names)
{
	const uint8_t *colon = memchr(word.data, ':', word.size);
	size_t size = colon ? (size_t)(colon - word.data) : word.size;
	size_t row = find_word(span_of(word.data, size));
	char value[VALUE_MAX];
	const char *fault;

	*selector = (struct selector){ .kind = SELECT_ANYBODY, .text = "" };
	if (span_equal(word, span_text("anybody")))
		return NULL;
	if (!colon || row == WORDS)
		return "is no selector; there are uid, user, gid, group, unit, slice, userunit, "
		       "label, listener, token and cred, such as uid:33, and anybody";
	if (word.size - size > VALUE_MAX)
		return "is too long";
	if (memchr(word.data, '*', word.size))
		return "has a star, which is no wildcard here; %2A stands for one";
	fault = glob_decode(span_of(colon + 1, word.size - size - 1), value, &size);
	if (fault)
		return fault;
	if (size == 0)
		return "has nothing behind its colon";
	fault = text_fault(span_of(value, size));
	if (fault)
		return fault;
	value[size] = '\0';
	selector->kind = words[row].kind;
	fault = words[row].read ? words[row].read(selector, value, names) : NULL;
	if (!fault && !has_id(selector->kind)) {
		selector->id = selector_digest(value);
		selector->text = policy_book_text(book, span_of(value, size));
	}
	return fault;
}

/* -- matching ------------------------------------------------------------------------------ */

const char *selector_text(const struct policy_subject *subject, enum selector_kind kind)
{
	switch (kind) {
	case SELECT_UNIT:
		return subject->unit;
	case SELECT_USERUNIT:
		return subject->userunit;
	case SELECT_TOKEN:
		return subject->token;
	case SELECT_CRED:
		return subject->cred;
	case SELECT_LISTENER:
		return subject->listener;
	case SELECT_SLICE:
		return subject->slice;
	case SELECT_LABEL:
		return subject->label;
	default:
		return NULL;
	}
}

int selector_compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool in_group(const struct policy_subject *subject, uint32_t id, bool doubtful)
{
	if (doubtful && subject->shares_group && subject->shared_group == (gid_t)id)
		return true;
	return subject->gid == (gid_t)id ||
		(subject->group_count > 0 &&
			bsearch(&id, subject->groups, subject->group_count, sizeof(id),
				selector_compare_ids));
}

/* Whether it may be in that unit or slice, as far as that is known. */
static bool is_in(const struct selector *selector, const struct policy_subject *subject,
	bool doubtful, bool weak)
{
	const char *text = selector_text(subject, selector->kind);

	if (subject->lost)
		return doubtful;
	return (subject->pinned || doubtful || weak) && text && strcmp(text, selector->text) == 0;
}

static bool matches(const struct selector *selector, const struct policy_subject *subject,
	bool doubtful, bool weak)
{
	const char *text;

	if (selector->kind == SELECT_ANYBODY)
		return true;
	if (selector->kind == SELECT_UID)
		return subject->uid == (uid_t)selector->id;
	if (selector->kind == SELECT_GID)
		return in_group(subject, selector->id, doubtful);
	if (selector_is_unit(selector->kind))
		return is_in(selector, subject, doubtful, weak);
	text = selector_text(subject, selector->kind);
	return text && strcmp(text, selector->text) == 0;
}

bool who_matches(const struct who *who, const struct policy_subject *subject, bool doubtful)
{
	for (size_t i = 0; i < who->count; i++)
		if (!matches(&who->selectors[i], subject, doubtful, who->weak))
			return false;
	return who->count > 0;
}

/* FNV-1a, 32 bits. Source: Fowler, Noll, Vo. Who makes texts meet gains nothing but a look more. */
uint32_t selector_digest(const char *text)
{
	uint32_t digest = UINT32_C(2166136261);

	for (; *text; text++)
		digest = (digest ^ (uint8_t)*text) * UINT32_C(16777619);
	return digest;
}

int selector_compare(const struct selector *a, const struct selector *b)
{
	int order = selector_compare_ids(&a->id, &b->id);

	return order ? order : strcmp(a->text, b->text);
}
