/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_stream_inside.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"

/* What the wrapped key of a segment is bound to: no record has the stream's number. */
struct enclave_binding segment_binding(const struct stream *stream, uint64_t segment)
{
	return (struct enclave_binding){ .secret = stream->id, .version = segment };
}

int segment_tag(const struct vault *vault, const struct segment_header *header,
	uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(header, sizeof(*header));

	return vault_tag(vault, BLOCK_SEGMENT, &rest, 1, tag);
}

int chunk_tag(const struct vault *vault, const struct chunk_header *header,
	uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(header, sizeof(*header) + ENCLAVE_TAG_SIZE);

	return vault_tag(vault, BLOCK_CHUNK, &rest, 1, tag);
}

int segment_key(const struct stream *stream, const struct segment *segment, uint8_t *key)
{
	struct segment_header *header =
		ledger_at(stream->vault->ledger, segment->offset, sizeof(*header));
	uint8_t tag[BLOCK_TAG_SIZE];
	int r = segment_tag(stream->vault, header, tag);

	if (r < 0)
		return STATUS_GONE;
	if (block_kind(header) != BLOCK_SEGMENT ||
		sodium_memcmp(tag, header->block.tag, sizeof(tag)) != 0 ||
		get_number(header->stream) != stream->id ||
		get_number(header->segment) != segment->number)
		return STATUS_INTEGRITY;
	r = enclave_unwrap(key, header->wrapped, ENCLAVE_KEY_SIZE,
		segment_binding(stream, segment->number), stream->vault->coffer, COFFER_VAULT);
	return r == -EBADMSG ? STATUS_INTEGRITY : r < 0 ? STATUS_GONE : 0;
}

bool segment_is_broken(const struct stream *stream, const struct segment *segment)
{
	return segment->broken ||
		(segment->resume_ms > 0 && stream->vault->now() >= segment->resume_ms);
}

/* The segment that is being written; NULL when the newest one is over. */
struct segment *stream_open_segment(const struct stream *stream)
{
	struct segment *last = stream->last;

	return last && !last->ended && !segment_is_broken(stream, last) ? last : NULL;
}

/* -- writing ------------------------------------------------------------------------------- */

int stream_resume(
	struct stream *stream, const uint8_t number[static MESSAGE_NUMBER_SIZE], const void *writer)
{
	struct segment *segment = stream->last;
	const struct segment_header *header;
	bool same;

	if (!segment || segment->ended)
		return STATUS_NOT_FOUND;
	header = ledger_at(stream->vault->ledger, segment->offset, sizeof(*header));
	same = memcmp(header->number, number, sizeof(header->number)) == 0;
	if (segment_is_broken(stream, segment))
		return same ? STATUS_GONE : STATUS_NOT_FOUND;
	if (!same)
		return STATUS_CONFLICT;
	segment->resume_ms = 0;
	stream->writer = writer;
	return 0;
}

static int write_segment(struct stream *stream, const struct segment *segment,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], const uint8_t *key)
{
	struct segment_header *header =
		ledger_at(stream->vault->ledger, segment->offset, sizeof(*header));
	int r;

	memcpy(header->number, number, sizeof(header->number));
	put_number(header->stream, stream->id);
	put_number(header->segment, segment->number);
	r = enclave_wrap(header->wrapped, key, ENCLAVE_KEY_SIZE,
		segment_binding(stream, segment->number), stream->vault->coffer, COFFER_VAULT);
	if (r == 0)
		r = segment_tag(stream->vault, header, header->block.tag);
	if (r == 0)
		block_set_kind(header, BLOCK_SEGMENT);
	return r;
}

int stream_begin(struct stream *stream, const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t *key, const void *writer)
{
	struct ledger *ledger = stream->vault->ledger;
	struct segment *segment = calloc(1, sizeof(*segment));
	int r;

	if (!segment || stream->segments >= NUMBER_MAX ||
		ledger_take(ledger, sizeof(struct segment_header), &segment->offset) < 0) {
		free(segment);
		return STATUS_LIMIT;
	}
	segment->number = stream->segments + 1;
	r = write_segment(stream, segment, number, key);
	if (r < 0) {
		vault_give(stream->vault, segment->offset);
		free(segment);
		return r;
	}
	stream->segments++;
	stream_add_segment(stream, segment);
	stream->writer = writer;
	stream_changed(stream);
	return 0;
}

