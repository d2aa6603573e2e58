/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault.h"

/*
 * Streams: names under which sealed chunks wait, first in first out. What one writer sends is a
 * segment with a data key of its own, whose wrap is bound to stream and segment; a segment has one
 * writer, the stream one reader. A chunk stays until its reader has acknowledged it. A stream that
 * was read to its end is gone, and so is its name.
 *
 * Writers and readers are told apart by their addresses, which are never looked behind. Whatever
 * touches a key says so.
 */
struct stream;

/* A writer whose connection broke may be back within so many milliseconds. */
#define STREAM_RESUME_MS 2000

/* Streams of one uid. */
#define STREAMS_MAX 1024

/* Chunks that are handed out at a time. */
#define STREAM_PART_MAX 4

/*
 * The stream under a filed name: 0; STATUS_NOT_FOUND; STATUS_INVALID when a secret is there; or
 * what vault_find returns. Touches the ledger key.
 */
int stream_find(struct vault *vault, struct span name, struct stream **streamp);

/* A new one, where there is none. Returns 0 or STATUS_LIMIT. Touches the ledger key. */
int stream_make(struct vault *vault, struct span name, uint32_t owner, struct stream **streamp);

/*
 * Whether the owner's quotas have room for a new segment, of the stream or (NULL) of a new one of
 * that name and owner; or for so many bytes of plaintext: 0, or STATUS_LIMIT and vault_refusal
 * tells of it. Touch the ledger key.
 */
int stream_may_begin(
	struct vault *vault, const struct stream *stream, struct span name, uint32_t owner);
int stream_may_take(const struct stream *stream, uint64_t bytes);

/* While it is pinned its address stays good, whatever becomes of it. */
struct stream *stream_pin(struct stream *stream);
void stream_unpin(struct stream *stream);

enum stream_fate {
	STREAM_LIVES,
	STREAM_OVER,     /* read to its end */
	STREAM_DESTROYED /* removed or purged */
};
enum stream_fate stream_fate(const struct stream *stream);

/* The filed name; lives as long as the stream's address. */
struct span stream_name(const struct stream *stream);

/* -- writing ------------------------------------------------------------------------------- */

/*
 * Goes on with the newest segment, if it is the one that the number began and not over: 0.
 * STATUS_CONFLICT when it is another writer's, STATUS_GONE when the number's own writer was away
 * for too long or gave up, STATUS_NOT_FOUND when a new one can begin.
 */
int stream_resume(struct stream *stream, const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const void *writer);

/* Begins a segment. Returns 0, STATUS_LIMIT, or a negative errno. Touches keys. */
int stream_begin(struct stream *stream, const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t *key, const void *writer);

/* Whether the writer is the newest segment's, which goes on. */
bool stream_is_writer(const struct stream *stream, const void *writer);

/* -- of the newest segment: number of the chunk that is due, and its data key */
uint64_t stream_due(const struct stream *stream);
int stream_write_key(const struct stream *stream, uint8_t *key);

/* Whether there is nothing in it to be read. */
bool stream_is_empty(const struct stream *stream);

/* Whether less than `most` bytes wait to be read, whatever they take beside. */
bool stream_has_room(const struct stream *stream, uint64_t most);

/*
 * Appends a chunk if its tag is right: 0, STATUS_INTEGRITY, or STATUS_LIMIT. The final one ends
 * the segment and parts it from its writer. Touches the ledger key.
 */
int stream_append(struct stream *stream, struct span chunk, bool final, const uint8_t *key);

/*
 * The writer has gone, to come back or for good; one that has no segment is nobody. A segment
 * without a chunk goes along, and the stream with it when it was all there was.
 */
void stream_leave(struct stream *stream, const void *writer, bool for_good);

/* -- reading ------------------------------------------------------------------------------- */

/* Makes it the reader: 0, or STATUS_CONFLICT when there is another one. */
int stream_attend(struct stream *stream, const void *reader);
void stream_depart(struct stream *stream, const void *reader);

/* Chunks that follow one another in a segment. */
struct stream_part {
	uint64_t stream;
	uint64_t segment;
	struct chunks chunks;
	struct span pieces[STREAM_PART_MAX];
};

/*
 * What comes after a place, of whichever stream: 0; STATUS_NOT_FOUND when it has not come yet;
 * STATUS_GONE when the segment's writer has gone before its end (only stream and segment are filled
 * in); STATUS_INTEGRITY when a chunk is not where, or what, was written. Touches the ledger key.
 */
int stream_next(struct stream *stream, const struct stream_place *place, struct stream_part *part);

/* The data key of a part's segment: 0, STATUS_INTEGRITY or STATUS_GONE. Touches keys. */
int stream_read_key(const struct stream *stream, uint64_t segment, uint8_t *key);

/* When a writer that has gone is gone for good, in ms of CLOCK_BOOTTIME; 0: none is away. */
uint64_t stream_resume_ms(const struct stream *stream);

/*
 * What was read up to the place is wiped, and the stream is over when nothing is left and nobody
 * writes. A place in another stream means nothing. Touches the ledger key.
 */
void stream_acknowledge(struct stream *stream, const struct stream_place *place);
