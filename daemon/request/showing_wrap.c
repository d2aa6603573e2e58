/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/showing.h"

#include <stdio.h>
#include <time.h>

#include "common/status.h"
#include "common/wire/name.h"
#include "daemon/log.h"

/*
 * A wrap fetches one version of one secret, whoever has it, as long as the user who made it may
 * fetch it, and no rule denies it to who asks.
 */

/* What came of looking at one. */
struct judgement {
	int status;
	struct token *wrap; /* NULL: there is none */
	const char *by;     /* as the audit log calls it */
	const char *words;
	bool again; /* it was used as often as it may be */
};

static void judge(struct judgement *judgement, int status, const char *by, const char *words)
{
	judgement->status = status;
	judgement->by = by;
	judgement->words = words;
}

static struct span name_of(const struct token *wrap)
{
	return span_text(wrap->policy.name);
}

/* Whether there still is what was wrapped: that version, of that secret, under that name. */
static bool is_there(struct daemon *daemon, const struct token *wrap)
{
	struct record *record;

	return vault_find_version(daemon->vault, name_of(wrap), wrap->version, &record) == 0 &&
		!record_is_stream(record) && record_secret(record) == wrap->secret;
}

static void ask_policy(struct judgement *judgement, const struct transfers *transfers,
	const struct daemon *daemon, struct span reason)
{
	const struct policy *policy = &daemon->policy;
	struct span name = name_of(judgement->wrap);
	struct policy_verdict verdict;

	if (policy_denies(policy, transfers->peer, RIGHT_GET, name) ||
		!policy_decide(policy, &judgement->wrap->policy.issuer, RIGHT_GET, name,
			(int64_t)time(NULL))
			 .allowed)
		judge(judgement, STATUS_DENIED, "deny", NOT_ALLOWED);
	else if (reason.size == 0 && policy_wants_reason(policy, RIGHT_GET, name, &verdict))
		judge(judgement, STATUS_DENIED, "no_reason",
			"policy asks for a reason: mgctl --reason TEXT");
}

static struct judgement look_at(
	const struct transfers *transfers, struct daemon *daemon, const struct shown *shown)
{
	struct judgement judgement = { .by = "wrap" };
	int r = tokens_look(daemon->tokens, shown->hash, true, &judgement.wrap);

	penalty_leave(daemon->penalties, (uint32_t)transfers->peer->uid, daemon_now_ms(),
		r == STATUS_DENIED);
	if (r == STATUS_DENIED) {
		judge(&judgement, r, "nothing", "nothing is wrapped by this, or not any more");
	} else if (r == STATUS_GONE) {
		judge(&judgement, r, "token_over", "it was unwrapped before");
		judgement.again = true;
	} else {
		ask_policy(&judgement, transfers, daemon, shown->reason);
		if (judgement.status == 0 && !is_there(daemon, judgement.wrap))
			judge(&judgement, STATUS_GONE, "wrap_void",
				"what was wrapped was changed, removed or renamed since");
	}
	return judgement;
}

/* Who has one that is used up can ask for it without an end: the audit log alone tells each time.
 */
static void raise_alarm(struct daemon *daemon, const struct peer *peer)
{
	char words[80] = "";
	uint64_t left_out;

	if (!alarm_may_tell(&daemon->alarms, (uint32_t)peer->uid, daemon_now_ms(), &left_out))
		return;
	if (left_out > 0)
		snprintf(words, sizeof(words), "; %llu such lines were left out before this one",
			(unsigned long long)left_out);
	log_warning("ALARM: what was unwrapped already is asked for again, by uid %ld, process "
		    "%ld%s",
		(long)peer->uid, (long)peer->pid, words);
}

/* Who finds it unwrapped has lost it to somebody: whoever keeps the logs is told. */
static int note(const struct transfers *transfers, struct daemon *daemon, const struct shown *shown,
	const struct judgement *judgement)
{
	bool fetches = shown->deed == SHOWING_WRAP;
	const struct peer *peer = transfers->peer;
	struct audit_entry entry = { .peer = peer,
		.operation = fetches ? "unwrap" : "unwrap-lookup",
		.changes = fetches,
		.allowed = judgement->status == 0,
		.by = judgement->by,
		.reason = shown->reason };

	if (judgement->wrap)
		entry.name = name_of(judgement->wrap);
	if (judgement->again && fetches) {
		entry.alarm = "unwrapped_again";
		raise_alarm(daemon, peer);
	}
	return audit_decision(daemon->audit, &entry);
}

static int tell(const struct transfers *transfers, const struct token *wrap, uint64_t id,
	struct answers *answers)
{
	uint64_t now_ms = daemon_now_ms();
	uint64_t end_ms = wrap->policy.end_ms;
	char shown[NAME_FILED_MAX];
	struct reply reply = { .id = id, .body = BODY_WRAPPED };

	reply.token = (struct token_info){
		.name = span_of(
			shown, name_show(shown, name_of(wrap), (uint32_t)transfers->peer->uid)),
		.issuer = (uint32_t)wrap->policy.issuer.uid,
		.created_ms = wrap->created_ms,
		.uses = wrap->uses,
		.left = wrap->kept.left,
	};
	/* 0 would be one without an end. */
	if (end_ms != 0)
		reply.token.ttl_ms = end_ms > now_ms ? end_ms - now_ms : 1;
	return answers_append(answers, &reply);
}

/* The use is written down before anything of the value leaves. */
static int fetch(struct transfers *transfers, struct daemon *daemon, struct token *wrap,
	uint64_t id, struct answers *answers)
{
	const struct wanted wanted = { .id = id, .name = name_of(wrap), .version = wrap->version };
	int r = tokens_use(daemon->tokens, wrap);

	return r == 0 ? download_begin(transfers, daemon, &wanted, answers) : r;
}

int showing_unwrap(struct transfers *transfers, struct daemon *daemon, const struct shown *shown,
	struct answers *answers)
{
	struct judgement judgement = look_at(transfers, daemon, shown);
	int r;

	if (note(transfers, daemon, shown, &judgement) < 0 && judgement.status == 0)
		judge(&judgement, STATUS_INTERNAL, "",
			"the audit log cannot be written, and has to be");
	if (judgement.status != 0)
		return answers_code(answers, shown->id, judgement.status, judgement.words);
	if (shown->deed == SHOWING_LOOK_UP)
		return tell(transfers, judgement.wrap, shown->id, answers);
	r = fetch(transfers, daemon, judgement.wrap, shown->id, answers);
	return r > 0 ? answers_code(answers, shown->id, r, NULL) : r;
}
