/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "common/memory/enclave.h"
#include "common/status.h"
#include "daemon/log.h"
#include "daemon/request/desk.h"
#include "daemon/request/lifetime.h"
#include "daemon/request/quota.h"
#include "daemon/request/sweep.h"
#include "daemon/request/upload.h"

static int answer_stored(const struct desk *desk, int code, uint64_t version)
{
	struct reply reply = { .code = code, .body = BODY_STORED, .version = version };

	if (code == STATUS_CONFLICT && desk->request->verb == VERB_MOVE && version == 0)
		reply.detail = span_text("the new name exists already");
	else if (code == STATUS_CONFLICT)
		reply.detail = span_text(conflict_words(&desk->request->conditions));
	return desk_answer(desk, &reply);
}

/* A number that was used for something else. */
static int answer_reused(const struct desk *desk)
{
	return desk_answer_code(desk, STATUS_CONFLICT, NUMBER_REUSED);
}

/*
 * Begins a set and takes the chunks that came with it. One that is refused at once may still have
 * chunks on their way: they are dropped as they come.
 */
int serve_set(struct desk *desk)
{
	struct daemon *daemon = desk->daemon;
	const struct request *request = desk->request;
	struct upload *upload = NULL;
	struct process *process;
	int r = lifetime_take(daemon, desk->peer, &request->lifetime, &process, &desk->words);

	if (r != 0)
		return r;
	r = upload_begin(desk->transfers, daemon, request, desk->name, process, &upload);
	if (r != 0) {
		process_release(daemon->processes, process);
		return r;
	}
	return upload_take(desk->transfers, daemon, (uint32_t)desk->peer->uid, upload, request,
		request->key, desk->answers);
}

int desk_change_once(struct desk *desk, int (*change)(struct desk *desk, uint64_t *versionp),
	struct repeat_answer *first)
{
	struct repeats *repeats = desk->daemon->repeats;
	const struct request *request = desk->request;
	uint32_t uid = (uint32_t)desk->peer->uid;
	uint8_t digest[REPEAT_DIGEST_SIZE];
	int r;

	*first = (struct repeat_answer){ 0 };
	request_digest(digest, request, desk->name);
	r = repeats_find(repeats, uid, request->number, digest, first);
	if (r == STATUS_CONFLICT)
		desk->words = NUMBER_REUSED;
	if (r != 0)
		return r == 1 ? 0 : r;
	vault_promise(desk->daemon->vault, uid, request->number, digest);
	first->code = change(desk, &first->version);
	first->place = vault_promise_end(desk->daemon->vault, first->code == 0);
	if (first->code < 0)
		return first->code;
	(void)repeats_keep(repeats, uid, request->number, digest, first);
	return 0;
}

/* The same of one secret. Returns 0, a status that is still to be answered, or a negative errno. */
static int change_once(struct desk *desk, int (*change)(struct desk *desk, uint64_t *versionp))
{
	struct repeat_answer first;
	int r = desk_change_once(desk, change, &first);

	if (r != 0)
		return r;
	if (first.code != 0 && first.code != STATUS_CONFLICT)
		return first.code;
	return answer_stored(desk, first.code, first.version);
}

/* -- of one secret ------------------------------------------------------------------------- */

static int change_remove(struct desk *desk, uint64_t *versionp)
{
	return vault_remove(desk->daemon->vault, desk->name, &desk->request->conditions, versionp);
}

static int change_touch(struct desk *desk, uint64_t *versionp)
{
	const struct request *request = desk->request;
	uint64_t ttl_ms = request->lifetime.ttl_ms;
	int r = lifetime_limit(desk->daemon, desk->name, &ttl_ms, &desk->words);

	return r != 0 ? r
		      : vault_touch(desk->daemon->vault, desk->name, ttl_ms, &request->conditions,
				versionp);
}

static int change_freeze(struct desk *desk, uint64_t *versionp)
{
	const struct request *request = desk->request;

	return vault_freeze(desk->daemon->vault, desk->name, request->verb == VERB_FREEZE,
		&request->conditions, versionp);
}

