/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/claims.h"
#include "tests/unit/policy_rig.h"

/*
 * Policies that nobody would write, held against an evaluator that looks at every rule there is:
 * the decision is the same, and stays so when lines, files and selectors change places.
 */

#define RULES 24
#define SPACES 5
#define FILES 3
#define ROUNDS 400

static uint64_t state;

/* xorshift64*; the same numbers in every run. */
static unsigned draw(unsigned below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (unsigned)((state * UINT64_C(2685821657736338717)) >> 33) % below;
}

#define PICK(from) (from)[draw(sizeof(from) / sizeof((from)[0]))]

/* -- what is drawn ------------------------------------------------------------------------- */

static const char *const space_names[] = { "/", "a", "a/b", "ab", "~1000" };
static const char *const globs[] = { "*", "**", "a", "b", "a*", "*b", "a/*", "*/b", "**/b", "a/**",
	"a*b**", "b/a", "ab", "a/b/*" };
static const char *const names[] = { "a", "b", "ab", "a/a", "a/b", "a/ab", "a/b/a", "a/b/b", "b/a",
	"a/b/a/b", "ab/a", "ab/b/a", "~1000/a", "~1000/b/a", "~33/a", "a/b/ab", "aab/b", "\xc3\xa9",
	"\xc3\xa9/a" };

enum { BY_UID, BY_GID, BY_UNIT, BY_SLICE, BY_TOKEN, BY_LABEL, BY_LISTENER, BY_CRED, BY_ANYBODY };

struct drawn_selector {
	int kind;
	unsigned value;
};

struct drawn {
	const char *space;
	const char *glob;
	enum right right; /* RIGHT_NONE: all */
	bool deny;
	bool weak;
	struct drawn_selector who[3];
	size_t count;
	unsigned until; /* a day of January 2027; 0: never */
};

struct drawn_space {
	const char *name;
	struct drawn_selector owner;
	bool owned;
};

static struct drawn rules[RULES];
static struct drawn_space spaces[SPACES];
static const unsigned ids[] = { 0, 33, 40, 1000, 1001 };
static const char *const texts[] = { "x.service", "y.service" };
static const char *const slices[] = { "x.slice", "y.slice" };

static struct drawn_selector draw_selector(int kind)
{
	return (struct drawn_selector){ kind, kind < BY_UNIT ? PICK(ids) : draw(2) };
}

static bool is_place(int kind)
{
	return kind == BY_UNIT || kind == BY_SLICE;
}

/* What it says, or is held against. */
static const char *text_of(struct drawn_selector selector)
{
	return (selector.kind == BY_SLICE ? slices : texts)[selector.value];
}

static void draw_rule(struct drawn *rule)
{
	*rule = (struct drawn){ .space = PICK(space_names),
		.glob = PICK(globs),
		.right = draw(3) ? RIGHT_GET + (enum right)draw(2) : RIGHT_NONE,
		.deny = draw(4) == 0,
		.until = draw(4) ? 0 : 1 + draw(3) };
	if (draw(6) == 0) {
		rule->who[rule->count++] = draw_selector(BY_ANYBODY);
		return;
	}
	for (int kind = BY_UID; kind < BY_ANYBODY; kind++)
		if (rule->count < 3 && draw(3) == 0)
			rule->who[rule->count++] = draw_selector(kind);
	/* Groups alone may stand there twice. */
	if (rule->count > 0 && rule->count < 3 && draw(4) == 0)
		rule->who[rule->count++] = draw_selector(BY_GID);
	if (rule->count == 0)
		rule->who[rule->count++] = draw_selector(BY_UID);
	for (size_t i = 0; i < rule->count; i++)
		rule->weak = rule->weak || (is_place(rule->who[i].kind) && draw(2));
}

