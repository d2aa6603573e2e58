/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "common/memory/enclave.h"
#include "common/status.h"
#include "common/wire/name.h"
#include "daemon/harden.h"
#include "daemon/upload.h"
#include "daemon/waiter.h"

/* Secrets that one list looks at before it answers, whatever its filter: bounds its time. */
#define LIST_LOOKS 256

/* Groups told to whoami: the rest would not fit a frame. */
#define CALLER_GROUPS 256

/* Everything one request is served with. */
struct desk {
	struct daemon *daemon;
	const struct peer *peer;
	struct transfers *transfers;
	const struct request *request;
	struct answers *answers;
	struct span name; /* filed */
	char filed[NAME_FILED_MAX];
};

/* -- answers ------------------------------------------------------------------------------- */

static int answer(const struct desk *desk, struct reply *reply)
{
	reply->id = desk->request->id;
	return answers_append(desk->answers, reply);
}

static int answer_code(const struct desk *desk, int code, const char *words)
{
	return answers_code(desk->answers, desk->request->id, code, words);
}

/* -- what changes something ---------------------------------------------------------------- */

static int answer_stored(const struct desk *desk, int code, uint64_t version)
{
	struct reply reply = { .code = code, .body = BODY_STORED, .version = version };

	if (code == STATUS_CONFLICT)
		reply.detail = span_text(conflict_words(&desk->request->conditions));
	return answer(desk, &reply);
}

/* A number that was used for something else. */
static int answer_reused(const struct desk *desk)
{
	return answer_code(desk, STATUS_CONFLICT, NUMBER_REUSED);
}

/*
 * Begins a set and takes the chunks that came with it. One that is refused at once may still have
 * chunks on their way: they are dropped as they come.
 */
static int serve_set(struct desk *desk)
{
	const struct request *request = desk->request;
	struct upload *upload = NULL;
	int r = upload_begin(desk->transfers, desk->daemon, request, desk->name, &upload);

	if (r != 0)
		return r;
	return upload_take(desk->transfers, desk->daemon, (uint32_t)desk->peer->uid, upload,
		request, request->key, desk->answers);
}

static int serve_remove(struct desk *desk)
{
	struct daemon *daemon = desk->daemon;
	const struct request *request = desk->request;
	uint32_t uid = (uint32_t)desk->peer->uid;
	uint8_t digest[REPEAT_DIGEST_SIZE];
	struct repeat_answer first = { 0 };
	int r;

	request_digest(digest, request, desk->name);
	r = repeats_find(daemon->repeats, uid, request->number, digest, &first);
	if (r == STATUS_CONFLICT)
		return answer_reused(desk);
	if (r == 0) {
		first.code = vault_remove(
			daemon->vault, desk->name, &request->conditions, &first.version);
		(void)repeats_keep(daemon->repeats, uid, request->number, digest, &first);
	}
	if (first.code != 0 && first.code != STATUS_CONFLICT)
		return first.code;
	return answer_stored(desk, first.code, first.version);
}

/* -- generate ------------------------------------------------------------------------------ */

/*
 * Bytes that a generate may ask for: nobody's password or key is longer, and the others wait while
 * it is drawn, up to MESSAGE_FRAME_MAX times in one frame.
 */
#define GENERATE_MAX 65536

