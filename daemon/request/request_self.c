/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "common/status.h"
#include "daemon/harden.h"
#include "daemon/log.h"
#include "daemon/request/desk.h"
#include "daemon/request/petition.h"
#include "daemon/request/quota.h"

/* Groups told to whoami: the rest would not fit a frame. */
#define CALLER_GROUPS 256

int serve_ping(struct desk *desk)
{
	return desk_answer_code(desk, 0, NULL);
}

/* What it takes to make the key once more. */
static void tell_lock(struct state *state, const struct vault_lock *lock)
{
	if (!lock)
		return;
	state->lock_salt = span_of(lock->salt, sizeof(lock->salt));
	state->lock_opslimit = lock->opslimit;
	state->lock_memlimit = lock->memlimit;
}

int serve_status(struct desk *desk)
{
	const struct daemon *daemon = desk->daemon;
	const struct audit_state audit = audit_state(daemon->audit);
	struct reply reply = { .body = BODY_STATE };

	reply.state = (struct state){ .version = span_text(MEMGUARDD_VERSION),
		.pid = (uint32_t)getpid(),
		.uptime_ms = daemon_now_ms() - daemon->started_ms,
		.backend = daemon_memory(daemon)->backend,
		.advice = span_text(os_memory_advice(daemon_memory(daemon))),
		.locked = daemon_locked(daemon),
		.locked_stack = locked_stack_switches(),
		.sealed = daemon->memory.sealed,
		.dumpable = harden_dumpable(),
		.core_limit = harden_core_limit(),
		.cipher = span_text("ChaCha20-Poly1305"),
		.rekey_ms = daemon->rekey_ms,
		.sessions = daemon->sessions,
		.max_value = daemon->max_value,
		.pidfd = desk->peer->pidfd >= 0,
		.keeper = (uint32_t)daemon->upgrades.keeper,
		.upgrading = daemon->upgrades.under_way };
	if (audit.on)
		reply.state.audit_key = span_of(audit.key, sizeof(audit.key));
	reply.state.vault_locked = vault_is_locked(daemon->vault);
	reply.state.counts = policy_privileged(&daemon->policy, desk->peer);
	if (reply.state.counts) {
		reply.state.secrets = vault_count(daemon->vault);
		reply.state.ledger = vault_bytes(daemon->vault);
		reply.state.broken = vault_lost(daemon->vault, LOSS_SECRET);
		reply.state.broken_formers = vault_lost(daemon->vault, LOSS_FORMER);
		reply.state.broken_consumed = vault_lost(daemon->vault, LOSS_CONSUMED);
		reply.state.broken_streams = vault_lost(daemon->vault, LOSS_STREAM);
		reply.state.broken_answers = vault_lost(daemon->vault, LOSS_ANSWER);
		reply.state.tokens = tokens_count(daemon->tokens);
		reply.state.broken_tokens = vault_lost(daemon->vault, LOSS_TOKEN);
		reply.state.failed_upgrades = daemon->upgrades.failed;
		reply.state.upgrade_fault = span_text(daemon->upgrades.fault.text);
		tell_lock(&reply.state, vault_lock_of(daemon->vault));
		reply.state.audit_record = audit.written.number;
		reply.state.audit_lost = audit.lost;
		reply.state.audit_hash = span_of(audit.written.hash, sizeof(audit.written.hash));
	}
	return desk_answer(desk, &reply);
}

/* Asked for alone: where no rule names a unit nobody else does. */
static void tell_place(struct caller *caller, const struct peer *peer)
{
	const struct peer_place *place = peer->place;

	peer_locate(peer);
	caller->placed = !place || place->known;
	if (!place)
		return;
	caller->unit = span_text(place->unit);
	caller->slice = span_text(place->slice);
	caller->userunit = span_text(place->userunit);
}

/* What it has, and what it may have. */
static void tell_counts(struct caller *caller, const struct desk *desk)
{
	const struct quotas *quotas = &desk->daemon->users.quotas;
	struct tally_sum sum = vault_usage(desk->daemon->vault, caller->uid);

	caller->counts = true;
	caller->secrets = sum.names;
	caller->bytes = sum.bytes;
	if (!quota_holds(desk->transfers))
		return;
	caller->quota_count = quotas->count;
	caller->quota_bytes = quotas->bytes;
	caller->quota_sessions = quotas->sessions;
	caller->quota_inflight = quotas->inflight;
	caller->quota_handshakes = quotas->handshakes;
}

int serve_whoami(struct desk *desk)
{
	const struct peer *peer = desk->peer;
	struct reply reply = { .body = BODY_CALLER };
	struct policy_subject subject;
	char shown[NAME_FILED_MAX];

	reply.caller = (struct caller){ .uid = (uint32_t)peer->uid,
		.gid = (uint32_t)peer->gid,
		.pid = (uint32_t)peer->pid,
		.groups = peer->groups,
		.group_count =
			peer->group_count < CALLER_GROUPS ? peer->group_count : CALLER_GROUPS,
		.label = span_text(peer->label),
		.pidfd = peer->pidfd >= 0,
		.privileged = policy_privileged(&desk->daemon->policy, peer),
		.listener = span_text(peer->listener ? peer->listener : "") };
	tell_place(&reply.caller, peer);
	tell_counts(&reply.caller, desk);
	subject = policy_subject_of(peer);
	if (peer->shown && *peer->shown) {
		const struct token *token = token_of(*peer->shown);

		reply.caller.token = span_of(shown,
			name_show(shown, span_text(token->policy.name), (uint32_t)peer->uid));
		reply.caller.token_fault = (uint32_t)token_fault(token, &subject);
	}
	return desk_answer(desk, &reply);
}

/* The answer leaves before the end: the server looks at `ending` once it is written. */
int serve_shutdown(struct desk *desk)
{
	log_notice("ending, as uid %ld asks", (long)desk->peer->uid);
	desk->daemon->ending = true;
	return desk_answer_code(desk, 0, NULL);
}

/* The loop reads the configuration once this visit is over; then the answer leaves. */
int serve_reload(struct desk *desk)
{
	return petition_park(desk->transfers, desk->daemon, desk->peer->uid, desk->request->id);
}

/* The answer leaves before anything of it begins, and tells what there is to compare with. */
int serve_upgrade(struct desk *desk)
{
	struct upgrades *upgrades = &desk->daemon->upgrades;

	if (upgrades->keeper == 0) {
		desk->words = "there is no keeper that could hand everything on: see the setting "
			      "`keep`";
		return STATUS_NO;
	}
	if (!upgrades->under_way) {
		upgrades->asked = upgrades->under_way = true;
		upgrades->uid = desk->peer->uid;
	}
	return serve_status(desk);
}

int serve_cancel(struct desk *desk)
{
	int r = transfers_cancel(
		desk->transfers, desk->daemon, desk->request->target, desk->answers);

	return r < 0 ? r : desk_answer_code(desk, 0, NULL);
}
