/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy.h"

#include <string.h>
#include <time.h>

#include "common/wire/name.h"

static bool is_privileged(const struct policy *policy, uid_t uid)
{
	return uid == 0 || uid == policy->own;
}

bool policy_privileged(const struct policy *policy, const struct peer *peer)
{
	return is_privileged(policy, peer->uid);
}

bool policy_asks_where(const struct policy *policy)
{
	return policy->book && policy_book_asks_where(policy->book);
}

bool policy_asks_where_of(const struct policy *policy, const struct peer *peer)
{
	const struct policy_token *token = peer->shown ? *peer->shown : NULL;

	return policy_asks_where(policy) || (token && token->unit);
}

static const char *unless_empty(const char *text)
{
	return text && text[0] ? text : NULL;
}

/* An invented peer, and one of a system without cgroups, is in no unit. */
static void place_subject(struct policy_subject *subject, const struct peer_place *place)
{
	subject->unit = unless_empty(place->unit);
	subject->slice = unless_empty(place->slice);
	subject->userunit = unless_empty(place->userunit);
	subject->pinned = place->pinned;
	subject->lost = !place->known;
}

static uint64_t boot_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void show_token(struct policy_subject *subject, const struct policy_token *token)
{
	if (!policy_token_counts(token, subject, boot_ms()))
		return;
	subject->token = token->name;
	subject->shown = token;
}

struct policy_subject policy_subject_of(const struct peer *peer)
{
	struct policy_subject subject = { .uid = peer->uid,
		.gid = peer->gid,
		.groups = peer->groups,
		.group_count = peer->group_count,
		.shares_group = peer->shares_group,
		.shared_group = peer->shared_group,
		.label = unless_empty(peer->label),
		.listener = peer->listener,
		.pinned = peer->pidfd >= 0 };

	if (peer->place)
		place_subject(&subject, peer->place);
	if (peer->shown && *peer->shown)
		show_token(&subject, *peer->shown);
	return subject;
}

/* What was written down, in front of what goes without saying. */
static struct policy_verdict decide_by_book(const struct policy *policy,
	const struct policy_subject *subject, enum right right, struct span name, int64_t now)
{
	static const enum policy_cause causes[] = {
		[POLICY_SILENT] = POLICY_BY_NOTHING,
		[POLICY_DENIED] = POLICY_BY_DENY,
		[POLICY_ALLOWED] = POLICY_BY_ALLOW,
		[POLICY_OWNED] = POLICY_BY_OWNER,
	};
	const struct policy_query query = {
		.subject = subject, .right = right, .name = name, .now = now
	};
	struct policy_answer answer = { .word = POLICY_SILENT };

	if (policy->book && right != RIGHT_RULE)
		answer = policy_book_ask(policy->book, &query);
	return (struct policy_verdict){
		.allowed = answer.word == POLICY_ALLOWED || answer.word == POLICY_OWNED,
		.cause = causes[answer.word],
		.file = answer.file,
		.line = answer.line,
	};
}

static struct policy_verdict allowed_by(enum policy_cause cause)
{
	return (struct policy_verdict){ .allowed = true, .cause = cause };
}

static struct policy_verdict decide_for(const struct policy *policy,
	const struct policy_subject *subject, enum right right, struct span name, int64_t now)
{
	struct policy_verdict verdict;

	if (right == RIGHT_NONE)
		return allowed_by(POLICY_BY_NATURE);
	verdict = decide_by_book(policy, subject, right, name, now);
	if (verdict.cause == POLICY_BY_DENY)
		return verdict;
	if (is_privileged(policy, subject->uid))
		return allowed_by(POLICY_BY_PRIVILEGE);
	if (!verdict.allowed && right != RIGHT_RULE && name_is_of(name, (uint32_t)subject->uid))
		return allowed_by(POLICY_BY_OWN_SPACE);
	return verdict;
}

/* What a token adds to what its bearer may: `with` is what policy says of the two together. */
static struct policy_verdict decide_with_token(const struct policy *policy,
	const struct policy_subject *subject, struct policy_verdict with, enum right right,
	struct span name, int64_t now)
{
	const struct policy_token *token = subject->shown;
	struct policy_subject bare = *subject;
	struct policy_verdict without, issuer;

