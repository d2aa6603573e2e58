/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/upload.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/status.h"
#include "daemon/request/lifetime.h"
#include "daemon/request/quota.h"
#include "daemon/request/restore.h"
#include "daemon/request/trial.h"

struct upload {
	struct upload *next;
	uint64_t id;
	uint64_t binding; /* of the wrapped data key */
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	bool resting;         /* `wrapped` holds the key */
	bool verify;          /* it is a candidate */
	bool stage;           /* it is one secret of a restore */
	bool limited;         /* its sender is held to quotas */
	bool repeat;          /* its number had an answer when it began, with a token in hand */
	bool failed;          /* answered already: what still comes is dropped */
	const char *words;    /* for the answer, where the status alone does not say it */
	uint64_t size;        /* bytes announced, 0 when not known */
	uint64_t most;        /* bytes that it may have: the limit when it began */
	uint64_t deadline_ms; /* of CLOCK_BOOTTIME: by then the next chunks must come */
	struct conditions conditions;
	struct lifetime lifetime;
	bool freeze;
	struct rotation rotation;
	uint32_t owner;           /* of what is staged */
	struct batch_times times; /* the same */
	struct process *process;  /* with lifetime.pid */
	struct value *value;
	struct span name; /* both point into `bytes` */
	struct tags tags;
	struct tag tag[MESSAGE_TAGS_MAX];
	crypto_generichash_state digest;
	uint8_t bytes[];
};

const char *conflict_words(const struct conditions *conditions)
{
	if (conditions->create_only || (conditions->compare && conditions->version == 0))
		return "the name exists already";
	return "the current version is another one";
}

/* -- its life ------------------------------------------------------------------------------ */

static struct span keep_bytes(uint8_t **at, struct span span)
{
	struct span kept = span_of(*at, span.size);

	if (span.size > 0)
		memcpy(*at, span.data, span.size);
	*at += span.size;
	return kept;
}

/* The request's spans lie on the workbench, which is wiped: the upload keeps copies. */
static void keep_words(struct upload *upload, const struct request *request, struct span name)
{
	uint8_t *at = upload->bytes;

	upload->name = keep_bytes(&at, name);
	for (size_t i = 0; i < request->tags.count; i++) {
		upload->tag[i].key = keep_bytes(&at, request->tags.tag[i].key);
		upload->tag[i].value = keep_bytes(&at, request->tags.tag[i].value);
	}
	upload->tags = (struct tags){ .tag = upload->tag, .count = request->tags.count };
}

static size_t words_size(const struct request *request, struct span name)
{
	size_t size = name.size;

	for (size_t i = 0; i < request->tags.count; i++)
		size += request->tags.tag[i].key.size + request->tags.tag[i].value.size;
	return size;
}

static struct upload *upload_new(struct transfers *transfers, uint64_t id, size_t extra)
{
	struct upload *upload = NULL;

	/* The digest's state wants more alignment than malloc promises. */
	if (posix_memalign((void **)&upload, 64, (sizeof(*upload) + extra + 63) / 64 * 64) != 0)
		return NULL;
	memset(upload, 0, sizeof(*upload));
	upload->id = id;
	upload->next = transfers->uploads;
	transfers->uploads = upload;
	transfers_begin(transfers);
	return upload;
}

void upload_end(struct transfers *transfers, struct daemon *daemon, struct upload *upload)
{
	struct upload **at = &transfers->uploads;

	while (*at != upload)
		at = &(*at)->next;
	*at = upload->next;
	transfers_end(transfers);
	value_free(daemon->vault, upload->value);
	process_release(daemon->processes, upload->process);
	free(upload);
}

struct upload *upload_find(const struct transfers *transfers, uint64_t id)
{
	struct upload *upload = transfers->uploads;

	while (upload && upload->id != id)
		upload = upload->next;
	return upload;
}

bool upload_answered(const struct upload *upload)
{
	return upload->failed;
}

int upload_drop(struct transfers *transfers, uint64_t id)
{
	struct upload *upload;

	/* Whoever goes on beginning sets that are refused, without an end to any, is no client. */
	if (transfers->count >= 2 * TRANSFERS_MAX)
		return -EPROTO;
	upload = upload_new(transfers, id, 0);
	if (!upload)
		return -ENOMEM;
	upload->failed = true;
	return 0;
}

/* Whether the value, of which nothing has come yet, may have `size` bytes in all, and what came. */
static int check_quotas(const struct upload *upload, struct daemon *daemon, uint64_t size)
{
	const struct value_plan plan = {
		.name = upload->name, .size = size, .stored = !upload->verify
	};

	return upload->limited ? value_may_have(daemon->vault, upload->value, &plan) : 0;
}

