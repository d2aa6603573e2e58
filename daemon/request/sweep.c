/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "common/wire/name.h"

/* Secrets that one step looks at, at most, and one at least. */
#define STEP_LOOKS 64

struct sweep {
	struct sweep *next;
	uint64_t id;
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[REPEAT_DIGEST_SIZE];
	uint32_t uid;
	bool reasoned;  /* whoever asks has said why */
	uint64_t count; /* purged so far */
	uint64_t token; /* the number of the one that it is a use of; 0: none so far */
	int over;       /* why that could not be written down: a status or a negative errno */
	struct span prefix;
	struct span after; /* where it stands */
	char own[NAME_FILED_MAX];
	char last[NAME_FILED_MAX];
};

int sweep_begin(struct transfers *transfers, struct daemon *daemon, const struct request *request,
	uint32_t uid, bool everywhere, const uint8_t digest[static REPEAT_DIGEST_SIZE])
{
	struct sweep *sweep = NULL;

	(void)daemon;
	if (!transfers_full(transfers))
		sweep = calloc(1, sizeof(*sweep));
	if (!sweep)
		return STATUS_LIMIT;
	sweep->id = request->id;
	sweep->uid = uid;
	sweep->reasoned = request->reason.size > 0;
	memcpy(sweep->number, request->number, sizeof(sweep->number));
	memcpy(sweep->digest, digest, sizeof(sweep->digest));
	if (!everywhere)
		sweep->prefix = span_of(sweep->own, name_file(sweep->own, span_text("~/"), uid));
	sweep->next = transfers->sweeps;
	transfers->sweeps = sweep;
	transfers_begin(transfers);
	return 0;
}

uint64_t sweep_first(const struct transfers *transfers)
{
	return transfers->sweeps ? transfers->sweeps->id : 0;
}

struct sweep *sweep_find(const struct transfers *transfers, uint64_t id)
{
	struct sweep *sweep = transfers->sweeps;

	while (sweep && sweep->id != id)
		sweep = sweep->next;
	return sweep;
}

void sweep_end(struct transfers *transfers, struct sweep *sweep)
{
	struct sweep **at = &transfers->sweeps;

	while (*at != sweep)
		at = &(*at)->next;
	*at = sweep->next;
	transfers_end(transfers);
	free(sweep);
}

/* A purge that hangs on a token is one use of that. */
static bool may(struct sweep *sweep, const struct transfers *transfers, const struct daemon *daemon,
	enum right right)
{
	struct policy_verdict verdict =
		policy_ask(&daemon->policy, transfers->peer, right, sweep->after);

	int r = 0;

	if (verdict.allowed && verdict.token)
		r = tokens_use_once(daemon->tokens, token_of(verdict.token), &sweep->token);
	if (r != 0 && r != STATUS_DENIED)
		sweep->over = r;
	return verdict.allowed && r == 0;
}

/*
 * Elsewhere than in its own space it is the caller's only as long as it may still do there what
 * destroys it; and what a rule says that it may not remove is spared.
 */
static bool may_purge(
	struct sweep *sweep, const struct transfers *transfers, const struct daemon *daemon)
{
	return may(sweep, transfers, daemon, RIGHT_REMOVE) ||
		(!policy_denies(&daemon->policy, transfers->peer, RIGHT_REMOVE, sweep->after) &&
			may(sweep, transfers, daemon, RIGHT_SET));
}

/* The next secret: 0, STATUS_NOT_FOUND at the end, another status or a negative errno. */
static int look(struct transfers *transfers, struct sweep *sweep, struct daemon *daemon)
{
	struct vault *vault = daemon->vault;
	struct policy_verdict verdict;
	struct record *record;
	struct span name;
	int r = vault_next(vault, sweep->prefix, sweep->after, &record);

	if (r != 0)
		return r;
	name = record_filed_name(record);
	memcpy(sweep->last, name.data, name.size);
	sweep->after = span_of(sweep->last, name.size);
	if (record_owner(record) != sweep->uid && !name_is_of(sweep->after, sweep->uid))
		return 0;
	sweep->over = 0;
	if (!may_purge(sweep, transfers, daemon))
		return sweep->over;
	if (!sweep->reasoned &&
		policy_wants_reason(&daemon->policy, RIGHT_REMOVE, sweep->after, &verdict))
		return 0;
	vault_purge_record(vault, record);
	sweep->count++;
	return 0;
}

static int finish(struct transfers *transfers, struct daemon *daemon, struct sweep *sweep, int code,
	struct answers *answers)
{
	struct repeat_answer first = { .code = code, .version = sweep->count };
	struct reply reply = {
		.id = sweep->id, .code = code, .body = BODY_PURGED, .secrets = sweep->count
	};

	if (code == 0)
		vault_forget_consumed(daemon->vault, sweep->uid);
	if (code != 0)
		reply.detail = span_text("memory is used up; purged in part");
	else
		(void)repeats_keep(
			daemon->repeats, sweep->uid, sweep->number, sweep->digest, &first);
	sweep_end(transfers, sweep);
	return answers_append(answers, &reply);
}

static int step(struct transfers *transfers, struct daemon *daemon, struct sweep *sweep,
	struct answers *answers)
{
	int r = 0;

	for (int i = 0; r == 0 && (i == 0 || (i < STEP_LOOKS && daemon_has_time(daemon))); i++)
		r = look(transfers, sweep, daemon);
	if (r <= 0)
		return r;
	return finish(transfers, daemon, sweep, r == STATUS_NOT_FOUND ? 0 : r, answers);
}

int sweeps_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	bool first = true;
	struct sweep *next;
	int r = 0;

	for (struct sweep *sweep = transfers->sweeps;
		sweep && r == 0 && (first || daemon_has_time(daemon)); sweep = next) {
		first = false;
		next = sweep->next;
		r = step(transfers, daemon, sweep, answers);
		daemon_forget_in_time(daemon, daemon_now_ns());
	}
	return r;
}
