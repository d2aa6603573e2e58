/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"
#include "common/status.h"
#include "daemon/index.h"
#include "daemon/ledger.h"

#define RECORD_FORMAT 1
#define RECORD_TAG_SIZE 16

/* Chunks that lie side by side. A value of more has a table of where its extents begin. */
#define EXTENT_CHUNKS 16
#define EXTENT_SIZE ((size_t)EXTENT_CHUNKS * ENCLAVE_CHUNK_SIZE)

/* Numbers of 48 bits: enough for eight hundred years of ten thousand changes a second. */
#define NUMBER_SIZE 6
#define NUMBER_MAX ((UINT64_C(1) << 48) - 1)

/* Chains of pinned records. Few are pinned at a time: those whose chunks are leaving. */
#define PIN_CHAINS 1024

/*
 * A record's header as it lies in the ledger: numbers little-endian, nothing aligned, so that it
 * means the same on every machine and costs little. Behind it: the lifetime, the name, the tags.
 * The tag in front covers all of that, and the table of extents if there is one.
 */
struct header {
	uint8_t tag[RECORD_TAG_SIZE]; /* keyed BLAKE2b under the ledger key */
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t number[MESSAGE_NUMBER_SIZE]; /* of the request that stored this version */
	uint8_t secret[NUMBER_SIZE];         /* the sequence number of the first version */
	uint8_t version[NUMBER_SIZE];        /* 1, 2, 3, ... */
	uint8_t sequence[NUMBER_SIZE];       /* of this version, among all that was stored */
	uint8_t created[NUMBER_SIZE];        /* the first version; ms of CLOCK_REALTIME */
	uint8_t changed[NUMBER_SIZE];        /* this version */
	uint8_t size[NUMBER_SIZE];           /* bytes of plaintext */
	uint8_t place[sizeof(uint32_t)];     /* of the extent or the table, in units */
	uint8_t owner[sizeof(uint32_t)];     /* uid that stored the first version */
	uint8_t name_size[sizeof(uint16_t)]; /* bytes */
	uint8_t tags_size[sizeof(uint16_t)]; /* bytes */
	uint8_t tag_count;
	uint8_t format;
	uint8_t flags;         /* none yet */
	uint8_t lifetime_size; /* bytes; 0: until it is deleted, and no reads are counted */
};

/* Of a tag in a record: the sizes of key and value go before them. */
#define TAG_PREFIX 3

#define TAGS_SIZE_MAX \
	(MESSAGE_TAGS_MAX * (TAG_PREFIX + MESSAGE_TAG_KEY_MAX + MESSAGE_TAG_VALUE_MAX))

_Static_assert(sizeof(struct header) == 148, "the header has no holes");
_Static_assert(TAGS_SIZE_MAX <= UINT16_MAX, "the size of the tags has 16 bits");
_Static_assert(MESSAGE_TAG_KEY_MAX <= UINT8_MAX, "the size of a tag's key has 8 bits");
_Static_assert(NAME_FILED_MAX <= INDEX_NAME_MAX, "every name has its place in the index");
_Static_assert(EXTENT_SIZE <= LEDGER_BLOCK_MAX, "an extent is one block");

/*
 * A handle to a record in the ledger, with what was read off its header while the tag was known to
 * be right. One that is not pinned serves for the next look-up.
 */
struct record {
	struct record *next; /* in its chain, while pinned */
	struct vault *vault;
	uint64_t offset; /* 0: it stands for nothing */
	uint64_t place;
	uint64_t size; /* bytes of plaintext */
	uint64_t pins;
	bool retired; /* superseded or removed: the last pin wipes it */
	bool purged;
};

struct value {
	struct value *next;
	struct value *previous;
	uint64_t size; /* bytes of plaintext */
	uint64_t chunks;
	uint64_t *extents; /* offsets */
	size_t count;
	size_t capacity;
	size_t room; /* chunks that the last extent holds */
	bool ended;  /* the last chunk was a short one */
	bool purged;
};