bool stream_is_writer(const struct stream *stream, const void *writer)
{
	return stream->writer == writer && stream_open_segment(stream);
}

uint64_t stream_due(const struct stream *stream)
{
	return stream->last ? stream->last->due : 0;
}

int stream_write_key(const struct stream *stream, uint8_t *key)
{
	return stream->last ? segment_key(stream, stream->last, key) : STATUS_GONE;
}

bool stream_is_empty(const struct stream *stream)
{
	return stream->size == 0;
}

bool stream_has_room(const struct stream *stream, uint64_t most)
{
	return stream->held < most || stream->size == 0;
}

/* Those that were read make it, or it grows. */
int segment_reserve_chunk(struct segment *segment)
{
	size_t count = (size_t)(segment->due - segment->first);
	size_t capacity = segment->capacity * 2 + 4;
	struct held_chunk *chunks;

	if (segment->head + count < segment->capacity)
		return 0;
	if (segment->head > count) {
		memmove(segment->chunks, segment->chunks + segment->head,
			count * sizeof(*segment->chunks));
		segment->head = 0;
		return 0;
	}
	chunks = reallocarray(segment->chunks, capacity, sizeof(*chunks));
	if (!chunks)
		return STATUS_LIMIT;
	segment->chunks = chunks;
	segment->capacity = capacity;
	return 0;
}

void segment_add_chunk(
	struct stream *stream, struct segment *segment, const struct held_chunk *chunk)
{
	segment->chunks[segment->head + (size_t)(segment->due - segment->first)] = *chunk;
	segment->due++;
	stream->size += chunk->size - ENCLAVE_TAG_SIZE;
	stream_count(stream, chunk->size - ENCLAVE_TAG_SIZE);
	stream->held += block_size(sizeof(struct chunk_header) + chunk->size);
	segment->ended = chunk->final;
}

static int write_chunk(struct stream *stream, const struct segment *segment,
	const struct held_chunk *chunk, struct span sealed)
{
	struct chunk_header *header =
		ledger_at(stream->vault->ledger, chunk->offset, sizeof(*header) + sealed.size);
	int r;

	*header = (struct chunk_header){ .final = chunk->final };
	put_number(header->stream, stream->id);
	put_number(header->segment, segment->number);
	put_number(header->chunk, segment->due);
	bytes_put16(header->size, (uint16_t)sealed.size);
	memcpy(header + 1, sealed.data, sealed.size);
	r = chunk_tag(stream->vault, header, header->block.tag);
	if (r == 0)
		block_set_kind(header, BLOCK_CHUNK);
	return r;
}

int stream_append(struct stream *stream, struct span chunk, bool final, const uint8_t *key)
{
	struct segment *segment = stream_open_segment(stream);
	struct held_chunk held = { .size = (uint32_t)chunk.size, .final = final };
	int r;

	if (!segment)
		return STATUS_GONE;
	if ((chunk.size < ENCLAVE_CHUNK_SIZE && !final) || segment->due >= NUMBER_MAX ||
		enclave_check_chunk(chunk.data, chunk.size, segment->due, final, key) != 0)
		return STATUS_INTEGRITY;
	if (segment_reserve_chunk(segment) != 0 ||
		ledger_take(stream->vault->ledger, sizeof(struct chunk_header) + chunk.size,
			&held.offset) < 0)
		return STATUS_LIMIT;
	if (final)
		promise_write(stream->vault, segment->due + 1, stream->vault->sequence + 1, 0);
	r = write_chunk(stream, segment, &held, chunk);
	if (r < 0) {
		vault_give(stream->vault, held.offset);
		return r;
	}
	segment_add_chunk(stream, segment, &held);
	if (final) {
		vault_count_on(stream->vault);
		stream->writer = NULL;
	}
	stream_changed(stream);
	return 0;
}

void stream_leave(struct stream *stream, const void *writer, bool for_good)
{
	struct segment *segment = stream->last;

	if (stream->fate != STREAM_LIVES || stream->writer != writer)
		return;
	stream->writer = NULL;
	if (!segment || segment->ended || segment->broken)
		return;
	if (segment->due == 0)
		stream_drop_last(stream);
	else if (for_good)
		segment->broken = true;
	else
		segment->resume_ms = stream->vault->now() + STREAM_RESUME_MS;
	if (!stream_end_if_over(stream))
		stream_changed(stream);
}
