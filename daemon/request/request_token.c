/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/log.h"
#include "daemon/peer_place.h"
#include "daemon/request/desk.h"
#include "daemon/request/showing.h"
#include "daemon/request/upload.h"

/* -- issuing ------------------------------------------------------------------------------- */

/*
 * What it is to be: where the request has a number, that of it; else a random one. It lies on the
 * bench until the answer is sealed, and then nowhere. Returns 0 or a negative errno.
 */
static int draw(const struct desk *desk, bool wrap, uint8_t **bytesp)
{
	const struct request *request = desk->request;
	struct daemon *daemon = desk->daemon;

	*bytesp = workbench_take(&daemon->bench, VAULT_TOKEN_SIZE);
	if (!*bytesp)
		return -ENOBUFS;
	if (request->numbered)
		return vault_token_make(
			daemon->vault, (uint32_t)desk->peer->uid, wrap, request->number, *bytesp);
	randombytes_buf(*bytesp, VAULT_TOKEN_SIZE);
	return 0;
}

/* Draws it, and answers with it if it was asked for before: then it is not made anew, and 1 is
 * returned. */
static int draw_or_answer(struct desk *desk, const struct token_wish *wish, uint8_t **bytesp)
{
	struct reply reply = { .body = BODY_ISSUED };
	int r = draw(desk, wish->secret != 0, bytesp);

	if (r == 0 && desk->request->numbered)
		r = tokens_repeat(desk->daemon->tokens, wish, *bytesp);
	if (r == STATUS_CONFLICT)
		desk->words = NUMBER_REUSED;
	if (r != 1)
		return r;
	reply.key = *bytesp;
	r = desk_answer(desk, &reply);
	return r < 0 ? r : 1;
}

bool desk_has_wrapped(const struct desk *desk)
{
	const struct token_wish wish = {
		.name = desk->name, .issuer = desk->peer, .request = desk->request, .secret = 1
	};
	uint8_t *bytes;

	return desk->request->numbered && draw(desk, true, &bytes) == 0 &&
		tokens_repeat(desk->daemon->tokens, &wish, bytes) == 1;
}

static int issue(struct desk *desk, const struct token_wish *wish, const uint8_t *bytes)
{
	struct reply reply = { .body = BODY_ISSUED, .key = bytes };
	int r;

	/* Who it is issued by is told by where that is, too. */
	peer_locate(desk->peer);
	r = tokens_issue(desk->daemon->tokens, wish, bytes, &desk->words);
	return r == 0 ? desk_answer(desk, &reply) : r;
}

int serve_issue_token(struct desk *desk)
{
	const struct token_wish wish = {
		.name = desk->name, .issuer = desk->peer, .request = desk->request
	};
	uint8_t *bytes;
	int r = draw_or_answer(desk, &wish, &bytes);

	if (r != 0)
		return r == 1 ? 0 : r;
	return issue(desk, &wish, bytes);
}

/* -- listing ------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct token *x = *(const struct token *const *)a;
	const struct token *y = *(const struct token *const *)b;

	return strcmp(x->policy.name, y->policy.name);
}

/* Whether the caller may revoke it. */
static bool is_visible(const struct desk *desk, const struct token *token)
{
	return token_is_live(token) && token->secret == 0 &&
		(policy_privileged(&desk->daemon->policy, desk->peer) ||
			name_is_of(span_text(token->policy.name), (uint32_t)desk->peer->uid));
}

static bool sorts_after(const char *name, struct span after)
{
	size_t size = strlen(name);
	size_t least = size < after.size ? size : after.size;
	int order = least > 0 ? memcmp(name, after.data, least) : 0;

	return order > 0 || (order == 0 && size > after.size);
}

/* All that are to be told, in order; the array is the caller's. Returns how many, or -ENOMEM. */
static ssize_t gather(const struct desk *desk, struct span after, struct token ***tokensp)
{
	struct token **tokens;
	size_t count = 0, found = 0;

	for (struct token *token = tokens_first(desk->daemon->tokens); token; token = token->next)
		count++;
	tokens = calloc(count + 1, sizeof(struct token *));
	if (!tokens)
		return -ENOMEM;
	for (struct token *token = tokens_first(desk->daemon->tokens); token; token = token->next)
		if (is_visible(desk, token) && sorts_after(token->policy.name, after))
			tokens[found++] = token;
	if (found > 1)
		qsort(tokens, found, sizeof(struct token *), by_name);
	*tokensp = tokens;
	return (ssize_t)found;
}

static size_t size_of(const struct token *token)
{
	size_t size = 3 * NAME_FILED_MAX + MESSAGE_UNIT_MAX;

	for (size_t i = 0; i < token->grants.count; i++)
		size += token->grants.grant[i].operations.size + token->grants.grant[i].glob.size +
			16;
	return size;
}

