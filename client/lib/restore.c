/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/bundle_file.h"
#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "common/bytes.h"
#include "common/wire/name.h"

/* So many the daemon brings back in a millisecond, however slow it is. */
#define SECRETS_PER_MS 10

/* A restore under way. */
struct restore {
	struct call call; /* first: what attempts are given */
	const struct mg_backup_options *options;
	struct span prefix;
	struct bundle_file file;
	struct mg_backup_count count;
	uint64_t met; /* secrets in the bundle so far, taken or not */
	bool over;    /* the bundle is whole */
	bool asked;   /* the commit has been sent */
	struct request commit;
	uint8_t *sealed; /* a frame's chunks */

	/* The secret at hand. */
	struct request request;
	char name[NAME_FILED_MAX + 1];
	uint64_t left;        /* sealed bytes that are still to be read */
	struct chunks chunks; /* those of the next frame */
	uint8_t message[BUNDLE_MESSAGE_MAX];
};

static int say_broken(const char *what)
{
	return error_say(MG_INTEGRITY, "the bundle was changed, or it is another key: %s", what);
}

/* -- messages ------------------------------------------------------------------------------ */

struct pulling {
	struct mg_client *client;
	struct restore *restore;
	size_t size; /* of the message */
	bool final;
	int result;
};

/* The last message says how many there were. */
static int read_end(struct restore *restore, const uint8_t *plain, size_t size)
{
	if (size != BUNDLE_END_SIZE || bytes_get64(plain) != restore->met)
		return -EPROTO;
	restore->over = true;
	return 0;
}

/* The request that brings the secret at hand; its words lie on the bench. */
static int read_record(struct pulling *pulling, const uint8_t *plain, size_t size)
{
	struct mg_client *client = pulling->client;
	struct bundled bundled;
	int r = message_read_bundled(&bundled, span_of(plain, size), &client->bench);

	if (r < 0)
		return r;
	memcpy(client->keys->value, bundled.key, sizeof(client->keys->value));
	pulling->restore->request = (struct request){ .verb = VERB_STAGE,
		.name = bundled.info.name,
		.version = bundled.info.version,
		.size = bundled.info.size,
		.created_ms = bundled.info.created_ms,
		.changed_ms = bundled.info.changed_ms,
		.tags = bundled.info.tags,
		.lifetime = bundled.info.left,
		.freeze = bundled.info.frozen,
		.owner = bundled.owner,
		.key = client->keys->value };
	return 0;
}

static int pull_message(struct pulling *pulling)
{
	struct restore *restore = pulling->restore;
	struct workbench *bench = &pulling->client->bench;
	size_t size = pulling->size - BUNDLE_MESSAGE_EXTRA;
	uint8_t *plain;
	int r;

	/* Of the secret before and its answer nothing is needed any more. */
	workbench_release(bench, 0);
	plain = workbench_take(bench, size);
	if (!plain)
		return -ENOBUFS;
	r = bundle_pull(bundle_file_stream(&restore->file), plain,
		span_of(restore->message, pulling->size), &pulling->final);
	if (r < 0)
		return r;
	return pulling->final ? read_end(restore, plain, size) : read_record(pulling, plain, size);
}

static void pull(void *argument)
{
	struct pulling *pulling = argument;
	struct mg_client *client = pulling->client;

	pulling->result = pull_message(pulling);
	client->floor = client->parsed = workbench_mark(&client->bench);
}

/* The next message, opened: a secret, or the end. */
static int read_message(struct mg_client *client, struct restore *restore)
{
	struct pulling pulling = { .client = client, .restore = restore };
	uint8_t prefix[BUNDLE_PREFIX_SIZE];
	int size;
	int r = bundle_file_read(&restore->file, prefix, sizeof(prefix));

	if (r != MG_OK)
		return r;
	size = bundle_message_size(prefix);
	if (size < 0)
		return say_broken("a message of a size that there is not");
	r = bundle_file_read(&restore->file, restore->message, (size_t)size);
	if (r != MG_OK)
		return r;
	pulling.size = (size_t)size;
	handle_run(client, pull, &pulling);
	if (pulling.result == -EBADMSG)
		return say_broken("a message does not open");
	return pulling.result < 0 ? say_broken("what a message says is none of ours") : MG_OK;
}

