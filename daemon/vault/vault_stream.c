/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/vault/vault_adopt_inside.h"
#include "daemon/vault/vault_quota.h"
#include "daemon/vault/vault_stream_inside.h"

/* Chains of streams, by their records' offsets. */
#define CHAINS 256

struct streams {
	struct stream *chain[CHAINS];
};

static struct stream **stream_chain(struct streams *streams, uint64_t offset)
{
	return &streams->chain[offset / LEDGER_UNIT % CHAINS];
}

static struct stream *stream_at(const struct vault *vault, uint64_t offset)
{
	struct stream *stream = *stream_chain(vault->streams, offset);

	while (stream && stream->offset != offset)
		stream = stream->next;
	return stream;
}

/* -- what it counts for its owner ---------------------------------------------------------- */

void stream_count(struct stream *stream, uint64_t more)
{
	quota_take_sum(stream->vault, stream->owner, (struct tally_sum){ .bytes = more });
	stream->counted.bytes += more;
}

void stream_discount(struct stream *stream, uint64_t less)
{
	quota_give_sum(stream->vault, stream->owner, (struct tally_sum){ .bytes = less });
	stream->counted.bytes -= less;
}

/* Its name and what goes with that; the owner's place is reserved, and stays so. */
static void begin_counting(struct stream *stream)
{
	stream->counted = (struct tally_sum){ .names = 1,
		.bytes = quota_of_version(stream->name_size, 0, 0) };
	quota_take_sum(stream->vault, stream->owner, stream->counted);
}

static void end_counting(struct stream *stream)
{
	quota_give_sum(stream->vault, stream->owner, stream->counted);
	stream->counted = (struct tally_sum){ 0 };
}

/* Whoever waits for the stream looks again. */
void stream_changed(const struct stream *stream)
{
	const struct vault *vault = stream->vault;

	if (vault->on_change)
		vault->on_change(vault->context, stream_name(stream));
}

/* -- the end ------------------------------------------------------------------------------- */

void segment_drop_chunk(struct stream *stream, struct segment *segment)
{
	const struct held_chunk *chunk = &segment->chunks[segment->head];

	stream->held -= block_size(sizeof(struct chunk_header) + chunk->size);
	stream->size -= chunk->size - ENCLAVE_TAG_SIZE;
	stream_discount(stream, chunk->size - ENCLAVE_TAG_SIZE);
	vault_give(stream->vault, chunk->offset);
	segment->head++;
	segment->first++;
}

static void drop_mark(struct stream *stream, struct segment *segment)
{
	if (segment->mark != 0)
		vault_give(stream->vault, segment->mark);
	segment->mark = 0;
}

/* Without memory for it the writer that comes back to an adopted segment is told to begin anew. */
void segment_mark(struct stream *stream, struct segment *segment)
{
	struct vault *vault = stream->vault;
	struct chunk_header *header;
	uint64_t offset;

	if (ledger_take(vault->ledger, sizeof(*header) + ENCLAVE_TAG_SIZE, &offset) < 0)
		return;
	header = ledger_at(vault->ledger, offset, sizeof(*header) + ENCLAVE_TAG_SIZE);
	memset(header, 0, sizeof(*header) + ENCLAVE_TAG_SIZE);
	put_number(header->stream, stream->id);
	put_number(header->segment, segment->number);
	put_number(header->chunk, segment->due - 1);
	if (chunk_tag(vault, header, header->block.tag) < 0) {
		vault_give(vault, offset);
		return;
	}
	block_set_kind(header, BLOCK_CHUNK);
	drop_mark(stream, segment);
	segment->mark = offset;
}

void stream_add_segment(struct stream *stream, struct segment *segment)
{
	stream->held += SEGMENT_HELD;
	stream_count(stream, VAULT_BESIDE);
	if (stream->last)
		stream->last->next = segment;
	else
		stream->first = segment;
	stream->last = segment;
}

/* Wipes a segment, its key first. */
static void drop_segment(struct stream *stream, struct segment *segment)
{
	vault_give(stream->vault, segment->offset);
	drop_mark(stream, segment);
	while (segment->first < segment->due)
		segment_drop_chunk(stream, segment);
	stream->held -= SEGMENT_HELD;
	stream_discount(stream, VAULT_BESIDE);
	free(segment->chunks);
	free(segment);
}

