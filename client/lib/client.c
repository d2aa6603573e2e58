/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/mgclient.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/listing.h"
#include "client/lib/trust.h"
#include "common/status.h"
#include "common/wire/name.h"
#include "common/wire/text.h"

/* A tag as C strings, both with their NUL. */
#define TAG_TEXT (MESSAGE_TAG_KEY_MAX + 1 + MESSAGE_TAG_VALUE_MAX + 1)
#define NAME_TEXT (NAME_FILED_MAX + 1)

const char *mg_version(void)
{
	return MEMGUARDD_VERSION;
}

/* -- the handle ---------------------------------------------------------------------------- */

#define TIMEOUT_MS 5000

static int attempt_nothing(struct mg_client *client, struct call *call)
{
	(void)client;
	(void)call;
	return MG_OK;
}

/* The first connection, so that an open handle means a daemon. */
static int connect_now(struct mg_client *client)
{
	struct call call = { .attempt = attempt_nothing, .repeatable = true };

	return call_run(client, &call);
}

int mg_open(struct mg_client **clientp, const struct mg_options *options)
{
	static const struct mg_options defaults;
	struct endpoint endpoint;
	struct mg_client *client;
	int r;

	*clientp = NULL;
	if (!options)
		options = &defaults;
	if (options->memory > MG_MEMORY_REQUIRE_SECRET)
		return error_say(MG_INVALID, "no such protection of memory");
	r = trust_find(&endpoint, options);
	if (r == MG_OK)
		r = handle_new(&client, options->memory);
	if (r != MG_OK)
		return r;
	client->endpoint = endpoint;
	snprintf(client->place, sizeof(client->place), "unix:%s", endpoint.path);
	client->expect_uid = options->expect_uid;
	client->daemon_uid = options->daemon_uid;
	mg_set_timeout(client, options->timeout_ms);
	r = connect_now(client);
	if (r != MG_OK) {
		handle_free(client);
		return r;
	}
	*clientp = client;
	return MG_OK;
}

void mg_close(struct mg_client *client)
{
	if (client)
		handle_free(client);
}

void mg_client_cleanup(struct mg_client **clientp)
{
	mg_close(*clientp);
	*clientp = NULL;
}

void mg_set_timeout(struct mg_client *client, unsigned timeout_ms)
{
	if (client)
		client->timeout_ms = timeout_ms > 0 ? timeout_ms : TIMEOUT_MS;
}

int mg_set_reason(struct mg_client *client, const char *reason)
{
	struct span text = span_text(reason ? reason : "");
	const char *fault = text_fault(text);
	int r;

	if (!client)
		return error_say(MG_INVALID, "no handle");
	if (text.size > MESSAGE_REASON_MAX)
		return error_say(MG_INVALID, "a reason has at most %d bytes", MESSAGE_REASON_MAX);
	if (fault)
		return error_say(MG_INVALID, "the reason %s", fault);
	r = handle_enter(client, connection_now_ms() + client->timeout_ms);
	if (r != MG_OK)
		return r;
	memcpy(client->reason, text.data, text.size);
	client->reason_size = text.size;
	handle_leave(client);
	return MG_OK;
}

const char *mg_endpoint(const struct mg_client *client)
{
	return client ? client->place : "";
}

/* -- one question, one answer -------------------------------------------------------------- */

struct question {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct tag tags[MESSAGE_TAGS_MAX];
	enum body expected;
	/* Takes the answer. Returns a status. */
	int (*take)(struct question *question, const struct reply *reply);
	uint64_t version;
	mg_each each;
	void *target;
};

/* A move has two names: whatever is under the other one is in its way, and has no version here. */
static int judge(const struct question *question, const struct reply *reply)
{
	struct span to = question->request.to;
	bool met = reply->code == STATUS_CONFLICT && reply->body == BODY_STORED;

	if (to.size == 0 || !met || reply->version > 0)
		return call_judge(reply);
	return error_say(MG_CONFLICT, "'%.*s' exists already", (int)to.size, (const char *)to.data);
}

static int attempt_question(struct mg_client *client, struct call *call)
{
	struct question *question = (struct question *)(void *)call;
	struct reply reply;
	int r = call_ask(client, call, &question->request, &reply);

	if (r < 0)
		return r;
	if (reply.code == 0 && reply.body != question->expected)
		return -EPROTO;
	r = judge(question, &reply);
	return r == MG_OK && question->take ? question->take(question, &reply) : r;
}

