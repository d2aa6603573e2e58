/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/message_pack.h"

#include <errno.h>

#include "common/memory/enclave.h"

struct raw_stage {
	PB(Stage) stage;
	struct raw_record record;
};

/* Room for whichever verb is written. */
struct raw_request {
	PB(Request) request;
	PB(Chunks) chunks;
	PB(Conditions) conditions;
	PB(Lifetime) lifetime;
	PB(Rotation) rotation;
	union {
		struct raw_tags tags;
		struct raw_grants grants; /* of a token, which has no tags */
	};
	union {
		PB(Ping) ping;
		PB(Get) get;
		PB(Set) set;
		PB(Remove) remove;
		PB(List) list;
		PB(Stat) stat;
		PB(Generate) generate;
		PB(Status) status;
		PB(Whoami) whoami;
		PB(Cancel) cancel;
		PB(Purge) purge;
		PB(Shutdown) shutdown;
		PB(Touch) touch;
		PB(Freeze) freeze;
		PB(Melt) melt;
		PB(Verify) verify;
		PB(StreamWrite) stream_write;
		PB(StreamRead) stream_read;
		PB(Reload) reload;
		PB(Upgrade) upgrade;
		PB(Move) move;
		PB(Export) export;
		PB(Commit) commit;
		PB(Watch) watch;
		PB(IssueToken) issue_token;
		PB(ListTokens) list_tokens;
		PB(RevokeToken) revoke_token;
		PB(ShowToken) show_token;
		PB(Wrap) wrap;
		PB(Unwrap) unwrap;
		PB(Lock) lock;
		PB(Unlock) unlock;
		struct {
			PB(Explain) explain;
			ProtobufCBinaryData as[MESSAGE_AS_MAX];
		};
		struct raw_stage stage;
	};
};

static void write_conditions(struct raw_request *raw, const struct conditions *conditions)
{
	memguard__v1__conditions__init(&raw->conditions);
	raw->conditions.create_only = conditions->create_only;
	raw->conditions.compare = conditions->compare;
	raw->conditions.version = conditions->version;
}

/* NULL where nothing is rotated. */
static PB(Rotation) * write_rotation(struct raw_request *raw, const struct rotation *rotation)
{
	if (!rotation->asked)
		return NULL;
	memguard__v1__rotation__init(&raw->rotation);
	raw->rotation.grace_ms = rotation->grace_ms;
	return &raw->rotation;
}

static void write_ping(struct raw_request *raw, const struct request *request)
{
	(void)request;
	memguard__v1__ping__init(&raw->ping);
	raw->request.ping = &raw->ping;
}

static void write_get(struct raw_request *raw, const struct request *request)
{
	memguard__v1__get__init(&raw->get);
	raw->get.name = data_from(request->name);
	raw->get.version = request->version;
	raw->get.wait_ms = request->wait_ms;
	raw->request.get = &raw->get;
}

static void write_set(struct raw_request *raw, const struct request *request)
{
	memguard__v1__set__init(&raw->set);
	raw->set.name = data_from(request->name);
	raw->set.data_key = data_from(span_of(request->key, ENCLAVE_KEY_SIZE));
	raw->set.size = request->size;
	raw->set.conditions = &raw->conditions;
	raw->set.tags = raw->tags.pointer;
	raw->set.n_tags = raw->tags.count;
	raw->set.lifetime = message_pack_lifetime(&raw->lifetime, &request->lifetime);
	raw->set.freeze = request->freeze;
	raw->set.rotation = write_rotation(raw, &request->rotation);
	raw->request.set = &raw->set;
}

static void write_remove(struct raw_request *raw, const struct request *request)
{
	memguard__v1__remove__init(&raw->remove);
	raw->remove.name = data_from(request->name);
	raw->remove.conditions = &raw->conditions;
	raw->request.remove = &raw->remove;
}

static void write_move(struct raw_request *raw, const struct request *request)
{
	memguard__v1__move__init(&raw->move);
	raw->move.name = data_from(request->name);
	raw->move.to = data_from(request->to);
	raw->move.conditions = &raw->conditions;
	raw->request.move = &raw->move;
}

static void write_list(struct raw_request *raw, const struct request *request)
{
	memguard__v1__list__init(&raw->list);
	raw->list.prefix = data_from(request->name);
	raw->list.after = data_from(request->after);
	raw->list.limit = request->limit;
	raw->list.details = request->details;
	raw->list.tags = raw->tags.pointer;
	raw->list.n_tags = raw->tags.count;
	raw->request.list = &raw->list;
}

