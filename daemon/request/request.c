/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/request.h"

#include <errno.h>

#include "common/status.h"
#include "daemon/request/desk.h"
#include "daemon/request/quota.h"
#include "daemon/request/upload.h"

int desk_answer(const struct desk *desk, struct reply *reply)
{
	reply->id = desk->request->id;
	return answers_append(desk->answers, reply);
}

int desk_answer_code(const struct desk *desk, int code, const char *words)
{
	return answers_code(desk->answers, desk->request->id, code, words);
}

/* Each verb beside the right it needs, so that neither can be added without the other. */
static const struct {
	enum right right;
	int (*serve)(struct desk *desk);
} verbs[VERBS] = {
	[VERB_PING] = { RIGHT_NONE, serve_ping },
	[VERB_GET] = { RIGHT_GET, serve_get },
	[VERB_SET] = { RIGHT_SET, serve_set },
	[VERB_REMOVE] = { RIGHT_REMOVE, serve_remove },
	[VERB_LIST] = { RIGHT_NONE, serve_list }, /* shows only what the caller may see */
	[VERB_STAT] = { RIGHT_STAT, serve_stat },
	[VERB_GENERATE] = { RIGHT_SET, serve_generate },
	[VERB_STATUS] = { RIGHT_NONE, serve_status },
	[VERB_WHOAMI] = { RIGHT_NONE, serve_whoami },
	[VERB_CANCEL] = { RIGHT_NONE, serve_cancel },
	[VERB_PURGE] = { RIGHT_NONE, serve_purge }, /* of everything: RIGHT_RULE */
	[VERB_SHUTDOWN] = { RIGHT_RULE, serve_shutdown },
	[VERB_TOUCH] = { RIGHT_TOUCH, serve_touch },
	[VERB_FREEZE] = { RIGHT_FREEZE, serve_freeze },
	[VERB_MELT] = { RIGHT_MELT, serve_melt },
	[VERB_VERIFY] = { RIGHT_VERIFY, serve_verify },
	[VERB_STREAM_WRITE] = { RIGHT_WRITE, serve_stream_write },
	[VERB_STREAM_READ] = { RIGHT_READ, serve_stream_read },
	[VERB_RELOAD] = { RIGHT_RULE, serve_reload },
	[VERB_UPGRADE] = { RIGHT_RULE, serve_upgrade },
	[VERB_MOVE] = { RIGHT_MOVE, serve_move },     /* and RIGHT_GET, and RIGHT_SET there */
	[VERB_EXPORT] = { RIGHT_NONE, serve_export }, /* of each secret: RIGHT_GET */
	[VERB_STAGE] = { RIGHT_SET, serve_stage },
	[VERB_COMMIT] = { RIGHT_NONE, serve_commit },   /* of what it was allowed to stage */
	[VERB_EXPLAIN] = { RIGHT_NONE, serve_explain }, /* for others: RIGHT_RULE */
	[VERB_WATCH] = { RIGHT_NONE, serve_watch },     /* of each name: RIGHT_WATCH */
	[VERB_ISSUE_TOKEN] = { RIGHT_NONE, serve_issue_token },   /* of a name of its own */
	[VERB_LIST_TOKENS] = { RIGHT_NONE, serve_list_tokens },   /* of such names */
	[VERB_REVOKE_TOKEN] = { RIGHT_NONE, serve_revoke_token }, /* the same */
	[VERB_SHOW_TOKEN] = { RIGHT_NONE, serve_show_token },
	[VERB_WRAP] = { RIGHT_GET, serve_wrap },
	[VERB_UNWRAP] = { RIGHT_NONE, serve_unwrap }, /* who has wrapped it: RIGHT_GET */
	[VERB_LOCK] = { RIGHT_RULE, serve_lock },
	[VERB_UNLOCK] = { RIGHT_RULE, serve_unlock },
};

/* What is served while the vault is locked. */
static const bool verbs_without_master[VERBS] = {
	[VERB_PING] = true,
	[VERB_STATUS] = true,
	[VERB_CANCEL] = true,
	[VERB_PURGE] = true,
	[VERB_SHUTDOWN] = true,
	[VERB_RELOAD] = true,
	[VERB_UPGRADE] = true,
	[VERB_LOCK] = true,
	[VERB_UNLOCK] = true,
};

