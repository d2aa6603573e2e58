/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/message_unpack.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/wire/frame.h"
#include "common/wire/text.h"

/*
 * What a message may take when it is unpacked. The largest request (16 tags of the largest size)
 * takes 8 KiB; small fields take up to 22 times their packed size. A message that takes more was
 * made to.
 */
#define UNPACKED_MAX ((size_t)10 * 1024)
#define UNPACKED_BASE ((size_t)2048)
#define UNPACKED_FACTOR 22

/* protobuf-c unpacks into one object on the bench, which is given back as a whole. */
struct arena {
	ProtobufCAllocator allocator;
	uint8_t *bytes;
	size_t size;
	size_t used;
	bool full;
};

static void *arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	uint8_t *bytes = arena->bytes + arena->used;

	if (size > arena->size - arena->used) {
		arena->full = true;
		return NULL;
	}
	arena->used += size;
	arena->used = (arena->used + 15) / 16 * 16;
	if (arena->used > arena->size)
		arena->used = arena->size;
	return bytes;
}

static void arena_free(void *data, void *memory)
{
	(void)data;
	(void)memory;
}

int message_unpack(ProtobufCMessage **message, const ProtobufCMessageDescriptor *descriptor,
	struct span bytes, struct workbench *bench)
{
	struct arena arena = { .allocator = { .alloc = arena_alloc, .free = arena_free },
		.size = UNPACKED_BASE + UNPACKED_FACTOR * bytes.size };

	arena.allocator.allocator_data = &arena;
	if (arena.size > UNPACKED_MAX)
		arena.size = UNPACKED_MAX;
	if (arena.size > workbench_room(bench))
		arena.size = workbench_room(bench);
	arena.bytes = workbench_take(bench, arena.size);
	if (!arena.bytes)
		return -ENOBUFS;
	*message = protobuf_c_message_unpack(descriptor, &arena.allocator, bytes.size, bytes.data);
	workbench_shrink(bench, arena.bytes, arena.used);
	if (*message && !workbench_is_broken(bench))
		return 0;
	return arena.full ? -ENOBUFS : -EPROTO;
}

int message_next_bytes(struct messages *messages, struct span *bytes)
{
	struct span *plain = &messages->plain;
	size_t size;

	if (plain->size == 0)
		return messages->chunks.size == 0 ? 0 : -EPROTO;
	if (plain->size < FRAME_PREFIX_SIZE)
		return -EPROTO;
	size = bytes_get16(plain->data);
	if (size > plain->size - FRAME_PREFIX_SIZE)
		return -EPROTO;
	*bytes = span_of(plain->data + FRAME_PREFIX_SIZE, size);
	*plain = span_of(bytes->data + size, plain->size - FRAME_PREFIX_SIZE - size);
	messages->read++;
	return 1;
}

uint64_t chunks_size(const struct chunks *chunks)
{
	if (chunks->count == 0)
		return 0;
	return (uint64_t)(chunks->count - 1) * ENCLAVE_CHUNK_SIZE + chunks->last;
}

static bool chunks_possible(const struct chunks *chunks)
{
	if (chunks->count == 0)
		return chunks->abort && !chunks->final;
	return chunks->count <= FRAME_CHUNKS && chunks->last > ENCLAVE_TAG_SIZE &&
		chunks->last <= ENCLAVE_CHUNK_SIZE && !chunks->abort;
}

int message_claim_chunks(struct chunks *chunks, struct span *bytes, struct messages *messages,
	const PB(Chunks) * raw)
{
	uint64_t size;

	*chunks = (struct chunks){ .first = raw->first,
		.count = raw->count,
		.last = raw->last,
		.final = raw->final,
		.abort = raw->abort };
	if (!chunks_possible(chunks))
		return -EPROTO;
	size = chunks_size(chunks);
	if (size > messages->chunks.size)
		return -EPROTO;
	*bytes = span_of(messages->chunks.data, (size_t)size);
	messages->chunks =
		span_of(messages->chunks.data + size, messages->chunks.size - (size_t)size);
	return 0;
}

const char *tag_fault(const struct tag *tag)
{
	if (tag->key.size == 0 || tag->key.size > MESSAGE_TAG_KEY_MAX)
		return "a tag's key has 1 to 64 bytes";
	if (tag->value.size > MESSAGE_TAG_VALUE_MAX)
		return "a tag's value has at most 256 bytes";
	if (memchr(tag->key.data, '=', tag->key.size))
		return "a tag's key has no '='";
	if (text_fault(tag->key) || text_fault(tag->value))
		return "a tag is UTF-8 without control characters";
	return NULL;
}

/* NULL, or what is wrong with the newest tag among those before it. */
static const char *tag_fault_among(const struct tag *tags, size_t newest)
{
	for (size_t i = 0; i < newest; i++)
		if (span_equal(tags[i].key, tags[newest].key))
			return "a tag's key stands there twice";
	return tag_fault(&tags[newest]);
}

int message_read_tags(struct tags *tags, const char **fault, PB(Tag) * *raw, size_t count,
	struct workbench *bench)
{
	struct tag *tag;

	if (count == 0)
		return 0;
	if (count > MESSAGE_TAGS_MAX) {
		*fault = "more than 16 tags";
		return 0;
	}
	tag = workbench_take(bench, count * sizeof(*tag));
	if (!tag)
		return -ENOBUFS;
	for (size_t i = 0; i < count; i++) {
		const char *wrong;

		tag[i].key = span_from(raw[i]->key);
		tag[i].value = span_from(raw[i]->value);
		wrong = tag_fault_among(tag, i);
		if (wrong && !*fault)
			*fault = wrong;
	}
	*tags = (struct tags){ .tag = tag, .count = count };
	return 0;
}

bool lifetime_is_limited(const struct lifetime *lifetime)
{
	return lifetime->ttl_ms > 0 || lifetime->idle_ms > 0 || lifetime->reads > 0 ||
		lifetime->pid > 0 || lifetime->session;
}

struct lifetime message_read_lifetime(const PB(Lifetime) * raw)
{
	if (!raw)
		return (struct lifetime){ 0 };
	return (struct lifetime){ .ttl_ms = raw->ttl_ms,
		.idle_ms = raw->idle_ms,
		.reads = raw->reads,
		.pid = raw->pid,
		.session = raw->session };
}