/* Nothing comes to a name that lives longer than policy lets it there. */
static int check_life(struct desk *desk, struct span to)
{
	uint64_t most = policy_max_ttl(&desk->daemon->policy, to);
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record;
	struct info info;

	/* What else there is against it the vault tells. */
	if (most == 0 || vault_find(desk->daemon->vault, desk->name, &record) != 0)
		return 0;
	record_info(record, &info, tags);
	if (info.stream || (info.left.ttl_ms != 0 && info.left.ttl_ms <= most))
		return 0;
	desk->words = "it lives longer than policy lets a secret of the new name";
	return STATUS_LIMIT;
}

/* Nobody waits for the old name to go, but somebody may for the new one. */
static int change_move(struct desk *desk, uint64_t *versionp)
{
	char filed[NAME_FILED_MAX];
	struct vault_move move = { .name = desk->name,
		.to = desk_file_new_name(desk, filed),
		.owner = (uint32_t)desk->peer->uid,
		.limited = quota_holds(desk->transfers),
		.conditions = desk->request->conditions };
	int r = check_life(desk, move.to);

	if (r == 0)
		r = vault_move(desk->daemon->vault, &move, versionp);
	if (r == 0)
		wait_queue_call(&desk->daemon->waits, move.to);
	return r;
}

int serve_move(struct desk *desk)
{
	return change_once(desk, change_move);
}

int serve_remove(struct desk *desk)
{
	return change_once(desk, change_remove);
}

int serve_touch(struct desk *desk)
{
	return change_once(desk, change_touch);
}

int serve_freeze(struct desk *desk)
{
	return change_once(desk, change_freeze);
}

int serve_melt(struct desk *desk)
{
	return change_once(desk, change_freeze);
}

/* -- generate ------------------------------------------------------------------------------ */

/*
 * Bytes that a generate may ask for: nobody's password or key is longer, and the others wait while
 * it is drawn.
 */
#define GENERATE_MAX 4096

/* Up to so many the system draws itself; what is longer is drawn from a seed that it has drawn:
 * the kernel takes ten times as long as ChaCha20 here. */
#define GENERATE_DIRECT 256

