/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/vault/vault_stream_inside.h"

/* -- whether a block is what it says ------------------------------------------------------- */

static const struct segment_header *segment_at(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct segment_header));
}

static const struct chunk_header *chunk_at(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct chunk_header));
}

/* Bytes of the chunk's block. */
static uint64_t chunk_block(const struct chunk_header *header)
{
	uint64_t size = bytes_get16(header->size);

	return sizeof(*header) + (size > 0 ? size : ENCLAVE_TAG_SIZE);
}

bool segment_adoptable(const struct vault *vault, uint64_t offset)
{
	uint8_t tag[BLOCK_TAG_SIZE];

	return ledger_block(vault->ledger, offset) >= sizeof(struct segment_header) &&
		segment_tag(vault, segment_at(vault, offset), tag) == 0 &&
		sodium_memcmp(tag, segment_at(vault, offset)->block.tag, sizeof(tag)) == 0;
}

bool chunk_adoptable(const struct vault *vault, uint64_t offset)
{
	size_t block = ledger_block(vault->ledger, offset);
	uint8_t tag[BLOCK_TAG_SIZE];

	return block >= sizeof(struct chunk_header) + ENCLAVE_TAG_SIZE &&
		block >= chunk_block(chunk_at(vault, offset)) &&
		chunk_tag(vault, chunk_at(vault, offset), tag) == 0 &&
		sodium_memcmp(tag, chunk_at(vault, offset)->block.tag, sizeof(tag)) == 0;
}

/* -- in their order ------------------------------------------------------------------------ */

/* A block and what it is sorted by. */
struct piece {
	uint64_t stream;
	uint64_t segment;
	uint64_t chunk;
	uint64_t offset;
};

static int by_place(const void *a, const void *b)
{
	const struct piece *x = a;
	const struct piece *y = b;

	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

static struct piece segment_piece(const struct vault *vault, uint64_t offset)
{
	const struct segment_header *header = segment_at(vault, offset);

	return (struct piece){ .stream = get_number(header->stream),
		.segment = get_number(header->segment),
		.offset = offset };
}

static struct piece chunk_piece(const struct vault *vault, uint64_t offset)
{
	const struct chunk_header *header = chunk_at(vault, offset);

	return (struct piece){ .stream = get_number(header->stream),
		.segment = get_number(header->segment),
		.chunk = get_number(header->chunk),
		.offset = offset };
}

static struct piece *sorted(const struct vault *vault, const struct offsets *offsets,
	struct piece (*read)(const struct vault *vault, uint64_t offset))
{
	struct piece *pieces = calloc(offsets->count + 1, sizeof(*pieces));

	for (size_t i = 0; pieces && i < offsets->count; i++)
		pieces[i] = read(vault, offsets->at[i]);
	if (pieces)
		qsort(pieces, offsets->count, sizeof(*pieces), by_place);
	return pieces;
}

/* -- giving them to their streams ---------------------------------------------------------- */

static int adopt_segment(struct stream *stream, const struct piece *piece)
{
	struct vault *vault = stream->vault;
	struct segment *segment;

	if (piece->segment <= stream->segments ||
		ledger_claim(vault->ledger, piece->offset, sizeof(struct segment_header)) < 0)
		return 0;
	segment = calloc(1, sizeof(*segment));
	if (!segment)
		return -ENOMEM;
	segment->number = piece->segment;
	segment->offset = piece->offset;
	stream_add_segment(stream, segment);
	stream->segments = piece->segment;
	return 0;
}

/* The reader has had all of an open segment: that is all that this block says. */
static void adopt_mark(struct stream *stream, struct segment *segment, const struct piece *piece)
{
	if (segment->mark == 0 && segment->first == segment->due &&
		ledger_claim(stream->vault->ledger, piece->offset,
			sizeof(struct chunk_header) + ENCLAVE_TAG_SIZE) == 0) {
		segment->mark = piece->offset;
		segment->first = segment->due = piece->chunk + 1;
	}
}

/* One that does not follow the one before is left out, and the reader is told that it is. */
static int adopt_chunk(struct stream *stream, struct segment *segment, const struct piece *piece)
{
	const struct chunk_header *header = chunk_at(stream->vault, piece->offset);
	struct held_chunk held = {
		.offset = piece->offset, .size = bytes_get16(header->size), .final = header->final
	};

	if (held.size == 0) {
		adopt_mark(stream, segment, piece);
		return 0;
	}
	if (held.size <= ENCLAVE_TAG_SIZE || held.size > ENCLAVE_CHUNK_SIZE)
		return 0;
	if (segment->first == segment->due && piece->chunk >= segment->due)
		segment->first = segment->due = piece->chunk;
	if (piece->chunk != segment->due || segment->ended ||
		ledger_claim(stream->vault->ledger, piece->offset, chunk_block(header)) < 0)
		return 0;
	if (segment_reserve_chunk(segment) != 0)
		return -ENOMEM;
	segment_add_chunk(stream, segment, &held);
	return 0;
}

static int adopt_segments(struct vault *vault, const struct piece *pieces, size_t count)
{
	struct stream *stream = NULL;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		if (!stream || stream->id != pieces[i].stream)
			stream = stream_of_id(vault, pieces[i].stream);
		r = stream ? adopt_segment(stream, &pieces[i]) : 0;
	}
	return r;
}

/* Both segments and pieces are in order: however many there are, none is passed twice. */
static int adopt_chunks(struct vault *vault, const struct piece *pieces, size_t count)
{
	struct stream *stream = NULL;
	struct segment *segment = NULL;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		if (!stream || stream->id != pieces[i].stream) {
			stream = stream_of_id(vault, pieces[i].stream);
			segment = stream ? stream->first : NULL;
		}
		while (segment && segment->number < pieces[i].segment)
			segment = segment->next;
		if (segment && segment->number == pieces[i].segment)
			r = adopt_chunk(stream, segment, &pieces[i]);
	}
	return r;
}

int streams_adopt(struct vault *vault, struct offsets *segments, struct offsets *chunks)
{
	struct piece *first = sorted(vault, segments, segment_piece);
	struct piece *then = sorted(vault, chunks, chunk_piece);
	int r = first && then ? adopt_segments(vault, first, segments->count) : -ENOMEM;

	if (r == 0)
		r = adopt_chunks(vault, then, chunks->count);
	free(first);
	free(then);
	return r;
}
