/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/bundle_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/wire/frame.h"

#define BUFFER_SIZE ((size_t)128 * 1024)

#define BROKEN "the bundle was changed, or it is another key: "

/* Sealed bytes alone. */
struct bundle_room {
	uint8_t buffer[BUFFER_SIZE];
	uint8_t message[BUNDLE_MESSAGE_MAX];
	uint8_t sealed[FRAME_CHUNKS_MAX];
};

static int find_fault(struct bundle_reader *reader, const char *fault)
{
	reader->fault = fault;
	return -EBADMSG;
}

/* -- bytes --------------------------------------------------------------------------------- */

/* Reads what there is into the empty buffer. */
static int refill(struct bundle_reader *reader)
{
	ssize_t n = reader->read(reader->context, reader->room->buffer, BUFFER_SIZE);

	if (n < 0)
		return (int)n;
	reader->begin = 0;
	reader->end = (size_t)n;
	reader->ended = n == 0;
	return 0;
}

/* Exactly `size` bytes. */
static int take_bytes(struct bundle_reader *reader, uint8_t *out, size_t size)
{
	int r = 0;

	while (r == 0 && size > 0) {
		size_t have = reader->end - reader->begin;

		if (have == 0 && reader->ended)
			return find_fault(reader, "the bundle ends in the midst");
		if (have > size)
			have = size;
		memcpy(out, reader->room->buffer + reader->begin, have);
		reader->begin += have;
		out += have;
		size -= have;
		if (size > 0)
			r = refill(reader);
	}
	return r;
}

/* Whether there is nothing more. */
static int check_end(struct bundle_reader *reader)
{
	int r = 0;

	while (r == 0 && reader->begin == reader->end && !reader->ended)
		r = refill(reader);
	if (r == 0 && reader->begin < reader->end)
		return find_fault(reader, "there is something behind the bundle's end");
	return r;
}

/* -- the head ------------------------------------------------------------------------------ */

static int find_no_head(struct bundle_reader *reader, int error)
{
	return find_fault(reader,
		error == -EPROTONOSUPPORT ? "it is a bundle of another version"
					  : "it is no bundle, or its beginning was changed");
}

static int read_head(struct bundle_reader *reader)
{
	struct bundle_head *head = &reader->head;
	int r = take_bytes(reader, head->bytes, BUNDLE_START_SIZE);

	if (r < 0)
		return r;
	r = bundle_head_start(head);
	if (r < 0)
		return find_no_head(reader, r);
	r = take_bytes(reader, head->bytes + BUNDLE_START_SIZE, head->size - BUNDLE_START_SIZE);
	if (r == 0 && bundle_head_read(head) < 0)
		return find_no_head(reader, -EPROTO);
	return r;
}

int bundle_reader_begin(struct bundle_reader *reader)
{
	reader->room = malloc(sizeof(*reader->room));
	return reader->room ? read_head(reader) : -ENOMEM;
}

void bundle_reader_finish(struct bundle_reader *reader)
{
	free(reader->room);
	reader->room = NULL;
}

/* -- messages ------------------------------------------------------------------------------ */

struct pulling {
	struct bundle_reader *reader;
	struct bundled *bundled;
	size_t size; /* of the message */
	bool final;
	int result;
};

/* The last message says how many there were. */
static int read_end(const struct bundle_reader *reader, const uint8_t *plain, size_t size)
{
	return size == BUNDLE_END_SIZE && bytes_get64(plain) == reader->met ? 0 : -EPROTO;
}

/* The secret's words stay on the bench, its key goes to where it is needed for longer. */
static int read_record(const struct pulling *pulling, const uint8_t *plain, size_t size)
{
	struct bundle_reader *reader = pulling->reader;
	int r = message_read_bundled(pulling->bundled, span_of(plain, size), reader->bench);

	if (r < 0)
		return r;
	memcpy(reader->key, pulling->bundled->key, ENCLAVE_KEY_SIZE);
	pulling->bundled->key = reader->key;
	return 0;
}