struct vault {
	struct coffer *coffer;
	struct ledger *ledger;
	struct index *index;
	uint64_t sequence;
	struct record *spare;  /* for the next look-up; NULL when the last one was pinned */
	struct value *values;  /* under way */
	uint64_t pinned_count; /* records */
	struct record *pinned[PIN_CHAINS];
};

/* -- numbers ------------------------------------------------------------------------------- */

static void put_number(uint8_t out[static NUMBER_SIZE], uint64_t number)
{
	bytes_put32(out, (uint32_t)number);
	bytes_put16(out + 4, (uint16_t)(number >> 32));
}

static uint64_t get_number(const uint8_t in[static NUMBER_SIZE])
{
	return bytes_get32(in) | (uint64_t)bytes_get16(in + 4) << 32;
}

/* Now, in a number's range however the clock is set. */
static uint64_t now_ms(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0 || now.tv_sec < 0)
		return 0;
	return ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) & NUMBER_MAX;
}

static uint64_t chunks_in(uint64_t size)
{
	return size / ENCLAVE_CHUNK_PLAIN + (size % ENCLAVE_CHUNK_PLAIN != 0);
}

static uint64_t extents_in(uint64_t chunks)
{
	return (chunks + EXTENT_CHUNKS - 1) / EXTENT_CHUNKS;
}

/* Bytes that extent `i` of a value holds. */
static uint64_t extent_size(uint64_t size, uint64_t i)
{
	uint64_t sealed = enclave_sealed_size(size);
	uint64_t before = i * EXTENT_SIZE;

	return sealed - before < EXTENT_SIZE ? sealed - before : EXTENT_SIZE;
}

/* -- headers ------------------------------------------------------------------------------- */

static struct header *header_at(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct header));
}

static size_t name_start(const struct header *header)
{
	return sizeof(*header) + header->lifetime_size;
}

static size_t tags_start(const struct header *header)
{
	return name_start(header) + bytes_get16(header->name_size);
}

static size_t record_end(const struct header *header)
{
	return tags_start(header) + bytes_get16(header->tags_size);
}

static struct span name_in(const struct header *header)
{
	return span_of(
		(const uint8_t *)header + name_start(header), bytes_get16(header->name_size));
}

static uint64_t place_in(const struct header *header)
{
	return (uint64_t)bytes_get32(header->place) * LEDGER_UNIT;
}

/* Whether the sizes in a header fit into the block that it lies in. */
static bool is_well_formed(const struct vault *vault, uint64_t offset)
{
	size_t block = ledger_block(vault->ledger, offset);
	const struct header *header;

	if (block < sizeof(*header))
		return false;
	header = header_at(vault, offset);
	return header->format == RECORD_FORMAT && record_end(header) <= block &&
		bytes_get16(header->name_size) <= NAME_FILED_MAX;
}

/* The table of a value's extents; empty when it has one extent, or no table is there. */
static struct span table_of(const struct vault *vault, uint64_t place, uint64_t size)
{
	uint64_t extents = extents_in(chunks_in(size));
	uint64_t bytes = extents * sizeof(uint64_t);

	if (extents <= 1 || ledger_block(vault->ledger, place) < bytes)
		return span_of(NULL, 0);
	return span_of(ledger_at(vault->ledger, place, bytes), bytes);
}

/* The tag over a well-formed record. Returns 0, or -EKEYEXPIRED without a ledger key. */
static int compute_tag(
	const struct vault *vault, const struct header *header, uint8_t tag[static RECORD_TAG_SIZE])
{
	struct span table = table_of(vault, place_in(header), get_number(header->size));
	const struct coffer_view *view = coffer_view(vault->coffer);
	crypto_generichash_state state;

	if (!view)
		return -EKEYEXPIRED;
	crypto_generichash_init(&state, view->ledger, sizeof(view->ledger), RECORD_TAG_SIZE);
	crypto_generichash_update(&state, (const uint8_t *)header + RECORD_TAG_SIZE,
		record_end(header) - RECORD_TAG_SIZE);
	if (table.size > 0)
		crypto_generichash_update(&state, table.data, table.size);
	crypto_generichash_final(&state, tag, RECORD_TAG_SIZE);
	sodium_memzero(&state, sizeof(state));
	return 0;
}