void stream_drop_first(struct stream *stream)
{
	struct segment *segment = stream->first;

	stream->first = segment->next;
	if (!stream->first)
		stream->last = NULL;
	drop_segment(stream, segment);
}

void stream_drop_last(struct stream *stream)
{
	struct segment *segment = stream->last;
	struct segment **at = &stream->first;

	stream->last = NULL;
	while (*at != segment) {
		stream->last = *at;
		at = &(*at)->next;
	}
	*at = NULL;
	stream->segments--;
	drop_segment(stream, segment);
}

static void take_off_chain(struct stream *stream)
{
	struct stream **at = stream_chain(stream->vault->streams, stream->offset);

	while (*at != stream)
		at = &(*at)->next;
	*at = stream->next;
}

/* Its record is gone: nothing of it is left but the address, for those who have pinned it. */
static void stream_end(struct stream *stream, enum stream_fate fate)
{
	take_off_chain(stream);
	while (stream->first)
		stream_drop_first(stream);
	end_counting(stream);
	stream->fate = fate;
	stream->writer = stream->reader = NULL;
	stream_changed(stream);
	if (stream->pins == 0)
		free(stream);
}

void stream_lose(struct vault *vault, uint64_t offset)
{
	struct stream *stream = stream_at(vault, offset);

	if (stream)
		stream_end(stream, STREAM_DESTROYED);
}

/* Nobody is left to write or to be read from: the name goes too. */
bool stream_end_if_over(struct stream *stream)
{
	struct vault *vault = stream->vault;
	uint64_t offset = stream->offset;

	if (stream->first || stream->writer)
		return false;
	index_remove(vault->index, stream_name(stream), offset);
	stream_end(stream, STREAM_OVER);
	/* It has nothing but its record, whatever that says. */
	record_retire_bare(vault, offset);
	return true;
}

void stream_unpin(struct stream *stream)
{
	if (stream->pins == 0)
		abort();
	if (--stream->pins == 0 && stream->fate != STREAM_LIVES)
		free(stream);
}

/* -- its life ------------------------------------------------------------------------------ */

int streams_new(struct vault *vault)
{
	vault->streams = calloc(1, sizeof(*vault->streams));
	return vault->streams ? 0 : -ENOMEM;
}

void streams_free(struct vault *vault)
{
	for (size_t i = 0; vault->streams && i < CHAINS; i++)
		while (vault->streams->chain[i])
			stream_end(vault->streams->chain[i], STREAM_DESTROYED);
	free(vault->streams);
	vault->streams = NULL;
}

void streams_leave(struct vault *vault)
{
	for (size_t i = 0; vault->streams && i < CHAINS; i++)
		while (vault->streams->chain[i]) {
			struct stream *stream = vault->streams->chain[i];

			vault->streams->chain[i] = stream->next;
			while (stream->first) {
				struct segment *segment = stream->first;

				stream->first = segment->next;
				free(segment->chunks);
				free(segment);
			}
			free(stream);
		}
	free(vault->streams);
	vault->streams = NULL;
}

int stream_find(struct vault *vault, struct span name, struct stream **streamp)
{
	struct stream *stream;
	uint64_t offset;
	int r = vault_look_up(vault, name, &offset);

	if (r != 0)
		return r == STATUS_GONE ? STATUS_NOT_FOUND : r;
	stream = stream_at(vault, offset);
	if (!stream)
		return STATUS_INVALID;
	/* Its one writer has gone before anything was there to read. */
	if (stream_end_if_over(stream))
		return STATUS_NOT_FOUND;
	*streamp = stream;
	return 0;
}

static size_t streams_of(const struct streams *streams, uint32_t owner)
{
	size_t count = 0;

	for (size_t i = 0; i < CHAINS; i++)
		for (const struct stream *at = streams->chain[i]; at; at = at->next)
			count += at->owner == owner;
	return count;
}

static void add_to_chain(struct stream *stream)
{
	struct stream **chain = stream_chain(stream->vault->streams, stream->offset);

	stream->next = *chain;
	*chain = stream;
}

