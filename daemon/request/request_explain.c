/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/status.h"
#include "common/wire/text.h"
#include "daemon/ini_text.h"
#include "daemon/policy/policy_as.h"
#include "daemon/request/desk.h"

_Static_assert(POLICY_AS_MAX == MESSAGE_AS_MAX, "as many as a request brings");

/* PROTOCOL.md has these numbers. */
_Static_assert(POLICY_BY_NOTHING == 0 && POLICY_BY_DENY == 1 && POLICY_BY_PRIVILEGE == 3 &&
		POLICY_BY_ALLOW == 4 && POLICY_BY_OWNER == 5 && POLICY_BY_OWN_SPACE == 6 &&
		POLICY_BY_SILENCE == 7 && POLICY_BY_TOKEN == 8,
	"the wire's numbers");

/* On the heap: the locked stack has no room for it, and none of it is secret. */
struct explaining {
	struct desk *desk;
	struct policy_as as;
	struct policy_subject subject;
	const struct token *token; /* that is shown, or said; NULL: none */
	enum policy_token_fault token_fault;
	enum right right;
	char filed[NAME_FILED_MAX];
	struct span name;
	char file[CONFIG_FAULT_MAX];
	char missing[POLICY_MISSING_MAX];
	struct config_fault fault;
};

/* The token that the caller shows, which may count no more. */
static void take_shown(struct explaining *explaining)
{
	const struct peer *peer = explaining->desk->peer;

	explaining->subject = policy_subject_of(peer);
	if (!peer->shown || !*peer->shown)
		return;
	explaining->token = token_of(*peer->shown);
	explaining->token_fault = token_fault(explaining->token, &explaining->subject);
}

/* One that is said is one that somebody shows: nobody can show one that counts no more. */
static void take_said(struct explaining *explaining)
{
	struct policy_subject *subject = &explaining->subject;

	*subject = explaining->as.subject;
	if (!subject->token)
		return;
	explaining->token =
		tokens_recall(explaining->desk->daemon->tokens, span_text(subject->token));
	explaining->token_fault =
		explaining->token ? token_fault(explaining->token, subject) : POLICY_TOKEN_UNKNOWN;
	if (explaining->token_fault == POLICY_TOKEN_COUNTS ||
		explaining->token_fault == POLICY_TOKEN_USED_UP)
		subject->shown = &explaining->token->policy;
	else
		subject->token = NULL;
}

/* What is said of others shows what is written of them. Returns 0, a status or a negative errno. */
static int take_subject(struct explaining *explaining)
{
	struct desk *desk = explaining->desk;
	const struct request *request = desk->request;
	int r;

	if (request->as_count == 0) {
		take_shown(explaining);
		return 0;
	}
	if (!policy_allows(&desk->daemon->policy, desk->peer, RIGHT_RULE, span_of(NULL, 0))) {
		desk->words = "only root and the daemon's own user may ask for others";
		return STATUS_DENIED;
	}
	r = policy_as_read(&explaining->as, request->as, request->as_count, &explaining->fault);
	if (r == -EINVAL)
		return STATUS_INVALID;
	if (r < 0)
		return STATUS_LIMIT;
	take_said(explaining);
	return 0;
}

/* A path may hold any bytes, an answer may not; and a last character may have been cut. */
static const char *made_text(char *text)
{
	bool foreign = text_fault(span_text(text)) != NULL;

	for (char *at = text; *at && foreign; at++)
		if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
			*at = '?';
	return text;
}

static struct span show_file(struct explaining *explaining, const char *file)
{
	if (!file)
		return span_of(NULL, 0);
	snprintf(explaining->file, sizeof(explaining->file), "%s", file);
	return span_text(made_text(explaining->file));
}

static bool is_group(struct span word)
{
	return span_starts_with(word, span_text("gid:")) ||
		span_starts_with(word, span_text("group:"));
}

/* Of somebody who was said, the line says the same; of a user the groups tell nothing more. */
static void say_as(struct explaining *explaining, char *rule, size_t room)
{
	const struct request *request = explaining->desk->request;
	bool user = explaining->subject.uid != POLICY_AS_NOBODY;
	char *at = strrchr(rule, ' ');
	size_t used = at ? (size_t)(at - rule) : 0;

	for (size_t i = 0; at && i < request->as_count && used < room; i++)
		if (!user || !is_group(request->as[i]))
			used += (size_t)snprintf(rule + used, room - used, " %.*s",
				(int)request->as[i].size, (const char *)request->as[i].data);
}

/*
 * A section and a line. Which namespaces there are is not told to who may not do everything: then
 * it is the folder of the name, as if nothing were written down.
 */