static int ask(struct mg_client *client, struct question *question)
{
	question->call.attempt = attempt_question;
	/* What ends with its connection may have been stored already, and have ended. */
	question->call.repeatable = !question->request.lifetime.session;
	return call_run(client, &question->call);
}

int mg_ping(struct mg_client *client)
{
	struct question question = { .request = { .verb = VERB_PING } };

	return ask(client, &question);
}

static int take_version(struct question *question, const struct reply *reply)
{
	question->version = reply->version;
	return MG_OK;
}

int mg_generate(struct mg_client *client, const char *name, size_t size, enum mg_charset charset,
	const struct mg_set_options *options, uint64_t *versionp)
{
	struct question question = { .expected = BODY_STORED, .take = take_version };
	int r = call_prepare_change(&question.request, question.tags, VERB_GENERATE, name, options);

	if (r == MG_OK && size == 0)
		r = error_say(MG_INVALID, "a value has at least one byte");
	if (r == MG_OK && charset > MG_BYTES)
		r = error_say(MG_INVALID, "no such set of characters");
	question.request.size = size;
	question.request.charset = (enum charset)charset;
	if (r == MG_OK)
		r = ask(client, &question);
	if (r == MG_OK && versionp)
		*versionp = question.version;
	return r;
}

/* What must exist has conditions, but no new tags or lifetime. */
static int prepare_existing(struct question *question, enum verb verb, const char *name,
	const struct mg_set_options *options)
{
	struct mg_set_options conditions = { 0 };

	if (options) {
		conditions.compare = options->compare;
		conditions.version = options->version;
	}
	return call_prepare_change(&question->request, question->tags, verb, name, &conditions);
}

int mg_remove(struct mg_client *client, const char *name, const struct mg_set_options *options)
{
	struct question question = { .expected = BODY_STORED };
	int r = prepare_existing(&question, VERB_REMOVE, name, options);

	return r == MG_OK ? ask(client, &question) : r;
}

int mg_touch(struct mg_client *client, const char *name, uint64_t ttl_ms,
	const struct mg_set_options *options)
{
	struct question question = { .expected = BODY_STORED };
	int r = prepare_existing(&question, VERB_TOUCH, name, options);

	if (r == MG_OK && (ttl_ms == 0 || ttl_ms > MESSAGE_SPAN_MAX))
		r = error_say(MG_INVALID, "a time to live is 1 ms to a hundred years");
	question.request.lifetime.ttl_ms = ttl_ms;
	return r == MG_OK ? ask(client, &question) : r;
}

int mg_freeze(struct mg_client *client, const char *name, const struct mg_set_options *options)
{
	struct question question = { .expected = BODY_STORED };
	int r = prepare_existing(&question, VERB_FREEZE, name, options);

	return r == MG_OK ? ask(client, &question) : r;
}

int mg_melt(struct mg_client *client, const char *name, const struct mg_set_options *options)
{
	struct question question = { .expected = BODY_STORED };
	int r = prepare_existing(&question, VERB_MELT, name, options);

	return r == MG_OK ? ask(client, &question) : r;
}

int mg_move(struct mg_client *client, const char *name, const char *to,
	const struct mg_set_options *options, uint64_t *versionp)
{
	struct question question = { .expected = BODY_STORED, .take = take_version };
	const char *fault = to ? name_fault(span_text(to)) : "is missing";
	int r = prepare_existing(&question, VERB_MOVE, name, options);

	if (r == MG_OK && fault)
		r = error_say(MG_INVALID, "the new name %s", fault);
	if (r != MG_OK)
		return r;
	question.request.to = span_text(to);
	r = ask(client, &question);
	if (r == MG_OK && versionp)
		*versionp = question.version;
	return r;
}

/* -- the outside of secrets ---------------------------------------------------------------- */

/* One secret's outside as C strings. */
struct shown {
	char name[NAME_TEXT];
	char tags[MESSAGE_TAGS_MAX][TAG_TEXT];
	struct mg_tag tag[MESSAGE_TAGS_MAX];
};

/* Spans from the wire hold no NUL: they are checked when they are read. */
static char *copy_text(char *out, struct span text)
{
	if (text.size > 0)
		memcpy(out, text.data, text.size);
	out[text.size] = '\0';
	return out;
}

static void show_tag(struct shown *shown, size_t i, const struct tag *tag)
{
	shown->tag[i].key = copy_text(shown->tags[i], tag->key);
	shown->tag[i].value = copy_text(shown->tags[i] + tag->key.size + 1, tag->value);
}