/* Whether a record is what was written. */
static bool is_intact(const struct vault *vault, uint64_t offset)
{
	const struct header *header;
	uint8_t tag[RECORD_TAG_SIZE];

	if (!is_well_formed(vault, offset))
		return false;
	header = header_at(vault, offset);
	return compute_tag(vault, header, tag) == 0 &&
		sodium_memcmp(tag, header->tag, sizeof(tag)) == 0;
}

/* -- what the index asks for --------------------------------------------------------------- */

static struct span index_name(void *context, uint64_t reference)
{
	const struct vault *vault = context;

	if (!is_well_formed(vault, reference))
		return span_of(NULL, 0);
	return name_in(header_at(vault, reference));
}

static bool index_sound(void *context, uint64_t reference)
{
	return is_intact(context, reference);
}

/* -- handles ------------------------------------------------------------------------------- */

static struct record **chain_of(struct vault *vault, uint64_t offset)
{
	return &vault->pinned[offset / LEDGER_UNIT % PIN_CHAINS];
}

/* The handle of a pinned record, or NULL. */
static struct record *find_pinned(struct vault *vault, uint64_t offset)
{
	struct record *record = *chain_of(vault, offset);

	while (record && record->offset != offset)
		record = record->next;
	return record;
}

/* Sees to it that the next look-up has a handle to give. Returns 0 or STATUS_LIMIT. */
static int reserve_handle(struct vault *vault)
{
	if (!vault->spare)
		vault->spare = calloc(1, sizeof(*vault->spare));
	return vault->spare ? 0 : STATUS_LIMIT;
}

/* The handle of a record whose tag has just been found right. */
static struct record *handle_of(struct vault *vault, uint64_t offset)
{
	const struct header *header = header_at(vault, offset);
	struct record *record = vault->pinned_count > 0 ? find_pinned(vault, offset) : NULL;

	if (record)
		return record;
	*vault->spare = (struct record){ .vault = vault,
		.offset = offset,
		.place = place_in(header),
		.size = get_number(header->size) };
	return vault->spare;
}

struct record *record_pin(struct record *record)
{
	struct vault *vault = record->vault;
	struct record **chain = chain_of(vault, record->offset);

	if (record->pins++ > 0)
		return record;
	if (record != vault->spare)
		abort();
	vault->spare = NULL;
	record->next = *chain;
	*chain = record;
	vault->pinned_count++;
	return record;
}

/* -- blocks -------------------------------------------------------------------------------- */

/* Gives a block back if it is what the ledger's own maps say it is: nobody else's. */
static void give_exactly(struct vault *vault, uint64_t offset, uint64_t size)
{
	uint64_t rounded = (size + LEDGER_UNIT - 1) / LEDGER_UNIT * LEDGER_UNIT;

	if (size > 0 && ledger_block(vault->ledger, offset) == rounded)
		ledger_give(vault->ledger, offset);
}

static void give_chunks(struct vault *vault, uint64_t place, uint64_t size)
{
	struct span table = table_of(vault, place, size);

	for (uint64_t i = 0; i < table.size / sizeof(uint64_t); i++)
		give_exactly(vault, bytes_get64(table.data + i * sizeof(uint64_t)),
			extent_size(size, i));
	give_exactly(vault, place, table.size > 0 ? table.size : extent_size(size, 0));
}

/* The key goes at once, whoever still reads: they have it, nobody else gets it. */
static void wipe_key(struct vault *vault, uint64_t offset)
{
	sodium_memzero(header_at(vault, offset)->wrapped, ENCLAVE_WRAPPED_KEY);
}

/*
 * The end of a record that no name leads to any more: wiped, key first; if it is pinned, all but
 * the key with the last pin. The header says where the chunks are only when it is `intact`: else
 * they stay where they are, without a key.
 */
static void retire(struct vault *vault, uint64_t offset, bool intact)
{
	struct record *record = vault->pinned_count > 0 ? find_pinned(vault, offset) : NULL;
	const struct header *header = header_at(vault, offset);

	wipe_key(vault, offset);
	if (vault->spare && vault->spare->offset == offset)
		vault->spare->retired = true;
	if (record) {
		record->retired = true;
		return;
	}
	if (intact)
		give_chunks(vault, place_in(header), get_number(header->size));
	ledger_give(vault->ledger, offset);
}