/* -- chunks -------------------------------------------------------------------------------- */

struct checking {
	struct mg_client *client;
	const struct restore *restore;
	int result;
};

/* All of a frame's. */
static void check_chunks(void *argument)
{
	struct checking *checking = argument;
	const struct chunks *chunks = &checking->restore->chunks;

	for (uint32_t i = 0; i < chunks->count && checking->result == 0; i++) {
		bool last = i + 1 == chunks->count;

		checking->result = enclave_check_chunk(
			checking->restore->sealed + i * (size_t)ENCLAVE_CHUNK_SIZE,
			last ? chunks->last : ENCLAVE_CHUNK_SIZE, chunks->first + i,
			last && chunks->final, checking->client->keys->value);
	}
}

/* Reads the chunks of the next frame: what does not open is not sent. Their bytes go to *sizep. */
static int read_chunks(struct mg_client *client, struct restore *restore, size_t *sizep)
{
	struct checking checking = { .client = client, .restore = restore };
	struct chunks *chunks = &restore->chunks;
	size_t size = restore->left < FRAME_CHUNKS_MAX ? (size_t)restore->left : FRAME_CHUNKS_MAX;
	int r = bundle_file_read(&restore->file, restore->sealed, size);

	if (r != MG_OK)
		return r;
	chunks->first += chunks->count;
	chunks->count = (uint32_t)((size + ENCLAVE_CHUNK_SIZE - 1) / ENCLAVE_CHUNK_SIZE);
	chunks->last = (uint32_t)(size - (chunks->count - 1) * (size_t)ENCLAVE_CHUNK_SIZE);
	restore->left -= size;
	chunks->final = restore->left == 0;
	*sizep = size;
	handle_run(client, check_chunks, &checking);
	return checking.result == 0 ? MG_OK : say_broken("a value does not open");
}

/* -- one secret ---------------------------------------------------------------------------- */

static int take_staged(struct mg_client *client, struct restore *restore)
{
	struct reply reply;
	int r = exchange_receive(client, &reply, restore->call.deadline_ms);

	if (r < 0)
		return r;
	r = call_judge(&reply);
	return r == MG_OK ? MG_OK : error_about(r, span_text(restore->name));
}

/* The first frame carries the verb, the others only chunks. */
static int send_chunks(struct mg_client *client, struct restore *restore, size_t size)
{
	struct request next = { .id = client->last_id, .chunked = true, .chunks = restore->chunks };
	struct span bytes = span_of(restore->sealed, size);

	if (restore->chunks.first > 0)
		return exchange_send(client, &next, bytes, restore->call.deadline_ms);
	restore->request.chunked = true;
	restore->request.chunks = restore->chunks;
	return call_send(client, &restore->call, &restore->request, bytes);
}

/* The daemon answers early only to refuse. */
static int stage(struct mg_client *client, struct restore *restore)
{
	int r = MG_OK;

	while (r == MG_OK && restore->left > 0) {
		uint64_t since_ms = connection_now_ms();
		size_t size;

		if (restore->chunks.first + restore->chunks.count > 0 &&
			exchange_has_news(client)) {
			r = take_staged(client, restore);
			return r == MG_OK ? -EPROTO : r;
		}
		r = read_chunks(client, restore, &size);
		call_excuse(&restore->call, since_ms);
		if (r == MG_OK)
			r = send_chunks(client, restore, size);
	}
	return r == MG_OK ? take_staged(client, restore) : r;
}

/* Read and checked all the same: a bundle is whole or it is none. */
static int pass_over(struct mg_client *client, struct restore *restore)
{
	int r = MG_OK;
	size_t size;

	while (r == MG_OK && restore->left > 0)
		r = read_chunks(client, restore, &size);
	return r;
}