static struct stream *new_stream(struct vault *vault, struct span name, uint32_t owner)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->vault = vault;
	stream->owner = owner;
	stream->name_size = name.size;
	memcpy(stream->name, name.data, name.size);
	return stream;
}

int stream_make(struct vault *vault, struct span name, uint32_t owner, struct stream **streamp)
{
	struct stream *stream;
	int r;

	if (streams_of(vault->streams, owner) >= STREAMS_MAX || quota_reserve(vault, owner) < 0)
		return STATUS_LIMIT;
	stream = new_stream(vault, name, owner);
	if (!stream)
		return STATUS_LIMIT;
	r = vault_put_stream(vault, name, owner, &stream->offset, &stream->id);
	if (r != 0) {
		free(stream);
		return r;
	}
	add_to_chain(stream);
	begin_counting(stream);
	*streamp = stream;
	return 0;
}

struct stream *stream_pin(struct stream *stream)
{
	stream->pins++;
	return stream;
}

enum stream_fate stream_fate(const struct stream *stream)
{
	return stream->fate;
}

struct span stream_name(const struct stream *stream)
{
	return span_of(stream->name, stream->name_size);
}

void stream_move(struct vault *vault, uint64_t offset, uint64_t to)
{
	struct stream *stream = stream_at(vault, offset);

	if (!stream)
		return;
	take_off_chain(stream);
	stream->offset = to;
	add_to_chain(stream);
}

bool stream_tell(const struct vault *vault, uint64_t offset, uint64_t *sizep)
{
	const struct stream *stream = stream_at(vault, offset);

	if (stream)
		*sizep = stream->size;
	return stream != NULL;
}

void streams_each(struct vault *vault, void (*visit)(void *context, const struct stream *stream),
	void *context)
{
	for (size_t i = 0; i < CHAINS; i++)
		for (const struct stream *at = vault->streams->chain[i]; at; at = at->next)
			visit(context, at);
}

/* -- adopted ------------------------------------------------------------------------------- */

struct stream *stream_of_id(const struct vault *vault, uint64_t id)
{
	for (size_t i = 0; i < CHAINS; i++)
		for (struct stream *at = vault->streams->chain[i]; at; at = at->next)
			if (at->id == id)
				return at;
	return NULL;
}

bool stream_any(const struct vault *vault, bool (*is)(void *context, uint64_t id), void *context)
{
	for (size_t i = 0; i < CHAINS; i++)
		for (const struct stream *at = vault->streams->chain[i]; at; at = at->next)
			if (is(context, at->id))
				return true;
	return false;
}

int stream_adopt(struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);
	struct stream *stream = new_stream(vault, record_name(header), bytes_get32(header->owner));

	if (!stream)
		return -ENOMEM;
	stream->offset = offset;
	stream->id = get_number(header->secret);
	add_to_chain(stream);
	begin_counting(stream);
	return 0;
}

bool stream_was_ended_by(
	const struct vault *vault, const uint8_t number[static MESSAGE_NUMBER_SIZE])
{
	for (size_t i = 0; i < CHAINS; i++)
		for (const struct stream *at = vault->streams->chain[i]; at; at = at->next) {
			const struct segment_header *header;

			if (!at->last || !at->last->ended)
				continue;
			header = ledger_at(vault->ledger, at->last->offset, sizeof(*header));
			if (memcmp(header->number, number, MESSAGE_NUMBER_SIZE) == 0)
				return true;
		}
	return false;
}

/* Its writer's connection went with the one before us: it may be back. */
static void settle(struct stream *stream)
{
	struct segment *next;

	for (struct segment *segment = stream->first; segment; segment = next) {
		next = segment->next;
		if (segment->ended)
			continue;
		segment->broken = next != NULL;
		segment->resume_ms = next ? 0 : stream->vault->now() + STREAM_RESUME_MS;
	}
	(void)stream_end_if_over(stream);
}

void streams_settle(struct vault *vault)
{
	struct stream *next;

	for (size_t i = 0; i < CHAINS; i++)
		for (struct stream *stream = vault->streams->chain[i]; stream; stream = next) {
			next = stream->next;
			settle(stream);
		}
}