static const char *words_for(int status)
{
	switch (status) {
	case STATUS_NOT_FOUND:
		return "no such secret";
	case STATUS_DENIED:
		return NOT_ALLOWED;
	case STATUS_LIMIT:
		return "over a limit of the daemon, or its memory is used up";
	case STATUS_INTEGRITY:
		return "the record is damaged";
	case STATUS_GONE:
		return "already consumed: fetched as often as it might be";
	case STATUS_FROZEN:
		return "the secret is frozen";
	case STATUS_INVALID:
		return "the name is a stream's";
	case STATUS_LOCKED:
		return IS_LOCKED;
	default:
		return NULL;
	}
}

/* Which limit, where it is a quota, or one of requests under way. */
static const char *words_in(const struct desk *desk, int status)
{
	const char *words = desk->words;

	if (!words && status == STATUS_LIMIT)
		words = quota_words(desk->daemon, (uint32_t)desk->peer->uid);
	if (!words && status == STATUS_LIMIT)
		words = transfers_full(desk->transfers);
	return words ? words : words_for(status);
}

/* Answers a request that is not served. Its chunks are still on their way. */
static int refuse(const struct desk *desk, int status, const char *words)
{
	const struct request *request = desk->request;
	bool over = request->chunked &&
		(request->chunks.final || request->chunks.abort || request->ends);
	int r = 0;

	if (verb_goes_on(request->verb) && !over)
		r = upload_drop(desk->transfers, request->id);
	return r < 0 ? r : desk_answer_code(desk, status, words);
}

/* A rotation is a right of its own: who has it alone can neither make a secret nor end one. */
static enum right right_for(const struct request *request)
{
	if (request->verb == VERB_PURGE && request->all)
		return RIGHT_RULE;
	return request->rotation.asked ? RIGHT_ROTATE : verbs[request->verb].right;
}

/* One of the rights that are needed; after a refusal, that stands. */
static void decide(
	const struct desk *desk, enum right right, struct span name, struct policy_verdict *verdict)
{
	const struct policy *policy = &desk->daemon->policy;
	struct policy_verdict one;

	if (!verdict->allowed)
		return;
	one = policy_ask(policy, desk->peer, right, name);
	if (one.allowed && desk->request->reason.size == 0)
		(void)policy_wants_reason(policy, right, name, &one);
	/* The verb's own right comes first, and is the one that is told; and the token that any of
	 * them hangs on. */
	if (!one.token)
		one.token = verdict->token;
	if (!one.allowed || verdict->cause == POLICY_BY_NATURE)
		*verdict = one;
	verdict->token = one.token;
}

/* Those that the first answer to their number is all there is to, once it was given. */
static bool has_one_answer(enum verb verb)
{
	static const enum verb those[] = { VERB_SET, VERB_REMOVE, VERB_GENERATE, VERB_TOUCH,
		VERB_FREEZE, VERB_MELT, VERB_STREAM_WRITE, VERB_MOVE };

	for (size_t i = 0; i < sizeof(those) / sizeof(those[0]); i++)
		if (those[i] == verb)
			return true;
	return false;
}

/*
 * A repeat of what was answered already is no other use; anything else under that number is. What
 * is set is told by chunks that are still to come: upload.c sees to it that it stores nothing.
 */
static bool was_answered(const struct desk *desk)
{
	const struct request *request = desk->request;
	const struct request segment = { .verb = VERB_STREAM_WRITE };
	uint8_t digest[REPEAT_DIGEST_SIZE];
	struct repeat_answer first;
	int r;

	if (request->verb == VERB_WRAP)
		return desk_has_wrapped(desk);
	if (!request->numbered || !has_one_answer(request->verb))
		return false;
	request_digest(digest, request->verb == VERB_STREAM_WRITE ? &segment : request, desk->name);
	r = repeats_find(
		desk->daemon->repeats, (uint32_t)desk->peer->uid, request->number, digest, &first);
	return r == 1 || (r != 0 && request->verb == VERB_SET);
}

int desk_use_token(struct desk *desk, const struct policy_verdict *verdict)
{
	int r;

	if (!verdict->token || was_answered(desk))
		return 0;
	r = tokens_use_once(desk->daemon->tokens, token_of(verdict->token), &desk->token_used);
	if (r == STATUS_DENIED)
		desk->words = TOKEN_USED_UP;
	return r;
}

/* A token's name is as a secret's: the own space is one's own, all else is for those who may do
 * everything. */
static struct policy_verdict decide_token(const struct desk *desk)
{
	struct policy_verdict verdict = { .cause = POLICY_BY_NOTHING };