static int take_secret(struct mg_client *client, struct restore *restore)
{
	struct span name = restore->request.name;
	uint64_t size = restore->request.size;
	int r;

	memcpy(restore->name, name.data, name.size);
	restore->name[name.size] = '\0';
	restore->met++;
	restore->left = enclave_sealed_size(size);
	restore->chunks = (struct chunks){ 0 };
	if (!span_starts_with(name, restore->prefix))
		return pass_over(client, restore);
	r = stage(client, restore);
	if (r != MG_OK)
		return r;
	restore->count.secrets++;
	restore->count.bytes += size;
	if (restore->options->progress)
		restore->options->progress(restore->options->context, &restore->count);
	return MG_OK;
}

static int stage_all(struct mg_client *client, struct restore *restore)
{
	int r = MG_OK;

	while (r == MG_OK && !restore->over) {
		r = read_message(client, restore);
		call_progress(client, &restore->call);
		if (r == MG_OK && !restore->over)
			r = take_secret(client, restore);
	}
	return r == MG_OK ? bundle_file_end(&restore->file) : r;
}

/* -- all of them --------------------------------------------------------------------------- */

static int say_in_the_way(const struct reply *reply)
{
	int r = call_judge(reply);

	if (r == MG_OK || reply->name.size == 0)
		return r;
	return error_about(r, reply->name);
}

/* One that was sent on a connection that broke may have been made, and its number tells. */
static int commit(struct mg_client *client, struct restore *restore)
{
	bool again = restore->asked;
	struct reply reply;
	int r;

	/* However many there are, the daemon takes them in steps, between which others are served.
	 */
	restore->call.wait_ms = restore->count.secrets < UINT_MAX
		? (unsigned)(restore->count.secrets / SECRETS_PER_MS)
		: UINT_MAX / SECRETS_PER_MS;
	call_progress(client, &restore->call);
	restore->asked = true;
	restore->call.repeatable = !again;
	r = call_ask(client, &restore->call, &restore->commit, &reply);
	if (r < 0)
		return r;
	if (again && reply.code == MG_NOT_FOUND)
		return error_say(MG_UNREACHABLE,
			"the daemon ended meanwhile, and what it restored is not known: restore "
			"again");
	if (reply.code == 0 && reply.body != BODY_RESTORED)
		return -EPROTO;
	return say_in_the_way(&reply);
}

/* Once the commit was asked for, an attempt only asks again. */
static int attempt(struct mg_client *client, struct call *call)
{
	struct restore *restore = (struct restore *)(void *)call;
	int r = restore->asked ? MG_OK : stage_all(client, restore);

	restore->commit.secrets = restore->count.secrets;
	if (r == MG_OK && restore->count.secrets > 0)
		r = commit(client, restore);
	/* With the connection goes what was staged on it. */
	if (r > 0)
		connection_close(&client->connection);
	return r;
}

static int run(struct mg_client *client, int fd, struct restore *restore)
{
	const char *prefix = restore->options->prefix ? restore->options->prefix : "";
	const char *fault = name_prefix_fault(span_text(prefix));
	int r;

	if (fault)
		return error_say(MG_INVALID, "the prefix %s", fault);
	restore->prefix = span_text(prefix);
	restore->call.attempt = attempt;
	restore->commit = (struct request){ .verb = VERB_COMMIT, .numbered = true };
	restore->sealed = malloc(FRAME_CHUNKS_MAX);
	if (!restore->sealed)
		return error_say(MG_LIMIT, "out of memory");
	r = bundle_file_open(&restore->file, fd, restore->options, client);
	if (r != MG_OK)
		return r;
	randombytes_buf(restore->commit.number, sizeof(restore->commit.number));
	return call_run(client, &restore->call);
}

int mg_restore(struct mg_client *client, int fd, const struct mg_backup_options *options,
	struct mg_backup_count *countp)
{
	static const struct mg_backup_options none;
	struct restore restore = { .options = options ? options : &none };
	int r;

	if (!client)
		return error_say(MG_INVALID, "no handle");
	r = run(client, fd, &restore);
	bundle_file_finish(&restore.file);
	free(restore.sealed);
	if (r == MG_OK && countp)
		*countp = restore.count;
	return r;
}
