/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/message_pack.h"

#include <errno.h>

#include "common/memory/enclave.h"

struct raw_reply {
	PB(Reply) reply;
	PB(Chunks) chunks;
	PB(Lifetime) left;
	union {
		struct raw_tags tags;
		struct raw_grants grants; /* of a token, which has no tags */
	};
	union {
		PB(Value) value;
		PB(Stored) stored;
		PB(Listing) listing;
		PB(Info) info;
		PB(State) state;
		PB(Caller) caller;
		PB(Purged) purged;
		PB(Taken) taken;
		PB(Part) part;
		PB(Restored) restored;
		PB(Verdict) verdict;
		PB(Event) event;
		PB(Mark) mark;
		PB(Issued) issued;
		PB(Token) token;
		PB(Wrapped) wrapped;
		struct raw_record record;
	};
};

static void write_value(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__value__init(&raw->value);
	raw->value.version = reply->version;
	raw->value.size = reply->size;
	raw->value.data_key = data_from(span_of(reply->key, ENCLAVE_KEY_SIZE));
	raw->reply.value = &raw->value;
}

static void write_stored(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__stored__init(&raw->stored);
	raw->stored.version = reply->version;
	raw->reply.stored = &raw->stored;
}

static void write_listing(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__listing__init(&raw->listing);
	raw->listing.more = reply->more;
	raw->listing.next = data_from(reply->next);
	raw->reply.listing = &raw->listing;
}

static void write_info(struct raw_reply *raw, const struct reply *reply)
{
	message_pack_info(&raw->info, &raw->left, &raw->tags, &reply->info);
	raw->reply.info = &raw->info;
}

static void write_state(struct raw_reply *raw, const struct reply *reply)
{
	const struct state *state = &reply->state;
	PB(State) *out = &raw->state;

	memguard__v1__state__init(out);
	out->version = data_from(state->version);
	out->pid = state->pid;
	out->uptime_ms = state->uptime_ms;
	out->backend = state->backend;
	out->advice = data_from(state->advice);
	out->locked = state->locked;
	out->locked_stack = state->locked_stack;
	out->sealed = state->sealed;
	out->dumpable = state->dumpable;
	out->core_limit = state->core_limit;
	out->cipher = data_from(state->cipher);
	out->rekey_ms = state->rekey_ms;
	out->sessions = state->sessions;
	out->counts = state->counts;
	out->secrets = state->secrets;
	out->ledger = state->ledger;
	out->max_value = state->max_value;
	out->pidfd = state->pidfd;
	out->keeper = state->keeper;
	out->broken = state->broken;
	out->broken_formers = state->broken_formers;
	out->broken_consumed = state->broken_consumed;
	out->broken_streams = state->broken_streams;
	out->broken_answers = state->broken_answers;
	out->failed_upgrades = state->failed_upgrades;
	out->upgrade_fault = data_from(state->upgrade_fault);
	out->upgrading = state->upgrading;
	out->audit_key = data_from(state->audit_key);
	out->audit_record = state->audit_record;
	out->audit_lost = state->audit_lost;
	out->audit_hash = data_from(state->audit_hash);
	out->vault_locked = state->vault_locked;
	out->lock_salt = data_from(state->lock_salt);
	out->lock_opslimit = state->lock_opslimit;
	out->lock_memlimit = state->lock_memlimit;
	out->tokens = state->tokens;
	out->broken_tokens = state->broken_tokens;
	raw->reply.state = out;
}

static void write_caller(struct raw_reply *raw, const struct reply *reply)
{
	message_pack_caller(&raw->caller, &reply->caller);
	raw->reply.caller = &raw->caller;
}

static void write_purged(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__purged__init(&raw->purged);
	raw->purged.secrets = reply->secrets;
	raw->reply.purged = &raw->purged;
}

static void write_taken(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__taken__init(&raw->taken);
	raw->taken.next = reply->due;
	raw->reply.taken = &raw->taken;
}

static void write_part(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__part__init(&raw->part);
	raw->part.stream = reply->stream;
	raw->part.segment = reply->segment;
	if (reply->key)
		raw->part.data_key = data_from(span_of(reply->key, ENCLAVE_KEY_SIZE));
	raw->reply.part = &raw->part;
}

static void write_record(struct raw_reply *raw, const struct reply *reply)
{
	struct bundled bundled = { .info = reply->info, .owner = reply->owner, .key = reply->key };

	message_pack_record(&raw->record, &raw->tags, &bundled);
	raw->reply.record = &raw->record.record;
}

static void write_restored(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__restored__init(&raw->restored);
	raw->restored.secrets = reply->secrets;
	raw->restored.name = data_from(reply->name);
	raw->reply.restored = &raw->restored;
}

static void write_verdict(struct raw_reply *raw, const struct reply *reply)
{
	const struct verdict *verdict = &reply->verdict;

	memguard__v1__verdict__init(&raw->verdict);
	raw->verdict.allowed = verdict->allowed;
	raw->verdict.cause = verdict->cause;
	raw->verdict.file = data_from(verdict->file);
	raw->verdict.line = verdict->line;
	raw->verdict.section = data_from(verdict->section);
	raw->verdict.rule = data_from(verdict->rule);
	raw->verdict.token_fault = verdict->token_fault;
	raw->reply.verdict = &raw->verdict;
}

