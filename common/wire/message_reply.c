/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "common/memory/enclave.h"
#include "common/wire/message_unpack.h"
#include "common/wire/name.h"
#include "common/wire/text.h"

#define BODY_CASE(name) MEMGUARD__V1__REPLY__BODY_##name

static int read_info(struct info *info, const PB(Info) * raw, struct workbench *bench)
{
	const char *fault = NULL;
	int r = message_read_info(info, &fault, raw, bench);

	return r < 0 || !fault ? r : -EPROTO;
}

static int read_state(struct state *state, const PB(State) * raw)
{
	*state = (struct state){ .version = span_from(raw->version),
		.pid = raw->pid,
		.uptime_ms = raw->uptime_ms,
		.backend = raw->backend,
		.advice = span_from(raw->advice),
		.locked = raw->locked,
		.locked_stack = raw->locked_stack,
		.sealed = raw->sealed,
		.dumpable = raw->dumpable,
		.core_limit = raw->core_limit,
		.cipher = span_from(raw->cipher),
		.rekey_ms = raw->rekey_ms,
		.sessions = raw->sessions,
		.counts = raw->counts,
		.secrets = raw->secrets,
		.ledger = raw->ledger,
		.max_value = raw->max_value,
		.pidfd = raw->pidfd,
		.keeper = raw->keeper,
		.broken = raw->broken,
		.broken_formers = raw->broken_formers,
		.broken_consumed = raw->broken_consumed,
		.broken_streams = raw->broken_streams,
		.broken_answers = raw->broken_answers,
		.failed_upgrades = raw->failed_upgrades,
		.upgrade_fault = span_from(raw->upgrade_fault),
		.upgrading = raw->upgrading,
		.audit_key = span_from(raw->audit_key),
		.audit_record = raw->audit_record,
		.audit_lost = raw->audit_lost,
		.audit_hash = span_from(raw->audit_hash),
		.tokens = raw->tokens,
		.broken_tokens = raw->broken_tokens,
		.vault_locked = raw->vault_locked,
		.lock_salt = span_from(raw->lock_salt),
		.lock_opslimit = raw->lock_opslimit,
		.lock_memlimit = raw->lock_memlimit };
	return text_fault(state->version) || text_fault(state->advice) ||
			text_fault(state->cipher) || text_fault(state->upgrade_fault)
		? -EPROTO
		: 0;
}

static int read_caller(struct caller *caller, const PB(Caller) * raw)
{
	*caller = (struct caller){ .uid = raw->uid,
		.gid = raw->gid,
		.pid = raw->pid,
		.groups = raw->groups,
		.group_count = raw->n_groups,
		.label = span_from(raw->label),
		.pidfd = raw->pidfd,
		.privileged = raw->privileged,
		.unit = span_from(raw->unit),
		.slice = span_from(raw->slice),
		.userunit = span_from(raw->userunit),
		.placed = raw->placed,
		.listener = span_from(raw->listener),
		.token = span_from(raw->token),
		.token_fault = raw->token_fault,
		.counts = raw->counts,
		.secrets = raw->secrets,
		.bytes = raw->bytes,
		.quota_count = raw->quota_count,
		.quota_bytes = raw->quota_bytes,
		.quota_sessions = raw->quota_sessions,
		.quota_inflight = raw->quota_inflight,
		.quota_handshakes = raw->quota_handshakes };
	return text_fault(caller->label) || text_fault(caller->unit) || text_fault(caller->slice) ||
			text_fault(caller->userunit) || text_fault(caller->listener) ||
			text_fault(caller->token)
		? -EPROTO
		: 0;
}

static int read_record(struct reply *reply, const PB(Record) * raw, struct workbench *bench)
{
	struct bundled bundled = { 0 };
	const char *fault = NULL;
	int r = message_read_record(&bundled, &fault, raw, bench);

	if (r < 0 || fault)
		return r < 0 ? r : -EPROTO;
	reply->info = bundled.info;
	reply->owner = bundled.owner;
	reply->key = bundled.key;
	return 0;
}

static int read_restored(struct reply *reply, const PB(Restored) * raw)
{
	reply->secrets = raw->secrets;
	reply->name = span_from(raw->name);
	return reply->name.size > 0 && name_fault(reply->name) ? -EPROTO : 0;
}

static int read_verdict(struct verdict *verdict, const PB(Verdict) * raw)
{
	*verdict = (struct verdict){ .allowed = raw->allowed,
		.cause = raw->cause,
		.file = span_from(raw->file),
		.line = raw->line,
		.section = span_from(raw->section),
		.rule = span_from(raw->rule),
		.token_fault = raw->token_fault };
	return text_fault(verdict->file) || text_fault(verdict->section) ||
			text_fault(verdict->rule)
		? -EPROTO
		: 0;
}

/* One of all names has none. */
static int read_event(struct reply *reply, const PB(Event) * raw)
{
	reply->number = raw->number;
	reply->change = (uint32_t)raw->change;
	reply->version = raw->version;
	reply->name = span_from(raw->name);
	return reply->name.size > 0 && name_fault(reply->name) ? -EPROTO : 0;
}

static int read_issued(struct reply *reply, const PB(Issued) * raw)
{
	if (raw->token.len != MESSAGE_TOKEN_SIZE)
		return -EPROTO;
	reply->key = raw->token.data;
	return 0;
}

