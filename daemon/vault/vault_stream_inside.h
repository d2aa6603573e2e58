/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault_inside.h"
#include "daemon/vault/vault_stream.h"

/* What the files of streams share: how segments and chunks lie in the ledger, and beside it. */

/* Bytes that a segment takes beside what lies in the ledger. */
#define SEGMENT_COST 256

struct segment_header {
	struct block block;
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t number[MESSAGE_NUMBER_SIZE]; /* of the requests that write it */
	uint8_t stream[NUMBER_SIZE];
	uint8_t segment[NUMBER_SIZE];
};

/*
 * Behind it: the chunk as it was sealed. The tag covers the chunk's own tag, too. With a size of 0
 * it is a mark: the chunk and all before it were read; a tag of zeros is behind it.
 */
struct chunk_header {
	struct block block;
	uint8_t stream[NUMBER_SIZE];
	uint8_t segment[NUMBER_SIZE];
	uint8_t chunk[NUMBER_SIZE];
	uint8_t size[sizeof(uint16_t)]; /* bytes of the chunk, its tag included */
	uint8_t final;
	uint8_t reserved;
};

_Static_assert(sizeof(struct segment_header) == 110, "the header has no holes");
_Static_assert(sizeof(struct chunk_header) == 40, "nor has this one");
_Static_assert(ENCLAVE_CHUNK_SIZE <= UINT16_MAX, "a chunk's size has 16 bits");

struct held_chunk {
	uint64_t offset;
	uint32_t size; /* bytes as sealed */
	bool final;
};

struct segment {
	struct segment *next;
	uint64_t number; /* in the stream, from 1 */
	uint64_t offset; /* of its header */
	uint64_t first;  /* number of the oldest chunk that is held */
	uint64_t due;    /* number of the chunk to come */
	struct held_chunk *chunks;
	size_t head; /* where `first` stands in them */
	size_t capacity;
	uint64_t resume_ms; /* its writer is away, and until then may be back; 0: it is here */
	uint64_t mark;      /* of the block that says that all so far was read; 0: none */
	bool ended;
	bool broken;
};

struct stream {
	struct stream *next; /* in its chain */
	struct vault *vault;
	uint64_t offset; /* of its record */
	uint64_t id;
	uint64_t size; /* bytes of plaintext that can be read */
	uint64_t held; /* bytes that it takes */
	uint32_t owner;
	struct tally_sum counted; /* for its owner */
	unsigned pins;
	enum stream_fate fate;
	struct segment *first;
	struct segment *last;
	uint64_t segments; /* so far */
	const void *writer;
	const void *reader;
	size_t name_size;
	char name[NAME_FILED_MAX];
};

/* Bytes that something takes in the ledger. */
static inline uint64_t block_size(size_t size)
{
	return (size + LEDGER_UNIT - 1) / LEDGER_UNIT * LEDGER_UNIT;
}

#define SEGMENT_HELD (block_size(sizeof(struct segment_header)) + SEGMENT_COST)

/* It has so many bytes more, or less, than its owner is counted for. */
void stream_count(struct stream *stream, uint64_t more);
void stream_discount(struct stream *stream, uint64_t less);

/* Whoever waits for the stream looks again. */
void stream_changed(const struct stream *stream);

/* Whether the segment's writer has gone before its end. */
bool segment_is_broken(const struct stream *stream, const struct segment *segment);

/* The segment that is being written; NULL when the newest one is over. */
struct segment *stream_open_segment(const struct stream *stream);

/* What the wrapped key of a segment is bound to: no record has the stream's number. */
struct enclave_binding segment_binding(const struct stream *stream, uint64_t segment);

/* The tags of headers, as vault_tag; that of a chunk covers the chunk's own tag, too. */
int segment_tag(const struct vault *vault, const struct segment_header *header,
	uint8_t tag[static BLOCK_TAG_SIZE]);
int chunk_tag(const struct vault *vault, const struct chunk_header *header,
	uint8_t tag[static BLOCK_TAG_SIZE]);

/* The data key of a segment: 0, STATUS_INTEGRITY or STATUS_GONE. Touches keys. */
int segment_key(const struct stream *stream, const struct segment *segment, uint8_t *key);

/* The newest of a stream's segments. */
void stream_add_segment(struct stream *stream, struct segment *segment);

/* Room for one more among the segment's chunks: 0 or STATUS_LIMIT. Then it can be added. */
int segment_reserve_chunk(struct segment *segment);
void segment_add_chunk(
	struct stream *stream, struct segment *segment, const struct held_chunk *chunk);

/* Wipes the oldest chunk of a segment. */
void segment_drop_chunk(struct stream *stream, struct segment *segment);

/* Before the last chunk of an open segment goes: whoever adopts it knows what is due. */
void segment_mark(struct stream *stream, struct segment *segment);

/* The stream of that number, or NULL. */
struct stream *stream_of_id(const struct vault *vault, uint64_t id);

/* Goes through all of them. */
void streams_each(struct vault *vault, void (*visit)(void *context, const struct stream *stream),
	void *context);

/* Whether there is a stream of which `is` is true. */
bool stream_any(const struct vault *vault, bool (*is)(void *context, uint64_t id), void *context);

/* Wipe the oldest segment, and the newest. */
void stream_drop_first(struct stream *stream);
void stream_drop_last(struct stream *stream);

/* Ends the stream and its name when nothing is left and nobody writes. Whether it did. */
bool stream_end_if_over(struct stream *stream);
