/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "common/memory/enclave.h"
#include "common/status.h"
#include "common/wire/message_unpack.h"
#include "common/wire/name.h"
#include "common/wire/text.h"

#define VERB_CASE(name) MEMGUARD__V1__REQUEST__VERB_##name

_Static_assert((int)CHARSET_BYTES == (int)MEMGUARD__V1__CHARSET__BYTES, "the wire's numbers");

static void fail(struct request *request, int status, const char *fault)
{
	if (fault && !request->fault) {
		request->fault = fault;
		request->fault_status = status;
	}
}

static void read_name(struct request *request, ProtobufCBinaryData raw)
{
	request->name = span_from(raw);
	fail(request, STATUS_INVALID, name_fault(request->name));
}

static void read_conditions(struct request *request, const PB(Conditions) * raw)
{
	if (!raw)
		return;
	request->conditions.create_only = raw->create_only;
	request->conditions.compare = raw->compare;
	request->conditions.version = raw->version;
}

static int read_request_tags(
	struct request *request, PB(Tag) * *raw, size_t count, struct workbench *bench)
{
	const char *fault = NULL;
	int r = message_read_tags(&request->tags, &fault, raw, count, bench);

	fail(request, STATUS_INVALID, fault);
	return r;
}

static void check_span(struct request *request, uint64_t ms)
{
	if (ms > MESSAGE_SPAN_MAX)
		fail(request, STATUS_INVALID, "a time to live is at most a hundred years");
}

static void read_lifetime(struct request *request, const PB(Lifetime) * raw)
{
	request->lifetime = message_read_lifetime(raw);
	check_span(request, request->lifetime.ttl_ms);
	check_span(request, request->lifetime.idle_ms);
	if (request->lifetime.pid > INT32_MAX)
		fail(request, STATUS_INVALID, "no process has that number");
}

static int read_nothing(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)request;
	(void)raw;
	(void)bench;
	return 0;
}

static int read_get(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->get->name);
	request->version = raw->get->version;
	request->wait_ms = raw->get->wait_ms;
	return 0;
}

static void read_value(
	struct request *request, ProtobufCBinaryData name, ProtobufCBinaryData key, uint64_t size)
{
	read_name(request, name);
	if (key.len == ENCLAVE_KEY_SIZE)
		request->key = key.data;
	else
		fail(request, STATUS_INVALID, "a data key has 32 bytes");
	request->size = size;
}

/* What comes from the version before is not asked for as well. */
static void read_rotation(struct request *request, const PB(Rotation) * raw)
{
	if (!raw)
		return;
	request->rotation = (struct rotation){ .asked = true, .grace_ms = raw->grace_ms };
	if (raw->grace_ms > MESSAGE_SPAN_MAX)
		fail(request, STATUS_INVALID, "a grace is at most a hundred years");
	if (lifetime_is_limited(&request->lifetime) || request->freeze || request->tags.count > 0)
		fail(request, STATUS_INVALID,
			"what is rotated keeps its tags and its lifetime, and is not frozen");
	if (request->conditions.create_only)
		fail(request, STATUS_INVALID, "what is rotated exists");
}

static int read_set(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(Set) *set = raw->set;
	int r;

	read_value(request, set->name, set->data_key, set->size);
	read_conditions(request, set->conditions);
	read_lifetime(request, set->lifetime);
	request->freeze = set->freeze;
	r = read_request_tags(request, set->tags, set->n_tags, bench);
	read_rotation(request, set->rotation);
	return r;
}

static int read_remove(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->remove->name);
	read_conditions(request, raw->remove->conditions);
	return 0;
}

static int read_move(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->move->name);
	request->to = span_from(raw->move->to);
	fail(request, STATUS_INVALID, name_fault(request->to));
	read_conditions(request, raw->move->conditions);
	return 0;
}

static int read_list(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(List) *list = raw->list;

	request->name = span_from(list->prefix);
	fail(request, STATUS_INVALID, name_prefix_fault(request->name));
	request->after = span_from(list->after);
	if (request->after.size > 0)
		fail(request, STATUS_INVALID, name_fault(request->after));
	request->limit = list->limit;
	request->details = list->details;
	return read_request_tags(request, list->tags, list->n_tags, bench);
}

static int read_stat(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->stat->name);
	return 0;
}

static int read_generate(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(Generate) *generate = raw->generate;
	int r;

	read_name(request, generate->name);
	request->size = generate->size;
	if (generate->charset < 0 || generate->charset >= (int)CHARSETS)
		fail(request, STATUS_INVALID, "no such set of characters");
	else
		request->charset = (enum charset)generate->charset;
	read_conditions(request, generate->conditions);
	read_lifetime(request, generate->lifetime);
	request->freeze = generate->freeze;
	r = read_request_tags(request, generate->tags, generate->n_tags, bench);
	read_rotation(request, generate->rotation);
	return r;
}