static const char *const charsets[CHARSETS] = {
	[CHARSET_ALNUM] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	[CHARSET_HEX] = "0123456789abcdef",
	[CHARSET_BASE64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	[CHARSET_BYTES] = NULL,
};

/*
 * Turns random bytes into characters of a set, in place, each equally likely: a byte beyond the
 * largest multiple of the set's size is passed over. Returns how many characters came out.
 */
static size_t sift(uint8_t *bytes, size_t size, const char *set)
{
	size_t letters = strlen(set);
	size_t limit = 256 / letters * letters;
	size_t out = 0;

	for (size_t i = 0; i < size; i++)
		if (bytes[i] < limit)
			bytes[out++] = (uint8_t)set[bytes[i] % letters];
	return out;
}

static void draw(uint8_t *out, size_t size, enum charset charset)
{
	size_t done = 0;

	if (!charsets[charset]) {
		randombytes_buf(out, size);
		return;
	}
	while (done < size) {
		randombytes_buf(out + done, size - done);
		done += sift(out + done, size - done, charsets[charset]);
	}
}

/* Draws the whole value, chunk by chunk on the bench. */
static int draw_value(const struct desk *desk, struct value *value, const uint8_t *key)
{
	const struct request *request = desk->request;
	struct workbench *bench = &desk->daemon->bench;
	size_t mark = workbench_mark(bench);
	uint8_t *chunk = workbench_take(bench, ENCLAVE_CHUNK_SIZE);
	int r = chunk ? 0 : -ENOBUFS;

	for (uint64_t left = request->size; r == 0 && left > 0;) {
		size_t size = left < ENCLAVE_CHUNK_PLAIN ? (size_t)left : ENCLAVE_CHUNK_PLAIN;

		draw(chunk, size, request->charset);
		left -= size;
		enclave_seal_chunk(chunk, chunk, size, value_chunks(value), left == 0, key);
		r = value_append(
			desk->daemon->vault, value, span_of(chunk, size + ENCLAVE_TAG_SIZE));
	}
	workbench_release(bench, mark);
	return r;
}

/* Draws and publishes. Returns 0, a status or a negative errno. */
static int generate(const struct desk *desk, uint64_t *versionp)
{
	struct daemon *daemon = desk->daemon;
	const struct request *request = desk->request;
	uint8_t *key = workbench_take(&daemon->bench, ENCLAVE_KEY_SIZE);
	struct vault_put put = { .name = desk->name,
		.owner = (uint32_t)desk->peer->uid,
		.key = key,
		.conditions = request->conditions,
		.tags = request->tags };
	struct value *value = NULL;
	int r;

	if (!key)
		return -ENOBUFS;
	memcpy(put.number, request->number, sizeof(put.number));
	enclave_draw_key(key);
	r = vault_may_put(daemon->vault, desk->name, &request->conditions, versionp);
	if (r == 0)
		r = value_new(daemon->vault, &value);
	if (r == 0)
		r = draw_value(desk, value, key);
	if (r == 0)
		r = vault_put(daemon->vault, &value, &put, versionp);
	value_free(daemon->vault, value);
	if (r == 0)
		wait_queue_call(&daemon->waits, desk->name);
	return r;
}

static int serve_generate(struct desk *desk)
{
	struct daemon *daemon = desk->daemon;
	const struct request *request = desk->request;
	uint32_t uid = (uint32_t)desk->peer->uid;
	uint8_t digest[REPEAT_DIGEST_SIZE];
	struct repeat_answer first = { 0 };
	int r;

	if (request->size == 0)
		return answer_code(desk, STATUS_INVALID, "the value is empty");
	if (request->size > GENERATE_MAX)
		return answer_code(desk, STATUS_LIMIT, "at most 65536 bytes are drawn");
	request_digest(digest, request, desk->name);
	r = repeats_find(daemon->repeats, uid, request->number, digest, &first);
	if (r == STATUS_CONFLICT)
		return answer_reused(desk);
	if (r == 0) {
		first.code = generate(desk, &first.version);
		if (first.code < 0)
			return first.code;
		(void)repeats_keep(daemon->repeats, uid, request->number, digest, &first);
	}
	if (first.code != 0 && first.code != STATUS_CONFLICT)
		return first.code;
	return answer_stored(desk, first.code, first.version);
}

/* -- what only reads ----------------------------------------------------------------------- */

static int serve_get(struct desk *desk)
{
	const struct request *request = desk->request;
	struct wanted wanted = {
		.id = request->id, .name = desk->name, .version = request->version
	};
	struct record *record;

	if (request->wait_ms > 0 &&
		vault_find(desk->daemon->vault, desk->name, &record) == STATUS_NOT_FOUND)
		return waiter_park(desk->transfers, desk->daemon, &wanted, request->wait_ms);
	return download_begin(desk->transfers, desk->daemon, &wanted, desk->answers);
}

/* A record's outside, with its name as the caller says it. */
static void show(const struct desk *desk, const struct record *record, struct info *info,
	struct tag tags[MESSAGE_TAGS_MAX], char shown[NAME_FILED_MAX])
{
	record_info(record, info, tags);
	info->name = span_of(shown, name_show(shown, info->name, (uint32_t)desk->peer->uid));
}

static int serve_stat(struct desk *desk)
{
	struct reply reply = { .body = BODY_INFO };
	struct tag tags[MESSAGE_TAGS_MAX];
	char shown[NAME_FILED_MAX];
	struct record *record;
	int r = vault_find(desk->daemon->vault, desk->name, &record);

	if (r != 0)
		return r;
	show(desk, record, &reply.info, tags, shown);
	return answer(desk, &reply);
}

static bool carries(const struct tags *tags, const struct tag *wanted)
{
	for (size_t i = 0; i < tags->count; i++)
		if (span_equal(tags->tag[i].key, wanted->key))
			return span_equal(tags->tag[i].value, wanted->value);
	return false;
}

static bool carries_all(const struct tags *tags, const struct tags *wanted)
{
	for (size_t i = 0; i < wanted->count; i++)
		if (!carries(tags, &wanted->tag[i]))
			return false;
	return true;
}

/* What a list has gone through so far. */
struct listing {
	struct span prefix; /* filed */
	struct span after;  /* filed; in `buffer` from the first secret on */
	char buffer[NAME_FILED_MAX];
	uint32_t left;  /* infos that may still be told */
	bool told;      /* one at least has been told */
	unsigned looks; /* secrets that may still be looked at */
};

/* What an info takes in a frame at most, with the list's last answer behind it. */
static size_t info_size_max(const struct info *info)
{
	return 3 * NAME_FILED_MAX +
		info->tags.count * (MESSAGE_TAG_KEY_MAX + MESSAGE_TAG_VALUE_MAX + 16);
}

/* Tells one secret, if it passes the filter. Returns 1, 0 when the frame is full, or negative. */
static int list_one(const struct desk *desk, struct listing *listing, const struct record *record)
{
	const struct request *request = desk->request;
	struct reply reply = { .body = BODY_INFO };
	struct tag tags[MESSAGE_TAGS_MAX];
	char shown[NAME_FILED_MAX];
	int r;

	show(desk, record, &reply.info, tags, shown);
	if (!carries_all(&reply.info.tags, &request->tags))
		return 1;
	if (!request->details)
		reply.info = (struct info){ .name = reply.info.name };
	if (listing->left == 0)
		return 0;
	/* One frame is enough for one answer, but the first secret always goes. */
	if (listing->told && desk->answers->room(desk->answers) < info_size_max(&reply.info))
		return 0;
	listing->told = true;
	r = answer(desk, &reply);
	listing->left--;
	return r < 0 ? r : 1;
}

/* Goes through names in order until the frame, the limit or the patience is used up. */
static int list_all(const struct desk *desk, struct listing *listing, bool *more)
{
	struct vault *vault = desk->daemon->vault;
	struct record *record;
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;
	int r;

	*more = true;
	while (listing->looks-- > 0) {
		r = vault_next(vault, listing->prefix, listing->after, &record);
		if (r == STATUS_NOT_FOUND) {
			*more = false;
			return 0;
		}
		if (r != 0)
			return r;
		r = list_one(desk, listing, record);
		if (r <= 0)
			return r;
		record_info(record, &info, tags);
		memcpy(listing->buffer, info.name.data, info.name.size);
		listing->after = span_of(listing->buffer, info.name.size);
	}
	return 0;
}

/*
 * What the caller may list of what it asked for: everything, or the part that lies in its own
 * space. Returns whether there is anything.
 */
static bool list_scope(const struct desk *desk, struct listing *listing, char own[NAME_FILED_MAX])
{
	uint32_t uid = (uint32_t)desk->peer->uid;
	struct span space = span_of(own, name_file(own, span_text("~/"), uid));

	listing->prefix = desk->name;
	if (policy_privileged(&desk->daemon->policy, desk->peer))
		return true;
	if (span_starts_with(desk->name, space))
		return true;
	listing->prefix = space;
	return span_starts_with(space, desk->name);
}

/*
 * Behind the prefix there is nothing to tell, before it nothing was passed over: no look is taken
 * at what others have there, whose cost would tell of it. Returns whether there may be anything.
 */
static bool clamp_after(struct listing *listing)
{
	size_t least = listing->after.size < listing->prefix.size ? listing->after.size
								  : listing->prefix.size;
	int order = least > 0 ? memcmp(listing->after.data, listing->prefix.data, least) : 0;

	if (order < 0 || (order == 0 && listing->after.size < listing->prefix.size))
		listing->after = span_of(NULL, 0);
	return order <= 0;
}

static int serve_list(struct desk *desk)
{
	const struct request *request = desk->request;
	uint32_t uid = (uint32_t)desk->peer->uid;
	struct listing listing = { .looks = LIST_LOOKS,
		.left = request->limit ? request->limit : UINT32_MAX };
	struct reply reply = { .body = BODY_LISTING };
	char own[NAME_FILED_MAX];
	char shown[NAME_FILED_MAX];
	int r = 0;

	if (request->after.size > 0)
		listing.after =
			span_of(listing.buffer, name_file(listing.buffer, request->after, uid));
	if (list_scope(desk, &listing, own) && clamp_after(&listing))
		r = list_all(desk, &listing, &reply.more);
	if (r != 0)
		return r;
	if (reply.more)
		reply.next = span_of(shown, name_show(shown, listing.after, uid));
	return answer(desk, &reply);
}

/* -- the daemon itself --------------------------------------------------------------------- */

static int serve_ping(struct desk *desk)
{
	return answer_code(desk, 0, NULL);
}

static int serve_status(struct desk *desk)
{
	const struct daemon *daemon = desk->daemon;
	struct reply reply = { .body = BODY_STATE };

	reply.state = (struct state){ .version = span_text(MEMGUARDD_VERSION),
		.pid = (uint32_t)getpid(),
		.uptime_ms = daemon_now_ms() - daemon->started_ms,
		.backend = daemon->memory.backend,
		.advice = span_text(os_memory_advice(&daemon->memory)),
		.locked = daemon->memory.locked,
		.locked_stack = locked_stack_switches(),
		.sealed = daemon->memory.sealed,
		.dumpable = harden_dumpable(),
		.core_limit = harden_core_limit(),
		.cipher = span_text("ChaCha20-Poly1305"),
		.rekey_ms = daemon->rekey_ms,
		.sessions = daemon->sessions,
		.max_value = daemon->max_value,
		.pidfd = desk->peer->pidfd >= 0 };
	reply.state.counts = policy_privileged(&daemon->policy, desk->peer);
	if (reply.state.counts) {
		reply.state.secrets = vault_count(daemon->vault);
		reply.state.ledger = vault_bytes(daemon->vault);
	}
	return answer(desk, &reply);
}

static int serve_whoami(struct desk *desk)
{
	const struct peer *peer = desk->peer;
	struct reply reply = { .body = BODY_CALLER };

	reply.caller = (struct caller){ .uid = (uint32_t)peer->uid,
		.gid = (uint32_t)peer->gid,
		.pid = (uint32_t)peer->pid,
		.groups = peer->groups,
		.group_count =
			peer->group_count < CALLER_GROUPS ? peer->group_count : CALLER_GROUPS,
		.label = span_text(peer->label),
		.pidfd = peer->pidfd >= 0,
		.privileged = policy_privileged(&desk->daemon->policy, peer) };
	return answer(desk, &reply);
}

static int serve_cancel(struct desk *desk)
{
	int r = transfers_cancel(
		desk->transfers, desk->daemon, desk->request->target, desk->answers);

	return r < 0 ? r : answer_code(desk, 0, NULL);
}

/* -- the door ------------------------------------------------------------------------------ */

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
};