static int pull_message(struct pulling *pulling)
{
	struct bundle_reader *reader = pulling->reader;
	size_t size = pulling->size - BUNDLE_MESSAGE_EXTRA;
	uint8_t *plain;
	int r;

	/* Of the secret before nothing is needed any more. */
	workbench_release(reader->bench, reader->mark);
	plain = workbench_take(reader->bench, size);
	if (!plain)
		return -ENOBUFS;
	r = bundle_pull(reader->bundle, plain, span_of(reader->room->message, pulling->size),
		&pulling->final);
	if (r < 0)
		return r;
	return pulling->final ? read_end(reader, plain, size) : read_record(pulling, plain, size);
}

static void pull(void *argument)
{
	struct pulling *pulling = argument;

	pulling->result = pull_message(pulling);
}

/* Reads the message into the room. Returns its bytes. */
static int read_message(struct bundle_reader *reader)
{
	uint8_t prefix[BUNDLE_PREFIX_SIZE];
	int r = take_bytes(reader, prefix, sizeof(prefix));
	int size;

	if (r < 0)
		return r;
	size = bundle_message_size(prefix);
	if (size < 0)
		return find_fault(reader, BROKEN "a message of a size that there is not");
	r = take_bytes(reader, reader->room->message, (size_t)size);
	return r < 0 ? r : size;
}

int bundle_reader_next(struct bundle_reader *reader, struct bundled *bundled)
{
	struct pulling pulling = { .reader = reader, .bundled = bundled };
	int r = read_message(reader);

	if (r < 0)
		return r;
	pulling.size = (size_t)r;
	reader->run(reader->context, pull, &pulling);
	if (pulling.result == -EBADMSG)
		return find_fault(reader, BROKEN "a message does not open");
	/* Also one that would take more of the bench than any of ours does. */
	if (pulling.result < 0)
		return find_fault(reader, BROKEN "what a message says is none of ours");
	if (pulling.final)
		return check_end(reader);
	reader->met++;
	reader->left = enclave_sealed_size(bundled->info.size);
	reader->chunks = (struct chunks){ 0 };
	return 1;
}

/* -- chunks -------------------------------------------------------------------------------- */

struct checking {
	const struct bundle_reader *reader;
	int result;
};

/* All that were read last. */
static void check_chunks(void *argument)
{
	struct checking *checking = argument;
	const struct bundle_reader *reader = checking->reader;
	const struct chunks *chunks = &reader->chunks;

	for (uint32_t i = 0; i < chunks->count && checking->result == 0; i++) {
		bool last = i + 1 == chunks->count;

		checking->result =
			enclave_check_chunk(reader->room->sealed + i * (size_t)ENCLAVE_CHUNK_SIZE,
				last ? chunks->last : ENCLAVE_CHUNK_SIZE, chunks->first + i,
				last && chunks->final, reader->key);
	}
}

int bundle_reader_chunks(struct bundle_reader *reader, struct chunks *chunks, struct span *bytes)
{
	struct checking checking = { .reader = reader };
	struct chunks *next = &reader->chunks;
	size_t size = reader->left < FRAME_CHUNKS_MAX ? (size_t)reader->left : FRAME_CHUNKS_MAX;
	int r = size > 0 ? take_bytes(reader, reader->room->sealed, size) : 0;

	if (r < 0 || size == 0)
		return r;
	next->first += next->count;
	next->count = (uint32_t)((size + ENCLAVE_CHUNK_SIZE - 1) / ENCLAVE_CHUNK_SIZE);
	next->last = (uint32_t)(size - (next->count - 1) * (size_t)ENCLAVE_CHUNK_SIZE);
	reader->left -= size;
	next->final = reader->left == 0;
	reader->run(reader->context, check_chunks, &checking);
	if (checking.result < 0)
		return find_fault(reader, BROKEN "a value does not open");
	*chunks = *next;
	*bytes = span_of(reader->room->sealed, size);
	return 1;
}
