/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/vault/vault_adopt_inside.h"
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

/* Whatever byte was overwritten, one of two numbers is as it was. */
static bool is_likely(const uint8_t stream[static NUMBER_SIZE],
	const uint8_t segment[static NUMBER_SIZE], uint64_t highest)
{
	return is_given(stream, highest) || is_given(segment, NUMBER_LIKELY);
}

bool segment_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest)
{
	const struct segment_header *header;

	if (ledger_block(vault->ledger, offset) < sizeof(*header))
		return false;
	header = segment_at(vault, offset);
	return is_likely(header->stream, header->segment, highest);
}

bool chunk_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest)
{
	const struct chunk_header *header;

	if (ledger_block(vault->ledger, offset) < sizeof(*header) + ENCLAVE_TAG_SIZE)
		return false;
	header = chunk_at(vault, offset);
	return is_likely(header->stream, header->segment, highest);
}

/* Copies of what was set aside, to be looked at as if they named another stream. */
struct lost_segment {
	const struct vault *vault;
	struct segment_header header;
};

struct lost_chunk {
	const struct vault *vault;
	struct {
		struct chunk_header header;
		uint8_t tag[ENCLAVE_TAG_SIZE];
	} block;
};

static bool is_segment_of(void *context, uint64_t id)
{
	struct lost_segment *lost = context;
	uint8_t tag[BLOCK_TAG_SIZE];

	put_number(lost->header.stream, id);
	return segment_tag(lost->vault, &lost->header, tag) == 0 &&
		sodium_memcmp(tag, lost->header.block.tag, sizeof(tag)) == 0;
}

static bool is_chunk_of(void *context, uint64_t id)
{
	struct lost_chunk *lost = context;
	uint8_t tag[BLOCK_TAG_SIZE];

	put_number(lost->block.header.stream, id);
	return chunk_tag(lost->vault, &lost->block.header, tag) == 0 &&
		sodium_memcmp(tag, lost->block.header.block.tag, sizeof(tag)) == 0;
}

static bool segment_lost(const struct vault *vault, uint64_t offset)
{
	struct lost_segment lost = { .vault = vault };

	if (ledger_block(vault->ledger, offset) < sizeof(lost.header))
		return false;
	lost.header = *segment_at(vault, offset);
	return stream_of_id(vault, get_number(lost.header.stream)) ||
		stream_any(vault, is_segment_of, &lost);
}

static bool chunk_lost(const struct vault *vault, uint64_t offset)
{
	struct lost_chunk lost = { .vault = vault };

	if (ledger_block(vault->ledger, offset) < sizeof(lost.block))
		return false;
	memcpy(&lost.block, chunk_at(vault, offset), sizeof(lost.block));
	return stream_of_id(vault, get_number(lost.block.header.stream)) ||
		stream_any(vault, is_chunk_of, &lost);
}

/*
 * It names a stream that is there, or would be right if it did. Where its kind was overwritten it
 * may be one of both.
 */
bool stream_piece_lost(const struct vault *vault, uint64_t offset)
{
	enum block_kind kind = block_kind(ledger_at(vault->ledger, offset, sizeof(struct block)));

	return (block_kind_almost(kind, BLOCK_SEGMENT) && segment_lost(vault, offset)) ||
		(block_kind_almost(kind, BLOCK_CHUNK) && chunk_lost(vault, offset));
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