static void write_issued(struct raw_reply *raw, const struct reply *reply)
{
	memguard__v1__issued__init(&raw->issued);
	raw->issued.token = data_from(span_of(reply->key, MESSAGE_TOKEN_SIZE));
	raw->reply.issued = &raw->issued;
}

static void write_token(struct raw_reply *raw, const struct reply *reply)
{
	const struct token_info *token = &reply->token;

	memguard__v1__token__init(&raw->token);
	raw->token.name = data_from(token->name);
	raw->token.issuer = token->issuer;
	raw->token.created_ms = token->created_ms;
	message_pack_grants(&raw->grants, &token->grants);
	raw->token.grants = raw->grants.pointer;
	raw->token.n_grants = raw->grants.count;
	raw->token.ttl_ms = token->ttl_ms;
	raw->token.uses = token->uses;
	raw->token.left = token->left;
	raw->token.of_uid = token->of_uid;
	raw->token.uid = token->uid;
	raw->token.unit = data_from(token->unit);
	raw->reply.token = &raw->token;
}

static void write_event(struct raw_reply *raw, const struct reply *reply)
{
	message_pack_event(&raw->event, reply);
	raw->reply.event = &raw->event;
}

static void write_mark(struct raw_reply *raw, const struct reply *reply)
{
	message_pack_mark(&raw->mark, reply);
	raw->reply.mark = &raw->mark;
}

static void write_wrapped(struct raw_reply *raw, const struct reply *reply)
{
	const struct token_info *token = &reply->token;

	memguard__v1__wrapped__init(&raw->wrapped);
	raw->wrapped.name = data_from(token->name);
	raw->wrapped.issuer = token->issuer;
	raw->wrapped.created_ms = token->created_ms;
	raw->wrapped.ttl_ms = token->ttl_ms;
	raw->wrapped.uses = token->uses;
	raw->wrapped.left = token->left;
	raw->reply.wrapped = &raw->wrapped;
}

static const struct {
	Memguard__V1__Reply__BodyCase body_case;
	void (*write)(struct raw_reply *, const struct reply *);
} bodies[] = {
	[BODY_VALUE] = { MEMGUARD__V1__REPLY__BODY_VALUE, write_value },
	[BODY_STORED] = { MEMGUARD__V1__REPLY__BODY_STORED, write_stored },
	[BODY_LISTING] = { MEMGUARD__V1__REPLY__BODY_LISTING, write_listing },
	[BODY_INFO] = { MEMGUARD__V1__REPLY__BODY_INFO, write_info },
	[BODY_STATE] = { MEMGUARD__V1__REPLY__BODY_STATE, write_state },
	[BODY_CALLER] = { MEMGUARD__V1__REPLY__BODY_CALLER, write_caller },
	[BODY_PURGED] = { MEMGUARD__V1__REPLY__BODY_PURGED, write_purged },
	[BODY_TAKEN] = { MEMGUARD__V1__REPLY__BODY_TAKEN, write_taken },
	[BODY_PART] = { MEMGUARD__V1__REPLY__BODY_PART, write_part },
	[BODY_RECORD] = { MEMGUARD__V1__REPLY__BODY_RECORD, write_record },
	[BODY_RESTORED] = { MEMGUARD__V1__REPLY__BODY_RESTORED, write_restored },
	[BODY_VERDICT] = { MEMGUARD__V1__REPLY__BODY_VERDICT, write_verdict },
	[BODY_EVENT] = { MEMGUARD__V1__REPLY__BODY_EVENT, write_event },
	[BODY_MARK] = { MEMGUARD__V1__REPLY__BODY_MARK, write_mark },
	[BODY_ISSUED] = { MEMGUARD__V1__REPLY__BODY_ISSUED, write_issued },
	[BODY_TOKEN] = { MEMGUARD__V1__REPLY__BODY_TOKEN, write_token },
	[BODY_WRAPPED] = { MEMGUARD__V1__REPLY__BODY_WRAPPED, write_wrapped },
};

int message_append_reply(uint8_t *out, size_t *used, size_t room, const struct reply *reply)
{
	struct raw_reply raw;

	memguard__v1__reply__init(&raw.reply);
	raw.reply.id = reply->id;
	raw.reply.code = (uint32_t)reply->code;
	raw.reply.detail = data_from(reply->detail);
	raw.reply.left_out = reply->left_out;
	if (reply->chunked) {
		message_pack_chunks(&raw.chunks, &reply->chunks);
		raw.reply.chunks = &raw.chunks;
	}
	if (reply->body != BODY_NONE) {
		if (message_pack_tags(&raw.tags, &reply->info.tags) < 0)
			return -EINVAL;
		bodies[reply->body].write(&raw, reply);
		raw.reply.body_case = bodies[reply->body].body_case;
	}
	return message_pack(out, used, room, &raw.reply.base);
}
