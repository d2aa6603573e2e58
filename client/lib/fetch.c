/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "client/lib/memory/enclave.h"
#include "client/lib/memory/secret.h"
#include "client/lib/mgclient-token.h"
#include "client/lib/token.h"
#include "common/memory/locked_stack.h"

/* A value on its way in. */
struct fetch {
	struct call call; /* first: what attempts are given */
	struct request request;
	const char *name;
	uint64_t version;
	uint64_t size;   /* bytes that the value has */
	uint64_t opened; /* bytes of it that are here */
	uint64_t due;    /* number of the next chunk */
	bool final;      /* the last chunk was among them */

	/* Gives room for a piece of `size` bytes, or NULL when there is none. */
	uint8_t *(*place)(struct mg_client *client, struct fetch *fetch, size_t size);
	/* Takes the piece that was opened there. 0, or a status that ends the fetch. */
	int (*taken)(struct mg_client *client, struct fetch *fetch, uint8_t *piece, size_t size);
	/* Begins, once version and size are known. Returns a status. */
	int (*begin)(struct mg_client *client, struct fetch *fetch);

	const void *wrap;           /* its text: what is fetched was wrapped */
	struct mg_secret *secret;   /* mg_get */
	struct mg_enclave *enclave; /* mg_get_enclave: chunks stay as they are */
	mg_sink sink;               /* mg_get_each */
	void *context;
};

static int say_broken(const struct fetch *fetch, const char *what)
{
	return error_say(MG_INTEGRITY, "the value of '%s' is not whole: %s", fetch->name, what);
}

/* -- one chunk ----------------------------------------------------------------------------- */

struct opening {
	struct mg_client *client;
	struct fetch *fetch;
	struct span chunk;
	bool final;
	uint8_t *piece;
	int result;
};

static void open_chunk(void *argument)
{
	struct opening *opening = argument;

	opening->result =
		enclave_open_chunk(opening->piece, opening->chunk.data, opening->chunk.size,
			opening->fetch->due, opening->final, opening->client->keys->value);
}

/* It stays sealed; what does not open is not kept. */
static void check_chunk(void *argument)
{
	struct opening *opening = argument;

	opening->result = enclave_check_chunk(opening->chunk.data, opening->chunk.size,
		opening->fetch->due, opening->final, opening->client->keys->value);
}

/* What a chunk of this size may be where the value stands now; NULL: all right. */
static const char *chunk_fault(const struct fetch *fetch, size_t plain, bool final)
{
	if (plain > fetch->size - fetch->opened)
		return "there is more of it than was announced";
	if (!final && plain != ENCLAVE_CHUNK_PLAIN)
		return "a chunk in the midst is short";
	if (final != (fetch->opened + plain == fetch->size))
		return "its end is not where it was announced";
	return NULL;
}

static int take_chunk(struct mg_client *client, struct fetch *fetch, struct span chunk, bool final)
{
	size_t plain = chunk.size - ENCLAVE_TAG_SIZE;
	const char *fault = chunk_fault(fetch, plain, final);
	struct opening opening = {
		.client = client, .fetch = fetch, .chunk = chunk, .final = final
	};

	if (fault)
		return say_broken(fetch, fault);
	opening.piece = fetch->place(client, fetch, plain);
	if (!opening.piece)
		return error_say(MG_PROTOCOL, "the daemon's answer leaves no room for a value");
	handle_run(client, fetch->enclave ? check_chunk : open_chunk, &opening);
	if (opening.result < 0)
		return say_broken(fetch, "a chunk does not open");
	if (fetch->enclave)
		memcpy(opening.piece, chunk.data, chunk.size);
	fetch->due++;
	fetch->opened += plain;
	fetch->final = final;
	return fetch->taken(client, fetch, opening.piece, plain);
}

/* -- the answers --------------------------------------------------------------------------- */

/* All chunks of one message, which lie in the connection's input. */
static int take_chunks(struct mg_client *client, struct fetch *fetch, const struct chunks *chunks,
	struct span bytes)
{
	size_t at = 0;
	int r = MG_OK;

