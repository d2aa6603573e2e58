/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_inside.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/status.h"
#include "daemon/vault/vault_quota.h"

/* -- headers ------------------------------------------------------------------------------- */

struct header *record_header(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct header));
}

size_t record_name_start(const struct header *header)
{
	return sizeof(*header) + header->lifetime_size;
}

static size_t tags_start(const struct header *header)
{
	return record_name_start(header) + bytes_get16(header->name_size);
}

static size_t record_end(const struct header *header)
{
	return tags_start(header) + bytes_get16(header->tags_size);
}

struct span record_name(const struct header *header)
{
	return span_of((const uint8_t *)header + record_name_start(header),
		bytes_get16(header->name_size));
}

struct span record_tags(const struct header *header)
{
	return span_of(
		(const uint8_t *)header + tags_start(header), bytes_get16(header->tags_size));
}

size_t record_block_size(const struct header *header)
{
	return (record_end(header) + LEDGER_UNIT - 1) / LEDGER_UNIT * LEDGER_UNIT;
}

uint64_t record_place(const struct header *header)
{
	return (uint64_t)bytes_get32(header->place) * LEDGER_UNIT;
}

/*
 * Whether the sizes in a header fit into the block that it lies in, and nothing is said of it that
 * this program does not know: that may be what somebody may not do.
 */
bool record_fits(const struct vault *vault, uint64_t offset)
{
	size_t block = ledger_block(vault->ledger, offset);
	const struct header *header;

	if (block < sizeof(*header))
		return false;
	header = record_header(vault, offset);
	return record_end(header) <= block && (header->flags & ~RECORD_FLAGS) == 0 &&
		bytes_get16(header->name_size) <= NAME_FILED_MAX &&
		bytes_get16(header->tags_size) <= TAGS_SIZE_MAX &&
		(header->lifetime_size == 0 ||
			header->lifetime_size == sizeof(struct lifetime_bytes));
}

bool record_well_formed(const struct vault *vault, uint64_t offset)
{
	return record_fits(vault, offset) &&
		block_kind(record_header(vault, offset)) == BLOCK_RECORD;
}

bool record_staged(const struct vault *vault, uint64_t offset)
{
	return record_fits(vault, offset) &&
		block_kind(record_header(vault, offset)) == BLOCK_STAGED;
}

struct span record_table(const struct vault *vault, uint64_t place, uint64_t size)
{
	uint64_t extents = extents_in(chunks_in(size));
	const struct table *table;

	if (extents <= 1 || ledger_block(vault->ledger, place) < table_size(extents))
		return span_of(NULL, 0);
	table = ledger_at(vault->ledger, place, table_size(extents));
	return span_of(table + 1, extents * sizeof(uint64_t));
}

int vault_tag(const struct vault *vault, enum block_kind kind, const struct span *parts,
	size_t count, uint8_t tag[static BLOCK_TAG_SIZE])
{
	const uint8_t *key = coffer_ledger_key(vault->coffer);
	crypto_generichash_state state;
	uint8_t word[sizeof(uint16_t)];

	if (!key)
		return -EKEYEXPIRED;
	crypto_generichash_init(&state, key, COFFER_KEY_SIZE, BLOCK_TAG_SIZE);
	bytes_put16(word, (uint16_t)kind);
	crypto_generichash_update(&state, word, sizeof(word));
	for (size_t i = 0; i < count; i++)
		crypto_generichash_update(&state, parts[i].data, parts[i].size);
	crypto_generichash_final(&state, tag, BLOCK_TAG_SIZE);
	sodium_memzero(&state, sizeof(state));
	return 0;
}

int record_tag(
	const struct vault *vault, const struct header *header, uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(header, record_end(header));

	return vault_tag(vault, BLOCK_RECORD, &rest, 1, tag);
}

static int header_tag(
	const struct vault *vault, const struct header *header, uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(header, offsetof(struct header, proof));

	return vault_tag(vault, BLOCK_RECORD, &rest, 1, tag);
}

bool record_likely(const struct vault *vault, const struct header *header)
{
	uint8_t tag[BLOCK_TAG_SIZE];

	return header_tag(vault, header, tag) == 0 &&
		sodium_memcmp(tag, header->proof, sizeof(header->proof)) == 0;
}

int record_seal(const struct vault *vault, struct header *header)
{
	uint8_t tag[BLOCK_TAG_SIZE];
	int r = header_tag(vault, header, tag);

	if (r < 0)
		return r;
	memcpy(header->proof, tag, sizeof(header->proof));
	return record_tag(vault, header, header->block.tag);
}

int table_tag(const struct vault *vault, const struct table *table, uint64_t extents,
	uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(table, table_size(extents));

	return vault_tag(vault, BLOCK_TABLE, &rest, 1, tag);
}