/* A handle that nobody holds serves again, or is freed. */
static void recycle(struct vault *vault, struct record *record)
{
	*record = (struct record){ .vault = vault };
	if (vault->spare)
		free(record);
	else
		vault->spare = record;
}

void record_unpin(struct vault *vault, struct record *record)
{
	struct record **at = chain_of(vault, record->offset);

	if (record->pins == 0)
		abort();
	if (--record->pins > 0)
		return;
	while (*at != record)
		at = &(*at)->next;
	*at = record->next;
	vault->pinned_count--;
	if (record->retired) {
		give_chunks(vault, record->place, record->size);
		ledger_give(vault->ledger, record->offset);
	}
	recycle(vault, record);
}

/* -- reading ------------------------------------------------------------------------------- */

/*
 * Where a name's record is, its tag checked: 0; STATUS_NOT_FOUND; STATUS_INTEGRITY and where what
 * was overwritten is; or -EKEYEXPIRED when there is no key to check with any more.
 */
static int look_up(struct vault *vault, struct span name, uint64_t *offsetp)
{
	uint64_t suspect;

	if (!coffer_alive(vault->coffer))
		return -EKEYEXPIRED;
	*offsetp = index_find(vault->index, name, &suspect);
	if (*offsetp != 0)
		return is_intact(vault, *offsetp) ? 0 : STATUS_INTEGRITY;
	if (suspect == 0 || is_intact(vault, suspect))
		return STATUS_NOT_FOUND;
	*offsetp = suspect;
	return STATUS_INTEGRITY;
}

int vault_find(struct vault *vault, struct span name, struct record **recordp)
{
	uint64_t offset;
	int r = reserve_handle(vault);

	if (r == 0)
		r = look_up(vault, name, &offset);
	if (r == 0)
		*recordp = handle_of(vault, offset);
	return r;
}

int vault_next(struct vault *vault, struct span prefix, struct span after, struct record **recordp)
{
	uint64_t offset;
	int r = reserve_handle(vault);

	if (r != 0)
		return r;
	if (!coffer_alive(vault->coffer))
		return -EKEYEXPIRED;
	offset = index_next(vault->index, prefix, after);
	if (offset == 0)
		return STATUS_NOT_FOUND;
	*recordp = handle_of(vault, offset);
	return 0;
}

/* Reads one tag off `bytes`. Returns false at the end, or where sizes do not fit. */
static bool next_tag(struct span *bytes, struct tag *tag)
{
	size_t key_size;
	size_t value_size;

	if (bytes->size < TAG_PREFIX)
		return false;
	key_size = bytes->data[0];
	value_size = bytes_get16(bytes->data + 1);
	if (bytes->size - TAG_PREFIX < key_size + value_size)
		return false;
	tag->key = span_of(bytes->data + TAG_PREFIX, key_size);
	tag->value = span_of(bytes->data + TAG_PREFIX + key_size, value_size);
	*bytes = span_of(
		tag->value.data + value_size, bytes->size - TAG_PREFIX - key_size - value_size);
	return true;
}

void record_info(const struct record *record, struct info *info, struct tag tags[MESSAGE_TAGS_MAX])
{
	const struct vault *vault = record->vault;
	const struct header *header;
	struct span bytes;
	size_t count = 0;

	*info = (struct info){ .size = record->size, .tags.tag = tags };
	if (!is_well_formed(vault, record->offset))
		return;
	header = header_at(vault, record->offset);
	bytes = span_of(
		(const uint8_t *)header + tags_start(header), bytes_get16(header->tags_size));
	while (count < MESSAGE_TAGS_MAX && next_tag(&bytes, &tags[count]))
		count++;
	info->name = name_in(header);
	info->version = get_number(header->version);
	info->created_ms = (int64_t)get_number(header->created);
	info->changed_ms = (int64_t)get_number(header->changed);
	info->tags.count = count;
}

uint32_t record_owner(const struct record *record)
{
	return bytes_get32(header_at(record->vault, record->offset)->owner);
}