static void draw_policy(void)
{
	for (size_t i = 0; i < RULES; i++)
		draw_rule(&rules[i]);
	for (size_t i = 0; i < SPACES; i++)
		spaces[i] = (struct drawn_space){ .name = space_names[i],
			.owner = draw_selector((int)draw(BY_ANYBODY)),
			.owned = space_names[i][0] != '~' && draw(2) };
}

/* -- what is said -------------------------------------------------------------------------- */

static size_t say_selector(char *out, size_t room, struct drawn_selector selector)
{
	static const char *const words[] = {
		"uid:", "gid:", "unit:", "slice:", "token:", "label:", "listener:", "cred:"
	};

	if (selector.kind == BY_ANYBODY)
		return (size_t)snprintf(out, room, " anybody");
	if (selector.kind < BY_UNIT)
		return (size_t)snprintf(out, room, " %s%u", words[selector.kind], selector.value);
	return (size_t)snprintf(out, room, " %s%s", words[selector.kind], text_of(selector));
}

static void say_rule(char *out, size_t room, const struct drawn *rule)
{
	const struct drawn_selector *who = rule->who;
	size_t turn = draw((unsigned)rule->count);
	size_t used = (size_t)snprintf(out, room, "[namespace %s]\n%s = %s %s", rule->space,
		rule->deny ? "deny" : "allow",
		rule->right == RIGHT_NONE ? "*" : right_name(rule->right), rule->glob);

	for (size_t i = 0; i < rule->count; i++)
		used += say_selector(out + used, room - used, who[(i + turn) % rule->count]);
	if (rule->weak)
		used += (size_t)snprintf(out + used, room - used, " pid-weak");
	if (rule->until)
		used += (size_t)snprintf(
			out + used, room - used, " until=2027-01-%02u", rule->until);
	snprintf(out + used, room - used, "\n");
}

/* All pieces in any order, in any file. */
static struct policy_book *write_down(void)
{
	static char pieces[RULES + SPACES][256], files[FILES][(RULES + SPACES) * 256];
	const char *list[FILES + 1] = { files[0], files[1], files[2] };
	size_t count = 0;

	for (size_t i = 0; i < RULES; i++)
		say_rule(pieces[count++], sizeof(pieces[0]), &rules[i]);
	for (size_t i = 0; i < SPACES; i++) {
		size_t used = (size_t)snprintf(
			pieces[count], sizeof(pieces[0]), "[namespace %s]\n", spaces[i].name);

		if (spaces[i].owned) {
			used += (size_t)snprintf(pieces[count] + used, 16, "owner =");
			used += say_selector(pieces[count] + used, 32, spaces[i].owner);
			snprintf(pieces[count] + used, 2, "\n");
		}
		count++;
	}
	for (size_t i = 0; i < FILES; i++)
		files[i][0] = '\0';
	for (; count > 0; count--) {
		size_t at = draw((unsigned)count);

		strcat(files[draw(FILES)], pieces[at]);
		memmove(pieces[at], pieces[count - 1], sizeof(pieces[0]));
	}
	return rig_book(list);
}

/* -- the evaluator ------------------------------------------------------------------------- */

static bool is_like(const char *glob, const char *text)
{
	if (glob[0] == '\0')
		return text[0] == '\0';
	if (glob[0] == '*' && glob[1] == '*')
		return is_like(glob + 2, text) || (text[0] && is_like(glob, text + 1));
	if (glob[0] == '*')
		return is_like(glob + 1, text) ||
			(text[0] && text[0] != '/' && is_like(glob, text + 1));
	return glob[0] == text[0] && is_like(glob + 1, text + 1);
}

/* What is left of a name below a namespace, or NULL. */
static const char *below(const char *space, const char *name)
{
	size_t size = strlen(space);

	if (strcmp(space, "/") == 0)
		return name;
	return strncmp(space, name, size) == 0 && name[size] == '/' ? name + size + 1 : NULL;
}

