/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_token.h"

#include <string.h>

/* -- reading ------------------------------------------------------------------------------- */

static const char *take_right(uint32_t *rights, struct span word)
{
	enum right right = right_find(word);

	if (right == RIGHT_NONE)
		return "names no operation: get, set, rm, ls, stat, touch, freeze, melt, verify, "
		       "stream-write, stream-read, watch, rotate, mv, or * for all";
	*rights |= RIGHT_BIT(right);
	return NULL;
}

static const char *read_rights(uint32_t *rights, struct span words)
{
	size_t begin = 0;
	const char *fault = NULL;

	*rights = 0;
	if (span_equal(words, span_text("*"))) {
		*rights = RIGHTS_OF_NAMES;
		return NULL;
	}
	for (size_t i = 0; i <= words.size && !fault; i++) {
		if (i < words.size && words.data[i] != ',')
			continue;
		fault = take_right(rights, span_of(words.data + begin, i - begin));
		begin = i + 1;
	}
	return fault;
}

const char *policy_grant_read(
	struct policy_grant *grant, struct span operations, struct span glob, char buffer[GLOB_MAX])
{
	const char *fault = read_rights(&grant->rights, operations);

	return fault ? fault : glob_parse(&grant->glob, span_of(NULL, 0), glob, buffer);
}

/* -- deciding ------------------------------------------------------------------------------ */

/* As for a rule: a star at the beginning is not meant in the spaces of users. */
static bool is_meant(const struct policy_grant *grant, enum right right, struct span name)
{
	struct span literal = grant->glob.literal;

	if (!(grant->rights & RIGHT_BIT(right)) || !span_starts_with(name, literal))
		return false;
	if (literal.size == 0 && name.size > 0 && name.data[0] == '~')
		return false;
	return glob_matches(
		grant->glob.tail, span_of(name.data + literal.size, name.size - literal.size));
}

bool policy_token_covers(const struct policy_token *token, enum right right, struct span name)
{
	for (size_t i = 0; i < token->grant_count; i++)
		if (is_meant(&token->grants[i], right, name))
			return true;
	return false;
}

/* The unit as a rule that allows would have it: of no process that could be another one. */
static bool is_in_unit(const struct policy_subject *subject, const char *unit)
{
	return subject->pinned && !subject->lost && subject->unit &&
		strcmp(subject->unit, unit) == 0;
}

enum policy_token_fault policy_token_fault(
	const struct policy_token *token, const struct policy_subject *subject, uint64_t now_ms)
{
	if (token->over)
		return POLICY_TOKEN_REVOKED;
	if (token->end_ms != 0 && now_ms >= token->end_ms)
		return POLICY_TOKEN_ENDED;
	if (token->of_uid && token->uid != subject->uid)
		return POLICY_TOKEN_OF_UID;
	if (token->unit && !is_in_unit(subject, token->unit))
		return POLICY_TOKEN_OF_UNIT;
	return POLICY_TOKEN_COUNTS;
}

bool policy_token_counts(
	const struct policy_token *token, const struct policy_subject *subject, uint64_t now_ms)
{
	return policy_token_fault(token, subject, now_ms) == POLICY_TOKEN_COUNTS;
}

/* -- walks --------------------------------------------------------------------------------- */

bool policy_token_reaches(const struct policy_token *token, enum right right)
{
	for (size_t i = 0; i < token->grant_count; i++)
		if (token->grants[i].rights & RIGHT_BIT(right))
			return true;
	return false;
}

bool policy_token_grants(const struct policy_token *token, enum right right, struct span name)
{
	for (size_t i = 0; i < token->grant_count; i++) {
		struct span literal = token->grants[i].glob.literal;

		if ((token->grants[i].rights & RIGHT_BIT(right)) &&
			span_starts_with(name, literal) &&
			(literal.size > 0 || name.size == 0 || name.data[0] != '~'))
			return true;
	}
	return false;
}

static bool is_before(struct span a, struct span b)
{
	size_t least = a.size < b.size ? a.size : b.size;
	int order = least > 0 ? memcmp(a.data, b.data, least) : 0;

	return order < 0 || (order == 0 && a.size < b.size);
}

bool policy_token_grants_below(
	const struct policy_token *token, enum right right, struct span prefix)
{
	if (policy_token_grants(token, right, prefix))
		return true;
	for (size_t i = 0; i < token->grant_count; i++)
		if ((token->grants[i].rights & RIGHT_BIT(right)) &&
			span_starts_with(token->grants[i].glob.literal, prefix))
			return true;
	return false;
}

/* What is said of all names is not meant in the spaces of users, but behind them it is. */
static struct span begin_of(const struct policy_grant *grant)
{
	return grant->glob.literal.size > 0 ? grant->glob.literal : span_text("\x7f");
}

struct span policy_token_next(const struct policy_token *token, enum right right, struct span name)
{
	struct span next = span_of(NULL, 0);

	for (size_t i = 0; i < token->grant_count; i++) {
		struct span begin = begin_of(&token->grants[i]);

		if ((token->grants[i].rights & RIGHT_BIT(right)) && is_before(name, begin) &&
			(next.size == 0 || is_before(begin, next)))
			next = begin;
	}
	return next;
}