	if (policy_privileged(&desk->daemon->policy, desk->peer))
		verdict.cause = POLICY_BY_PRIVILEGE;
	else if (name_is_of(desk->name, (uint32_t)desk->peer->uid))
		verdict.cause = POLICY_BY_OWN_SPACE;
	verdict.allowed = verdict.cause != POLICY_BY_NOTHING;
	return verdict;
}

struct span desk_file_new_name(const struct desk *desk, char filed[static NAME_FILED_MAX])
{
	return span_of(filed, name_file(filed, desk->request->to, (uint32_t)desk->peer->uid));
}

/*
 * Whoever stores something frozen freezes it. Whoever gives a secret another name may have it under
 * that one: so it may have it now.
 */
static struct policy_verdict decide_all(const struct desk *desk)
{
	const struct request *request = desk->request;
	struct policy_verdict verdict = { .allowed = true, .cause = POLICY_BY_NATURE };

	if (request->verb == VERB_ISSUE_TOKEN || request->verb == VERB_REVOKE_TOKEN)
		return decide_token(desk);
	decide(desk, right_for(request), desk->name, &verdict);
	if (request->freeze)
		decide(desk, RIGHT_FREEZE, desk->name, &verdict);
	if (request->verb == VERB_MOVE) {
		char filed[NAME_FILED_MAX];

		decide(desk, RIGHT_GET, desk->name, &verdict);
		decide(desk, RIGHT_SET, desk_file_new_name(desk, filed), &verdict);
	}
	return verdict;
}

/* Whatever comes of it: what is decided by a token is a use of it. One that is used up decides
 * nothing. */
static int check_token(struct desk *desk, struct policy_verdict *verdict)
{
	int r = verdict->allowed ? desk_use_token(desk, verdict) : 0;

	if (r != STATUS_DENIED)
		return r;
	verdict->allowed = false;
	verdict->cause = POLICY_BY_NOTHING;
	verdict->file = NULL;
	verdict->line = 0;
	return 0;
}

static const char *words_for_denied(const struct desk *desk, const struct policy_verdict *verdict)
{
	if (desk->words)
		return desk->words;
	return verdict->cause == POLICY_BY_SILENCE ? NO_REASON : NOT_ALLOWED;
}

/* Whether it needs the vault's master, which is not there. */
static bool is_shut(const struct desk *desk)
{
	return !verbs_without_master[desk->request->verb] &&
		coffer_is_locked(&desk->daemon->coffer);
}

static int serve_verb(struct desk *desk)
{
	const struct request *request = desk->request;
	struct policy_verdict verdict;
	int r;

	if (request->fault)
		return refuse(desk, request->fault_status, request->fault);
	desk->name = span_of(
		desk->filed, name_file(desk->filed, request->name, (uint32_t)desk->peer->uid));
	verdict = decide_all(desk);
	/* What is not done is no use of a token. */
	r = is_shut(desk) ? 0 : check_token(desk, &verdict);
	if (r != 0)
		return r < 0 ? r : refuse(desk, r, words_in(desk, r));
	r = desk_note(desk, &verdict);
	if (!verdict.allowed)
		return refuse(desk, STATUS_DENIED, words_for_denied(desk, &verdict));
	if (r < 0)
		return refuse(desk, STATUS_INTERNAL, NOT_LOGGED);
	if (is_shut(desk))
		return refuse(desk, STATUS_LOCKED, IS_LOCKED);
	/* Of what is asked, only a value or a candidate has a size. */
	if (request->size > desk->daemon->max_value)
		return refuse(desk, STATUS_LIMIT, OVER_LIMIT);
	r = verbs[request->verb].serve(desk);
	return r > 0 ? refuse(desk, r, words_in(desk, r)) : r;
}

/* Chunks alone: they belong to a set under way, or the sender is confused. */
static int serve_chunks(struct desk *desk)
{
	const struct request *request = desk->request;
	struct upload *upload = upload_find(desk->transfers, request->id);

	if (!upload)
		return -EPROTO;
	return upload_take(desk->transfers, desk->daemon, (uint32_t)desk->peer->uid, upload,
		request, NULL, desk->answers);
}

int request_serve(struct daemon *daemon, const struct peer *peer, struct transfers *transfers,
	const struct request *request, struct answers *answers)
{
	struct desk desk = { .daemon = daemon,
		.peer = peer,
		.transfers = transfers,
		.request = request,
		.answers = answers };

	transfers->peer = peer;
	if (request->verb == VERB_NONE)
		return serve_chunks(&desk);
	if (transfers_has(transfers, request->id))
		return -EPROTO;
	return serve_verb(&desk);
}
