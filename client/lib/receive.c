/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "common/memory/locked_stack.h"

/* A segment on its way out of a stream. */
struct receiving {
	struct call call; /* first: what attempts are given */
	const char *name;
	mg_sink sink;
	void *context;
	struct stream_place place; /* behind all that was handed over */
	bool final;                /* the segment's last chunk was */
	bool beheaded;             /* its first chunks went to another receiver */
};

static int say_broken(const struct receiving *receiving, const char *what)
{
	return error_say(
		MG_INTEGRITY, "what came from '%s' is not whole: %s", receiving->name, what);
}

/* -- one chunk ----------------------------------------------------------------------------- */

struct opening {
	struct mg_client *client;
	struct span chunk;
	uint64_t number;
	bool final;
	uint8_t *piece;
	int result;
};

static void open_chunk(void *argument)
{
	struct opening *opening = argument;

	opening->result = enclave_open_chunk(opening->piece, opening->chunk.data,
		opening->chunk.size, opening->number, opening->final, opening->client->keys->value);
}

/* The time that the sink takes is its own. */
static int hand_over(
	struct mg_client *client, struct receiving *receiving, const struct opening *opening)
{
	struct mg_info info = { .name = receiving->name, .stream = true };
	uint64_t since_ms = connection_now_ms();
	int r = receiving->sink(
		receiving->context, &info, opening->piece, opening->chunk.size - ENCLAVE_TAG_SIZE);

	/* As after each piece of a get: what was copied of it went through registers. */
	locked_stack_scrub();
	call_excuse(&receiving->call, since_ms);
	exchange_forget(client);
	if (r < 0)
		return error_say(MG_INTERNAL, "the caller gave up");
	return r > 0 ? error_say(r, "the caller gave up") : MG_OK;
}

static int take_chunk(
	struct mg_client *client, struct receiving *receiving, struct opening *opening)
{
	size_t plain = opening->chunk.size - ENCLAVE_TAG_SIZE;
	int r;

	if (!opening->final && plain != ENCLAVE_CHUNK_PLAIN)
		return say_broken(receiving, "a chunk in the midst is short");
	opening->piece = workbench_take(&client->bench, plain);
	if (!opening->piece)
		return error_say(MG_PROTOCOL, "the daemon's answer leaves no room for a value");
	handle_run(client, open_chunk, opening);
	if (opening->result < 0)
		return say_broken(receiving, "a chunk does not open");
	r = hand_over(client, receiving, opening);
	if (r != MG_OK)
		return r;
	receiving->place.next = opening->number + 1;
	receiving->final = opening->final;
	return MG_OK;
}

/* -- the answers --------------------------------------------------------------------------- */

/* Chunks follow those that came before, if any did. */
static bool is_next(const struct receiving *receiving, const struct reply *reply)
{
	const struct stream_place *place = &receiving->place;

	return place->stream == 0 ||
		(reply->stream == place->stream && reply->segment == place->segment &&
			reply->chunks.first == place->next);
}

static int take_part(
	struct mg_client *client, struct receiving *receiving, const struct reply *reply)
{
	struct opening opening = { .client = client, .number = reply->chunks.first };
	struct chunks chunks = reply->chunks;
	struct span left = reply->bytes;
	int r = MG_OK;

	if (!is_next(receiving, reply))
		return say_broken(receiving, "chunks are out of order");
	if (receiving->place.stream == 0)
		receiving->beheaded = reply->chunks.first > 0;
	receiving->place = (struct stream_place){
		.stream = reply->stream, .segment = reply->segment, .next = reply->chunks.first
	};
	exchange_forget(client);
	for (uint32_t i = 0; r == MG_OK && i < chunks.count; i++, opening.number++) {
		bool last = i + 1 == chunks.count;

		opening.chunk = span_of(left.data, last ? chunks.last : ENCLAVE_CHUNK_SIZE);
		opening.final = last && chunks.final;
		left = span_of(left.data + opening.chunk.size, left.size - opening.chunk.size);
		r = take_chunk(client, receiving, &opening);
	}
	return r;
}

/* The sender went before the end. Once that is acknowledged, nobody else is told. */
static int take_broken(struct receiving *receiving, const struct reply *reply)
{
	int r = call_judge(reply);

	receiving->place =
		(struct stream_place){ .stream = reply->stream, .segment = reply->segment + 1 };
	return r;
}

/* Acknowledges what was handed over, and asks for more unless that is all. */
static int ask(
	struct mg_client *client, struct receiving *receiving, bool more, struct reply *reply)
{
	struct request request = { .verb = VERB_STREAM_READ,
		.name = span_text(receiving->name),
		.wait_ms = client->timeout_ms,
		.read = receiving->place,
		.acknowledge = !more };

	return call_ask(client, &receiving->call, &request, reply);
}

static int take_next(struct mg_client *client, struct receiving *receiving)
{
	struct reply reply;
	int r = ask(client, receiving, true, &reply);

	if (r < 0)
		return r;
	if (reply.code == MG_INTEGRITY && reply.body == BODY_PART)
		return take_broken(receiving, &reply);
	if (reply.code != 0)
		return call_judge(&reply);
	if (reply.body != BODY_PART)
		return -EPROTO;
	r = take_part(client, receiving, &reply);
	if (r == MG_OK)
		call_progress(client, &receiving->call);
	return r;
}

/*
 * Whatever ended it: what was handed over is gone from the daemon, and another may receive. A
 * failure before keeps its words.
 */
static int acknowledge(struct mg_client *client, struct receiving *receiving, int r)
{
	struct reply reply;
	int sent;

	if (receiving->place.stream == 0)
		return r;
	sent = ask(client, receiving, false, &reply);
	if (sent < 0 && r != MG_OK)
		connection_close(&client->connection);
	if (r != MG_OK)
		return r;
	return sent < 0 ? sent : call_judge(&reply);
}

/* What broke off goes on behind what was handed over. */
static int attempt(struct mg_client *client, struct call *call)
{
	struct receiving *receiving = (struct receiving *)(void *)call;
	int r = MG_OK;

	while (r == MG_OK && !receiving->final)
		r = take_next(client, receiving);
	if (r >= 0)
		r = acknowledge(client, receiving, r);
	if (r == MG_OK && receiving->beheaded)
		r = say_broken(receiving, "its beginning went to another receiver");
	return r;
}

int mg_receive_each(struct mg_client *client, const char *name, mg_sink sink, void *context)
{
	struct receiving receiving = { .call = { .attempt = attempt, .repeatable = true },
		.name = name,
		.sink = sink,
		.context = context };
	int r = call_check_name(name);

	if (r != MG_OK)
		return r;
	/* The daemon waits as long as the time limit; its answer takes time, too. */
	if (client)
		receiving.call.wait_ms = client->timeout_ms;
	return call_run(client, &receiving.call);
}