static void add_missing(struct explaining *explaining, int64_t now, struct verdict *verdict)
{
	struct desk *desk = explaining->desk;
	const struct policy bare = { .own = desk->daemon->policy.own };
	const struct policy *policy = policy_privileged(&desk->daemon->policy, desk->peer)
		? &desk->daemon->policy
		: &bare;
	char *end, *rule;

	policy_missing(explaining->missing, policy, &explaining->subject, explaining->right,
		explaining->name, now);
	end = strchr(explaining->missing, '\n');
	if (!end)
		return;
	rule = end + 1;
	rule[strcspn(rule, "\n")] = '\0';
	say_as(explaining, rule,
		sizeof(explaining->missing) - (size_t)(rule - explaining->missing));
	/* Names may be too long for a line. */
	if ((size_t)(end - explaining->missing) > INI_LINE_MAX || strlen(rule) > INI_LINE_MAX)
		return;
	verdict->section = span_of(explaining->missing, (size_t)(end - explaining->missing));
	verdict->rule = span_text(rule);
}

/*
 * Nobody has said that it may, though it shows a token that counts: what is in the way of that.
 * Whoever shows it himself is not told what its issuer may.
 */
static void look_at_token(struct explaining *explaining)
{
	const struct policy_subject *subject = &explaining->subject;

	if (explaining->desk->request->as_count == 0 || !subject->shown ||
		explaining->token_fault != POLICY_TOKEN_COUNTS)
		return;
	explaining->token_fault =
		policy_token_covers(subject->shown, explaining->right, explaining->name)
		? POLICY_TOKEN_ISSUER
		: POLICY_TOKEN_GRANTS;
}

static struct policy_verdict decide(struct explaining *explaining, int64_t now)
{
	struct policy_verdict decided = policy_decide(&explaining->desk->daemon->policy,
		&explaining->subject, explaining->right, explaining->name, now);

	/* As a request would find it. */
	if (decided.allowed && decided.token && explaining->token_fault == POLICY_TOKEN_USED_UP) {
		decided = (struct policy_verdict){ .cause = POLICY_BY_NOTHING };
		explaining->subject.token = NULL;
		explaining->subject.shown = NULL;
	}
	if (decided.cause == POLICY_BY_NOTHING)
		look_at_token(explaining);
	return decided;
}

/* A line for whoever shows a token would not help where that lets nobody do it. */
static bool can_be_missing(const struct explaining *explaining)
{
	return explaining->desk->request->as_count == 0 ||
		explaining->token_fault == POLICY_TOKEN_COUNTS ||
		explaining->token_fault == POLICY_TOKEN_ISSUER;
}

static int answer(struct explaining *explaining)
{
	struct desk *desk = explaining->desk;
	int64_t now = (int64_t)time(NULL);
	struct policy_verdict decided = decide(explaining, now);
	struct reply reply = { .body = BODY_VERDICT };

	/* As it would be done: with the reason that was said here. */
	if (decided.allowed && desk->request->reason.size == 0)
		(void)policy_wants_reason(
			&desk->daemon->policy, explaining->right, explaining->name, &decided);
	/* What is written of the issuer is none of its bearer's business. */
	if (decided.cause == POLICY_BY_TOKEN)
		decided.file = NULL;
	reply.verdict = (struct verdict){ .allowed = decided.allowed,
		.cause = (uint32_t)decided.cause,
		.file = show_file(explaining, decided.file),
		.line = decided.file ? decided.line : 0,
		.token_fault = (uint32_t)explaining->token_fault };
	if (decided.cause == POLICY_BY_NOTHING && can_be_missing(explaining))
		add_missing(explaining, now, &reply.verdict);
	return desk_answer(desk, &reply);
}

static int explain(struct explaining *explaining)
{
	struct desk *desk = explaining->desk;
	const struct request *request = desk->request;
	int r;

	explaining->right = right_find(request->operation);
	if (explaining->right == RIGHT_NONE) {
		desk->words = "no such operation: get, set, rm, ls, stat, touch, freeze, melt, "
			      "verify, stream-write, stream-read, watch, rotate, mv";
		return STATUS_INVALID;
	}
	r = take_subject(explaining);
	if (r == STATUS_INVALID)
		return desk_answer_code(desk, r, made_text(explaining->fault.text));
	if (r != 0)
		return r;
	/* "~/" is the space of whoever it is about. */
	explaining->name = span_of(explaining->filed,
		name_file(explaining->filed, request->name, (uint32_t)explaining->subject.uid));
	return answer(explaining);
}

int serve_explain(struct desk *desk)
{
	struct explaining *explaining = calloc(1, sizeof(*explaining));
	int r;

	if (!explaining)
		return STATUS_LIMIT;
	explaining->desk = desk;
	r = explain(explaining);
	policy_as_finish(&explaining->as);
	free(explaining);
	return r;
}
