/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/exchange.h"

#include <errno.h>
#include <string.h>

struct sealing {
	struct mg_client *client;
	const struct request *request;
	size_t chunks;
	size_t size; /* of what lies in client->out then */
	int result;
};

/* Writes the message to the bench and seals it from there. */
static int seal_message(struct sealing *sealing)
{
	struct mg_client *client = sealing->client;
	struct channel_keys *keys = workbench_take(&client->bench, sizeof(*keys));
	uint8_t *plain = workbench_take(&client->bench, FRAME_PLAIN_MAX);
	size_t used = 0;
	int r;

	if (!keys || !plain)
		return -ENOBUFS;
	r = message_append_request(plain, &used, FRAME_PLAIN_MAX, sealing->request);
	if (r == 0)
		r = channel_take(&client->channel, keys, &client->room.coffer);
	if (r == 0)
		sealing->size = channel_seal(
			&client->channel, keys, span_of(plain, used), sealing->chunks, client->out);
	return r;
}

static void seal(void *argument)
{
	struct sealing *sealing = argument;
	struct workbench *bench = &sealing->client->bench;
	size_t mark = workbench_mark(bench);

	sealing->result = seal_message(sealing);
	workbench_release(bench, mark);
	coffer_forget(&sealing->client->room.coffer);
}

int exchange_send(struct mg_client *client, const struct request *request, struct span chunks,
	uint64_t deadline_ms)
{
	struct sealing sealing = { .client = client, .request = request, .chunks = chunks.size };

	handle_run(client, seal, &sealing);
	if (sealing.result < 0)
		return sealing.result;
	return connection_send(
		&client->connection, span_of(client->out, sealing.size), chunks, deadline_ms);
}

/* -- replies ------------------------------------------------------------------------------- */

struct opening {
	struct mg_client *client;
	const struct frame *frame; /* NULL: the open one has more */
	struct reply *reply;
	int result;
};

/* Opens a frame onto the bench, above the floor. */
static int open_frame(struct mg_client *client, const struct frame *frame)
{
	struct workbench *bench = &client->bench;
	uint8_t *plain = workbench_take(bench, frame->sealed.size - FRAME_TAG_SIZE);
	size_t mark = workbench_mark(bench);
	struct channel_keys *keys = workbench_take(bench, sizeof(*keys));
	int r;

	if (!plain || !keys)
		return -ENOBUFS;
	r = channel_take(&client->channel, keys, &client->room.coffer);
	if (r == 0)
		r = channel_open(&client->channel, keys, frame, plain);
	workbench_release(bench, mark);
	coffer_forget(&client->room.coffer);
	if (r < 0)
		return r;
	client->parsed = mark;
	client->messages =
		(struct messages){ .plain = span_of(plain, (size_t)r), .chunks = frame->chunks };
	return 0;
}

static int read_message(struct mg_client *client, struct reply *reply)
{
	int r = message_next_reply(reply, &client->messages, &client->bench);

	if (r <= 0)
		return r < 0 ? r : -EPROTO;
	/* Chunks that no message claims are as wrong as an answer that nobody waits for. */
	if (client->messages.plain.size == 0 && client->messages.chunks.size > 0)
		return -EPROTO;
	if (reply->id != client->last_id)
		return -EPROTO;
	if (reply->key) {
		memcpy(client->keys->value, reply->key, sizeof(client->keys->value));
		reply->key = client->keys->value;
	}
	return 0;
}

static void open_next(void *argument)
{
	struct opening *opening = argument;
	struct mg_client *client = opening->client;
	bool fresh = opening->frame != NULL;

	workbench_release(&client->bench, fresh ? client->floor : client->parsed);
	opening->result = fresh ? open_frame(client, opening->frame) : 0;
	if (opening->result == 0)
		opening->result = read_message(client, opening->reply);
}

int exchange_receive(struct mg_client *client, struct reply *reply, uint64_t deadline_ms)
{
	struct opening opening = { .client = client, .reply = reply };
	struct frame frame;
	int r;

	if (client->messages.plain.size == 0) {
		r = connection_next(&client->connection, &frame, deadline_ms);
		if (r < 0)
			return r;
		opening.frame = &frame;
	}
	handle_run(client, open_next, &opening);
	return opening.result;
}

static void forget(void *argument)
{
	struct mg_client *client = argument;

	workbench_release(&client->bench, client->parsed);
}

void exchange_forget(struct mg_client *client)
{
	handle_run(client, forget, client);
}

bool exchange_has_news(const struct mg_client *client)
{
	return client->messages.plain.size > 0 || connection_has_news(&client->connection);
}
