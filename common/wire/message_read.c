/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/message.h"

#include <errno.h>
#include <string.h>

#include <memguard.pb-c.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/status.h"
#include "common/wire/frame.h"
#include "common/wire/name.h"
#include "common/wire/text.h"

/* The generated names, shortened for reading. */
#define PB(name) Memguard__V1__##name
#define VERB_CASE(name) MEMGUARD__V1__REQUEST__VERB_##name
#define BODY_CASE(name) MEMGUARD__V1__REPLY__BODY_##name

_Static_assert((int)CHARSET_BYTES == (int)MEMGUARD__V1__CHARSET__BYTES, "the wire's numbers");

/* -- taking messages apart ----------------------------------------------------------------- */

/*
 * What a message may take when it is unpacked. The largest request (16 tags of the largest size)
 * takes 8 KiB; small fields take up to 22 times their packed size. A message that takes more was
 * made to.
 */
#define UNPACKED_MAX ((size_t)10 * 1024)
#define UNPACKED_BASE ((size_t)2048)
#define UNPACKED_FACTOR 22

/* protobuf-c unpacks into one object on the bench, which is given back as a whole. */
struct arena {
	ProtobufCAllocator allocator;
	uint8_t *bytes;
	size_t size;
	size_t used;
	bool full;
};

static void *arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	uint8_t *bytes = arena->bytes + arena->used;

	if (size > arena->size - arena->used) {
		arena->full = true;
		return NULL;
	}
	arena->used += size;
	arena->used = (arena->used + 15) / 16 * 16;
	if (arena->used > arena->size)
		arena->used = arena->size;
	return bytes;
}

static void arena_free(void *data, void *memory)
{
	(void)data;
	(void)memory;
}

static int unpack(ProtobufCMessage **message, const ProtobufCMessageDescriptor *descriptor,
	struct span bytes, struct workbench *bench)
{
	struct arena arena = { .allocator = { .alloc = arena_alloc, .free = arena_free },
		.size = UNPACKED_BASE + UNPACKED_FACTOR * bytes.size };

	arena.allocator.allocator_data = &arena;
	if (arena.size > UNPACKED_MAX)
		arena.size = UNPACKED_MAX;
	if (arena.size > workbench_room(bench))
		arena.size = workbench_room(bench);
	arena.bytes = workbench_take(bench, arena.size);
	if (!arena.bytes)
		return -ENOBUFS;
	*message = protobuf_c_message_unpack(descriptor, &arena.allocator, bytes.size, bytes.data);
	workbench_shrink(bench, arena.bytes, arena.used);
	if (*message)
		return 0;
	return arena.full ? -ENOBUFS : -EPROTO;
}

/* Takes the next length-prefixed message off the frame: 1, 0 at the end, -EPROTO. */
static int next_bytes(struct messages *messages, struct span *bytes)
{
	struct span *plain = &messages->plain;
	size_t size;

	if (plain->size == 0)
		return messages->chunks.size == 0 ? 0 : -EPROTO;
	if (plain->size < FRAME_PREFIX_SIZE)
		return -EPROTO;
	size = bytes_get16(plain->data);
	if (size > plain->size - FRAME_PREFIX_SIZE)
		return -EPROTO;
	*bytes = span_of(plain->data + FRAME_PREFIX_SIZE, size);
	*plain = span_of(bytes->data + size, plain->size - FRAME_PREFIX_SIZE - size);
	messages->read++;
	return 1;
}

static struct span span_from(ProtobufCBinaryData data)
{
	return span_of(data.data, data.len);
}

uint64_t chunks_size(const struct chunks *chunks)
{
	if (chunks->count == 0)
		return 0;
	return (uint64_t)(chunks->count - 1) * ENCLAVE_CHUNK_SIZE + chunks->last;
}

static bool chunks_possible(const struct chunks *chunks)
{
	if (chunks->count == 0)
		return chunks->abort && !chunks->final;
	return chunks->count <= FRAME_CHUNKS && chunks->last > ENCLAVE_TAG_SIZE &&
		chunks->last <= ENCLAVE_CHUNK_SIZE && !chunks->abort;
}