int table_seal(const struct vault *vault, const struct header *header)
{
	struct span offsets = record_table(vault, record_place(header), get_number(header->size));
	struct table *table;
	int r;

	if (offsets.size == 0)
		return 0;
	table = (struct table *)(void *)((uint8_t *)(uintptr_t)offsets.data - sizeof(*table));
	memcpy(table->secret, header->secret, sizeof(table->secret));
	memcpy(table->version, header->version, sizeof(table->version));
	r = table_tag(vault, table, offsets.size / sizeof(uint64_t), table->block.tag);
	if (r == 0)
		block_set_kind(table, BLOCK_TABLE);
	return r;
}

/* Whether the table of a header that is intact is, too; one extent needs none. */
static bool table_intact(const struct vault *vault, const struct header *header)
{
	uint64_t size = get_number(header->size);
	struct span offsets = record_table(vault, record_place(header), size);
	const struct table *table;
	uint8_t tag[BLOCK_TAG_SIZE];

	if (extents_in(chunks_in(size)) <= 1)
		return true;
	if (offsets.size == 0)
		return false;
	table = (const struct table *)(const void *)(offsets.data - sizeof(*table));
	return block_kind(table) == BLOCK_TABLE &&
		table_tag(vault, table, offsets.size / sizeof(uint64_t), tag) == 0 &&
		sodium_memcmp(tag, table->block.tag, sizeof(tag)) == 0 &&
		memcmp(table->secret, header->secret, NUMBER_SIZE) == 0 &&
		memcmp(table->version, header->version, NUMBER_SIZE) == 0;
}

bool record_proved(const struct vault *vault, uint64_t offset)
{
	const struct header *header;
	uint8_t tag[BLOCK_TAG_SIZE];

	if (!record_fits(vault, offset))
		return false;
	header = record_header(vault, offset);
	return record_tag(vault, header, tag) == 0 &&
		sodium_memcmp(tag, header->block.tag, sizeof(tag)) == 0 &&
		table_intact(vault, header);
}

/* Whether a record is what was written. */
bool record_intact(const struct vault *vault, uint64_t offset)
{
	return record_well_formed(vault, offset) && record_proved(vault, offset);
}

bool record_over(const struct vault *vault, uint64_t offset)
{
	return record_header(vault, offset)->lifetime_size > 0 &&
		terms_over(vault->terms, offset, vault->now());
}

bool record_shows(const struct vault *vault, uint64_t offset)
{
	return record_intact(vault, offset) &&
		!(record_header(vault, offset)->flags & RECORD_CONSUMED) &&
		!record_over(vault, offset);
}

/* -- handles ------------------------------------------------------------------------------- */

static size_t chain_number(uint64_t offset)
{
	return offset / LEDGER_UNIT % PIN_CHAINS;
}

static struct record **chain_of(struct vault *vault, uint64_t offset)
{
	return &vault->pinned[chain_number(offset)];
}

/* The handle of a pinned record, or NULL. */
struct record *record_pinned(const struct vault *vault, uint64_t offset)
{
	struct record *record =
		vault->pinned_count > 0 ? vault->pinned[chain_number(offset)] : NULL;

	while (record && record->offset != offset)
		record = record->next;
	return record;
}

/* Sees to it that the next look-up has a handle to give. Returns 0 or STATUS_LIMIT. */
int record_reserve(struct vault *vault)
{
	if (!vault->spare)
		vault->spare = calloc(1, sizeof(*vault->spare));
	return vault->spare ? 0 : STATUS_LIMIT;
}