static struct enclave_binding binding_of(const struct header *header)
{
	return (struct enclave_binding){ .secret = get_number(header->secret),
		.version = get_number(header->version) };
}

int record_key(struct vault *vault, const struct record *record, uint8_t *key)
{
	const struct header *header = header_at(vault, record->offset);
	int r;

	if (record->retired || record->purged)
		return STATUS_GONE;
	r = enclave_unwrap(key, header->wrapped, ENCLAVE_KEY_SIZE, binding_of(header),
		vault->coffer, COFFER_VAULT);
	return r == -EBADMSG ? STATUS_INTEGRITY : r == -EKEYEXPIRED ? STATUS_GONE : r;
}

uint64_t record_chunks(const struct record *record)
{
	return chunks_in(record->size);
}

bool record_purged(const struct record *record)
{
	return record->purged;
}

/* Where extent `i` of a record begins, or 0 where no such block is. */
static uint64_t extent_of(const struct vault *vault, const struct record *record, uint64_t i)
{
	struct span table = table_of(vault, record->place, record->size);
	uint64_t offset = record->place;

	if (table.size > 0)
		offset = bytes_get64(table.data + i * sizeof(uint64_t));
	return ledger_block(vault->ledger, offset) < extent_size(record->size, i) ? 0 : offset;
}

struct span record_chunk(const struct vault *vault, const struct record *record, uint64_t number)
{
	uint64_t chunks = record_chunks(record);
	uint64_t offset;
	size_t size = ENCLAVE_CHUNK_SIZE;

	if (record->purged || number >= chunks)
		return span_of(NULL, 0);
	offset = extent_of(vault, record, number / EXTENT_CHUNKS);
	if (offset == 0)
		return span_of(NULL, 0);
	if (number + 1 == chunks)
		size = (size_t)(record->size - number * ENCLAVE_CHUNK_PLAIN) + ENCLAVE_TAG_SIZE;
	offset += number % EXTENT_CHUNKS * ENCLAVE_CHUNK_SIZE;
	return span_of(ledger_at(vault->ledger, offset, size), size);
}

/* -- values under way ---------------------------------------------------------------------- */

int value_new(struct vault *vault, struct value **valuep)
{
	struct value *value = calloc(1, sizeof(*value));

	if (!value)
		return STATUS_LIMIT;
	value->next = vault->values;
	if (value->next)
		value->next->previous = value;
	vault->values = value;
	*valuep = value;
	return 0;
}

uint64_t value_size(const struct value *value)
{
	return value->size;
}

uint64_t value_chunks(const struct value *value)
{
	return value->chunks;
}

bool value_purged(const struct value *value)
{
	return value->purged;
}

/* Wipes what was appended. */
static void empty_value(struct vault *vault, struct value *value)
{
	for (size_t i = 0; i < value->count; i++)
		ledger_give(vault->ledger, value->extents[i]);
	value->count = 0;
}

/* Frees a value without its extents, which are a record's now. */
static void drop_value(struct vault *vault, struct value *value)
{
	if (value->next)
		value->next->previous = value->previous;
	if (value->previous)
		value->previous->next = value->next;
	else
		vault->values = value->next;
	free(value->extents);
	free(value);
}

void value_free(struct vault *vault, struct value *value)
{
	if (!value)
		return;
	empty_value(vault, value);
	drop_value(vault, value);
}

static int reserve_extent(struct value *value)
{
	size_t capacity = value->capacity * 2 + 1;
	uint64_t *extents;

	if (value->count < value->capacity)
		return 0;
	extents = reallocarray(value->extents, capacity, sizeof(*extents));
	if (!extents)
		return STATUS_LIMIT;
	value->extents = extents;
	value->capacity = capacity;
	return 0;
}

/* An extent for the chunk to come: exact for the first of all and for a short one, else whole. */
static int add_extent(struct vault *vault, struct value *value, size_t size)
{
	bool exact = value->chunks == 0 || size < ENCLAVE_CHUNK_SIZE;
	int r = reserve_extent(value);

	if (r != 0)
		return r;
	if (ledger_take(vault->ledger, exact ? size : EXTENT_SIZE, &value->extents[value->count]) <
		0)
		return STATUS_LIMIT;
	value->count++;
	value->room = exact ? 1 : EXTENT_CHUNKS;
	return 0;
}