	if (chunks->count == 0 || chunks->first != fetch->due)
		return say_broken(fetch, "chunks are out of order");
	for (uint32_t i = 0; r == MG_OK && i < chunks->count; i++) {
		bool last = i + 1 == chunks->count;
		size_t size = last ? chunks->last : ENCLAVE_CHUNK_SIZE;

		r = take_chunk(
			client, fetch, span_of(bytes.data + at, size), last && chunks->final);
		at += size;
	}
	return r;
}

static int begin(struct mg_client *client, struct fetch *fetch, const struct reply *reply)
{
	if (reply->body != BODY_VALUE)
		return -EPROTO;
	fetch->version = reply->version;
	fetch->size = reply->size;
	return fetch->begin(client, fetch);
}

static int take_reply(struct mg_client *client, struct fetch *fetch, bool first)
{
	struct reply reply;
	struct chunks chunks;
	int r = exchange_receive(client, &reply, fetch->call.deadline_ms);

	if (r < 0)
		return r;
	if (reply.code != 0)
		return call_judge(&reply);
	chunks = reply.chunks;
	if (first)
		r = begin(client, fetch, &reply);
	else if (reply.body != BODY_NONE || !reply.chunked)
		r = -EPROTO;
	exchange_forget(client);
	if (r == MG_OK && reply.chunked)
		r = take_chunks(client, fetch, &chunks, reply.bytes);
	/* The rest of the value would come still. */
	if (r > 0)
		connection_close(&client->connection);
	return r;
}

static int attempt(struct mg_client *client, struct call *call)
{
	struct fetch *fetch = (struct fetch *)(void *)call;
	bool first = true;
	int r = call_send(client, call, &fetch->request, span_of(NULL, 0));

	fetch->opened = fetch->due = 0;
	fetch->final = false;
	while (r == MG_OK && !fetch->final) {
		r = take_reply(client, fetch, first);
		first = false;
	}
	return r;
}

static int run(struct mg_client *client, struct fetch *fetch, const char *name,
	const struct mg_get_options *options)
{
	int r = call_check_name(name);

	if (r != MG_OK)
		return r;
	fetch->name = name;
	fetch->request = (struct request){ .verb = VERB_GET, .name = span_text(name) };
	if (options) {
		fetch->request.version = options->version;
		fetch->request.wait_ms = options->wait_ms;
		fetch->call.wait_ms = options->wait_ms;
	}
	fetch->call.attempt = attempt;
	fetch->call.repeatable = true;
	return call_run(client, &fetch->call);
}

static int attempt_unwrap(struct mg_client *client, struct call *call)
{
	struct fetch *fetch = (struct fetch *)(void *)call;
	int r = token_take_wrap(client, fetch->wrap);

	fetch->request.token = client->keys->wrap;
	return r == MG_OK ? attempt(client, call) : r;
}

/* Once, whatever comes of it: a second time would be one too many. */
static int run_wrap(struct mg_client *client, struct fetch *fetch, const void *text, size_t size)
{
	int r = token_check_wrap(text, size);

	if (r != MG_OK)
		return r;
	fetch->name = "what is wrapped";
	fetch->wrap = text;
	fetch->request = (struct request){ .verb = VERB_UNWRAP };
	fetch->call.attempt = attempt_unwrap;
	return call_run(client, &fetch->call);
}

/* -- whole --------------------------------------------------------------------------------- */

/* Where memory can be locked at all, a value that cannot is told so and not put into other memory.
 */
static enum mg_memory need_of(const struct mg_client *client)
{
	if (client->need == MG_MEMORY_PREFER_LOCK && client->memory.backend != OS_MEMORY_PLAIN)
		return MG_MEMORY_REQUIRE_LOCK;
	return client->need;
}

static int begin_whole(struct mg_client *client, struct fetch *fetch)
{
	mg_secret_free(fetch->secret);
	fetch->secret = NULL;
	return secret_new_closed(
		&fetch->secret, (size_t)fetch->size, need_of(client), client->owner);
}

/* In place: the value is never anywhere else. */
static uint8_t *place_whole(struct mg_client *client, struct fetch *fetch, size_t size)
{
	(void)client;
	(void)size;
	return fetch->secret->data + fetch->opened;
}

static int taken_whole(struct mg_client *client, struct fetch *fetch, uint8_t *piece, size_t size)
{
	(void)client;
	(void)fetch;
	(void)piece;
	(void)size;
	return MG_OK;
}

