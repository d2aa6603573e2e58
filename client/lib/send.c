/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "client/lib/pieces.h"

/* A segment on its way into a stream. */
struct sending {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct pieces pieces;
	struct chunks chunks; /* the frame that is offered; none: count 0 */
	bool begun;           /* a key was drawn */
	bool over;            /* the last frame was taken */

	const uint8_t *bytes; /* mg_send */
	size_t left;
};

/* Offers the frame until the daemon has taken it. Returns a status or a negative errno. */
static int offer(struct mg_client *client, struct sending *sending)
{
	struct request *request = &sending->request;
	uint64_t due = sending->chunks.first + sending->chunks.count;
	struct reply reply;
	int r;

	request->chunks = sending->chunks;
	request->key = sending->chunks.first == 0 ? client->keys->value : NULL;
	r = call_send(client, &sending->call, request,
		span_of(sending->pieces.sealed, sending->pieces.sealed_size));
	if (r == 0)
		r = exchange_receive(client, &reply, sending->call.deadline_ms);
	if (r < 0)
		return r;
	if (reply.code != 0)
		return call_judge(&reply);
	if (reply.body != BODY_TAKEN || reply.due != due)
		return -EPROTO;
	call_progress(client, &sending->call);
	sending->over = sending->chunks.final;
	sending->chunks.first = due;
	sending->chunks.count = 0;
	return MG_OK;
}

/* The source has no more, and should have: whoever receives is told. The words stay. */
static int give_up(struct mg_client *client, struct sending *sending)
{
	struct request *request = &sending->request;
	struct reply reply;
	int r = 0;

	if (sending->chunks.first > 0) {
		request->key = NULL;
		request->chunks = (struct chunks){ .first = sending->chunks.first, .abort = true };
		r = call_ask(client, &sending->call, request, &reply);
	}
	if (r < 0)
		connection_close(&client->connection);
	return MG_INVALID;
}

/* What broke off goes on with the frame that was offered last: the same bytes again. */
static int attempt(struct mg_client *client, struct call *call)
{
	struct sending *sending = (struct sending *)(void *)call;
	int r = pieces_begin(&sending->pieces, client, call);

	if (!sending->begun)
		pieces_draw_key(client);
	sending->begun = true;
	while (r == MG_OK && !sending->over) {
		if (sending->chunks.count == 0 &&
			pieces_seal_frame(&sending->pieces, &sending->chunks) != MG_OK)
			return give_up(client, sending);
		r = offer(client, sending);
	}
	if (r != -ETIMEDOUT)
		return r;
	connection_close(&client->connection);
	return error_say(MG_TIMEOUT, "the stream takes no more: nobody receives");
}

static int run(struct mg_client *client, struct sending *sending, const char *name,
	mg_source source, void *context)
{
	int r = call_check_name(name);

	if (r != MG_OK)
		return r;
	sending->call.attempt = attempt;
	sending->call.repeatable = true;
	sending->pieces.source = source;
	sending->pieces.context = context;
	sending->request = (struct request){ .verb = VERB_STREAM_WRITE,
		.numbered = true,
		.chunked = true,
		.name = span_text(name) };
	randombytes_buf(sending->request.number, sizeof(sending->request.number));
	r = call_run(client, &sending->call);
	pieces_finish(&sending->pieces);
	return r;
}

int mg_send_from(struct mg_client *client, const char *name, mg_source source, void *context)
{
	struct sending sending = { 0 };

	return run(client, &sending, name, source, context);
}

/* An mg_source over bytes that are at hand. */
static ssize_t take_bytes(void *context, void *buffer, size_t capacity)
{
	struct sending *sending = context;
	size_t size = sending->left < capacity ? sending->left : capacity;

	if (size > 0)
		memcpy(buffer, sending->bytes, size);
	sending->bytes += size;
	sending->left -= size;
	return (ssize_t)size;
}

int mg_send(struct mg_client *client, const char *name, const void *bytes, size_t size)
{
	struct sending sending = { .bytes = bytes, .left = size };

	if (size == 0 || !bytes)
		return error_say(MG_INVALID, "a stream takes at least one byte");
	return run(client, &sending, name, take_bytes, &sending);
}