static int read_cancel(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	request->target = raw->cancel->id;
	return 0;
}

static int read_purge(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	request->all = raw->purge->all;
	return 0;
}

static int read_touch(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->touch->name);
	read_conditions(request, raw->touch->conditions);
	request->lifetime.ttl_ms = raw->touch->ttl_ms;
	check_span(request, raw->touch->ttl_ms);
	if (raw->touch->ttl_ms == 0)
		fail(request, STATUS_INVALID, "a time to live is at least a millisecond");
	return 0;
}

static int read_freeze(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->freeze->name);
	read_conditions(request, raw->freeze->conditions);
	return 0;
}

static int read_melt(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->melt->name);
	read_conditions(request, raw->melt->conditions);
	return 0;
}

static int read_verify(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_value(request, raw->verify->name, raw->verify->data_key, raw->verify->size);
	return 0;
}

/* A segment's first request brings its key; later ones need none. */
static int read_stream_write(
	struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	ProtobufCBinaryData key = raw->stream_write->data_key;

	(void)bench;
	read_name(request, raw->stream_write->name);
	if (key.len == ENCLAVE_KEY_SIZE)
		request->key = key.data;
	else if (key.len > 0)
		fail(request, STATUS_INVALID, "a data key has 32 bytes");
	if (!request->chunked)
		fail(request, STATUS_INVALID, "a write to a stream comes with chunks");
	return 0;
}

static int read_stream_read(
	struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(StreamRead) *read = raw->stream_read;

	(void)bench;
	read_name(request, read->name);
	request->wait_ms = read->wait_ms;
	request->read = (struct stream_place){
		.stream = read->stream, .segment = read->segment, .next = read->next
	};
	request->acknowledge = read->acknowledge;
	return 0;
}

static int read_export(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(Export) *export = raw->export;

	(void)bench;
	request->name = span_from(export->prefix);
	fail(request, STATUS_INVALID, name_prefix_fault(request->name));
	request->after = span_from(export->after);
	if (request->after.size > 0)
		fail(request, STATUS_INVALID, name_fault(request->after));
	return 0;
}

static int read_stage(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	struct bundled bundled = { 0 };
	const char *fault = NULL;
	int r = message_read_record(&bundled, &fault, raw->stage->record, bench);

	fail(request, STATUS_INVALID, fault);
	request->name = bundled.info.name;
	request->version = bundled.info.version;
	request->size = bundled.info.size;
	request->created_ms = bundled.info.created_ms;
	request->changed_ms = bundled.info.changed_ms;
	request->tags = bundled.info.tags;
	request->lifetime = bundled.info.left;
	request->freeze = bundled.info.frozen;
	request->owner = bundled.owner;
	request->key = bundled.key;
	return r;
}

static int read_explain(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(Explain) *explain = raw->explain;
	struct span *as;

	read_name(request, explain->name);
	request->operation = span_from(explain->operation);
	if (text_fault(request->operation))
		fail(request, STATUS_INVALID, "an operation is UTF-8 without control characters");
	if (explain->n_as > MESSAGE_AS_MAX) {
		fail(request, STATUS_INVALID, "at most 32 selectors say for whom");
		return 0;
	}
	as = workbench_take(bench, (explain->n_as + 1) * sizeof(*as));
	if (!as)
		return -ENOBUFS;
	for (size_t i = 0; i < explain->n_as; i++) {
		as[i] = span_from(explain->as[i]);
		if (text_fault(as[i]))
			fail(request, STATUS_INVALID,
				"a selector is UTF-8 without control characters");
	}
	request->as = as;
	request->as_count = explain->n_as;
	return 0;
}

static int read_watch(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	request->name = span_from(raw->watch->prefix);
	fail(request, STATUS_INVALID, name_prefix_fault(request->name));
	request->since = raw->watch->since;
	return 0;
}

/* What tells of the token has to fit as well. */
static size_t grants_size(const struct grants *grants)
{
	size_t size = 0;

	for (size_t i = 0; i < grants->count; i++)
		size += grants->grant[i].operations.size + grants->grant[i].glob.size;
	return size;
}

static int read_issue_token(
	struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(IssueToken) *issue = raw->issue_token;
	const char *fault = NULL;
	int r;

	read_name(request, issue->name);
	r = message_read_grants(&request->grants, &fault, issue->grants, issue->n_grants, bench);
	fail(request, STATUS_INVALID, fault);
	if (grants_size(&request->grants) > MESSAGE_GRANTS_SIZE)
		fail(request, STATUS_INVALID, "the grants of a token have at most 4,096 bytes");
	request->lifetime.ttl_ms = issue->ttl_ms;
	check_span(request, issue->ttl_ms);
	request->uses = issue->uses;
	request->of_uid = issue->of_uid;
	request->uid = issue->uid;
	request->unit = span_from(issue->unit);
	if (issue->unit.len > MESSAGE_UNIT_MAX || text_fault(request->unit))
		fail(request, STATUS_INVALID, "no unit has that name");
	return r;
}

