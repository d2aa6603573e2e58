/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The vault is included as source: memory is made to run out at every step, and bytes of records
 * are overwritten as no function of the vault would.
 */
#include <search.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "daemon/ledger/ledger.h"
#include "daemon/vault/index.h"
#include "daemon/vault/tally.h"
#include "daemon/vault/term.h"

static inline void *rationed_calloc(size_t count, size_t size);
static inline void *rationed_reallocarray(void *old, size_t count, size_t size);
static int rationed_take(struct ledger *ledger, size_t size, uint64_t *offsetp);
static int rationed_insert(struct index *index, struct span name, uint64_t reference);
static int rationed_fill(struct index *index, const uint64_t *references, size_t count,
	index_choose_fn choose, void *context);
static int rationed_reserve(struct terms *terms);
static int rationed_row(struct tally *tally, uint32_t uid);
static int rationed_promise(struct index *index, uint64_t count);
static int rationed_let_write(const struct ledger *ledger);
static inline void *rationed_search(
	const void *key, void **root, int (*compare)(const void *, const void *));

#define calloc rationed_calloc
#define reallocarray rationed_reallocarray
#define ledger_let_write rationed_let_write
#define ledger_take rationed_take
#define index_fill rationed_fill
#define index_insert rationed_insert
#define tally_reserve rationed_row
#define terms_reserve rationed_reserve
#define index_promise rationed_promise
#define tsearch rationed_search
#include "daemon/vault/vault.c"
#include "daemon/vault/vault_adopt.c"
#include "daemon/vault/vault_adopt_find.c"
#include "daemon/vault/vault_answer.c"
#include "daemon/vault/vault_change.c"
#include "daemon/vault/vault_commit.c"
#include "daemon/vault/vault_compact.c"
#include "daemon/vault/vault_event.c"
#include "daemon/vault/vault_former.c"
#include "daemon/vault/vault_life.c"
#include "daemon/vault/vault_lifetime.c"
#include "daemon/vault/vault_lock.c"
#include "daemon/vault/vault_purge.c"
#include "daemon/vault/vault_quota.c"
#include "daemon/vault/vault_record.c"
#include "daemon/vault/vault_restore.c"
#include "daemon/vault/vault_stream.c"
#include "daemon/vault/vault_stream_adopt.c"
#include "daemon/vault/vault_stream_read.c"
#include "daemon/vault/vault_stream_write.c"
#include "daemon/vault/vault_token.c"
#include "daemon/vault/vault_value.c"
#undef calloc
#undef reallocarray
#undef ledger_let_write
#undef ledger_take
#undef index_fill
#undef index_insert
#undef tally_reserve
#undef terms_reserve
#undef index_promise
#undef tsearch

#include <check.h>
#include <signal.h>
#include <stdio.h>

#include "tests/unit/claims.h"
#include "tests/unit/rig.h"

#define MIB ((size_t)1 << 20)

static struct rig rig;
static struct vault *vault;

/* -- memory that runs out ------------------------------------------------------------------ */

/* Allocations that still succeed; negative: all of them. */
static int ration = -1;

/* Whether there is memory again behind the one that fails. */
static bool ration_fails_once;

static inline bool use_ration(void)
{
	if (ration == 0) {
		ration = ration_fails_once ? -1 : 0;
		return false;
	}
	if (ration > 0)
		ration--;
	return true;
}

static inline void *rationed_calloc(size_t count, size_t size)
{
	return use_ration() ? calloc(count, size) : NULL;
}

static inline void *rationed_reallocarray(void *old, size_t count, size_t size)
{
	return use_ration() ? reallocarray(old, count, size) : NULL;
}

static int rationed_take(struct ledger *ledger, size_t size, uint64_t *offsetp)
{
	return use_ration() ? ledger_take(ledger, size, offsetp) : -ENOMEM;
}

static int rationed_let_write(const struct ledger *ledger)
{
	return use_ration() ? ledger_let_write(ledger) : -ENOMEM;
}

static int rationed_insert(struct index *index, struct span name, uint64_t reference)
{
	return use_ration() ? index_insert(index, name, reference) : -ENOMEM;
}

static int rationed_fill(struct index *index, const uint64_t *references, size_t count,
	index_choose_fn choose, void *context)
{
	return use_ration() ? index_fill(index, references, count, choose, context) : -ENOMEM;
}

static int rationed_promise(struct index *index, uint64_t count)
{
	return use_ration() ? index_promise(index, count) : -ENOMEM;
}