static void write_stat(struct raw_request *raw, const struct request *request)
{
	memguard__v1__stat__init(&raw->stat);
	raw->stat.name = data_from(request->name);
	raw->request.stat = &raw->stat;
}

static void write_generate(struct raw_request *raw, const struct request *request)
{
	memguard__v1__generate__init(&raw->generate);
	raw->generate.name = data_from(request->name);
	raw->generate.size = request->size;
	raw->generate.charset = (Memguard__V1__Charset)request->charset;
	raw->generate.conditions = &raw->conditions;
	raw->generate.tags = raw->tags.pointer;
	raw->generate.n_tags = raw->tags.count;
	raw->generate.lifetime = message_pack_lifetime(&raw->lifetime, &request->lifetime);
	raw->generate.freeze = request->freeze;
	raw->generate.rotation = write_rotation(raw, &request->rotation);
	raw->request.generate = &raw->generate;
}

static void write_status(struct raw_request *raw, const struct request *request)
{
	(void)request;
	memguard__v1__status__init(&raw->status);
	raw->request.status = &raw->status;
}

static void write_whoami(struct raw_request *raw, const struct request *request)
{
	(void)request;
	memguard__v1__whoami__init(&raw->whoami);
	raw->request.whoami = &raw->whoami;
}

static void write_cancel(struct raw_request *raw, const struct request *request)
{
	memguard__v1__cancel__init(&raw->cancel);
	raw->cancel.id = request->target;
	raw->request.cancel = &raw->cancel;
}

static void write_purge(struct raw_request *raw, const struct request *request)
{
	memguard__v1__purge__init(&raw->purge);
	raw->purge.all = request->all;
	raw->request.purge = &raw->purge;
}

static void write_shutdown(struct raw_request *raw, const struct request *request)
{
	(void)request;
	memguard__v1__shutdown__init(&raw->shutdown);
	raw->request.shutdown = &raw->shutdown;
}

static void write_touch(struct raw_request *raw, const struct request *request)
{
	memguard__v1__touch__init(&raw->touch);
	raw->touch.name = data_from(request->name);
	raw->touch.conditions = &raw->conditions;
	raw->touch.ttl_ms = request->lifetime.ttl_ms;
	raw->request.touch = &raw->touch;
}

static void write_freeze(struct raw_request *raw, const struct request *request)
{
	memguard__v1__freeze__init(&raw->freeze);
	raw->freeze.name = data_from(request->name);
	raw->freeze.conditions = &raw->conditions;
	raw->request.freeze = &raw->freeze;
}

static void write_melt(struct raw_request *raw, const struct request *request)
{
	memguard__v1__melt__init(&raw->melt);
	raw->melt.name = data_from(request->name);
	raw->melt.conditions = &raw->conditions;
	raw->request.melt = &raw->melt;
}

static void write_verify(struct raw_request *raw, const struct request *request)
{
	memguard__v1__verify__init(&raw->verify);
	raw->verify.name = data_from(request->name);
	raw->verify.data_key = data_from(span_of(request->key, ENCLAVE_KEY_SIZE));
	raw->verify.size = request->size;
	raw->request.verify = &raw->verify;
}

static void write_stream_write(struct raw_request *raw, const struct request *request)
{
	memguard__v1__stream_write__init(&raw->stream_write);
	raw->stream_write.name = data_from(request->name);
	if (request->key)
		raw->stream_write.data_key = data_from(span_of(request->key, ENCLAVE_KEY_SIZE));
	raw->request.stream_write = &raw->stream_write;
}

static void write_stream_read(struct raw_request *raw, const struct request *request)
{
	memguard__v1__stream_read__init(&raw->stream_read);
	raw->stream_read.name = data_from(request->name);
	raw->stream_read.wait_ms = request->wait_ms;
	raw->stream_read.stream = request->read.stream;
	raw->stream_read.segment = request->read.segment;
	raw->stream_read.next = request->read.next;
	raw->stream_read.acknowledge = request->acknowledge;
	raw->request.stream_read = &raw->stream_read;
}

static void write_reload(struct raw_request *raw, const struct request *request)
{
	(void)request;
	memguard__v1__reload__init(&raw->reload);
	raw->request.reload = &raw->reload;
}

static void write_upgrade(struct raw_request *raw, const struct request *request)
{
	(void)request;
	memguard__v1__upgrade__init(&raw->upgrade);
	raw->request.upgrade = &raw->upgrade;
}

static void write_export(struct raw_request *raw, const struct request *request)
{
	memguard__v1__export__init(&raw->export);
	raw->export.prefix = data_from(request->name);
	raw->export.after = data_from(request->after);
	raw->request.export = &raw->export;
}