static int read_list_tokens(
	struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	request->after = span_from(raw->list_tokens->after);
	if (request->after.size > 0)
		fail(request, STATUS_INVALID, name_fault(request->after));
	return 0;
}

static int read_revoke_token(
	struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->revoke_token->name);
	return 0;
}

static int read_show_token(
	struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	ProtobufCBinaryData token = raw->show_token->token;

	(void)bench;
	if (token.len == MESSAGE_TOKEN_SIZE)
		request->token = token.data;
	else if (token.len > 0)
		fail(request, STATUS_INVALID, "a token has 32 bytes");
	return 0;
}

static int read_wrap(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->wrap->name);
	request->lifetime.ttl_ms = raw->wrap->ttl_ms;
	check_span(request, raw->wrap->ttl_ms);
	request->uses = raw->wrap->uses;
	return 0;
}

static int read_unwrap(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	ProtobufCBinaryData token = raw->unwrap->token;

	(void)bench;
	if (token.len == MESSAGE_TOKEN_SIZE)
		request->token = token.data;
	else
		fail(request, STATUS_INVALID, "a token has 32 bytes");
	request->lookup = raw->unwrap->lookup;
	return 0;
}

static int read_commit(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	request->secrets = raw->commit->secrets;
	return 0;
}

static void read_key(struct request *request, ProtobufCBinaryData key)
{
	if (key.len == ENCLAVE_KEY_SIZE)
		request->key = key.data;
	else
		fail(request, STATUS_INVALID, "a key has 32 bytes");
}

static int read_lock(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(Lock) *lock = raw->lock;

	(void)bench;
	read_key(request, lock->key);
	request->salt = span_from(lock->salt);
	request->opslimit = lock->opslimit;
	request->memlimit = lock->memlimit;
	if (lock->salt.len != MESSAGE_SALT_SIZE)
		fail(request, STATUS_INVALID, "a salt has 16 bytes");
	if (lock->opslimit < MESSAGE_LOCK_OPSLIMIT_MIN ||
		lock->memlimit < MESSAGE_LOCK_MEMLIMIT_MIN)
		fail(request, STATUS_INVALID,
			"the key of a lock takes 3 passes over 256 MiB, at least");
	if (lock->opslimit > MESSAGE_LOCK_OPSLIMIT_MAX ||
		lock->memlimit > MESSAGE_LOCK_MEMLIMIT_MAX)
		fail(request, STATUS_INVALID,
			"the key of a lock takes 16 passes and 1 GiB, at most");
	return 0;
}

static int read_unlock(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_key(request, raw->unlock->key);
	return 0;
}