/* The handle of a record whose tag has just been found right. */
struct record *record_handle(struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);
	struct record *record = record_pinned(vault, offset);

	if (record)
		return record;
	*vault->spare = (struct record){ .vault = vault,
		.offset = offset,
		.place = record_place(header),
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

void record_doom(struct vault *vault, uint64_t offset)
{
	struct record *record = record_pinned(vault, offset);

	if (record)
		record->purged = true;
}

void record_move(struct vault *vault, uint64_t offset, uint64_t to)
{
	struct record *record = record_pinned(vault, offset);
	struct record **at = chain_of(vault, offset);

	terms_move(vault->terms, offset, to);
	stream_move(vault, offset, to);
	if (vault->spare && vault->spare->offset == offset)
		vault->spare->offset = to;
	if (!record)
		return;
	while (*at != record)
		at = &(*at)->next;
	*at = record->next;
	at = chain_of(vault, to);
	record->offset = to;
	record->next = *at;
	*at = record;
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
	struct span table = record_table(vault, place, size);

	for (uint64_t i = 0; i < table.size / sizeof(uint64_t); i++)
		give_exactly(vault, bytes_get64(table.data + i * sizeof(uint64_t)),
			extent_size(size, i));
	give_exactly(vault, place,
		table.size > 0 ? sizeof(struct table) + table.size : extent_size(size, 0));
}

void vault_give(struct vault *vault, uint64_t offset)
{
	/* What could not be adopted is the next one's. */
	if (ledger_is_adopted(vault->ledger))
		return;
	block_set_kind(ledger_at(vault->ledger, offset, sizeof(struct block)), BLOCK_NOTHING);
	ledger_give(vault->ledger, offset);
}

/* The key goes at once, whoever still reads: they have it, nobody else gets it. */
static void wipe_key(struct vault *vault, uint64_t offset)
{
	sodium_memzero(record_header(vault, offset)->wrapped, ENCLAVE_WRAPPED_KEY);
}

static void forget_term(struct vault *vault, uint64_t offset)
{
	struct term_of of;

	if (!terms_look(vault->terms, offset, &of))
		return;
	if (of.holders[BOND_OWNER])
		vault->consumed--;
	terms_drop(vault->terms, offset);
}

/* It has no value any more, and says so: its batch goes on to know it by its tag. */
static void hollow(struct vault *vault, uint64_t offset)
{
	struct header *header = record_header(vault, offset);

	give_chunks(vault, record_place(header), get_number(header->size));
	quota_give(vault, offset);
	put_number(header->size, 0);
	bytes_put32(header->place, 0);
	quota_take(vault, offset);
	(void)record_seal(vault, header);
}

void record_lose(struct vault *vault, uint64_t offset)
{
	struct header *header = record_header(vault, offset);
	bool apart = block_kind(header) != BLOCK_RECORD && record_proved(vault, offset);

	if (block_kind(header) == BLOCK_STAGED)
		block_set_kind(header, BLOCK_NOTHING);
	wipe_key(vault, offset);
	forget_term(vault, offset);
	if (apart)
		hollow(vault, offset);
}

/*
 * The end of a record that no name leads to any more: wiped, key first; if it is pinned, all but
 * the key with the last pin. The header says where the chunks are only when it is `intact`: else
 * they stay where they are, without a key.
 */
static void retire(struct vault *vault, uint64_t offset, bool intact)
{
	struct record *record = record_pinned(vault, offset);
	const struct header *header = record_header(vault, offset);

	block_set_kind(record_header(vault, offset), BLOCK_NOTHING);
	wipe_key(vault, offset);
	forget_term(vault, offset);
	stream_lose(vault, offset);
	if (vault->spare && vault->spare->offset == offset)
		vault->spare->retired = true;
	if (record) {
		record->retired = true;
		readers_take(vault, record);
		return;
	}
	if (intact)
		give_chunks(vault, record_place(header), get_number(header->size));
	ledger_give(vault->ledger, offset);
}

void record_retire(struct vault *vault, uint64_t offset, bool intact)
{
	if (intact)
		quota_give(vault, offset);
	else
		quota_doubt(vault);
	retire(vault, offset, intact);
}

void record_retire_bare(struct vault *vault, uint64_t offset)
{
	retire(vault, offset, false);
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
	if (!record_well_formed(vault, record->offset))
		return;
	header = record_header(vault, record->offset);
	bytes = record_tags(header);
	while (count < MESSAGE_TAGS_MAX && next_tag(&bytes, &tags[count]))
		count++;
	info->name = record_name(header);
	info->version = get_number(header->version);
	info->created_ms = (int64_t)get_number(header->created);
	info->changed_ms = (int64_t)get_number(header->changed);
	info->frozen = header->flags & RECORD_FROZEN;
	info->stream = stream_tell(vault, record->offset, &info->size);
	lifetime_tell(vault, header, info);
	info->tags.count = count;
}

bool record_is_stream(const struct record *record)
{
	return record_header(record->vault, record->offset)->flags & RECORD_STREAM;
}

struct span record_filed_name(const struct record *record)
{
	return record_name(record_header(record->vault, record->offset));
}

uint64_t record_secret(const struct record *record)
{
	return get_number(record_header(record->vault, record->offset)->secret);
}

uint32_t record_owner(const struct record *record)
{
	return bytes_get32(record_header(record->vault, record->offset)->owner);
}

struct enclave_binding record_binding(const struct header *header)
{
	return (struct enclave_binding){ .secret = get_number(header->secret),
		.version = get_number(header->version) };
}

int record_key(struct vault *vault, const struct record *record, uint8_t *key)
{
	const struct header *header = record_header(vault, record->offset);
	int r;

	if (record->retired || record->purged)
		return STATUS_GONE;
	if (vault_is_locked(vault))
		return STATUS_LOCKED;
	r = enclave_unwrap(key, header->wrapped, ENCLAVE_KEY_SIZE, record_binding(header),
		vault->coffer, COFFER_VAULT);
	return r == -EBADMSG ? STATUS_INTEGRITY : r == -EKEYEXPIRED ? STATUS_GONE : r;
}

uint64_t record_size(const struct record *record)
{
	return record->size;
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
	struct span table = record_table(vault, record->place, record->size);
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