static void write_stage(struct raw_request *raw, const struct request *request)
{
	memguard__v1__stage__init(&raw->stage.stage);
	message_pack_staged(&raw->stage.record, &raw->tags, request);
	raw->stage.stage.record = &raw->stage.record.record;
	raw->request.stage = &raw->stage.stage;
}

static void write_commit(struct raw_request *raw, const struct request *request)
{
	memguard__v1__commit__init(&raw->commit);
	raw->commit.secrets = request->secrets;
	raw->request.commit = &raw->commit;
}

static void write_explain(struct raw_request *raw, const struct request *request)
{
	message_pack_explain(&raw->explain, raw->as, request);
	raw->request.explain = &raw->explain;
}

static void write_issue_token(struct raw_request *raw, const struct request *request)
{
	memguard__v1__issue_token__init(&raw->issue_token);
	raw->issue_token.name = data_from(request->name);
	message_pack_grants(&raw->grants, &request->grants);
	raw->issue_token.grants = raw->grants.pointer;
	raw->issue_token.n_grants = raw->grants.count;
	raw->issue_token.ttl_ms = request->lifetime.ttl_ms;
	raw->issue_token.uses = request->uses;
	raw->issue_token.of_uid = request->of_uid;
	raw->issue_token.uid = request->uid;
	raw->issue_token.unit = data_from(request->unit);
	raw->request.issue_token = &raw->issue_token;
}

static void write_list_tokens(struct raw_request *raw, const struct request *request)
{
	memguard__v1__list_tokens__init(&raw->list_tokens);
	raw->list_tokens.after = data_from(request->after);
	raw->request.list_tokens = &raw->list_tokens;
}

static void write_revoke_token(struct raw_request *raw, const struct request *request)
{
	memguard__v1__revoke_token__init(&raw->revoke_token);
	raw->revoke_token.name = data_from(request->name);
	raw->request.revoke_token = &raw->revoke_token;
}

static void write_show_token(struct raw_request *raw, const struct request *request)
{
	memguard__v1__show_token__init(&raw->show_token);
	if (request->token)
		raw->show_token.token = data_from(span_of(request->token, MESSAGE_TOKEN_SIZE));
	raw->request.show_token = &raw->show_token;
}

static void write_watch(struct raw_request *raw, const struct request *request)
{
	message_pack_watch(&raw->watch, request);
	raw->request.watch = &raw->watch;
}

static void write_wrap(struct raw_request *raw, const struct request *request)
{
	memguard__v1__wrap__init(&raw->wrap);
	raw->wrap.name = data_from(request->name);
	raw->wrap.ttl_ms = request->lifetime.ttl_ms;
	raw->wrap.uses = request->uses;
	raw->request.wrap = &raw->wrap;
}

static void write_unwrap(struct raw_request *raw, const struct request *request)
{
	memguard__v1__unwrap__init(&raw->unwrap);
	if (request->token)
		raw->unwrap.token = data_from(span_of(request->token, MESSAGE_TOKEN_SIZE));
	raw->unwrap.lookup = request->lookup;
	raw->request.unwrap = &raw->unwrap;
}

static void write_lock(struct raw_request *raw, const struct request *request)
{
	message_pack_lock(&raw->lock, request);
	raw->request.lock = &raw->lock;
}

static void write_unlock(struct raw_request *raw, const struct request *request)
{
	message_pack_unlock(&raw->unlock, request);
	raw->request.unlock = &raw->unlock;
}