static const char *words_for(int status)
{
	switch (status) {
	case STATUS_NOT_FOUND:
		return "no such secret";
	case STATUS_DENIED:
		return "policy does not allow it";
	case STATUS_LIMIT:
		return "over a limit of the daemon, or its memory is used up";
	case STATUS_INTEGRITY:
		return "the record is damaged";
	case STATUS_GONE:
		return "purged meanwhile";
	default:
		return NULL;
	}
}

/* Answers a request that is not served. Chunks of a refused set are still on their way. */
static int refuse(const struct desk *desk, int status, const char *words)
{
	const struct request *request = desk->request;
	bool over = request->chunked && (request->chunks.final || request->chunks.abort);
	int r = 0;

	if (request->verb == VERB_SET && !over)
		r = upload_drop(desk->transfers, request->id);
	return r < 0 ? r : answer_code(desk, status, words);
}

static int serve_verb(struct desk *desk)
{
	const struct request *request = desk->request;
	int r;

	if (request->fault)
		return refuse(desk, request->fault_status, request->fault);
	desk->name = span_of(
		desk->filed, name_file(desk->filed, request->name, (uint32_t)desk->peer->uid));
	if (!policy_allows(
		    &desk->daemon->policy, desk->peer, verbs[request->verb].right, desk->name))
		return refuse(desk, STATUS_DENIED, words_for(STATUS_DENIED));
	/* Of what is asked, only a set and a generate have a size. */
	if (request->size > desk->daemon->max_value)
		return refuse(desk, STATUS_LIMIT, OVER_LIMIT);
	r = verbs[request->verb].serve(desk);
	return r > 0 ? refuse(desk, r, words_for(r)) : r;
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

	if (request->verb == VERB_NONE)
		return serve_chunks(&desk);
	if (transfers_has(transfers, request->id))
		return -EPROTO;
	return serve_verb(&desk);
}
