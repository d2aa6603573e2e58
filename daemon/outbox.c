/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int outbox_init(struct outbox *outbox)
{
	outbox->used = 0;
	outbox->bytes = malloc(OUTBOX_SIZE);
	outbox->staged = malloc(FRAME_CHUNKS_MAX);
	if (outbox->bytes && outbox->staged)
		return 0;
	outbox_finish(outbox);
	return -ENOMEM;
}

void outbox_finish(struct outbox *outbox)
{
	free(outbox->bytes);
	free(outbox->staged);
	outbox->bytes = outbox->staged = NULL;
}

bool outbox_has_room(const struct outbox *outbox)
{
	return OUTBOX_SIZE - outbox->used >= OUTBOX_FRAME_ROOM;
}

static void put(struct outbox *outbox, struct span bytes)
{
	memcpy(outbox->bytes + outbox->used, bytes.data, bytes.size);
	outbox->used += bytes.size;
}

/* Seals the messages, with `more` bytes of chunks to be put behind those staged already. */
static int seal(struct outgoing *outgoing, size_t more)
{
	struct outbox *outbox = outgoing->outbox;
	size_t chunks = outgoing->chunk_bytes + more;

	if (FRAME_HEADER_SIZE + outgoing->used + FRAME_TAG_SIZE + chunks >
		OUTBOX_SIZE - outbox->used)
		return -ENOSPC;
	outbox->used += channel_seal(outgoing->channel, outgoing->keys,
		span_of(outgoing->plain, outgoing->used), chunks, outbox->bytes + outbox->used);
	put(outbox, span_of(outbox->staged, outgoing->chunk_bytes));
	outgoing->used = outgoing->count = outgoing->chunk_bytes = 0;
	return 0;
}

int outgoing_flush(struct outgoing *outgoing)
{
	return outgoing->used == 0 ? 0 : seal(outgoing, 0);
}

static int append_message(struct outgoing *outgoing, const struct reply *reply)
{
	int r = message_append_reply(outgoing->plain, &outgoing->used, OUTBOX_PLAIN_MAX, reply);

	if (r != -ENOSPC || outgoing->used == 0)
		return r;
	r = outgoing_flush(outgoing);
	if (r == 0)
		r = message_append_reply(outgoing->plain, &outgoing->used, OUTBOX_PLAIN_MAX, reply);
	return r;
}

/* The record may go right after this, and its bytes with it: they are copied, not kept. */
static void stage(struct outgoing *outgoing, const struct span *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		memcpy(outgoing->outbox->staged + outgoing->chunk_bytes, pieces[i].data,
			pieces[i].size);
		outgoing->chunk_bytes += pieces[i].size;
	}
	outgoing->count += count;
}

static int append(
	struct answers *answers, const struct reply *reply, const struct span *pieces, size_t count)
{
	struct outgoing *outgoing = (struct outgoing *)answers;
	size_t size = 0;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		size += pieces[i].size;
	outgoing->turn -= outgoing->turn < size ? outgoing->turn : size;
	if (count > FRAME_CHUNKS - outgoing->count)
		r = outgoing_flush(outgoing);
	if (r == 0)
		r = append_message(outgoing, reply);
	if (r < 0 || count == 0)
		return r;
	if (outgoing->count + count < FRAME_CHUNKS) {
		stage(outgoing, pieces, count);
		return 0;
	}
	/* The frame is full: its last chunks need no stage. */
	r = seal(outgoing, size);
	for (size_t i = 0; r == 0 && i < count; i++)
		put(outgoing->outbox, pieces[i]);
	return r;
}

static bool ready(struct answers *answers)
{
	const struct outgoing *outgoing = (const struct outgoing *)answers;

	return outgoing->turn >= FRAME_CHUNKS_MAX &&
		OUTBOX_SIZE - outgoing->outbox->used >= 2 * FRAME_SIZE_MAX;
}

static size_t room(struct answers *answers)
{
	return OUTBOX_PLAIN_MAX - ((const struct outgoing *)answers)->used;
}

int outgoing_begin(struct outgoing *outgoing, struct outbox *outbox, struct channel *channel,
	const struct channel_keys *keys, struct workbench *bench)
{
	*outgoing = (struct outgoing){ .answers = { append, ready, room },
		.outbox = outbox,
		.channel = channel,
		.keys = keys,
		.turn = OUTBOX_TURN };
	outgoing->plain = workbench_take(bench, OUTBOX_PLAIN_MAX);
	return outgoing->plain ? 0 : -ENOBUFS;
}
