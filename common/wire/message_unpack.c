/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/message_unpack.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/wire/frame.h"
#include "common/wire/name.h"
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

static const char *grant_fault(const struct grant *grant)
{
	if (text_fault(grant->operations) || text_fault(grant->glob))
		return "a grant is UTF-8 without control characters";
	return grant->operations.size == 0 || grant->operations.size > MESSAGE_OPERATIONS_MAX ||
			grant->glob.size == 0 || grant->glob.size > NAME_FILED_MAX
		? "a grant has operations and a glob of at most 255 bytes"
		: NULL;
}

int message_read_grants(struct grants *grants, const char **fault, PB(Grant) * *raw, size_t count,
	struct workbench *bench)
{
	struct grant *grant;

	if (count == 0 || count > MESSAGE_GRANTS_MAX) {
		*fault = "a token has 1 to 16 grants";
		return 0;
	}
	grant = workbench_take(bench, count * sizeof(*grant));
	if (!grant)
		return -ENOBUFS;
	for (size_t i = 0; i < count; i++) {
		grant[i] = (struct grant){ .operations = span_from(raw[i]->operations),
			.glob = span_from(raw[i]->glob) };
		if (!*fault)
			*fault = grant_fault(&grant[i]);
	}
	*grants = (struct grants){ .grant = grant, .count = count };
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

int message_read_info(
	struct info *info, const char **fault, const PB(Info) * raw, struct workbench *bench)
{
	int r = message_read_tags(&info->tags, fault, raw->tags, raw->n_tags, bench);

	info->name = span_from(raw->name);
	info->version = raw->version;
	info->size = raw->size;
	info->created_ms = raw->created_ms;
	info->changed_ms = raw->changed_ms;
	info->left = message_read_lifetime(raw->left);
	info->idle_left_ms = raw->idle_left_ms;
	info->frozen = raw->frozen;
	info->stream = raw->stream;
	/* A name is for people and scripts: nothing that a terminal would obey. */
	if (!*fault)
		*fault = name_fault(info->name);
	return r;
}

/* -- bundles ------------------------------------------------------------------------------- */

/* What hangs on a connection, on a process or on a count of fetches is in no bundle. */
static const char *bundled_fault(const struct info *info)
{
	const struct lifetime *left = &info->left;

	if (info->version == 0 || info->version > MESSAGE_VERSION_MAX)
		return "a secret's version is 1 to 2^48 - 1";
	if (info->size == 0 || info->size > MESSAGE_VALUE_MAX)
		return "a value has 1 byte to 1 GiB";
	if (info->created_ms < 0 || info->changed_ms < 0 ||
		info->created_ms > (int64_t)MESSAGE_VERSION_MAX ||
		info->changed_ms > (int64_t)MESSAGE_VERSION_MAX)
		return "a time is 0 to 2^48 - 1";
	if (left->ttl_ms > MESSAGE_SPAN_MAX || left->idle_ms > MESSAGE_SPAN_MAX)
		return "a time to live is at most a hundred years";
	if (info->stream || left->session || left->pid > 0 || left->reads > 0)
		return "what does not outlive its daemon is in no bundle";
	return NULL;
}

int message_read_record(struct bundled *bundled, const char **fault, const PB(Record) * raw,
	struct workbench *bench)
{
	int r;

	if (!raw || !raw->info || raw->data_key.len != ENCLAVE_KEY_SIZE) {
		*fault = "a record has an outside and a data key of 32 bytes";
		return 0;
	}
	r = message_read_info(&bundled->info, fault, raw->info, bench);
	bundled->info.idle_left_ms = 0;
	bundled->owner = raw->owner;
	bundled->key = raw->data_key.data;
	if (!*fault)
		*fault = bundled_fault(&bundled->info);
	return r;
}

int message_read_bundled(struct bundled *bundled, struct span bytes, struct workbench *bench)
{
	const char *fault = NULL;
	ProtobufCMessage *message;
	int r = message_unpack(&message, &memguard__v1__record__descriptor, bytes, bench);

	*bundled = (struct bundled){ 0 };
	if (r == 0)
		r = message_read_record(bundled, &fault, (const PB(Record) *)message, bench);
	return r < 0 || !fault ? r : -EPROTO;
}