/* There is a second chunk: the first one moves into a whole extent. */
static int widen_extent(struct vault *vault, struct value *value)
{
	uint64_t *extent = &value->extents[value->count - 1];
	uint64_t whole;

	if (ledger_take(vault->ledger, EXTENT_SIZE, &whole) < 0)
		return STATUS_LIMIT;
	memcpy(ledger_at(vault->ledger, whole, ENCLAVE_CHUNK_SIZE),
		ledger_at(vault->ledger, *extent, ENCLAVE_CHUNK_SIZE), ENCLAVE_CHUNK_SIZE);
	ledger_give(vault->ledger, *extent);
	*extent = whole;
	value->room = EXTENT_CHUNKS;
	return 0;
}

int value_append(struct vault *vault, struct value *value, struct span chunk)
{
	size_t place = value->chunks % EXTENT_CHUNKS;
	uint64_t offset;
	int r = 0;

	if (value->purged)
		return STATUS_GONE;
	if (value->ended || chunk.size <= ENCLAVE_TAG_SIZE || chunk.size > ENCLAVE_CHUNK_SIZE)
		return STATUS_INTEGRITY;
	if (value->size > NUMBER_MAX - ENCLAVE_CHUNK_PLAIN)
		return STATUS_LIMIT;
	if (place == 0)
		r = add_extent(vault, value, chunk.size);
	else if (place == value->room)
		r = widen_extent(vault, value);
	if (r != 0)
		return r;
	offset = value->extents[value->count - 1] + place * ENCLAVE_CHUNK_SIZE;
	memcpy(ledger_at(vault->ledger, offset, chunk.size), chunk.data, chunk.size);
	value->size += chunk.size - ENCLAVE_TAG_SIZE;
	value->chunks++;
	value->ended = chunk.size < ENCLAVE_CHUNK_SIZE;
	return 0;
}

/* -- writing ------------------------------------------------------------------------------- */

/* What a put is about to make, in the order it is made; undone by `abandon`. */
struct draft {
	const struct vault_put *put;
	const struct header *old; /* NULL: the name is new */
	uint64_t old_offset;
	uint64_t version;
	uint64_t table; /* 0: the value is one extent */
	uint64_t offset;
	size_t tags_size;
};

static size_t size_of_tags(const struct tags *tags)
{
	size_t size = 0;

	for (size_t i = 0; i < tags->count; i++)
		size += TAG_PREFIX + tags->tag[i].key.size + tags->tag[i].value.size;
	return size;
}

/* Whether there is room in a record for what it is to say. */
static bool fits(const struct vault_put *put)
{
	if (put->name.size == 0 || put->name.size > NAME_FILED_MAX ||
		put->tags.count > MESSAGE_TAGS_MAX)
		return false;
	for (size_t i = 0; i < put->tags.count; i++)
		if (put->tags.tag[i].key.size > MESSAGE_TAG_KEY_MAX ||
			put->tags.tag[i].value.size > MESSAGE_TAG_VALUE_MAX)
			return false;
	return true;
}

static int check_conditions(
	const struct conditions *conditions, const struct header *old, uint64_t *versionp)
{
	uint64_t current = old ? get_number(old->version) : 0;

	if ((conditions->create_only && old) ||
		(conditions->compare && conditions->version != current)) {
		*versionp = current;
		return STATUS_CONFLICT;
	}
	return 0;
}

/* Takes the blocks that the record needs. Returns 0 or STATUS_LIMIT; `abandon` gives them back. */
static int take_blocks(struct vault *vault, const struct value *value, struct draft *draft)
{
	size_t table = value->count * sizeof(uint64_t);
	size_t size = sizeof(struct header) + draft->put->name.size + draft->tags_size;

	if (value->count > 1 && ledger_take(vault->ledger, table, &draft->table) < 0)
		return STATUS_LIMIT;
	return ledger_take(vault->ledger, size, &draft->offset) < 0 ? STATUS_LIMIT : 0;
}