/* What came of it. */
static int end_whole(struct fetch *fetch, int r, struct mg_secret **secretp)
{
	if (r == MG_OK)
		r = secret_close(fetch->secret);
	if (r != MG_OK) {
		mg_secret_free(fetch->secret);
		return r;
	}
	*secretp = fetch->secret;
	return MG_OK;
}

int mg_get(struct mg_client *client, const char *name, const struct mg_get_options *options,
	struct mg_secret **secretp)
{
	struct fetch fetch = { .begin = begin_whole, .place = place_whole, .taken = taken_whole };

	*secretp = NULL;
	return end_whole(&fetch, run(client, &fetch, name, options), secretp);
}

int mg_unwrap(struct mg_client *client, const void *text, size_t size, struct mg_secret **secretp)
{
	struct fetch fetch = { .begin = begin_whole, .place = place_whole, .taken = taken_whole };

	*secretp = NULL;
	return end_whole(&fetch, run_wrap(client, &fetch, text, size), secretp);
}

/* -- as an enclave ------------------------------------------------------------------------- */

static int begin_enclave(struct mg_client *client, struct fetch *fetch)
{
	mg_enclave_free(fetch->enclave);
	return enclave_new(&fetch->enclave, (size_t)fetch->size, client->owner);
}

static uint8_t *place_enclave(struct mg_client *client, struct fetch *fetch, size_t size)
{
	(void)client;
	(void)size;
	return fetch->enclave->sealed + fetch->due * ENCLAVE_CHUNK_SIZE;
}

/* The data key goes from one coffer to the other, on the locked stack. */
static int taken_enclave(struct mg_client *client, struct fetch *fetch, uint8_t *piece, size_t size)
{
	(void)piece;
	(void)size;
	return fetch->final ? enclave_keep_key(fetch->enclave, client->keys->value) : MG_OK;
}

int mg_get_enclave(struct mg_client *client, const char *name, const struct mg_get_options *options,
	struct mg_enclave **enclavep)
{
	struct fetch fetch = {
		.begin = begin_enclave, .place = place_enclave, .taken = taken_enclave
	};
	int r;

	*enclavep = NULL;
	r = run(client, &fetch, name, options);
	if (r == MG_OK)
		*enclavep = fetch.enclave;
	else
		mg_enclave_free(fetch.enclave);
	return r;
}

/* -- in pieces ----------------------------------------------------------------------------- */

static int begin_each(struct mg_client *client, struct fetch *fetch)
{
	(void)client;
	(void)fetch;
	return MG_OK;
}

static uint8_t *place_each(struct mg_client *client, struct fetch *fetch, size_t size)
{
	(void)fetch;
	return workbench_take(&client->bench, size);
}

static int taken_each(struct mg_client *client, struct fetch *fetch, uint8_t *piece, size_t size)
{
	struct mg_info info = {
		.name = fetch->name, .version = fetch->version, .size = fetch->size
	};
	uint64_t since_ms = connection_now_ms();
	int r;

	/* What was handed over cannot be taken back. */
	fetch->call.repeatable = false;
	r = fetch->sink(fetch->context, &info, piece, size);
	/* The next piece may be long in coming; what was copied of this one went through registers.
	 */
	locked_stack_scrub();
	call_excuse(&fetch->call, since_ms);
	exchange_forget(client);
	if (r < 0)
		return error_say(MG_INTERNAL, "the caller gave up");
	return r > 0 ? error_say(r, "the caller gave up") : MG_OK;
}

int mg_get_each(struct mg_client *client, const char *name, const struct mg_get_options *options,
	mg_sink sink, void *context)
{
	struct fetch fetch = { .begin = begin_each,
		.place = place_each,
		.taken = taken_each,
		.sink = sink,
		.context = context };

	return run(client, &fetch, name, options);
}

int mg_unwrap_each(
	struct mg_client *client, const void *text, size_t size, mg_sink sink, void *context)
{
	struct fetch fetch = { .begin = begin_each,
		.place = place_each,
		.taken = taken_each,
		.sink = sink,
		.context = context };

	return run_wrap(client, &fetch, text, size);
}