static inline void *rationed_search(
	const void *key, void **root, int (*compare)(const void *, const void *))
{
	return use_ration() ? tsearch(key, root, compare) : NULL;
}

static int rationed_row(struct tally *tally, uint32_t uid)
{
	return use_ration() ? tally_reserve(tally, uid) : -ENOMEM;
}

static int rationed_reserve(struct terms *terms)
{
	return use_ration() ? terms_reserve(terms) : -ENOMEM;
}

/* -- secrets to store ---------------------------------------------------------------------- */

/* What a test remembers of a value it has stored. */
struct kept {
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint8_t *sealed; /* all chunks, one behind the other */
	uint8_t *plain;
	size_t size; /* of the plaintext */
	uint64_t chunks;
	uint64_t version;
};

static inline void set_up(void)
{
	rig_init(&rig);
	ck_assert_int_eq(vault_new(&vault, &rig.coffer, -1), 0);
}

static inline void tear_down(void)
{
	vault_free(vault);
}

static inline size_t chunk_size(const struct kept *kept, uint64_t number)
{
	if (number + 1 < kept->chunks)
		return ENCLAVE_CHUNK_SIZE;
	return kept->size - number * ENCLAVE_CHUNK_PLAIN + ENCLAVE_TAG_SIZE;
}

static inline struct span chunk_of(const struct kept *kept, uint64_t number)
{
	return span_of(kept->sealed + number * ENCLAVE_CHUNK_SIZE, chunk_size(kept, number));
}

/* A random value of `size` bytes, sealed as a client seals it. */
static inline struct kept *draw(size_t size)
{
	struct kept *kept = calloc(1, sizeof(*kept));

	ck_assert_ptr_nonnull(kept);
	kept->size = size;
	kept->chunks = (size + ENCLAVE_CHUNK_PLAIN - 1) / ENCLAVE_CHUNK_PLAIN;
	kept->plain = malloc(size);
	kept->sealed = malloc(enclave_sealed_size(size));
	ck_assert(kept->plain && kept->sealed);
	randombytes_buf(kept->plain, size);
	enclave_draw_key(kept->key);
	for (uint64_t i = 0; i < kept->chunks; i++)
		enclave_seal_chunk(kept->sealed + i * ENCLAVE_CHUNK_SIZE,
			kept->plain + i * ENCLAVE_CHUNK_PLAIN,
			chunk_size(kept, i) - ENCLAVE_TAG_SIZE, i, i + 1 == kept->chunks,
			kept->key);
	return kept;
}

static inline void forget(struct kept *kept)
{
	if (!kept)
		return;
	free(kept->plain);
	free(kept->sealed);
	free(kept);
}

static inline int append_chunks(
	struct value *value, const struct kept *kept, uint64_t from, uint64_t to)
{
	int r = 0;

	for (uint64_t i = from; i < to && r == 0; i++)
		r = value_append(vault, value, chunk_of(kept, i));
	return r;
}

static inline struct value *new_value(const struct kept *kept)
{
	struct value *value = NULL;

	ck_assert_int_eq(value_new(vault, &value), 0);
	ck_assert_int_eq(append_chunks(value, kept, 0, kept->chunks), 0);
	ck_assert_uint_eq(value_size(value), kept->size);
	ck_assert_uint_eq(value_chunks(value), kept->chunks);
	return value;
}

static inline struct vault_put put_of(const char *name, const struct kept *kept)
{
	return (struct vault_put){ .name = span_text(name), .owner = 1000, .key = kept->key };
}

static inline int try_put(const struct vault_put *put, struct kept *kept)
{
	struct value *value = new_value(kept);
	int r = vault_put(vault, &value, put, &kept->version);

	ck_assert_int_eq(r == 0, value == NULL);
	value_free(vault, value);
	return r;
}

static inline int may_put(const char *name, const struct conditions *conditions)
{
	struct vault_put put = { .name = span_text(name), .conditions = *conditions };
	uint64_t version;

	return vault_may_put(vault, &put, &version);
}

static inline void store(const char *name, struct kept *kept)
{
	struct vault_put put = put_of(name, kept);

	ck_assert_int_eq(try_put(&put, kept), 0);
}

static inline struct kept *store_new(const char *name, size_t size)
{
	struct kept *kept = draw(size);

	store(name, kept);
	return kept;
}

static inline struct record *find(const char *name)
{
	struct record *record = NULL;

	ck_assert_int_eq(vault_find(vault, span_text(name), &record), 0);
	ck_assert_ptr_nonnull(record);
	return record;
}