static void abandon(struct vault *vault, const struct draft *draft)
{
	if (draft->table != 0)
		ledger_give(vault->ledger, draft->table);
	if (draft->offset != 0)
		ledger_give(vault->ledger, draft->offset);
}

static uint64_t write_table(struct vault *vault, const struct value *value, uint64_t table)
{
	if (table == 0)
		return value->extents[0];
	for (size_t i = 0; i < value->count; i++)
		bytes_put64(
			ledger_at(vault->ledger, table + i * sizeof(uint64_t), sizeof(uint64_t)),
			value->extents[i]);
	return table;
}

static uint8_t *append(uint8_t *out, struct span span)
{
	if (span.size > 0)
		memcpy(out, span.data, span.size);
	return out + span.size;
}

static void write_words(struct header *header, const struct vault_put *put)
{
	uint8_t *out = append((uint8_t *)header + name_start(header), put->name);

	for (size_t i = 0; i < put->tags.count; i++) {
		const struct tag *tag = &put->tags.tag[i];

		*out++ = (uint8_t)tag->key.size;
		bytes_put16(out, (uint16_t)tag->value.size);
		out = append(append(out + 2, tag->key), tag->value);
	}
}

/* Everything but the wrapped key and the tag. */
static void write_header(struct vault *vault, const struct value *value, const struct draft *draft)
{
	const struct vault_put *put = draft->put;
	const struct header *old = draft->old;
	struct header *header = header_at(vault, draft->offset);
	uint64_t now = now_ms();
	uint64_t sequence = vault->sequence + 1;

	*header = (struct header){ .format = RECORD_FORMAT, .tag_count = (uint8_t)put->tags.count };
	memcpy(header->number, put->number, sizeof(header->number));
	put_number(header->secret, old ? get_number(old->secret) : sequence);
	put_number(header->version, draft->version);
	put_number(header->sequence, sequence);
	put_number(header->created, old ? get_number(old->created) : now);
	put_number(header->changed, now);
	put_number(header->size, value->size);
	bytes_put32(
		header->place, (uint32_t)(write_table(vault, value, draft->table) / LEDGER_UNIT));
	bytes_put32(header->owner, old ? bytes_get32(old->owner) : put->owner);
	bytes_put16(header->name_size, (uint16_t)put->name.size);
	bytes_put16(header->tags_size, (uint16_t)draft->tags_size);
	write_words(header, put);
}

/* Wraps the data key and computes the tag: the record is whole then. */
static int seal_header(struct vault *vault, const struct draft *draft)
{
	struct header *header = header_at(vault, draft->offset);
	int r = enclave_wrap(header->wrapped, draft->put->key, ENCLAVE_KEY_SIZE, binding_of(header),
		vault->coffer, COFFER_VAULT);

	return r < 0 ? r : compute_tag(vault, header, header->tag);
}

/* The one step that makes the new version the one that is found. */
static int publish(struct vault *vault, const struct draft *draft)
{
	if (draft->old)
		index_replace(vault->index, draft->put->name, draft->old_offset, draft->offset);
	else if (index_insert(vault->index, draft->put->name, draft->offset) < 0)
		return STATUS_LIMIT;
	vault->sequence++;
	return 0;
}

static int make_record(struct vault *vault, const struct value *value, struct draft *draft)
{
	int r = take_blocks(vault, value, draft);

	if (r == 0) {
		write_header(vault, value, draft);
		r = seal_header(vault, draft);
	}
	return r == 0 ? publish(vault, draft) : r;
}

/* Looks up what there is under the name, and whether it may be succeeded. */
static int begin_draft(struct vault *vault, struct draft *draft, uint64_t *versionp)
{
	int r = look_up(vault, draft->put->name, &draft->old_offset);

	if (r != 0 && r != STATUS_NOT_FOUND)
		return r;
	if (r == 0)
		draft->old = header_at(vault, draft->old_offset);
	r = check_conditions(&draft->put->conditions, draft->old, versionp);
	if (r != 0)
		return r;
	draft->version = draft->old ? get_number(draft->old->version) + 1 : 1;
	draft->tags_size = size_of_tags(&draft->put->tags);
	return draft->version > NUMBER_MAX || vault->sequence >= NUMBER_MAX ? STATUS_LIMIT : 0;
}