	bare.token = NULL;
	without = decide_for(policy, &bare, right, name, now);
	if (without.allowed || !policy_token_covers(token, right, name))
		return without;
	with.token = token;
	if (with.allowed)
		return with;
	issuer = decide_for(policy, &token->issuer, right, name, now);
	if (!issuer.allowed)
		return without;
	issuer.cause = POLICY_BY_TOKEN;
	issuer.token = token;
	return issuer;
}

struct policy_verdict policy_decide(const struct policy *policy,
	const struct policy_subject *subject, enum right right, struct span name, int64_t now)
{
	struct policy_verdict verdict = decide_for(policy, subject, right, name, now);

	if (!subject->shown || right == RIGHT_NONE || verdict.cause == POLICY_BY_DENY)
		return verdict;
	return decide_with_token(policy, subject, verdict, right, name, now);
}

/* Asked only where something hangs on it. */
static int64_t now_of(const struct policy *policy)
{
	struct timespec now = { 0 };

	if (policy->book && policy_book_expires(policy->book))
		clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec;
}

struct policy_verdict policy_ask(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name)
{
	struct policy_subject subject = policy_subject_of(peer);

	return policy_decide(policy, &subject, right, name, now_of(policy));
}

bool policy_wants_reason(const struct policy *policy, enum right right, struct span name,
	struct policy_verdict *verdict)
{
	struct policy_answer answer = { .word = POLICY_SILENT };

	if (policy->book && right != RIGHT_NONE && right != RIGHT_RULE)
		answer = policy_book_reason(policy->book, right, name);
	if (answer.word == POLICY_SILENT && policy->reasons.rights & RIGHT_BIT(right))
		answer = (struct policy_answer){ .word = POLICY_DENIED,
			.file = policy->reasons.file,
			.line = policy->reasons.line };
	if (answer.word == POLICY_SILENT)
		return false;
	*verdict = (struct policy_verdict){
		.cause = POLICY_BY_SILENCE, .file = answer.file, .line = answer.line
	};
	return true;
}

bool policy_allows(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name)
{
	return policy_ask(policy, peer, right, name).allowed;
}

bool policy_denies(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name)
{
	struct policy_subject subject = policy_subject_of(peer);

	return policy_decide(policy, &subject, right, name, now_of(policy)).cause == POLICY_BY_DENY;
}

static bool is_before(struct span a, struct span b)
{
	size_t least = a.size < b.size ? a.size : b.size;
	int order = least > 0 ? memcmp(a.data, b.data, least) : 0;

	return order < 0 || (order == 0 && a.size < b.size);
}

uint64_t policy_max_ttl(const struct policy *policy, struct span name)
{
	return policy->book ? policy_book_max_ttl(policy->book, name) : 0;
}

/* Whether the book lets the subject do something, somewhere. */
static bool book_reaches(
	const struct policy *policy, const struct policy_subject *subject, enum right right)
{
	const struct policy_query query = {
		.subject = subject, .right = right, .now = now_of(policy)
	};

	return policy->book &&
		(policy_book_grants(policy->book, &query) ||
			policy_book_next(policy->book, &query).size > 0);
}

static struct span write_space(char space[static NAME_FILED_MAX], uid_t uid)
{
	return span_of(space, name_file(space, span_text("~/"), (uint32_t)uid));
}

/* A token reaches no further than its issuer does: among others, whoever has it from himself. */
static bool token_reaches(const struct policy *policy, const struct policy_subject *subject,
	enum right right, struct span prefix)
{
	const struct policy_token *token = subject->shown;
	char space[NAME_FILED_MAX];
	struct span own;

	if (!token || !policy_token_reaches(token, right))
		return false;
	own = write_space(space, token->issuer.uid);
	return is_privileged(policy, token->issuer.uid) ||
		(token->issuer.uid != subject->uid &&
			(span_starts_with(prefix, own) || span_starts_with(own, prefix))) ||
		book_reaches(policy, &token->issuer, right);
}

bool policy_reaches(
	const struct policy *policy, const struct peer *peer, enum right right, struct span prefix)
{
	struct policy_subject subject = policy_subject_of(peer);

	return policy_privileged(policy, peer) || book_reaches(policy, &subject, right) ||
		token_reaches(policy, &subject, right, prefix);
}