static int read_token(struct token_info *token, const PB(Token) * raw, struct workbench *bench)
{
	const char *fault = NULL;
	int r;

	*token = (struct token_info){ .name = span_from(raw->name),
		.issuer = raw->issuer,
		.created_ms = raw->created_ms,
		.ttl_ms = raw->ttl_ms,
		.uses = raw->uses,
		.left = raw->left,
		.of_uid = raw->of_uid,
		.uid = raw->uid,
		.unit = span_from(raw->unit) };
	r = message_read_grants(&token->grants, &fault, raw->grants, raw->n_grants, bench);
	return r < 0                                                          ? r
		: fault || name_fault(token->name) || text_fault(token->unit) ? -EPROTO
									      : 0;
}

static int read_wrapped(struct token_info *token, const PB(Wrapped) * raw)
{
	*token = (struct token_info){ .name = span_from(raw->name),
		.issuer = raw->issuer,
		.created_ms = raw->created_ms,
		.ttl_ms = raw->ttl_ms,
		.uses = raw->uses,
		.left = raw->left };
	return name_fault(token->name) ? -EPROTO : 0;
}

static int read_value(struct reply *reply, const PB(Value) * raw)
{
	if (raw->data_key.len != ENCLAVE_KEY_SIZE || raw->size == 0 ||
		raw->size > MESSAGE_VALUE_MAX)
		return -EPROTO;
	reply->version = raw->version;
	reply->size = raw->size;
	reply->key = raw->data_key.data;
	return 0;
}

static int read_part(struct reply *reply, const PB(Part) * raw)
{
	bool keyed = raw->data_key.len == ENCLAVE_KEY_SIZE;

	if (raw->stream == 0 || keyed != reply->chunked || keyed != (reply->code == 0))
		return -EPROTO;
	/* One of no chunks would be progress without end. */
	if (keyed && reply->chunks.count == 0)
		return -EPROTO;
	reply->stream = raw->stream;
	reply->segment = raw->segment;
	reply->key = keyed ? raw->data_key.data : NULL;
	return 0;
}

static int read_body(struct reply *reply, const PB(Reply) * raw, struct workbench *bench)
{
	switch ((int)raw->body_case) {
	case BODY_CASE(VALUE):
		reply->body = BODY_VALUE;
		return read_value(reply, raw->value);
	case BODY_CASE(STORED):
		reply->body = BODY_STORED;
		reply->version = raw->stored->version;
		return 0;
	case BODY_CASE(LISTING):
		reply->body = BODY_LISTING;
		reply->more = raw->listing->more;
		reply->next = span_from(raw->listing->next);
		return 0;
	case BODY_CASE(INFO):
		reply->body = BODY_INFO;
		return read_info(&reply->info, raw->info, bench);
	case BODY_CASE(STATE):
		reply->body = BODY_STATE;
		return read_state(&reply->state, raw->state);
	case BODY_CASE(CALLER):
		reply->body = BODY_CALLER;
		return read_caller(&reply->caller, raw->caller);
	case BODY_CASE(PURGED):
		reply->body = BODY_PURGED;
		reply->secrets = raw->purged->secrets;
		return 0;
	case BODY_CASE(TAKEN):
		reply->body = BODY_TAKEN;
		reply->due = raw->taken->next;
		return 0;
	case BODY_CASE(PART):
		reply->body = BODY_PART;
		return read_part(reply, raw->part);
	case BODY_CASE(RECORD):
		reply->body = BODY_RECORD;
		return read_record(reply, raw->record, bench);
	case BODY_CASE(RESTORED):
		reply->body = BODY_RESTORED;
		return read_restored(reply, raw->restored);
	case BODY_CASE(VERDICT):
		reply->body = BODY_VERDICT;
		return read_verdict(&reply->verdict, raw->verdict);
	case BODY_CASE(EVENT):
		reply->body = BODY_EVENT;
		return read_event(reply, raw->event);
	case BODY_CASE(MARK):
		reply->body = BODY_MARK;
		reply->number = raw->mark->number;
		reply->lost = raw->mark->lost;
		return 0;
	case BODY_CASE(ISSUED):
		reply->body = BODY_ISSUED;
		return read_issued(reply, raw->issued);
	case BODY_CASE(TOKEN):
		reply->body = BODY_TOKEN;
		return read_token(&reply->token, raw->token, bench);
	case BODY_CASE(WRAPPED):
		reply->body = BODY_WRAPPED;
		return read_wrapped(&reply->token, raw->wrapped);
	default:
		return 0;
	}
}

static int read_reply(struct reply *reply, const PB(Reply) * raw, struct messages *messages,
	struct workbench *bench)
{
	int r = 0;

	if (raw->id == 0 || raw->code > INT32_MAX || text_fault(span_from(raw->detail)))
		return -EPROTO;
	reply->id = raw->id;
	reply->code = (int)raw->code;
	reply->detail = span_from(raw->detail);
	reply->left_out = raw->left_out;
	if (raw->chunks) {
		reply->chunked = true;
		r = message_claim_chunks(&reply->chunks, &reply->bytes, messages, raw->chunks);
	}
	return r < 0 ? r : read_body(reply, raw, bench);
}

int message_next_reply(struct reply *reply, struct messages *messages, struct workbench *bench)
{
	ProtobufCMessage *message;
	struct span bytes;
	int r = message_next_bytes(messages, &bytes);

	if (r <= 0)
		return r;
	*reply = (struct reply){ 0 };
	r = message_unpack(&message, &memguard__v1__reply__descriptor, bytes, bench);
	if (r == 0)
		r = read_reply(reply, (const PB(Reply) *)message, messages, bench);
	return r < 0 ? r : 1;
}