static const char *text_in(const struct policy_subject *subject, int kind)
{
	const char *const has[] = { [BY_UNIT] = subject->unit,
		[BY_SLICE] = subject->slice,
		[BY_TOKEN] = subject->token,
		[BY_LABEL] = subject->label,
		[BY_LISTENER] = subject->listener,
		[BY_CRED] = subject->cred };

	return has[kind];
}

static bool is_one_of(
	struct drawn_selector selector, const struct policy_subject *subject, bool weak, bool deny)
{
	const char *text;

	switch (selector.kind) {
	case BY_ANYBODY:
		return true;
	case BY_UID:
		return subject->uid == selector.value;
	case BY_GID:
		for (size_t i = 0; i < subject->group_count; i++)
			if (subject->groups[i] == selector.value)
				return true;
		return subject->gid == selector.value ||
			(deny && subject->shares_group && subject->shared_group == selector.value);
	default:
		if (is_place(selector.kind) && subject->lost)
			return deny;
		if (is_place(selector.kind) && !subject->pinned && !weak && !deny)
			return false;
		text = text_in(subject, selector.kind);
		return text && strcmp(text, text_of(selector)) == 0;
	}
}

static bool is_meant(const struct drawn *rule, const struct policy_subject *subject,
	enum right right, const char *name, unsigned day)
{
	const char *rest = below(rule->space, name);

	if (!rest || !is_like(rule->glob, rest) || (rule->until && day > rule->until))
		return false;
	if (rule->right != RIGHT_NONE && rule->right != right)
		return false;
	if (!rule->deny && name[0] == '~' && strcmp(rule->space, "/") == 0 && rule->glob[0] == '*')
		return false;
	for (size_t i = 0; i < rule->count; i++)
		if (!is_one_of(rule->who[i], subject, rule->weak, rule->deny))
			return false;
	return true;
}

static bool owns(const struct policy_subject *subject, const char *name)
{
	const struct drawn_space *deepest = NULL;

	for (size_t i = 0; i < SPACES; i++)
		if (spaces[i].owned && below(spaces[i].name, name) && name[0] != '~' &&
			(!deepest || strcmp(deepest->name, "/") == 0 ||
				(strcmp(spaces[i].name, "/") != 0 &&
					strlen(spaces[i].name) > strlen(deepest->name))))
			deepest = &spaces[i];
	return deepest && is_one_of(deepest->owner, subject, false, false);
}

static bool evaluate(const struct policy_subject *subject, enum right right, const char *name,
	unsigned day, bool *deniedp)
{
	char own[16];
	bool allowed = false;

	*deniedp = false;
	for (size_t i = 0; i < RULES; i++)
		if (is_meant(&rules[i], subject, right, name, day))
			*(rules[i].deny ? deniedp : &allowed) = true;
	snprintf(own, sizeof(own), "~%lu/", (unsigned long)subject->uid);
	return !*deniedp &&
		(allowed || subject->uid == 0 || owns(subject, name) ||
			strncmp(name, own, strlen(own)) == 0);
}

/* -- tokens -------------------------------------------------------------------------------- */

#define GRANTS 2

/* One that is drawn, and the globs of its grants as they are said. */
static struct {
	struct policy_token token;
	struct policy_grant grants[GRANTS];
	const char *globs[GRANTS];
	char buffers[GRANTS][GLOB_MAX];
	uint32_t groups[1];
} drawn_token;

static void draw_token(void)
{
	struct policy_token *token = &drawn_token.token;

	*token = (struct policy_token){ .name = PICK(texts),
		.grants = drawn_token.grants,
		.grant_count = draw(GRANTS + 1),
		.issuer = { .uid = PICK(ids),
			.gid = PICK(ids),
			.groups = drawn_token.groups,
			.group_count = draw(2),
			.unit = draw(2) ? PICK(texts) : NULL,
			.pinned = draw(2),
			.lost = draw(4) == 0 } };
	drawn_token.groups[0] = PICK(ids);
	for (size_t i = 0; i < token->grant_count; i++) {
		const char *glob = draw(4) ? PICK(globs) : "~1000/**";

		drawn_token.globs[i] = glob;
		ck_assert_ptr_null(policy_grant_read(&drawn_token.grants[i],
			span_text(draw(2) ? "*" : "get,ls"), span_text(glob),
			drawn_token.buffers[i]));
	}
}