/* A value that counts for its sender until it is stored. Returns 0 or a status. */
static int begin_value(
	const struct transfers *transfers, struct daemon *daemon, struct upload *upload)
{
	int r = value_new(daemon->vault, &upload->value);

	if (r == 0)
		r = value_count_for(daemon->vault, upload->value, (uint32_t)transfers->peer->uid);
	return r == 0 ? check_quotas(upload, daemon, upload->size) : r;
}

/* Whether its number has an answer, whatever that was for. */
static bool is_answered(const struct daemon *daemon, uint32_t uid, const struct request *request)
{
	static const uint8_t no_digest[REPEAT_DIGEST_SIZE];
	struct repeat_answer first;

	return repeats_find(daemon->repeats, uid, request->number, no_digest, &first) != 0;
}

int upload_begin(struct transfers *transfers, struct daemon *daemon, const struct request *request,
	struct span name, struct process *process, struct upload **uploadp)
{
	struct upload *upload;
	int r;

	if (request->size > daemon->max_value || transfers_full(transfers))
		return STATUS_LIMIT;
	upload = upload_new(transfers, request->id, words_size(request, name));
	if (!upload)
		return STATUS_LIMIT;
	upload->binding = daemon->next_upload++;
	memcpy(upload->number, request->number, sizeof(upload->number));
	upload->size = request->size;
	upload->most = daemon->max_value;
	upload->verify = request->verb == VERB_VERIFY;
	upload->stage = request->verb == VERB_STAGE;
	upload->conditions = request->conditions;
	upload->lifetime = request->lifetime;
	upload->freeze = request->freeze;
	upload->rotation = request->rotation;
	upload->owner = request->owner;
	upload->times = (struct batch_times){ .version = request->version,
		.created_ms = (uint64_t)request->created_ms,
		.changed_ms = (uint64_t)request->changed_ms };
	upload->limited = quota_holds(transfers);
	upload->repeat = transfers->shown && !upload->verify && !upload->stage &&
		is_answered(daemon, (uint32_t)transfers->peer->uid, request);
	keep_words(upload, request, name);
	r = begin_value(transfers, daemon, upload);
	if (r != 0) {
		upload_end(transfers, daemon, upload);
		return r;
	}
	upload->process = process;
	digest_begin(&upload->digest, request, name);
	*uploadp = upload;
	return 0;
}

/* -- taking chunks ------------------------------------------------------------------------- */

/* Versions begin at 1: a wrap for version 0 is never mistaken for a record's. */
static struct enclave_binding binding_of(const struct upload *upload)
{
	return (struct enclave_binding){ .secret = upload->binding };
}

/* Gives the data key back to the bench for one frame. Returns 0, a status, or a negative errno. */
static int wake_key(const struct upload *upload, struct daemon *daemon, const uint8_t **keyp)
{
	uint8_t *key;

	if (value_purged(upload->value))
		return STATUS_GONE;
	key = workbench_take(&daemon->bench, ENCLAVE_KEY_SIZE);
	if (!key)
		return -ENOBUFS;
	*keyp = key;
	return enclave_unwrap(key, upload->wrapped, ENCLAVE_KEY_SIZE, binding_of(upload),
		       &daemon->coffer, COFFER_VAULT) == 0
		? 0
		: STATUS_GONE;
}

static int rest_key(struct upload *upload, struct daemon *daemon, const uint8_t *key)
{
	if (upload->resting)
		return 0;
	upload->resting = true;
	return enclave_wrap(upload->wrapped, key, ENCLAVE_KEY_SIZE, binding_of(upload),
		&daemon->coffer, COFFER_VAULT);
}

/* One chunk into the ledger, if its tag is right under the data key. */
static int take_chunk(struct upload *upload, struct daemon *daemon, struct span chunk, bool final,
	const uint8_t *key)
{
	uint64_t number = value_chunks(upload->value);
	uint64_t size = value_size(upload->value) + chunk.size - ENCLAVE_TAG_SIZE;
	int r;

	if (chunk.size < ENCLAVE_CHUNK_SIZE && !final)
		return STATUS_INTEGRITY;
	if (size > upload->most) {
		upload->words = OVER_LIMIT;
		return STATUS_LIMIT;
	}
	if (enclave_check_chunk(chunk.data, chunk.size, number, final, key) != 0)
		return STATUS_INTEGRITY;
	crypto_generichash_update(&upload->digest, chunk.data, ENCLAVE_TAG_SIZE);
	r = check_quotas(upload, daemon, size);
	return r == 0 ? value_append(daemon->vault, upload->value, chunk) : r;
}

