/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "client/lib/pieces.h"

/* A value on its way out. */
struct store {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct tag tags[MESSAGE_TAGS_MAX];
	enum body expected;
	uint64_t version;

	const void *value; /* mg_set */
	uint8_t *sealed;   /* all chunks of it, in the heap */

	struct pieces pieces; /* mg_set_from */
};

/* -- frames -------------------------------------------------------------------------------- */

/* The messages after the first one carry nothing but chunks. */
static int send_frame(struct mg_client *client, struct store *store, const struct chunks *chunks,
	struct span bytes)
{
	struct request next = { .id = client->last_id, .chunked = true, .chunks = *chunks };

	if (chunks->first > 0 || chunks->abort)
		return exchange_send(client, &next, bytes, store->call.deadline_ms);
	store->request.chunked = true;
	store->request.chunks = *chunks;
	return call_send(client, &store->call, &store->request, bytes);
}

static int take_answer(struct mg_client *client, struct store *store)
{
	struct reply reply;
	int r = exchange_receive(client, &reply, store->call.deadline_ms);

	if (r < 0)
		return r;
	if (reply.code == 0 && reply.body != store->expected)
		return -EPROTO;
	store->version = reply.version;
	return call_judge(&reply);
}

/* The daemon answers early only to refuse; the set has to be ended all the same. */
static int take_refusal(struct mg_client *client, struct store *store, uint64_t due)
{
	struct chunks end = { .first = due, .abort = true };
	int r = take_answer(client, store);

	if (r == MG_OK)
		return -EPROTO;
	if (r > 0 && send_frame(client, store, &end, span_of(NULL, 0)) < 0)
		connection_close(&client->connection);
	return r;
}

/* -- whole --------------------------------------------------------------------------------- */

/* Everything is sealed once, before anything is sent: a repeat sends the same bytes. */
static int seal_whole(struct mg_client *client, struct store *store)
{
	size_t size = (size_t)store->request.size;

	pieces_draw_key(client);
	store->request.key = client->keys->value;
	store->sealed = pieces_seal_whole(client, store->value, size);
	if (!store->sealed)
		return error_say(MG_LIMIT, "out of memory for a value of %zu bytes", size);
	return MG_OK;
}

/* As many chunks of `left` sealed bytes as a frame takes. Returns their bytes. */
static size_t announce(struct chunks *chunks, size_t left)
{
	size_t size = left < FRAME_CHUNKS_MAX ? left : FRAME_CHUNKS_MAX;

	chunks->count = (uint32_t)((size + ENCLAVE_CHUNK_SIZE - 1) / ENCLAVE_CHUNK_SIZE);
	chunks->last = (uint32_t)(size - (chunks->count - 1) * (size_t)ENCLAVE_CHUNK_SIZE);
	chunks->final = size == left;
	return size;
}

static int attempt_whole(struct mg_client *client, struct call *call)
{
	struct store *store = (struct store *)(void *)call;
	size_t sealed_size = (size_t)enclave_sealed_size(store->request.size);
	struct chunks chunks = { 0 };
	size_t size;
	int r = store->sealed ? MG_OK : seal_whole(client, store);

	for (size_t at = 0; r == MG_OK && at < sealed_size; at += size) {
		if (at > 0 && exchange_has_news(client))
			return take_refusal(client, store, chunks.first);
		size = announce(&chunks, sealed_size - at);
		r = send_frame(client, store, &chunks, span_of(store->sealed + at, size));
		chunks.first += chunks.count;
	}
	return r == MG_OK ? take_answer(client, store) : r;
}

/* Sends a value that is at hand; `r` is how its preparation went. */
static int run_whole(
	struct mg_client *client, struct store *store, const void *value, size_t size, int r)
{
	if (r == MG_OK && (size == 0 || !value))
		r = error_say(MG_INVALID, "a value has at least one byte");
	if (r == MG_OK && size > MESSAGE_VALUE_MAX)
		r = error_say(MG_LIMIT, "a value has at most 1 GiB");
	store->call.attempt = attempt_whole;
	store->value = value;
	store->request.size = size;
	/* The first one may have been stored, and have ended with its connection. */
	store->call.repeatable = !store->request.lifetime.session;
	if (r == MG_OK)
		r = call_run(client, &store->call);
	free(store->sealed);
	return r;
}

int mg_set(struct mg_client *client, const char *name, const void *value, size_t size,
	const struct mg_set_options *options, uint64_t *versionp)
{
	struct store store = { .expected = BODY_STORED };
	int r = call_prepare_change(&store.request, store.tags, VERB_SET, name, options);

	r = run_whole(client, &store, value, size, r);
	if (r == MG_OK && versionp)
		*versionp = store.version;
	return r;
}

static int prepare_verify(struct store *store, const char *name)
{
	int r = call_check_name(name);

	*store = (struct store){ .expected = BODY_NONE };
	if (r == MG_OK)
		store->request = (struct request){ .verb = VERB_VERIFY, .name = span_text(name) };
	return r;
}

int mg_verify(struct mg_client *client, const char *name, const void *candidate, size_t size)
{
	struct store store;
	int r = prepare_verify(&store, name);

	return run_whole(client, &store, candidate, size, r);
}

/* -- piece by piece ------------------------------------------------------------------------ */

/* Takes back what was sent so far: the daemon answers that it was given up. */
static int give_up(struct mg_client *client, struct store *store, const struct chunks *chunks)
{
	struct chunks end = { .first = chunks->first, .abort = true };
	struct reply reply;
	int r = 0;

	if (chunks->first > 0)
		r = send_frame(client, store, &end, span_of(NULL, 0));
	if (chunks->first > 0 && r == 0)
		r = exchange_receive(client, &reply, store->call.deadline_ms);
	if (r < 0)
		connection_close(&client->connection);
	return MG_INVALID;
}

static int attempt_pieces(struct mg_client *client, struct call *call)
{
	struct store *store = (struct store *)(void *)call;
	struct chunks chunks = { 0 };
	struct pieces *pieces = &store->pieces;
	int r = pieces_begin(pieces, client, call);

	pieces_draw_key(client);
	store->request.key = client->keys->value;
	while (r == MG_OK && !chunks.final) {
		if (chunks.first > 0 && exchange_has_news(client))
			return take_refusal(client, store, chunks.first);
		if (pieces_seal_frame(pieces, &chunks) != MG_OK)
			return give_up(client, store, &chunks);
		r = send_frame(
			client, store, &chunks, span_of(pieces->sealed, pieces->sealed_size));
		chunks.first += chunks.count;
	}
	return r == MG_OK ? take_answer(client, store) : r;
}

/* Sends a value that comes piece by piece. */
static int run_pieces(
	struct mg_client *client, struct store *store, mg_source source, void *context, int r)
{
	store->call.attempt = attempt_pieces;
	store->pieces.source = source;
	store->pieces.context = context;
	if (r == MG_OK)
		r = call_run(client, &store->call);
	pieces_finish(&store->pieces);
	return r;
}

int mg_verify_from(struct mg_client *client, const char *name, mg_source source, void *context)
{
	struct store store;
	int r = prepare_verify(&store, name);

	return run_pieces(client, &store, source, context, r);
}

int mg_set_from(struct mg_client *client, const char *name, mg_source source, void *context,
	const struct mg_set_options *options, uint64_t *versionp)
{
	struct store store = { .expected = BODY_STORED };
	int r = call_prepare_change(&store.request, store.tags, VERB_SET, name, options);

	r = run_pieces(client, &store, source, context, r);
	if (r == MG_OK && versionp)
		*versionp = store.version;
	return r;
}
