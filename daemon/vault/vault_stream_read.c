/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_stream_inside.h"

#include <sodium.h>

#include "common/status.h"

int stream_attend(struct stream *stream, const void *reader)
{
	if (stream->reader && stream->reader != reader)
		return STATUS_CONFLICT;
	stream->reader = reader;
	return 0;
}

void stream_depart(struct stream *stream, const void *reader)
{
	if (stream->fate != STREAM_LIVES || stream->reader != reader)
		return;
	stream->reader = NULL;
}

/* The segment that a place is in, and how far in; NULL when it is behind all there is. */
static struct segment *seek(
	const struct stream *stream, const struct stream_place *place, uint64_t *nextp)
{
	bool ours = place->stream == stream->id;
	struct segment *segment = stream->first;

	*nextp = 0;
	while (ours && segment && segment->number < place->segment)
		segment = segment->next;
	if (segment && ours && segment->number == place->segment)
		*nextp = place->next;
	if (segment && *nextp < segment->first)
		*nextp = segment->first;
	return segment;
}

/* Empty when it is not what was written. */
static struct span look_at_chunk(
	const struct stream *stream, const struct segment *segment, uint64_t number)
{
	const struct held_chunk *held =
		&segment->chunks[segment->head + (size_t)(number - segment->first)];
	const struct chunk_header *header =
		ledger_at(stream->vault->ledger, held->offset, sizeof(*header) + held->size);
	uint8_t tag[BLOCK_TAG_SIZE];

	if (block_kind(header) != BLOCK_CHUNK || chunk_tag(stream->vault, header, tag) < 0 ||
		sodium_memcmp(tag, header->block.tag, sizeof(tag)) != 0 ||
		get_number(header->stream) != stream->id ||
		get_number(header->segment) != segment->number ||
		get_number(header->chunk) != number || bytes_get16(header->size) != held->size ||
		header->final != held->final)
		return span_of(NULL, 0);
	return span_of(header + 1, held->size);
}

static int gather(const struct stream *stream, const struct segment *segment, uint64_t next,
	struct stream_part *part)
{
	uint32_t count = 0;

	for (; count < STREAM_PART_MAX && next + count < segment->due; count++) {
		struct span piece = look_at_chunk(stream, segment, next + count);

		if (piece.size == 0)
			break;
		part->pieces[count] = piece;
	}
	if (count == 0)
		return STATUS_INTEGRITY;
	part->chunks = (struct chunks){ .first = next,
		.count = count,
		.last = (uint32_t)part->pieces[count - 1].size,
		.final = segment->ended && next + count == segment->due };
	return 0;
}

int stream_next(struct stream *stream, const struct stream_place *place, struct stream_part *part)
{
	uint64_t next;
	struct segment *segment = seek(stream, place, &next);

	/* All of an ended segment was handed out: the next one is looked at. */
	if (segment && segment->ended && next >= segment->due) {
		segment = segment->next;
		next = segment ? segment->first : 0;
	}
	if (!segment)
		return STATUS_NOT_FOUND;
	*part = (struct stream_part){ .stream = stream->id, .segment = segment->number };
	if (next < segment->due)
		return gather(stream, segment, next, part);
	return segment_is_broken(stream, segment) ? STATUS_GONE : STATUS_NOT_FOUND;
}

int stream_read_key(const struct stream *stream, uint64_t segment, uint8_t *key)
{
	const struct segment *at = stream->first;

	while (at && at->number != segment)
		at = at->next;
	return at ? segment_key(stream, at, key) : STATUS_GONE;
}

uint64_t stream_resume_ms(const struct stream *stream)
{
	const struct segment *segment = stream_open_segment(stream);

	return segment ? segment->resume_ms : 0;
}

/* Drops what was read of the oldest segment. Whether the next one may be looked at. */
static bool acknowledge_first(struct stream *stream, const struct stream_place *place)
{
	struct segment *segment = stream->first;
	bool whole = segment->number < place->segment;
	bool told = whole && segment_is_broken(stream, segment);
	uint64_t next = whole || place->next > segment->due ? segment->due : place->next;

	if (segment->number > place->segment)
		return false;
	/* With its last chunk the segment goes: nobody waits for what has all been read. */
	if (next == segment->due && (segment->ended || told)) {
		stream_drop_first(stream);
		return true;
	}
	while (segment->first < next) {
		if (segment->first + 1 == segment->due)
			segment_mark(stream, segment);
		segment_drop_chunk(stream, segment);
	}
	return false;
}

void stream_acknowledge(struct stream *stream, const struct stream_place *place)
{
	if (stream->fate != STREAM_LIVES || place->stream != stream->id)
		return;
	while (stream->first && acknowledge_first(stream, place))
		;
	if (!stream_end_if_over(stream))
		stream_changed(stream);
}
