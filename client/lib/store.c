/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"

/* A piece and a byte of the next one: whether a piece is the last must be known to seal it. */
#define PIECE_SIZE (ENCLAVE_CHUNK_PLAIN + 1)

/* A value on its way out. */
struct store {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct tag tags[MESSAGE_TAGS_MAX];
	enum body expected;
	uint64_t version;
	uint8_t *sealed; /* chunks, in the heap: all of them, or a frame's */
	size_t sealed_size;

	const uint8_t *value; /* mg_set */

	mg_source source; /* mg_set_from */
	void *context;
	struct mg_client *client;
	uint8_t *piece; /* on the bench */
	size_t have;    /* bytes in it */
	bool ended;     /* the source has no more */
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

struct sealing {
	struct mg_client *client;
	struct store *store; /* piece by piece */
	uint8_t *out;
	const uint8_t *value;
	size_t size;
	uint64_t number; /* of the chunk */
	bool final;
};

static void seal_chunk(void *argument)
{
	struct sealing *sealing = argument;

	enclave_seal_chunk(sealing->out, sealing->value, sealing->size, sealing->number,
		sealing->final, sealing->client->keys->value);
}

static void draw(void *argument)
{
	enclave_draw_key(argument);
}

static void draw_key(struct mg_client *client, struct store *store)
{
	handle_run(client, draw, client->keys->value);
	store->request.key = client->keys->value;
}

/* Everything is sealed once, before anything is sent: a repeat sends the same bytes. */
static int seal_whole(struct mg_client *client, struct store *store)
{
	struct sealing sealing = { .client = client, .value = store->value };
	size_t left = (size_t)store->request.size;

	store->sealed_size = (size_t)enclave_sealed_size(left);
	sealing.out = store->sealed = malloc(store->sealed_size);
	if (!store->sealed)
		return error_say(MG_LIMIT, "out of memory for a value of %zu bytes", left);
	draw_key(client, store);
	for (; left > 0; left -= sealing.size, sealing.number++) {
		sealing.size = left < ENCLAVE_CHUNK_PLAIN ? left : ENCLAVE_CHUNK_PLAIN;
		sealing.final = sealing.size == left;
		handle_run(client, seal_chunk, &sealing);
		sealing.value += sealing.size;
		sealing.out += sealing.size + ENCLAVE_TAG_SIZE;
	}
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
	struct chunks chunks = { 0 };
	size_t size;
	int r = store->sealed ? MG_OK : seal_whole(client, store);

	for (size_t at = 0; r == MG_OK && at < store->sealed_size; at += size) {
		if (at > 0 && exchange_has_news(client))
			return take_refusal(client, store, chunks.first);
		size = announce(&chunks, store->sealed_size - at);
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

static void take_piece(void *argument)
{
	struct store *store = argument;
	struct mg_client *client = store->client;

	store->piece = workbench_take(&client->bench, PIECE_SIZE);
	client->floor = client->parsed = workbench_mark(&client->bench);
}

static int begin_pieces(struct mg_client *client, struct store *store)
{
	store->client = client;
	handle_run(client, take_piece, store);
	store->sealed = malloc(FRAME_CHUNKS_MAX);
	if (!store->piece || !store->sealed)
		return error_say(MG_LIMIT, "out of memory");
	draw_key(client, store);
	return MG_OK;
}

/* Fills the piece as far as the source has bytes. The time that it takes is its own. */
static int fill(struct store *store)
{
	uint64_t since_ms = connection_now_ms();

	while (store->have < PIECE_SIZE && !store->ended) {
		size_t room = PIECE_SIZE - store->have;
		ssize_t r = store->source(store->context, store->piece + store->have, room);

		if (r < 0 || (size_t)r > room)
			return error_say(MG_INVALID, "the source of the value gave up");
		store->ended = r == 0;
		store->have += (size_t)r;
	}
	call_excuse(&store->call, since_ms);
	if (store->have == 0)
		return error_say(MG_INVALID, "a value has at least one byte");
	return MG_OK;
}

/* Seals the piece to `out`, and moves the byte that belongs to the next one to its place. */
static void seal_piece(void *argument)
{
	struct sealing *sealing = argument;
	struct store *store = sealing->store;

	sealing->value = store->piece;
	seal_chunk(sealing);
	store->have -= sealing->size;
	memmove(store->piece, store->piece + sealing->size, store->have);
	sodium_memzero(store->piece + store->have, PIECE_SIZE - store->have);
}

/* Fills a frame. Returns a status. */
static int seal_frame(struct store *store, struct chunks *chunks)
{
	struct sealing sealing = { .client = store->client, .store = store, .out = store->sealed };

	chunks->count = 0;
	while (chunks->count < FRAME_CHUNKS && !chunks->final) {
		int r = fill(store);

		if (r != MG_OK)
			return r;
		sealing.size = store->have < PIECE_SIZE ? store->have : ENCLAVE_CHUNK_PLAIN;
		sealing.number = chunks->first + chunks->count;
		sealing.final = chunks->final = store->have < PIECE_SIZE;
		handle_run(store->client, seal_piece, &sealing);
		chunks->last = (uint32_t)(sealing.size + ENCLAVE_TAG_SIZE);
		chunks->count++;
		sealing.out += chunks->last;
	}
	store->sealed_size = (size_t)(sealing.out - store->sealed);
	return MG_OK;
}

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
	int r = begin_pieces(client, store);

	while (r == MG_OK && !chunks.final) {
		if (chunks.first > 0 && exchange_has_news(client))
			return take_refusal(client, store, chunks.first);
		if (seal_frame(store, &chunks) != MG_OK)
			return give_up(client, store, &chunks);
		r = send_frame(client, store, &chunks, span_of(store->sealed, store->sealed_size));
		chunks.first += chunks.count;
	}
	return r == MG_OK ? take_answer(client, store) : r;
}

/* Sends a value that comes piece by piece. */
static int run_pieces(
	struct mg_client *client, struct store *store, mg_source source, void *context, int r)
{
	store->call.attempt = attempt_pieces;
	store->source = source;
	store->context = context;
	if (r == MG_OK)
		r = call_run(client, &store->call);
	free(store->sealed);
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