static int take_chunks(struct upload *upload, struct daemon *daemon, const struct request *request,
	const uint8_t *key)
{
	const struct chunks *chunks = &request->chunks;
	struct span left = request->bytes;
	int r = 0;

	if (chunks->first != value_chunks(upload->value))
		return STATUS_INTEGRITY;
	for (uint32_t i = 0; i < chunks->count && r == 0; i++) {
		bool last = i + 1 == chunks->count;
		size_t size = last ? chunks->last : ENCLAVE_CHUNK_SIZE;

		r = take_chunk(
			upload, daemon, span_of(left.data, size), last && chunks->final, key);
		left = span_of(left.data + size, left.size - size);
	}
	if (r == 0 && upload->size > 0 && value_size(upload->value) > upload->size)
		r = STATUS_INTEGRITY;
	return r;
}

/* Publishes, unless the number has its answer already. */
static int publish(struct transfers *transfers, struct upload *upload, struct daemon *daemon,
	uint32_t uid, const uint8_t *key, uint64_t *versionp)
{
	struct vault_put put = { .name = upload->name,
		.owner = uid,
		.key = key,
		.conditions = upload->conditions,
		.tags = upload->tags,
		.frozen = upload->freeze,
		.rotation = upload->rotation,
		.limited = upload->limited,
		.lifetime = upload->lifetime };
	struct repeat_answer answer = { 0 };
	uint8_t digest[REPEAT_DIGEST_SIZE];
	int r;

	crypto_generichash_final(&upload->digest, digest, sizeof(digest));
	r = repeats_find(daemon->repeats, uid, upload->number, digest, &answer);
	/* As a repeat it was no use of a token: it is not done anew. */
	if (r == 0 && upload->repeat)
		r = STATUS_CONFLICT;
	if (r == 0) {
		answer.code =
			lifetime_bind(&put, daemon, transfers, upload->process, &upload->words);
		vault_promise(daemon->vault, uid, upload->number, digest);
		if (answer.code == 0)
			answer.code =
				vault_put(daemon->vault, &upload->value, &put, &answer.version);
		answer.place = vault_promise_end(daemon->vault, answer.code == 0);
		if (answer.code < 0)
			return answer.code;
		if (answer.code == STATUS_CONFLICT)
			upload->words = conflict_words(&upload->conditions);
		if (answer.code == STATUS_LIMIT && !upload->words)
			upload->words = quota_words(daemon, uid);
		if (answer.code == STATUS_LIMIT && !upload->words && put.rotation.asked)
			upload->words = "16 versions are in their grace, or memory is used up";
		if (answer.code == 0)
			wait_queue_call(&daemon->waits, upload->name);
		(void)repeats_keep(daemon->repeats, uid, upload->number, digest, &answer);
	} else if (r != 1) {
		upload->words = NUMBER_REUSED;
		return r;
	}
	*versionp = answer.version;
	return answer.code;
}

/* A candidate that is whole waits for its turn as a trial; the upload is over then. */
static int hand_over(struct transfers *transfers, struct upload *upload, struct daemon *daemon,
	uint32_t uid, const uint8_t *key)
{
	struct candidate candidate = { .id = upload->id,
		.uid = uid,
		.name = upload->name,
		.value = upload->value,
		.wrapped = upload->wrapped,
		.binding = binding_of(upload) };
	int r = rest_key(upload, daemon, key);

	if (r < 0)
		return r;
	/* Its own place is free for the trial. */
	transfers_end(transfers);
	r = trial_begin(transfers, &candidate);
	transfers_begin(transfers);
	if (r != 0)
		return r;
	upload->value = NULL;
	upload_end(transfers, daemon, upload);
	return 0;
}

/* One more secret of a restore: it appears with the others. */
static int stage(struct transfers *transfers, struct upload *upload, struct daemon *daemon,
	const uint8_t *key)
{
	struct vault_put put = { .name = upload->name,
		.owner = upload->owner,
		.key = key,
		.tags = upload->tags,
		.frozen = upload->freeze,
		.limited = upload->limited,
		.lifetime = upload->lifetime };
	struct batch *batch;
	int r = restore_open(transfers, daemon, &batch);

	if (r != 0) {
		upload->words = r == STATUS_CONFLICT ? RESTORE_RUNNING : NULL;
		return r;
	}
	r = batch_add(daemon->vault, batch, &upload->value, &put, &upload->times);
	if (r == STATUS_CONFLICT)
		upload->words = "the name is staged already";
	else if (r == STATUS_LIMIT && batch_count(batch) >= BATCH_MAX)
		upload->words = "more secrets than one restore can have: 1600000";
	return r;
}

static const char *words_for(int status)
{
	switch (status) {
	case STATUS_DENIED:
		return NOT_ALLOWED;
	case STATUS_INTEGRITY:
		return "a chunk is not what was sealed";
	case STATUS_LIMIT:
		return "memory is used up";
	case STATUS_GONE:
		return "purged meanwhile, or consumed";
	case STATUS_TIMEOUT:
		return "given up by the sender";
	case STATUS_FROZEN:
		return "the secret is frozen";
	case STATUS_INVALID:
		return "the name is a stream's";
	case STATUS_NOT_FOUND:
		return "no such secret to rotate";
	case STATUS_LOCKED:
		return IS_LOCKED;
	default:
		return NULL;
	}
}