static int tell(const struct desk *desk, const struct token *token)
{
	const struct policy_token *policy = &token->policy;
	uint64_t now_ms = daemon_now_ms();
	char shown[NAME_FILED_MAX];
	struct reply reply = { .body = BODY_TOKEN };

	reply.token = (struct token_info){
		.name = span_of(shown,
			name_show(shown, span_text(policy->name), (uint32_t)desk->peer->uid)),
		.issuer = (uint32_t)policy->issuer.uid,
		.created_ms = token->created_ms,
		.grants = token->grants,
		.uses = token->uses,
		.left = token->kept.left,
		.of_uid = policy->of_uid,
		.uid = policy->of_uid ? (uint32_t)policy->uid : 0,
		.unit = span_text(policy->unit ? policy->unit : ""),
	};
	/* 0 would be one without an end. */
	if (policy->end_ms != 0)
		reply.token.ttl_ms = policy->end_ms > now_ms ? policy->end_ms - now_ms : 1;
	return desk_answer(desk, &reply);
}

/* As many as a frame takes, but one at least. */
static int tell_all(const struct desk *desk, struct token *const *tokens, size_t count)
{
	struct reply reply = { .body = BODY_LISTING };
	char shown[NAME_FILED_MAX];
	size_t i = 0;
	int r = 0;

	while (i < count && r == 0 &&
		(i == 0 || desk->answers->room(desk->answers) >= size_of(tokens[i])))
		r = tell(desk, tokens[i++]);
	if (r < 0)
		return r;
	reply.more = i < count;
	if (reply.more)
		reply.next = span_of(shown,
			name_show(shown, span_text(tokens[i - 1]->policy.name),
				(uint32_t)desk->peer->uid));
	return desk_answer(desk, &reply);
}

int serve_list_tokens(struct desk *desk)
{
	char filed[NAME_FILED_MAX];
	struct span after = desk->request->after;
	struct token **tokens;
	ssize_t count;
	int r;

	tokens_expire(desk->daemon->tokens);
	if (after.size > 0)
		after = span_of(filed, name_file(filed, after, (uint32_t)desk->peer->uid));
	count = gather(desk, after, &tokens);
	if (count < 0)
		return STATUS_LIMIT;
	r = tell_all(desk, tokens, (size_t)count);
	free(tokens);
	return r;
}

/* -- revoking ------------------------------------------------------------------------------ */

static int change_revoke(struct desk *desk, uint64_t *versionp)
{
	struct token *token = tokens_find(desk->daemon->tokens, desk->name);
	int r;

	(void)versionp;
	if (!token)
		return STATUS_NOT_FOUND;
	r = tokens_revoke(desk->daemon->tokens, token);
	if (r == 0)
		vault_promise_made(desk->daemon->vault);
	return r;
}

/* Older clients give it no number. */
int serve_revoke_token(struct desk *desk)
{
	struct repeat_answer first = { 0 };
	int r;

	if (desk->request->numbered) {
		r = desk_change_once(desk, change_revoke, &first);
		if (r != 0)
			return r;
	} else {
		first.code = change_revoke(desk, &first.version);
	}
	if (first.code == STATUS_NOT_FOUND)
		desk->words = "no such token";
	return first.code == 0 ? desk_answer_code(desk, 0, NULL) : first.code;
}

/* -- showing ------------------------------------------------------------------------------- */

static int look_at(struct desk *desk, enum showing_deed deed)
{
	const struct request *request = desk->request;
	struct shown shown = { .id = request->id, .deed = deed, .reason = request->reason };
	int r = vault_token_hash(desk->daemon->vault, request->token, shown.hash);

	return r < 0 ? r : showing_begin(desk->transfers, desk->daemon, &shown, desk->answers);
}

int serve_show_token(struct desk *desk)
{
	/* An invented peer's session has no place for one. */
	if (!desk->request->token || !desk->peer->shown) {
		session_shows(desk->transfers, desk->daemon, NULL);
		return desk_answer_code(desk, 0, NULL);
	}
	return look_at(desk, SHOWING_TOKEN);
}

/* -- wraps --------------------------------------------------------------------------------- */

/* The secret as it is now; whoever unwraps it fetches that, and no other. */
int serve_wrap(struct desk *desk)
{
	struct token_wish wish = {
		.name = desk->name, .issuer = desk->peer, .request = desk->request
	};
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record;
	struct info info;
	uint8_t *bytes;
	int r;

	/* What has become of the secret since changes nothing. */
	wish.secret = 1;
	r = draw_or_answer(desk, &wish, &bytes);
	if (r != 0)
		return r == 1 ? 0 : r;
	r = vault_find(desk->daemon->vault, desk->name, &record);
	if (r == 0 && record_is_stream(record))
		r = STATUS_INVALID;
	if (r != 0)
		return r;
	record_info(record, &info, tags);
	wish.secret = record_secret(record);
	wish.version = info.version;
	return issue(desk, &wish, bytes);
}

int serve_unwrap(struct desk *desk)
{
	return look_at(desk, desk->request->lookup ? SHOWING_LOOK_UP : SHOWING_WRAP);
}
