/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/stream.h"

#include <sodium.h>
#include <stdlib.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "client/lib/memory/strongroom.h"

/* -- its life ------------------------------------------------------------------------------ */

int mg_stream_new(struct mg_stream **streamp)
{
	struct mg_stream *stream;

	*streamp = NULL;
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	stream = calloc(1, sizeof(*stream));
	if (!stream || pthread_mutex_init(&stream->lock, NULL) != 0) {
		free(stream);
		return error_say(MG_LIMIT, "out of memory");
	}
	stream->owner = own_self();
	stream->generation = strongroom_generation();
	stream->end = &stream->first;
	*streamp = stream;
	return MG_OK;
}

static void segments_free(struct segment *first)
{
	while (first) {
		struct segment *next = first->next;

		mg_enclave_free(first->enclave);
		free(first);
		first = next;
	}
}

void mg_stream_free(struct mg_stream *stream)
{
	if (!stream)
		return;
	segments_free(stream->first);
	if (stream->owner == own_self())
		pthread_mutex_destroy(&stream->lock);
	free(stream);
}

void mg_stream_cleanup(struct mg_stream **streamp)
{
	mg_stream_free(*streamp);
	*streamp = NULL;
}

/* Waits for its turn, when the stream is this process's and alive. Returns a status. */
static int enter(struct mg_stream *stream)
{
	if (!stream)
		return error_say(MG_INVALID, "no stream");
	if (stream->owner != own_self())
		return error_say(MG_INVALID, "a stream does not go over a fork");
	if (stream->generation != strongroom_generation())
		return error_say(MG_GONE, "the stream was purged");
	pthread_mutex_lock(&stream->lock);
	return MG_OK;
}

static void leave(struct mg_stream *stream)
{
	pthread_mutex_unlock(&stream->lock);
}

size_t mg_stream_size(struct mg_stream *stream)
{
	size_t size;

	if (enter(stream) != MG_OK)
		return 0;
	size = stream->size;
	leave(stream);
	return size;
}

/* -- writing ------------------------------------------------------------------------------- */

static int segment_new(struct segment **segmentp, const uint8_t *bytes, size_t size)
{
	struct segment *segment = calloc(1, sizeof(*segment));
	int r;

	if (!segment)
		return error_say(MG_LIMIT, "out of memory");
	r = enclave_seal(&segment->enclave, bytes, size);
	if (r != MG_OK) {
		free(segment);
		return r;
	}
	*segmentp = segment;
	return MG_OK;
}

/* All of the bytes as segments, the first of which is *firstp; *endp is where more may hang. */
static int seal_all(
	struct segment **firstp, struct segment ***endp, const uint8_t *bytes, size_t size)
{
	int r = MG_OK;

	*firstp = NULL;
	*endp = firstp;
	while (r == MG_OK && size > 0) {
		size_t part = size < ENCLAVE_CHUNK_PLAIN ? size : ENCLAVE_CHUNK_PLAIN;

		r = segment_new(*endp, bytes, part);
		if (r != MG_OK)
			break;
		*endp = &(**endp)->next;
		bytes += part;
		size -= part;
	}
	if (r != MG_OK)
		segments_free(*firstp);
	return r;
}

/* Only what is sealed whole is appended, at one go: nobody reads half of it. */
int mg_stream_write(struct mg_stream *stream, void *bytes, size_t size)
{
	struct segment *first = NULL, **end = &first;
	int r = enter(stream);

	if (r != MG_OK)
		return r;
	if (size > SIZE_MAX - stream->size)
		r = error_say(MG_LIMIT, "out of memory");
	else
		r = seal_all(&first, &end, bytes, size);
	if (r == MG_OK && first) {
		*stream->end = first;
		stream->end = end;
		stream->size += size;
	}
	leave(stream);
	if (r == MG_OK)
		mg_wipe_bytes(bytes, size);
	return r;
}

/* -- reading ------------------------------------------------------------------------------- */

/* Bytes of a segment that have not been read. */
static size_t left_of(const struct mg_stream *stream, const struct segment *segment)
{
	return segment->enclave->size - (segment == stream->first ? stream->taken : 0);
}

/* Copies the next `size` bytes, which are there; they stay in the stream. */
static int peek(const struct mg_stream *stream, uint8_t *out, size_t size)
{
	const struct segment *segment = stream->first;
	int r = MG_OK;

	while (r == MG_OK && size > 0) {
		size_t left = left_of(stream, segment);
		size_t part = size < left ? size : left;

		r = enclave_read(segment->enclave, segment->enclave->size - left, out, part);
		out += part;
		size -= part;
		segment = segment->next;
	}
	return r;
}

/* What has been copied leaves; the keys of what is empty are wiped. */
static void drop(struct mg_stream *stream, size_t size)
{
	stream->size -= size;
	stream->taken += size;
	while (stream->first && stream->taken >= stream->first->enclave->size) {
		struct segment *empty = stream->first;

		stream->taken -= empty->enclave->size;
		stream->first = empty->next;
		empty->next = NULL;
		segments_free(empty);
	}
	if (!stream->first)
		stream->end = &stream->first;
}

int mg_stream_read(struct mg_stream *stream, void *out, size_t size, size_t *sizep)
{
	size_t part;
	int r = enter(stream);

	*sizep = 0;
	if (r != MG_OK)
		return r;
	part = size < stream->size ? size : stream->size;
	r = peek(stream, out, part);
	if (r == MG_OK) {
		*sizep = part;
		drop(stream, part);
	}
	leave(stream);
	if (r != MG_OK)
		mg_wipe_bytes(out, part);
	return r == MG_OK && part < size && part == 0 ? error_say(MG_NO, "the stream is empty") : r;
}

/* The next `size` bytes as a secret; they leave the stream once they are in it. */
static int take(
	struct mg_stream *stream, struct mg_secret **secretp, size_t size, enum mg_memory memory)
{
	int r = secret_new_closed(secretp, size, memory, stream->owner);

	if (r != MG_OK)
		return r;
	r = peek(stream, (*secretp)->data, size);
	if (r == MG_OK)
		r = secret_close(*secretp);
	if (r == MG_OK)
		drop(stream, size);
	else
		mg_secret_cleanup(secretp);
	return r;
}

int mg_stream_next(struct mg_stream *stream, struct mg_secret **secretp, enum mg_memory memory)
{
	int r = enter(stream);

	*secretp = NULL;
	if (r != MG_OK)
		return r;
	if (stream->size == 0)
		r = error_say(MG_NO, "the stream is empty");
	else
		r = take(stream, secretp, left_of(stream, stream->first), memory);
	leave(stream);
	return r;
}

int mg_stream_flush(struct mg_stream *stream, struct mg_secret **secretp, enum mg_memory memory)
{
	int r = enter(stream);

	*secretp = NULL;
	if (r != MG_OK)
		return r;
	if (stream->size > 0)
		r = take(stream, secretp, stream->size, memory);
	leave(stream);
	return r;
}

ssize_t mg_stream_source(void *stream, void *buffer, size_t capacity)
{
	size_t size = 0;
	int r = mg_stream_read(stream, buffer, capacity, &size);

	return r == MG_OK || r == MG_NO ? (ssize_t)size : -1;
}