/* Answers a set. Unless the last chunk is here, what still comes has to be dropped. */
static int finish(struct transfers *transfers, struct daemon *daemon, struct upload *upload,
	int status, uint64_t version, bool over, struct answers *answers)
{
	struct reply reply = { .id = upload->id, .code = status, .version = version };
	const char *words = upload->words;

	if (!words && status == STATUS_LIMIT)
		words = quota_words(daemon, (uint32_t)transfers->peer->uid);
	if (!words)
		words = words_for(status);
	if (words)
		reply.detail = span_text(words);
	if (!upload->stage && (status == 0 || status == STATUS_CONFLICT))
		reply.body = BODY_STORED;
	if (over) {
		upload_end(transfers, daemon, upload);
	} else {
		value_free(daemon->vault, upload->value);
		upload->value = NULL;
		upload->failed = true;
	}
	return answers_append(answers, &reply);
}

/* A set that was answered is over with its last chunk, which nobody reads. */
static int drop(
	struct transfers *transfers, struct daemon *daemon, struct upload *upload, bool over)
{
	if (over)
		upload_end(transfers, daemon, upload);
	return 0;
}

/* One that came in one frame was asked for a moment ago. */
static bool may_end(
	const struct transfers *transfers, const struct daemon *daemon, const struct upload *upload)
{
	enum right right = upload->verify ? RIGHT_VERIFY
		: upload->rotation.asked  ? RIGHT_ROTATE
					  : RIGHT_SET;

	return !upload->resting ||
		(transfers_may_still(transfers, daemon, right, upload->name) &&
			(!upload->freeze ||
				transfers_may_still(
					transfers, daemon, RIGHT_FREEZE, upload->name)));
}

int upload_take(struct transfers *transfers, struct daemon *daemon, uint32_t uid,
	struct upload *upload, const struct request *request, const uint8_t *key,
	struct answers *answers)
{
	bool over = request->chunked && (request->chunks.final || request->chunks.abort);
	uint64_t version = 0;
	int r = 0;

	if (upload->failed)
		return drop(transfers, daemon, upload, over);
	if (vault_is_locked(daemon->vault))
		r = STATUS_LOCKED;
	else if (!key)
		r = wake_key(upload, daemon, &key);
	if (r == 0 && request->chunked && request->chunks.abort)
		r = STATUS_TIMEOUT;
	if (r == 0 && request->chunked)
		r = take_chunks(upload, daemon, request, key);
	if (r < 0)
		return r;
	if (r == 0 && !over) {
		upload->deadline_ms = daemon_now_ms() + daemon->upload_ms;
		return rest_key(upload, daemon, key);
	}
	if (r == 0 && upload->size > 0 && value_size(upload->value) != upload->size)
		r = STATUS_INTEGRITY;
	if (r == 0 && !may_end(transfers, daemon, upload))
		r = STATUS_DENIED;
	if (r == 0 && upload->verify) {
		r = hand_over(transfers, upload, daemon, uid, key);
		if (r == 0)
			return 0;
	} else if (r == 0 && upload->stage) {
		r = stage(transfers, upload, daemon, key);
	} else if (r == 0) {
		r = publish(transfers, upload, daemon, uid, key, &version);
	}
	return r < 0 ? r : finish(transfers, daemon, upload, r, version, over, answers);
}

/* -- those that do not go on --------------------------------------------------------------- */

int uploads_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	uint64_t now_ms = transfers->uploads ? daemon_now_ms() : 0;
	int r = 0;

	for (struct upload *upload = transfers->uploads; upload && r == 0; upload = upload->next) {
		if (upload->failed || now_ms < upload->deadline_ms)
			continue;
		upload->words = "the next chunk did not come in time";
		r = finish(transfers, daemon, upload, STATUS_TIMEOUT, 0, false, answers);
	}
	return r;
}

int uploads_refuse(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	int r = 0;

	for (struct upload *upload = transfers->uploads; upload && r == 0; upload = upload->next)
		if (!upload->failed)
			r = finish(transfers, daemon, upload, STATUS_LOCKED, 0, false, answers);
	return r;
}

uint64_t uploads_deadline(const struct transfers *transfers)
{
	uint64_t earliest = 0;

	for (const struct upload *upload = transfers->uploads; upload; upload = upload->next)
		if (!upload->failed && (earliest == 0 || upload->deadline_ms < earliest))
			earliest = upload->deadline_ms;
	return earliest;
}