/* Reads an announcement and claims its bytes of the frame. */
static int claim_chunks(struct chunks *chunks, struct span *bytes, struct messages *messages,
	const PB(Chunks) * raw)
{
	uint64_t size;

	*chunks = (struct chunks){ .first = raw->first,
		.count = raw->count,
		.last = raw->last,
		.final = raw->final,
		.abort = raw->abort };
	if (!chunks_possible(chunks))
		return -EPROTO;
	size = chunks_size(chunks);
	if (size > messages->chunks.size)
		return -EPROTO;
	*bytes = span_of(messages->chunks.data, (size_t)size);
	messages->chunks =
		span_of(messages->chunks.data + size, messages->chunks.size - (size_t)size);
	return 0;
}

const char *tag_fault(const struct tag *tag)
{
	if (tag->key.size == 0 || tag->key.size > MESSAGE_TAG_KEY_MAX)
		return "a tag's key has 1 to 64 bytes";
	if (tag->value.size > MESSAGE_TAG_VALUE_MAX)
		return "a tag's value has at most 256 bytes";
	if (memchr(tag->key.data, '=', tag->key.size))
		return "a tag's key has no '='";
	if (text_fault(tag->key) || text_fault(tag->value))
		return "a tag is UTF-8 without control characters";
	return NULL;
}

/* NULL, or what is wrong with the newest tag among those before it. */
static const char *tag_fault_among(const struct tag *tags, size_t newest)
{
	for (size_t i = 0; i < newest; i++)
		if (span_equal(tags[i].key, tags[newest].key))
			return "a tag's key stands there twice";
	return tag_fault(&tags[newest]);
}

/* Returns 0, or -ENOBUFS; what is wrong with the tags goes to *fault. */
static int read_tags(struct tags *tags, const char **fault, PB(Tag) * *raw, size_t count,
	struct workbench *bench)
{
	struct tag *tag;

	if (count == 0)
		return 0;
	if (count > MESSAGE_TAGS_MAX) {
		*fault = "more than 16 tags";
		return 0;
	}
	tag = workbench_take(bench, count * sizeof(*tag));
	if (!tag)
		return -ENOBUFS;
	for (size_t i = 0; i < count; i++) {
		const char *wrong;

		tag[i].key = span_from(raw[i]->key);
		tag[i].value = span_from(raw[i]->value);
		wrong = tag_fault_among(tag, i);
		if (wrong && !*fault)
			*fault = wrong;
	}
	*tags = (struct tags){ .tag = tag, .count = count };
	return 0;
}

/* -- requests ------------------------------------------------------------------------------ */

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
	int r = read_tags(&request->tags, &fault, raw, count, bench);

	fail(request, STATUS_INVALID, fault);
	return r;
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

static int read_set(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	const PB(Set) *set = raw->set;

	read_name(request, set->name);
	if (set->data_key.len == ENCLAVE_KEY_SIZE)
		request->key = set->data_key.data;
	else
		fail(request, STATUS_INVALID, "a data key has 32 bytes");
	request->size = set->size;
	read_conditions(request, set->conditions);
	return read_request_tags(request, set->tags, set->n_tags, bench);
}