static bool is_granted(enum right right, const char *name)
{
	for (size_t i = 0; i < drawn_token.token.grant_count; i++) {
		const char *glob = drawn_token.globs[i];

		if ((drawn_token.grants[i].rights & RIGHT_BIT(right)) && is_like(glob, name) &&
			!(name[0] == '~' && glob[0] == '*'))
			return true;
	}
	return false;
}

/* As PROTOCOL.md says it. */
static bool evaluate_with_token(const struct policy_subject *subject, enum right right,
	const char *name, unsigned day, bool *deniedp, bool *neededp)
{
	struct policy_subject bare = *subject;
	bool with = evaluate(subject, right, name, day, deniedp);
	bool ignored;

	*neededp = false;
	bare.token = NULL;
	if (*deniedp || !subject->shown)
		return with;
	if (evaluate(&bare, right, name, day, &ignored))
		return true;
	if (!is_granted(right, name))
		return false;
	*neededp = with || evaluate(&subject->shown->issuer, right, name, day, &ignored);
	return *neededp;
}

/* -- the claims ---------------------------------------------------------------------------- */

/* 2027-01-01 in seconds; date -ud 2027-01-01 +%s */
#define JANUARY INT64_C(1798761600)

static struct {
	size_t allowed, denied, refused, by_token;
} seen;

static void compare(const struct policy *policy)
{
	static uint32_t groups[2];
	bool shows = draw(2);
	const struct policy_subject subject = { .uid = PICK(ids),
		.gid = PICK(ids),
		.groups = groups,
		.group_count = draw(3),
		.shares_group = draw(3) == 0,
		.shared_group = PICK(ids),
		.unit = draw(2) ? PICK(texts) : NULL,
		.slice = draw(2) ? PICK(slices) : NULL,
		.label = draw(2) ? PICK(texts) : NULL,
		.listener = draw(2) ? PICK(texts) : NULL,
		.cred = draw(2) ? PICK(texts) : NULL,
		.token = shows    ? drawn_token.token.name
			: draw(2) ? PICK(texts)
				  : NULL,
		.shown = shows ? &drawn_token.token : NULL,
		.pinned = draw(2),
		.lost = draw(4) == 0 };
	enum right right = RIGHT_GET + (enum right)draw(3);
	const char *name = PICK(names);
	unsigned day = 1 + draw(4);
	struct policy_verdict verdict;
	bool expected, denied, needed;

	groups[0] = PICK(ids);
	groups[1] = groups[0] + 7 + draw(2) * 960;
	expected = evaluate_with_token(&subject, right, name, day, &denied, &needed);
	verdict = policy_decide(policy, &subject, right, span_text(name),
		JANUARY + (int64_t)(day - 1) * 86400 + draw(86400));
	ck_assert_msg(verdict.allowed == expected, "%s of %s: %d", right_name(right), name,
		(int)verdict.cause);
	ck_assert_int_eq(verdict.cause == POLICY_BY_DENY, denied);
	ck_assert_int_eq(verdict.cause == POLICY_BY_NOTHING, !expected && !denied);
	ck_assert(verdict.token == (needed ? &drawn_token.token : NULL));
	seen.by_token += needed;
	*(expected ? &seen.allowed : denied ? &seen.denied : &seen.refused) += 1;
}