static const struct {
	Memguard__V1__Request__VerbCase verb_case;
	void (*write)(struct raw_request *, const struct request *);
} verbs[VERBS] = {
	[VERB_PING] = { MEMGUARD__V1__REQUEST__VERB_PING, write_ping },
	[VERB_GET] = { MEMGUARD__V1__REQUEST__VERB_GET, write_get },
	[VERB_SET] = { MEMGUARD__V1__REQUEST__VERB_SET, write_set },
	[VERB_REMOVE] = { MEMGUARD__V1__REQUEST__VERB_REMOVE, write_remove },
	[VERB_LIST] = { MEMGUARD__V1__REQUEST__VERB_LIST, write_list },
	[VERB_STAT] = { MEMGUARD__V1__REQUEST__VERB_STAT, write_stat },
	[VERB_GENERATE] = { MEMGUARD__V1__REQUEST__VERB_GENERATE, write_generate },
	[VERB_STATUS] = { MEMGUARD__V1__REQUEST__VERB_STATUS, write_status },
	[VERB_WHOAMI] = { MEMGUARD__V1__REQUEST__VERB_WHOAMI, write_whoami },
	[VERB_CANCEL] = { MEMGUARD__V1__REQUEST__VERB_CANCEL, write_cancel },
	[VERB_PURGE] = { MEMGUARD__V1__REQUEST__VERB_PURGE, write_purge },
	[VERB_SHUTDOWN] = { MEMGUARD__V1__REQUEST__VERB_SHUTDOWN, write_shutdown },
	[VERB_TOUCH] = { MEMGUARD__V1__REQUEST__VERB_TOUCH, write_touch },
	[VERB_FREEZE] = { MEMGUARD__V1__REQUEST__VERB_FREEZE, write_freeze },
	[VERB_MELT] = { MEMGUARD__V1__REQUEST__VERB_MELT, write_melt },
	[VERB_VERIFY] = { MEMGUARD__V1__REQUEST__VERB_VERIFY, write_verify },
	[VERB_STREAM_WRITE] = { MEMGUARD__V1__REQUEST__VERB_STREAM_WRITE, write_stream_write },
	[VERB_STREAM_READ] = { MEMGUARD__V1__REQUEST__VERB_STREAM_READ, write_stream_read },
	[VERB_RELOAD] = { MEMGUARD__V1__REQUEST__VERB_RELOAD, write_reload },
	[VERB_UPGRADE] = { MEMGUARD__V1__REQUEST__VERB_UPGRADE, write_upgrade },
	[VERB_MOVE] = { MEMGUARD__V1__REQUEST__VERB_MOVE, write_move },
	[VERB_EXPORT] = { MEMGUARD__V1__REQUEST__VERB_EXPORT, write_export },
	[VERB_STAGE] = { MEMGUARD__V1__REQUEST__VERB_STAGE, write_stage },
	[VERB_COMMIT] = { MEMGUARD__V1__REQUEST__VERB_COMMIT, write_commit },
	[VERB_EXPLAIN] = { MEMGUARD__V1__REQUEST__VERB_EXPLAIN, write_explain },
	[VERB_WATCH] = { MEMGUARD__V1__REQUEST__VERB_WATCH, write_watch },
	[VERB_ISSUE_TOKEN] = { MEMGUARD__V1__REQUEST__VERB_ISSUE_TOKEN, write_issue_token },
	[VERB_LIST_TOKENS] = { MEMGUARD__V1__REQUEST__VERB_LIST_TOKENS, write_list_tokens },
	[VERB_REVOKE_TOKEN] = { MEMGUARD__V1__REQUEST__VERB_REVOKE_TOKEN, write_revoke_token },
	[VERB_SHOW_TOKEN] = { MEMGUARD__V1__REQUEST__VERB_SHOW_TOKEN, write_show_token },
	[VERB_WRAP] = { MEMGUARD__V1__REQUEST__VERB_WRAP, write_wrap },
	[VERB_UNWRAP] = { MEMGUARD__V1__REQUEST__VERB_UNWRAP, write_unwrap },
	[VERB_LOCK] = { MEMGUARD__V1__REQUEST__VERB_LOCK, write_lock },
	[VERB_UNLOCK] = { MEMGUARD__V1__REQUEST__VERB_UNLOCK, write_unlock },
};

/* Their time to live is no field of another verb. */
static bool is_of_tokens(enum verb verb)
{
	return verb == VERB_ISSUE_TOKEN || verb == VERB_WRAP;
}

int message_append_request(uint8_t *out, size_t *used, size_t room, const struct request *request)
{
	struct raw_request raw;

	memguard__v1__request__init(&raw.request);
	raw.request.id = request->id;
	if (request->numbered)
		raw.request.number = data_from(span_of(request->number, MESSAGE_NUMBER_SIZE));
	raw.request.reason = data_from(request->reason);
	if (request->chunked) {
		message_pack_chunks(&raw.chunks, &request->chunks);
		raw.request.chunks = &raw.chunks;
	}
	/* Whoever does not know these fields would drop them and store something else. */
	if (!is_of_tokens(request->verb) &&
		(lifetime_is_limited(&request->lifetime) || request->freeze))
		raw.request.level = MESSAGE_LEVEL_LIFETIME;
	if (request->rotation.asked)
		raw.request.level = MESSAGE_LEVEL_ROTATION;
	if (request->verb >= VERB_PING) {
		write_conditions(&raw, &request->conditions);
		if (message_pack_tags(&raw.tags, &request->tags) < 0)
			return -EINVAL;
		verbs[request->verb].write(&raw, request);
		raw.request.verb_case = verbs[request->verb].verb_case;
	}
	return message_pack(out, used, room, &raw.request.base);
}