static int read_remove(struct request *request, const PB(Request) * raw, struct workbench *bench)
{
	(void)bench;
	read_name(request, raw->remove->name);
	read_conditions(request, raw->remove->conditions);
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

	read_name(request, generate->name);
	request->size = generate->size;
	if (generate->charset < 0 || generate->charset >= (int)CHARSETS)
		fail(request, STATUS_INVALID, "no such set of characters");
	else
		request->charset = (enum charset)generate->charset;
	read_conditions(request, generate->conditions);
	return read_request_tags(request, generate->tags, generate->n_tags, bench);
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

/* Each verb of the wire beside ours, and how to read it. `changes`: it must carry a number. */
static const struct {
	int verb_case;
	int (*read)(struct request *, const PB(Request) *, struct workbench *);
	bool changes;
} verbs[VERBS] = {
	[VERB_PING] = { VERB_CASE(PING), read_nothing, false },
	[VERB_GET] = { VERB_CASE(GET), read_get, false },
	[VERB_SET] = { VERB_CASE(SET), read_set, true },
	[VERB_REMOVE] = { VERB_CASE(REMOVE), read_remove, true },
	[VERB_LIST] = { VERB_CASE(LIST), read_list, false },
	[VERB_STAT] = { VERB_CASE(STAT), read_stat, false },
	[VERB_GENERATE] = { VERB_CASE(GENERATE), read_generate, true },
	[VERB_STATUS] = { VERB_CASE(STATUS), read_nothing, false },
	[VERB_WHOAMI] = { VERB_CASE(WHOAMI), read_nothing, false },
	[VERB_CANCEL] = { VERB_CASE(CANCEL), read_cancel, false },
	[VERB_PURGE] = { VERB_CASE(PURGE), read_purge, true },
	[VERB_SHUTDOWN] = { VERB_CASE(SHUTDOWN), read_nothing, false },
};

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
		r = claim_chunks(&request->chunks, &request->bytes, messages, raw->chunks);
	}
	if (r < 0)
		return r;
	if (raw->level > MESSAGE_LEVEL)
		fail(request, STATUS_PROTOCOL, "this daemon is too old for the request");
	if (request->verb == VERB_UNKNOWN)
		fail(request, STATUS_PROTOCOL, "no such verb");
	if (request->verb < VERB_PING)
		return 0;
	if (request->chunked && request->verb != VERB_SET)
		return -EPROTO;
	read_number(request, raw);
	return verbs[request->verb].read(request, raw, bench);
}

int message_next_request(
	struct request *request, struct messages *messages, struct workbench *bench)
{
	ProtobufCMessage *message;
	struct span bytes;
	int r = next_bytes(messages, &bytes);

	if (r <= 0)
		return r;
	if (messages->read > MESSAGE_FRAME_MAX)
		return -EPROTO;
	*request = (struct request){ 0 };
	r = unpack(&message, &memguard__v1__request__descriptor, bytes, bench);
	if (r == 0)
		r = read_request(request, (const PB(Request) *)message, messages, bench);
	return r < 0 ? r : 1;
}

/* -- replies ------------------------------------------------------------------------------- */

static int read_info(struct info *info, const PB(Info) * raw, struct workbench *bench)
{
	const char *fault = NULL;
	int r = read_tags(&info->tags, &fault, raw->tags, raw->n_tags, bench);

	if (r < 0 || fault)
		return r < 0 ? r : -EPROTO;
	info->name = span_from(raw->name);
	info->version = raw->version;
	info->size = raw->size;
	info->created_ms = raw->created_ms;
	info->changed_ms = raw->changed_ms;
	/* A name is for people and scripts: nothing that a terminal would obey. */
	return name_fault(info->name) ? -EPROTO : 0;
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
		.pidfd = raw->pidfd };
	return text_fault(state->version) || text_fault(state->advice) || text_fault(state->cipher)
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
		.privileged = raw->privileged };
	return text_fault(caller->label) ? -EPROTO : 0;
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
	if (raw->chunks) {
		reply->chunked = true;
		r = claim_chunks(&reply->chunks, &reply->bytes, messages, raw->chunks);
	}
	return r < 0 ? r : read_body(reply, raw, bench);
}

int message_next_reply(struct reply *reply, struct messages *messages, struct workbench *bench)
{
	ProtobufCMessage *message;
	struct span bytes;
	int r = next_bytes(messages, &bytes);

	if (r <= 0)
		return r;
	*reply = (struct reply){ 0 };
	r = unpack(&message, &memguard__v1__reply__descriptor, bytes, bench);
	if (r == 0)
		r = read_reply(reply, (const PB(Reply) *)message, messages, bench);
	return r < 0 ? r : 1;
}