/* By privilege or by the book, denied or not. */
static bool reaches_below(const struct policy *policy, const struct policy_subject *subject,
	enum right right, struct span prefix)
{
	const struct policy_query query = {
		.subject = subject, .right = right, .name = prefix, .now = now_of(policy)
	};

	return is_privileged(policy, subject->uid) ||
		(policy->book && policy_book_grants_below(policy->book, &query));
}

static bool overlap(struct span a, struct span b)
{
	return span_starts_with(a, b) || span_starts_with(b, a);
}

bool policy_reaches_below(
	const struct policy *policy, const struct peer *peer, enum right right, struct span prefix)
{
	struct policy_subject subject = policy_subject_of(peer);
	const struct policy_token *token = subject.shown;
	char space[NAME_FILED_MAX];

	if (reaches_below(policy, &subject, right, prefix))
		return true;
	return token && policy_token_grants_below(token, right, prefix) &&
		(overlap(prefix, write_space(space, token->issuer.uid)) ||
			reaches_below(policy, &token->issuer, right, prefix));
}

/* Just before everything that begins so: names hold no byte 255. */
static size_t write_before(char out[static NAME_FILED_MAX], struct span literal)
{
	memcpy(out, literal.data, literal.size);
	out[literal.size - 1]--;
	out[literal.size] = (char)0xff;
	return literal.size + 1;
}

/* The first of both; nothing comes last. */
static struct span first_of(struct span a, struct span b)
{
	return a.size == 0 || (b.size > 0 && is_before(b, a)) ? b : a;
}

/*
 * What begins first behind the name: the own space, or what the book says. What it says of all
 * names is not meant in the spaces of users, but behind them it is: byte 127 is in no name.
 */
static struct span next_literal(
	const struct policy *policy, const struct policy_query *query, struct span own)
{
	const struct policy_query behind = { .subject = query->subject,
		.right = query->right,
		.name = span_text("\x7f"),
		.now = query->now };
	struct span literal = span_of(NULL, 0);

	if (policy->book)
		literal = policy_book_next(policy->book, query);
	if (policy->book && is_before(query->name, behind.name) &&
		policy_book_grants(policy->book, &behind))
		literal = first_of(literal, behind.name);
	return is_before(query->name, own) ? first_of(literal, own) : literal;
}

/* Whether there may be something for the subject where the name is, without a token. */
static bool may_be_here(
	const struct policy *policy, const struct policy_query *query, struct span own)
{
	return is_privileged(policy, query->subject->uid) || span_starts_with(query->name, own) ||
		(policy->book && policy_book_grants(policy->book, query));
}

/* The same of what a token adds: nothing that is not its issuer's as well. */
static bool token_may_here(const struct policy *policy, const struct policy_query *issuers,
	struct span own, const struct policy_token *token)
{
	return policy_token_grants(token, issuers->right, issuers->name) &&
		may_be_here(policy, issuers, own);
}

static struct span token_next(const struct policy *policy, const struct policy_query *issuers,
	struct span own, const struct policy_token *token)
{
	struct span next = policy_token_next(token, issuers->right, issuers->name);

	/* Where it grants something already, there may be more of what is its issuer's. */
	return first_of(next, next_literal(policy, issuers, own));
}

size_t policy_next(const struct policy *policy, const struct peer *peer, enum right right,
	struct span name, char out[static NAME_FILED_MAX])
{
	struct policy_subject subject = policy_subject_of(peer);
	const struct policy_token *token = subject.shown;
	const struct policy_query query = {
		.subject = &subject, .right = right, .name = name, .now = now_of(policy)
	};
	struct policy_query issuers = query;
	char space[NAME_FILED_MAX], issuers_space[NAME_FILED_MAX];
	struct span own = write_space(space, subject.uid), issuers_own = own;
	struct span next = name;

	if (token) {
		issuers.subject = &token->issuer;
		issuers_own = write_space(issuers_space, token->issuer.uid);
	}
	if (!may_be_here(policy, &query, own) &&
		!(token && token_may_here(policy, &issuers, issuers_own, token)))
		next = next_literal(policy, &query, own);
	if (next.data != name.data && token)
		next = first_of(next, token_next(policy, &issuers, issuers_own, token));
	if (next.size > 0 && next.data != name.data && next.size < NAME_FILED_MAX)
		return write_before(out, next);
	if (next.size > 0)
		memcpy(out, name.data, name.size);
	return next.size > 0 ? name.size : 0;
}