static const char *const charsets[CHARSETS] = {
	[CHARSET_ALNUM] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	[CHARSET_HEX] = "0123456789abcdef",
	[CHARSET_BASE64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	[CHARSET_BYTES] = NULL,
};

/* The lowest bits that it takes to tell all letters of a set apart. */
static unsigned mask_for(size_t letters)
{
	unsigned mask = 1;

	while (mask < letters - 1)
		mask = mask << 1 | 1;
	return mask;
}

/*
 * Turns random bytes into characters of a set, in place, each equally likely: bits of a byte that
 * stand for none are passed over. Returns how many characters came out.
 */
static size_t sift(uint8_t *bytes, size_t size, const char *set)
{
	size_t letters = strlen(set);
	unsigned mask = mask_for(letters);
	size_t out = 0;

	for (size_t i = 0; i < size; i++) {
		unsigned letter = bytes[i] & mask;

		/* One more than the last letter is the end of the set's text. */
		bytes[out] = (uint8_t)set[letter < letters ? letter : letters];
		out += letter < letters;
	}
	return out;
}

static void draw_bytes(uint8_t *out, size_t size, struct workbench *bench)
{
	size_t mark = workbench_mark(bench);
	uint8_t *seed =
		size > GENERATE_DIRECT ? workbench_take(bench, randombytes_SEEDBYTES) : NULL;

	if (seed) {
		randombytes_buf(seed, randombytes_SEEDBYTES);
		randombytes_buf_deterministic(out, size, seed);
	} else {
		randombytes_buf(out, size);
	}
	workbench_release(bench, mark);
}

static void draw(uint8_t *out, size_t size, enum charset charset, struct workbench *bench)
{
	const char *set = charsets[charset];
	size_t done = 0;

	while (done < size) {
		draw_bytes(out + done, size - done, bench);
		done += set ? sift(out + done, size - done, set) : size - done;
	}
}

/* Draws the value on the bench. */
static int draw_value(const struct desk *desk, struct value *value, const uint8_t *key)
{
	const struct request *request = desk->request;
	struct workbench *bench = &desk->daemon->bench;
	size_t mark = workbench_mark(bench);
	uint8_t *chunk = workbench_take(bench, ENCLAVE_CHUNK_SIZE);
	size_t size = (size_t)request->size;
	int r = chunk ? 0 : -ENOBUFS;

	if (r == 0) {
		draw(chunk, size, request->charset, bench);
		enclave_seal_chunk(chunk, chunk, size, 0, true, key);
		r = value_append(
			desk->daemon->vault, value, span_of(chunk, size + ENCLAVE_TAG_SIZE));
	}
	workbench_release(bench, mark);
	/* The key lay there too, and is zeros now. */
	return workbench_is_broken(bench) ? -EFAULT : r;
}

/* Draws and publishes what hangs on `process`. Returns 0, a status or a negative errno. */
static int generate(struct desk *desk, const struct process *process, uint64_t *versionp)
{
	struct daemon *daemon = desk->daemon;
	const struct request *request = desk->request;
	uint8_t *key = workbench_take(&daemon->bench, ENCLAVE_KEY_SIZE);
	struct vault_put put = { .name = desk->name,
		.owner = (uint32_t)desk->peer->uid,
		.key = key,
		.conditions = request->conditions,
		.tags = request->tags,
		.frozen = request->freeze,
		.rotation = request->rotation,
		.limited = quota_holds(desk->transfers),
		.size = request->size,
		.lifetime = request->lifetime };
	struct value *value = NULL;
	int r;

	if (!key)
		return -ENOBUFS;
	enclave_draw_key(key);
	r = lifetime_bind(&put, daemon, desk->transfers, process, &desk->words);
	if (r == 0)
		r = vault_may_put(daemon->vault, &put, versionp);
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

static int change_generate(struct desk *desk, uint64_t *versionp)
{
	struct daemon *daemon = desk->daemon;
	struct process *process;
	int r = lifetime_take(daemon, desk->peer, &desk->request->lifetime, &process, &desk->words);

	if (r != 0)
		return r;
	r = generate(desk, process, versionp);
	process_release(daemon->processes, process);
	return r;
}

int serve_generate(struct desk *desk)
{
	const struct request *request = desk->request;

	if (request->size == 0)
		return desk_answer_code(desk, STATUS_INVALID, "the value is empty");
	if (request->size > GENERATE_MAX)
		return desk_answer_code(desk, STATUS_LIMIT, "at most 4096 bytes are drawn");
	return change_once(desk, change_generate);
}

/* -- purge --------------------------------------------------------------------------------- */

static int answer_purged(const struct desk *desk, uint64_t count)
{
	struct reply reply = { .body = BODY_PURGED, .secrets = count };

	return desk_answer(desk, &reply);
}

/* Of everything, at one go: it is dead with its master, and wiped before the answer leaves. */
static int purge_all(const struct desk *desk, const uint8_t *digest)
{
	struct daemon *daemon = desk->daemon;
	uint32_t uid = (uint32_t)desk->peer->uid;
	struct repeat_answer first = { .version = daemon_purge(daemon) };

	log_notice("purged everything, as uid %ld asks", (long)uid);
	(void)repeats_keep(daemon->repeats, uid, desk->request->number, digest, &first);
	return answer_purged(desk, first.version);
}

/* Without a policy that says otherwise nobody else has anything outside its own space. */
static int purge_mine(const struct desk *desk, const uint8_t *digest)
{
	return sweep_begin(desk->transfers, desk->daemon, desk->request, (uint32_t)desk->peer->uid,
		policy_privileged(&desk->daemon->policy, desk->peer) || desk->daemon->policy.book,
		digest);
}

int serve_purge(struct desk *desk)
{
	struct daemon *daemon = desk->daemon;
	const struct request *request = desk->request;
	uint8_t digest[REPEAT_DIGEST_SIZE];
	struct repeat_answer first = { 0 };
	int r;

	request_digest(digest, request, desk->name);
	r = repeats_find(
		daemon->repeats, (uint32_t)desk->peer->uid, request->number, digest, &first);
	if (r == STATUS_CONFLICT)
		return answer_reused(desk);
	if (r == 1)
		return answer_purged(desk, first.version);
	if (!request->all && vault_is_locked(daemon->vault)) {
		desk->words =
			"locked: whose a secret is cannot be told now; unlock, or purge --all";
		return STATUS_LOCKED;
	}
	return request->all ? purge_all(desk, digest) : purge_mine(desk, digest);
}