/* Hands one secret's outside to the caller. Returns a status. */
static int hand_over(const struct info *info, mg_each each, void *context)
{
	struct shown shown;
	struct mg_info out = { .name = copy_text(shown.name, info->name),
		.version = info->version,
		.size = info->size,
		.created_ms = info->created_ms,
		.changed_ms = info->changed_ms,
		.tags = shown.tag,
		.tag_count = info->tags.count,
		.left = { .ttl_ms = info->left.ttl_ms,
			.idle_ms = info->left.idle_ms,
			.max_reads = info->left.reads,
			.bind_pid = (pid_t)info->left.pid,
			.session = info->left.session },
		.idle_left_ms = info->idle_left_ms,
		.frozen = info->frozen,
		.stream = info->stream };
	int r;

	for (size_t i = 0; i < info->tags.count; i++)
		show_tag(&shown, i, &info->tags.tag[i]);
	r = each(context, &out);
	if (r == 0)
		return MG_OK;
	return error_say(r > 0 ? r : MG_INTERNAL, "the caller gave up");
}

static int take_info(struct question *question, const struct reply *reply)
{
	return hand_over(&reply->info, question->each, question->target);
}

int mg_stat(struct mg_client *client, const char *name, mg_each each, void *context)
{
	struct question question = {
		.expected = BODY_INFO, .take = take_info, .each = each, .target = context
	};
	int r = call_check_name(name);

	if (r != MG_OK)
		return r;
	question.request = (struct request){ .verb = VERB_STAT, .name = span_text(name) };
	return ask(client, &question);
}

/* -- listing ------------------------------------------------------------------------------- */

struct secrets {
	struct listing listing; /* first: what is handed over */
	struct tag tags[MESSAGE_TAGS_MAX];
	mg_each each;
	void *context;
};

static int hand_over_secret(const struct listing *listing, const struct reply *entry)
{
	const struct secrets *secrets = (const struct secrets *)(const void *)listing;

	return hand_over(&entry->info, secrets->each, secrets->context);
}

static int take_filter(struct secrets *secrets, const struct mg_list_options *options)
{
	struct request *request = &secrets->listing.request;

	if (!options)
		return MG_OK;
	request->details = options->details;
	return call_take_tags(&request->tags, secrets->tags, options->tags, options->tag_count);
}

int mg_list(struct mg_client *client, const char *prefix, const struct mg_list_options *options,
	mg_each each, void *context)
{
	struct span name = span_text(prefix ? prefix : "");
	struct secrets secrets = {
		.listing = { .request = { .verb = VERB_LIST, .name = name },
			.entry = BODY_INFO,
			.hand_over = hand_over_secret },
		.each = each,
		.context = context,
	};
	const char *fault = name_prefix_fault(name);
	int r;

	if (fault)
		return error_say(MG_INVALID, "the prefix %s", fault);
	r = take_filter(&secrets, options);
	return r == MG_OK ? listing_run(client, &secrets.listing) : r;
}

/* -- the daemon ---------------------------------------------------------------------------- */

/* As much of the text as there is room for. */
static void cut_text(char *out, size_t room, struct span text)
{
	copy_text(out, span_of(text.data, text.size < room ? text.size : room - 1));
}

static void take_audit(struct mg_state *state, const struct state *from)
{
	state->audit = from->audit_key.size == sizeof(state->audit_key);
	state->audit_record = from->audit_record;
	state->audit_lost = from->audit_lost;
	if (state->audit)
		memcpy(state->audit_key, from->audit_key.data, sizeof(state->audit_key));
	if (from->audit_hash.size == sizeof(state->audit_hash))
		memcpy(state->audit_hash, from->audit_hash.data, sizeof(state->audit_hash));
}