/* The last extent keeps what it uses. */
static void trim_value(struct vault *vault, const struct value *value)
{
	size_t last = value->count - 1;

	ledger_trim(vault->ledger, value->extents[last], (size_t)extent_size(value->size, last));
}

int vault_put(
	struct vault *vault, struct value **valuep, const struct vault_put *put, uint64_t *versionp)
{
	struct draft draft = { .put = put };
	struct value *value = *valuep;
	int r;

	if (value->purged)
		return STATUS_GONE;
	if (value->chunks == 0 || !fits(put))
		return STATUS_INVALID;
	r = begin_draft(vault, &draft, versionp);
	if (r != 0)
		return r;
	r = make_record(vault, value, &draft);
	if (r != 0) {
		abandon(vault, &draft);
		return r;
	}
	trim_value(vault, value);
	if (draft.old)
		retire(vault, draft.old_offset, true);
	*versionp = draft.version;
	drop_value(vault, value);
	*valuep = NULL;
	return 0;
}

int vault_remove(struct vault *vault, struct span name, const struct conditions *conditions,
	uint64_t *versionp)
{
	const struct header *header;
	uint64_t offset;
	uint64_t version = 0;
	int r = look_up(vault, name, &offset);
	bool intact = r == 0;

	/* What was overwritten has no version to compare with, but has to go somehow. */
	if (r != 0 && (r != STATUS_INTEGRITY || conditions->compare))
		return r;
	header = header_at(vault, offset);
	if (intact) {
		version = get_number(header->version);
		*versionp = version;
		if (conditions->compare && conditions->version != version)
			return STATUS_CONFLICT;
	}
	*versionp = version;
	index_remove(vault->index, name, offset);
	retire(vault, offset, intact);
	return 0;
}

/* -- purge --------------------------------------------------------------------------------- */

static void purge_record(void *context, uint64_t offset)
{
	retire(context, offset, is_well_formed(context, offset));
}

static void mark_pinned(struct vault *vault)
{
	for (size_t i = 0; i < PIN_CHAINS; i++)
		for (struct record *at = vault->pinned[i]; at; at = at->next)
			at->purged = true;
	if (vault->spare)
		vault->spare->purged = true;
}

void vault_purge(struct vault *vault)
{
	coffer_replace(vault->coffer, COFFER_VAULT);
	mark_pinned(vault);
	for (struct value *value = vault->values; value; value = value->next) {
		empty_value(vault, value);
		value->purged = true;
	}
	/* The headers cannot be checked any more: blocks are held against the ledger's maps. */
	index_each(vault->index, purge_record, vault);
	index_clear(vault->index);
}

/* -- its life ------------------------------------------------------------------------------ */

int vault_new(struct vault **vaultp, struct coffer *coffer)
{
	struct vault *vault = calloc(1, sizeof(*vault));
	struct index_source source = { .name = index_name, .sound = index_sound };
	int r;

	if (!vault)
		return -ENOMEM;
	vault->coffer = coffer;
	source.context = vault;
	r = ledger_new(&vault->ledger);
	if (r == 0)
		r = index_new(&vault->index, &source);
	if (r < 0) {
		vault_free(vault);
		return r;
	}
	*vaultp = vault;
	return 0;
}

static void free_pinned(struct vault *vault)
{
	for (size_t i = 0; i < PIN_CHAINS; i++)
		while (vault->pinned[i]) {
			struct record *record = vault->pinned[i];

			vault->pinned[i] = record->next;
			free(record);
		}
}

void vault_free(struct vault *vault)
{
	if (!vault)
		return;
	while (vault->values)
		value_free(vault, vault->values);
	free_pinned(vault);
	free(vault->spare);
	index_free(vault->index);
	ledger_free(vault->ledger);
	free(vault);
}

uint64_t vault_count(const struct vault *vault)
{
	return index_count(vault->index);
}

uint64_t vault_bytes(const struct vault *vault)
{
	return ledger_used(vault->ledger);
}