START_TEST(no_order_changes_a_decision_and_deny_always_wins)
{
	for (state = 1 + (uint64_t)_i; seen.allowed + seen.denied + seen.refused < ROUNDS * 200;) {
		draw_policy();
		for (int order = 0; order < 3; order++) {
			struct policy policy = { .own = 0, .book = write_down() };

			for (int i = 0; i < 200; i++) {
				if (i % 10 == 0)
					draw_token();
				compare(&policy);
			}
			policy_book_free(policy.book);
		}
	}
	/* What never happens is not tested. */
	ck_assert_uint_gt(seen.allowed, ROUNDS);
	ck_assert_uint_gt(seen.denied, ROUNDS);
	ck_assert_uint_gt(seen.refused, ROUNDS);
	ck_assert_uint_gt(seen.by_token, ROUNDS);
}
END_TEST

/* -- walks --------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t passed_over;

/* Goes through all names in their order, from one that is refused to where there may be more. */
static void walk(const struct policy *policy, const struct peer *peer, const char *const *sorted)
{
	const size_t count = sizeof(names) / sizeof(names[0]);
	char after[NAME_FILED_MAX + 1] = "";

	for (size_t i = 0; i < count; i++) {
		struct span name = span_text(sorted[i]);
		bool allowed = policy_allows(policy, peer, RIGHT_LIST, name);
		size_t size;

		if (strcmp(sorted[i], after) <= 0) {
			ck_assert_msg(!allowed, "%s is passed over", sorted[i]);
			passed_over++;
			continue;
		}
		if (allowed)
			continue;
		size = policy_next(policy, peer, RIGHT_LIST, name, after);
		after[size] = '\0';
		if (size == 0)
			strcpy(after, "\xff");
		ck_assert_str_ge(after, sorted[i]);
	}
}

static size_t out_of_reach;

static bool overlap(struct span a, struct span b)
{
	return span_starts_with(a, b) || span_starts_with(b, a);
}

/* Whatever is allowed is reached from each of its beginnings. */
static void reach(const struct policy *policy, const struct peer *peer)
{
	char own[16];
	struct span name = span_text(PICK(names));
	bool allowed = policy_allows(policy, peer, RIGHT_LIST, name);

	snprintf(own, sizeof(own), "~%lu/", (unsigned long)peer->uid);
	for (size_t size = 0; size <= name.size; size++) {
		struct span prefix = span_of(name.data, size);
		bool reached = policy_reaches_below(policy, peer, RIGHT_LIST, prefix) ||
			overlap(prefix, span_text(own));

		ck_assert_msg(reached || !allowed, "%.*s from %zu bytes on", (int)name.size,
			(const char *)name.data, size);
		out_of_reach += !reached;
	}
}

START_TEST(no_walk_passes_over_what_is_allowed)
{
	const char *sorted[sizeof(names) / sizeof(names[0])];
	static uint32_t groups[1];

	memcpy(sorted, names, sizeof(names));
	qsort(sorted, sizeof(names) / sizeof(names[0]), sizeof(sorted[0]), by_bytes);
	state = 1 + (uint64_t)_i;
	for (int round = 0; round < ROUNDS; round++) {
		struct policy policy = { .own = 0 };

		draw_policy();
		/* With all of them there are few that nothing is allowed to. */
		for (size_t i = draw(RULES); i < RULES; i++)
			rules[i].deny = true;
		policy.book = write_down();
		for (int i = 0; i < 20; i++) {
			const struct policy_token *token = draw(2) ? &drawn_token.token : NULL;
			const struct peer peer = { .uid = PICK(ids),
				.gid = PICK(ids),
				.groups = groups,
				.group_count = draw(2),
				.shown = &token,
				.pidfd = -1 };

			draw_token();
			groups[0] = PICK(ids);
			walk(&policy, &peer, sorted);
			reach(&policy, &peer);
		}
		policy_book_free(policy.book);
	}
	ck_assert_uint_gt(passed_over, ROUNDS);
	ck_assert_uint_gt(out_of_reach, ROUNDS);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("policy_property");

	tcase_add_loop_test(claims, no_order_changes_a_decision_and_deny_always_wins, 0, 4);
	tcase_add_loop_test(claims, no_walk_passes_over_what_is_allowed, 0, 4);
	return claims_run(claims, "policy_property");
}