static int take_state(struct question *question, const struct reply *reply)
{
	const struct state *from = &reply->state;
	struct mg_state *state = question->target;

	*state = (struct mg_state){ .pid = from->pid,
		.uptime_ms = from->uptime_ms,
		.backend = from->backend <= MG_BACKEND_SECRET ? (enum mg_backend)from->backend
							      : MG_BACKEND_PLAIN,
		.locked = from->locked,
		.locked_stack = from->locked_stack,
		.sealed = from->sealed,
		.dumpable = from->dumpable,
		.core_limit = from->core_limit,
		.rekey_ms = from->rekey_ms,
		.sessions = from->sessions,
		.counts = from->counts,
		.secrets = from->secrets,
		.ledger = from->ledger,
		.max_value = from->max_value,
		.pidfd = from->pidfd,
		.keeper = from->keeper,
		.broken = from->broken,
		.broken_formers = from->broken_formers,
		.broken_consumed = from->broken_consumed,
		.broken_streams = from->broken_streams,
		.broken_answers = from->broken_answers,
		.tokens = from->tokens,
		.broken_tokens = from->broken_tokens,
		.failed_upgrades = from->failed_upgrades,
		.upgrading = from->upgrading,
		.vault_locked = from->vault_locked };
	take_audit(state, from);
	cut_text(state->version, sizeof(state->version), from->version);
	cut_text(state->advice, sizeof(state->advice), from->advice);
	cut_text(state->cipher, sizeof(state->cipher), from->cipher);
	cut_text(state->upgrade_fault, sizeof(state->upgrade_fault), from->upgrade_fault);
	return MG_OK;
}

int mg_status_of(struct mg_client *client, struct mg_state *state)
{
	struct question question = { .request = { .verb = VERB_STATUS },
		.expected = BODY_STATE,
		.take = take_state,
		.target = state };

	return ask(client, &question);
}

static int take_caller(struct question *question, const struct reply *reply)
{
	const struct caller *from = &reply->caller;
	struct mg_caller *caller = question->target;

	*caller = (struct mg_caller){ .uid = from->uid,
		.gid = from->gid,
		.pid = from->pid,
		.pidfd = from->pidfd,
		.privileged = from->privileged,
		.placed = from->placed,
		.token_fault = (enum mg_token_fault)from->token_fault,
		.counts = from->counts,
		.secrets = from->secrets,
		.bytes = from->bytes,
		.quota_count = from->quota_count,
		.quota_bytes = from->quota_bytes,
		.quota_sessions = from->quota_sessions,
		.quota_inflight = from->quota_inflight,
		.quota_handshakes = from->quota_handshakes };
	while (caller->group_count < from->group_count && caller->group_count < MG_GROUPS_MAX) {
		caller->groups[caller->group_count] = from->groups[caller->group_count];
		caller->group_count++;
	}
	cut_text(caller->label, sizeof(caller->label), from->label);
	cut_text(caller->unit, sizeof(caller->unit), from->unit);
	cut_text(caller->slice, sizeof(caller->slice), from->slice);
	cut_text(caller->userunit, sizeof(caller->userunit), from->userunit);
	cut_text(caller->listener, sizeof(caller->listener), from->listener);
	cut_text(caller->token, sizeof(caller->token), from->token);
	return MG_OK;
}

int mg_whoami(struct mg_client *client, struct mg_caller *caller)
{
	struct question question = { .request = { .verb = VERB_WHOAMI },
		.expected = BODY_CALLER,
		.take = take_caller,
		.target = caller };

	return ask(client, &question);
}

static int take_purged(struct question *question, const struct reply *reply)
{
	*(uint64_t *)question->target = reply->secrets;
	return MG_OK;
}

int mg_purge(struct mg_client *client, enum mg_purge what, uint64_t *countp)
{
	uint64_t count = 0;
	struct question question = {
		.request = { .verb = VERB_PURGE, .numbered = true, .all = what == MG_PURGE_ALL },
		.expected = BODY_PURGED,
		.take = take_purged,
		.target = &count
	};
	int r;

	if (what > MG_PURGE_ALL)
		return error_say(MG_INVALID, "no such purge");
	randombytes_buf(question.request.number, sizeof(question.request.number));
	r = ask(client, &question);
	if (r == MG_OK && countp)
		*countp = count;
	return r;
}

int mg_reload(struct mg_client *client)
{
	struct question question = { .request = { .verb = VERB_RELOAD } };

	return ask(client, &question);
}

/* The daemon closes when it ends, and says nothing before that. */
static int attempt_shutdown(struct mg_client *client, struct call *call)
{
	int r = attempt_question(client, call);
	uint8_t byte;

	if (r != MG_OK)
		return r;
	r = connection_read(&client->connection, &byte, sizeof(byte), call->deadline_ms);
	if (r == 0)
		return -EPROTO;
	connection_close(&client->connection);
	return r == -ECONNRESET ? MG_OK : r;
}

int mg_shutdown(struct mg_client *client)
{
	struct question question = { .call = { .attempt = attempt_shutdown },
		.request = { .verb = VERB_SHUTDOWN } };

	return call_run(client, &question.call);
}