static inline int find_status(const char *name)
{
	struct record *record;

	return vault_find(vault, span_text(name), &record);
}

/* Every chunk of a record, bit by bit. */
static inline void check_chunks(const struct record *record, const struct kept *kept)
{
	ck_assert_uint_eq(record_chunks(record), kept->chunks);
	for (uint64_t i = 0; i < kept->chunks; i++)
		if (!span_equal(record_chunk(vault, record, i), chunk_of(kept, i)))
			ck_abort_msg("chunk %llu is another one", (unsigned long long)i);
	ck_assert_uint_eq(record_chunk(vault, record, kept->chunks).size, 0);
	ck_assert_uint_eq(record_chunk(vault, record, UINT64_MAX).size, 0);
}

/* The value as its reader gets it: opened with the key that the record gives. */
static inline void check_opens(const struct record *record, const struct kept *kept)
{
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint8_t plain[ENCLAVE_CHUNK_PLAIN];

	ck_assert_int_eq(record_key(vault, record, key), 0);
	for (uint64_t i = 0; i < kept->chunks; i++) {
		struct span chunk = record_chunk(vault, record, i);

		ck_assert_int_eq(enclave_open_chunk(plain, chunk.data, chunk.size, i,
					 i + 1 == kept->chunks, key),
			0);
		ck_assert_mem_eq(plain, kept->plain + i * ENCLAVE_CHUNK_PLAIN,
			chunk.size - ENCLAVE_TAG_SIZE);
	}
}

static inline void check_stored(const char *name, const struct kept *kept)
{
	struct record *record = find(name);
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;

	record_info(record, &info, tags);
	ck_assert(span_equal(info.name, span_text(name)));
	ck_assert_uint_eq(info.version, kept->version);
	ck_assert_uint_eq(info.size, kept->size);
	check_chunks(record, kept);
	check_opens(record, kept);
}

static inline int remove_name(const char *name)
{
	static const struct conditions none;
	uint64_t version;

	return vault_remove(vault, span_text(name), &none, &version);
}

/* -- what lies in the ledger --------------------------------------------------------------- */

static inline bool is_anywhere(const void *part, size_t size)
{
	size_t all = ledger_mapped(vault->ledger) - LEDGER_UNIT;

	return memmem(ledger_at(vault->ledger, LEDGER_UNIT, all), all, part, size) != NULL;
}

/* Whether any 8 bytes in a row of a value's chunks are in the ledger, looked for here and there. */
static inline bool is_value_anywhere(const struct kept *kept)
{
	for (uint64_t i = 0; i < kept->chunks; i++) {
		struct span chunk = chunk_of(kept, i);

		for (size_t at = 0; at + 8 <= chunk.size; at += chunk.size > 64 ? 4096 : 8)
			if (is_anywhere(chunk.data + at, 8))
				return true;
		if (is_anywhere(chunk.data + chunk.size - 8, 8))
			return true;
	}
	return false;
}

static inline uint64_t offset_of(const char *name)
{
	uint64_t suspect;
	uint64_t offset = index_find(vault->index, span_text(name), &suspect);

	ck_assert_uint_ne(offset, 0);
	return offset;
}

struct wrapped {
	uint8_t bytes[ENCLAVE_WRAPPED_KEY];
};

static inline struct wrapped wrapped_of(const char *name)
{
	struct wrapped wrapped;

	memcpy(wrapped.bytes, record_header(vault, offset_of(name))->wrapped,
		sizeof(wrapped.bytes));
	ck_assert(is_anywhere(wrapped.bytes, sizeof(wrapped.bytes)));
	return wrapped;
}

static inline bool is_wrapped_anywhere(const struct wrapped *wrapped)
{
	for (size_t at = 0; at < sizeof(wrapped->bytes); at += 8)
		if (is_anywhere(wrapped->bytes + at, 8))
			return true;
	return false;
}

/* Every name with a prefix, in order, as one text. */
static inline void list(const char *prefix, char out[256])
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct span after = { 0 };
	struct record *record;
	struct info info;

	out[0] = '\0';
	while (vault_next(vault, span_text(prefix), after, &record) == 0) {
		record_info(record, &info, tags);
		strncat(out, (const char *)info.name.data, info.name.size);
		strcat(out, " ");
		after = info.name;
	}
}

/* Of values whose end is looked at: one extent or several, with and without a short chunk. */
static const size_t wiped_sizes[] = { 64, 16385, 300000, MIB + 1 };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