/* Each verb of the wire beside ours, and how to read it. `changes`: it must carry a number. */
static const struct {
	int verb_case;
	int (*read)(struct request *, const PB(Request) *, struct workbench *);
	bool changes;
	bool chunks; /* it may claim some */
} verbs[VERBS] = {
	[VERB_PING] = { VERB_CASE(PING), read_nothing, false, false },
	[VERB_GET] = { VERB_CASE(GET), read_get, false, false },
	[VERB_SET] = { VERB_CASE(SET), read_set, true, true },
	[VERB_REMOVE] = { VERB_CASE(REMOVE), read_remove, true, false },
	[VERB_LIST] = { VERB_CASE(LIST), read_list, false, false },
	[VERB_STAT] = { VERB_CASE(STAT), read_stat, false, false },
	[VERB_GENERATE] = { VERB_CASE(GENERATE), read_generate, true, false },
	[VERB_STATUS] = { VERB_CASE(STATUS), read_nothing, false, false },
	[VERB_WHOAMI] = { VERB_CASE(WHOAMI), read_nothing, false, false },
	[VERB_CANCEL] = { VERB_CASE(CANCEL), read_cancel, false, false },
	[VERB_PURGE] = { VERB_CASE(PURGE), read_purge, true, false },
	[VERB_SHUTDOWN] = { VERB_CASE(SHUTDOWN), read_nothing, false, false },
	[VERB_TOUCH] = { VERB_CASE(TOUCH), read_touch, true, false },
	[VERB_FREEZE] = { VERB_CASE(FREEZE), read_freeze, true, false },
	[VERB_MELT] = { VERB_CASE(MELT), read_melt, true, false },
	[VERB_VERIFY] = { VERB_CASE(VERIFY), read_verify, false, true },
	[VERB_STREAM_WRITE] = { VERB_CASE(STREAM_WRITE), read_stream_write, true, true },
	[VERB_STREAM_READ] = { VERB_CASE(STREAM_READ), read_stream_read, false, false },
	[VERB_RELOAD] = { VERB_CASE(RELOAD), read_nothing, false, false },
	[VERB_UPGRADE] = { VERB_CASE(UPGRADE), read_nothing, false, false },
	[VERB_MOVE] = { VERB_CASE(MOVE), read_move, true, false },
	[VERB_EXPORT] = { VERB_CASE(EXPORT), read_export, false, false },
	[VERB_STAGE] = { VERB_CASE(STAGE), read_stage, false, true },
	[VERB_COMMIT] = { VERB_CASE(COMMIT), read_commit, true, false },
	[VERB_EXPLAIN] = { VERB_CASE(EXPLAIN), read_explain, false, false },
	[VERB_WATCH] = { VERB_CASE(WATCH), read_watch, false, false },
	[VERB_ISSUE_TOKEN] = { VERB_CASE(ISSUE_TOKEN), read_issue_token, false, false },
	[VERB_LIST_TOKENS] = { VERB_CASE(LIST_TOKENS), read_list_tokens, false, false },
	[VERB_REVOKE_TOKEN] = { VERB_CASE(REVOKE_TOKEN), read_revoke_token, false, false },
	[VERB_SHOW_TOKEN] = { VERB_CASE(SHOW_TOKEN), read_show_token, false, false },
	[VERB_WRAP] = { VERB_CASE(WRAP), read_wrap, false, false },
	[VERB_UNWRAP] = { VERB_CASE(UNWRAP), read_unwrap, false, false },
	[VERB_LOCK] = { VERB_CASE(LOCK), read_lock, true, false },
	[VERB_UNLOCK] = { VERB_CASE(UNLOCK), read_unlock, true, false },
};

bool verb_goes_on(enum verb verb)
{
	return verb == VERB_SET || verb == VERB_VERIFY || verb == VERB_STAGE;
}

static enum verb verb_of(const PB(Request) * raw)
{
	for (enum verb verb = VERB_PING; verb < VERBS; verb++)
		if (verbs[verb].verb_case == (int)raw->verb_case)
			return verb;
	return raw->chunks ? VERB_NONE : VERB_UNKNOWN;
}

static void read_number(struct request *request, const PB(Request) * raw)
{
	request->numbered = raw->number.len == MESSAGE_NUMBER_SIZE;
	if (request->numbered)
		memcpy(request->number, raw->number.data, MESSAGE_NUMBER_SIZE);
	else if (raw->number.len > 0)
		fail(request, STATUS_INVALID, "a request's number has 16 bytes");
	else if (verbs[request->verb].changes)
		fail(request, STATUS_INVALID, "a request that changes something carries a number");
}

static void read_reason(struct request *request, ProtobufCBinaryData raw)
{
	request->reason = span_from(raw);
	if (raw.len > MESSAGE_REASON_MAX)
		fail(request, STATUS_INVALID, "a reason has at most 256 bytes");
	else if (text_fault(request->reason))
		fail(request, STATUS_INVALID, "a reason is UTF-8 without control characters");
}

static int read_request(struct request *request, const PB(Request) * raw, struct messages *messages,
	struct workbench *bench)
{
	int r = 0;

	if (raw->id == 0)
		return -EPROTO;
	request->id = raw->id;
	request->verb = verb_of(raw);
	if (raw->chunks) {
		request->chunked = true;
		r = message_claim_chunks(&request->chunks, &request->bytes, messages, raw->chunks);
	}
	if (r < 0)
		return r;
	if (raw->level > MESSAGE_LEVEL)
		fail(request, STATUS_PROTOCOL, "this daemon is too old for the request");
	if (request->verb == VERB_UNKNOWN)
		fail(request, STATUS_PROTOCOL, "no such verb");
	if (request->verb < VERB_PING)
		return 0;
	read_reason(request, raw->reason);
	if (request->chunked && !verbs[request->verb].chunks)
		return -EPROTO;
	read_number(request, raw);
	return verbs[request->verb].read(request, raw, bench);
}

int message_next_request(
	struct request *request, struct messages *messages, struct workbench *bench)
{
	ProtobufCMessage *message;
	struct span bytes;
	int r = message_next_bytes(messages, &bytes);

	if (r <= 0)
		return r;
	if (messages->read > MESSAGE_FRAME_MAX)
		return -EPROTO;
	*request = (struct request){ 0 };
	r = message_unpack(&message, &memguard__v1__request__descriptor, bytes, bench);
	if (r == 0)
		r = read_request(request, (const PB(Request) *)message, messages, bench);
	return r < 0 ? r : 1;
}
