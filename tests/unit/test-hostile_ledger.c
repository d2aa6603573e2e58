/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>

/* Bytes that went into tags. */
static uint64_t hashed;

static int counted_update(crypto_generichash_state *state, const uint8_t *in, uint64_t size)
{
	hashed += size;
	return crypto_generichash_update(state, in, size);
}

static int counted_hash(uint8_t *out, size_t out_size, const uint8_t *in, uint64_t size,
	const uint8_t *key, size_t key_size, const uint8_t *salt, const uint8_t *personal)
{
	hashed += size;
	return crypto_generichash_blake2b_salt_personal(
		out, out_size, in, size, key, key_size, salt, personal);
}

#define crypto_generichash_update counted_update
#define crypto_generichash_blake2b_salt_personal counted_hash
#include "tests/unit/crash.h"

/*
 * Whoever may write to a ledger can copy whole blocks, whose tags are right wherever they lie.
 * The next process takes one of them, and goes on.
 */

/* Copies a block of the ledger that is left over, then adopts it. */
static void adopt_with_copy(uint64_t from, size_t size, uint64_t to)
{
	static uint8_t block[4096];

	ck_assert_ptr_null(past.remains);
	past.remains = remains_of_now();
	ck_assert_uint_le(size, sizeof(block));
	ck_assert_int_eq(pread(past.remains->fd, block, size, (off_t)from), (ssize_t)size);
	ck_assert_int_eq(pwrite(past.remains->fd, block, size, (off_t)to), (ssize_t)size);
	past.vault = vault;
	vault = NULL;
	ck_assert_int_eq(adopt_remains(past.remains, &vault), 0);
}

static void adopt_with_copy_of(uint64_t from, uint64_t to)
{
	adopt_with_copy(from, ledger_block(vault->ledger, from), to);
}

static void remove_both(void)
{
	ck_assert(remove_name("small") == 0 || remove_name("large") == 0);
	ck_assert_uint_eq(vault_count(vault), 0);
}

static void purge(void)
{
	vault_purge(vault);
	ck_assert_uint_eq(vault_count(vault), 0);
}

static void (*const ends[])(void) = { remove_both, purge };

static struct span record_bytes(const char *name)
{
	uint64_t offset = offset_of(name);
	size_t size = ledger_block(vault->ledger, offset);

	return span_of(ledger_at(vault->ledger, offset, size), size);
}

/*
 * Of what was removed there is a copy in the chunks of another, whose header lies behind it or
 * before it.
 */
START_TEST(a_record_that_lies_in_another_is_lost_or_the_other_one_is)
{
	static const struct conditions none;
	struct kept *hole = store_new("hole", 100);
	struct kept *large = store_new("large", 10000);
	struct kept *small = store_new("small", 100);
	uint64_t place = record_place(record_header(vault, offset_of("large")));
	uint8_t copy[512];
	struct span bytes = record_bytes("small");
	bool first = _i & 1;
	uint64_t version;

	memcpy(copy, bytes.data, bytes.size);
	ck_assert_int_eq(remove_name("small"), 0);
	ck_assert_int_eq(remove_name("hole"), 0);
	if (first)
		ck_assert_int_eq(vault_freeze(vault, span_text("large"), true, &none, &version), 0);
	ck_assert_int_eq(offset_of("large") < place, first);
	memcpy(ledger_at(vault->ledger, place + 4096, bytes.size), copy, bytes.size);
	crash();
	ck_assert_int_eq(find_status("small"), first ? STATUS_NOT_FOUND : 0);
	ck_assert_int_eq(find_status("large"), first ? 0 : STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_broken(vault), 1);
	ck_assert_uint_eq(vault_count(vault), 1);
	if (first)
		ck_assert_int_eq(
			vault_freeze(vault, span_text("large"), false, &none, &version), 0);
	ends[_i / 2]();
	forget(store_new("small", 50));
	rise();
	forget(hole);
	forget(large);
	forget(small);
}
END_TEST

/* A secret that was given another name last of all. */
START_TEST(a_copy_of_a_moved_record_changes_nothing)
{
	struct kept *kept = store_new("from", 100);
	struct vault_move move = {
		.name = span_text("from"), .to = span_text("to"), .owner = 1000
	};
	uint64_t low;
	uint64_t high;
	uint64_t version;

	ck_assert_int_eq(ledger_take(vault->ledger, 1024, &low), 0);
	ck_assert_int_eq(vault_move(vault, &move, &version), 0);
	ck_assert_int_eq(ledger_take(vault->ledger, 1024, &high), 0);
	ck_assert_uint_lt(low, offset_of("to"));
	ck_assert_uint_gt(high, offset_of("to"));
	adopt_with_copy_of(offset_of("to"), _i == 0 ? low : high);
	check_stored("to", kept);
	ck_assert_int_eq(find_status("from"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(vault), 1);
	ck_assert_int_eq(remove_name("to"), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget(kept);
}
END_TEST

/* While it is under both names; and one of them is there twice. */
START_TEST(a_copy_of_what_was_left_behind_changes_nothing)
{
	struct kept *kept = store_new("from", 100);
	struct vault_move move = {
		.name = span_text("from"), .to = span_text("to"), .owner = 1000
	};
	uint64_t from = offset_of("from");
	size_t size = ledger_block(vault->ledger, from);
	uint64_t places[3];
	uint8_t header[512];
	uint64_t version;

	for (size_t i = 0; i < COUNT_OF(places); i++)
		ck_assert_int_eq(ledger_take(vault->ledger, 1024, &places[i]), 0);
	memcpy(header, ledger_at(vault->ledger, from, size), size);
	ck_assert_int_eq(vault_move(vault, &move, &version), 0);
	for (size_t i = 0; i < COUNT_OF(places); i++)
		memcpy(ledger_at(vault->ledger, places[i], size), header, size);
	crash();
	check_stored("to", kept);
	ck_assert_int_eq(find_status("from"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(vault), 1);
	rise();
	forget(kept);
}
END_TEST

START_TEST(a_copy_of_a_commit_commits_nothing_twice)
{
	static const struct batch_times times = { .version = 3 };
	struct kept *kept = draw(100);
	struct vault_put put = put_of("staged", kept);
	struct value *value = new_value(kept);
	struct batch *batch = NULL;
	struct span name;
	uint64_t place;

	kept->version = times.version;
	ck_assert_int_eq(batch_new(vault, &batch), 0);
	ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), 1);
	ck_assert_int_eq(batch_commit(vault, batch), 0);
	ck_assert_int_eq(ledger_take(vault->ledger, 1024, &place), 0);
	adopt_with_copy_of(batch->commit, place);
	check_stored("staged", kept);
	ck_assert_int_eq(remove_name("staged"), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget(kept);
}
END_TEST

/* -- ciphertext that a client has chosen --------------------------------------------------- */

/* A client knows the key of its value, and so makes a tag for whatever it likes to be ciphertext.
 */
static const enum block_kind kinds[] = { BLOCK_RECORD, BLOCK_SEGMENT, BLOCK_CHUNK, BLOCK_ANSWER,
	BLOCK_COMMIT };

/* Headers side by side, each with numbers that were given away, and as many words as fit. */
#define PERIOD 48

static void fill_with_headers(
	uint8_t chunk[static ENCLAVE_CHUNK_SIZE], enum block_kind kind, uint16_t tags)
{
	memset(chunk, 0, ENCLAVE_CHUNK_SIZE);
	for (size_t at = 0; at + PERIOD <= ENCLAVE_CHUNK_SIZE; at += PERIOD) {
		bytes_put16(chunk + at + offsetof(struct block, kind), (uint16_t)kind);
		if (kind != BLOCK_RECORD)
			continue;
		chunk[at + offsetof(struct header, sequence) % PERIOD] = 1;
		bytes_put16(chunk + at + offsetof(struct header, name_size) % PERIOD, 1);
		bytes_put16(chunk + at + offsetof(struct header, tags_size) % PERIOD, tags);
	}
}

/* A MiB of the same chunk. */
static void store_chosen(const uint8_t chunk[static ENCLAVE_CHUNK_SIZE])
{
	struct kept kept = { .version = 0 };
	struct vault_put put = put_of("x", &kept);
	struct value *value = NULL;

	ck_assert_int_eq(value_new(vault, &value), 0);
	for (unsigned i = 0; i < 64; i++)
		ck_assert_int_eq(value_append(vault, value, span_of(chunk, ENCLAVE_CHUNK_SIZE)), 0);
	ck_assert_int_eq(vault_put(vault, &value, &put, &kept.version), 0);
}

START_TEST(ciphertext_that_looks_like_blocks_costs_little_to_adopt)
{
	static const uint16_t tags[] = { UINT16_MAX, TAGS_SIZE_MAX };
	static uint8_t chunk[ENCLAVE_CHUNK_SIZE];

	fill_with_headers(chunk, kinds[_i / 2], tags[_i % 2]);
	store_chosen(chunk);
	hashed = 0;
	crash();
	ck_assert_uint_eq(vault_broken(vault), 0);
	ck_assert_int_eq(find_status("x"), 0);
	/* A header's bytes at each, at most. */
	ck_assert_uint_le(hashed, 64 * ENCLAVE_CHUNK_SIZE / PERIOD * sizeof(struct header) + 65536);
	rise();
}
END_TEST

/* Where a lock is need not be looked for. Where nothing tells it, it is found all the same. */
START_TEST(ciphertext_that_looks_like_locks_costs_nothing)
{
	static const uint8_t key[LOCK_KEY_SIZE] = { 7 };
	static const struct vault_lock lock = { .salt = { 1 }, .opslimit = 3, .memlimit = 4 };
	static uint8_t chunk[ENCLAVE_CHUNK_SIZE];
	uint64_t at = 0;

	/* At each place that a block may have. */
	for (size_t i = 0; i < ENCLAVE_CHUNK_SIZE; i += LEDGER_UNIT)
		bytes_put16(chunk + i, BLOCK_LOCK);
	store_chosen(chunk);
	/* It lies behind that. */
	while (at < MIB + MIB / 8)
		ck_assert_int_eq(ledger_take(vault->ledger, sizeof(struct lock_block), &at), 0);
	memset(vault->lock_rooms, 0, sizeof(vault->lock_rooms));
	ck_assert_int_eq(vault_lock(vault, &lock, key), 0);
	/* Two of three have a note that is not this lock's. */
	if (_i > 0)
		((uint8_t *)coffer_lock_note(&rig.coffer))[_i == 1 ? 0 : 20] ^= 1;
	hashed = 0;
	crash();
	ck_assert_mem_eq(vault_lock_of(vault), &lock, sizeof(lock));
	if (_i == 0)
		ck_assert_uint_le(hashed, 2 * sizeof(struct lock_block));
	else
		ck_assert_uint_ge(hashed, MIB);
	ck_assert_int_eq(vault_unlock(vault, key), 0);
	rise();
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("hostile-ledger");

	tcase_add_checked_fixture(claims, set_up_in_file, tear_down_in_file);
	tcase_add_loop_test(
		claims, a_record_that_lies_in_another_is_lost_or_the_other_one_is, 0, 4);
	tcase_add_loop_test(claims, a_copy_of_a_moved_record_changes_nothing, 0, 2);
	tcase_add_test(claims, a_copy_of_what_was_left_behind_changes_nothing);
	tcase_add_test(claims, a_copy_of_a_commit_commits_nothing_twice);
	tcase_add_loop_test(claims, ciphertext_that_looks_like_blocks_costs_little_to_adopt, 0,
		2 * COUNT_OF(kinds));
	tcase_add_loop_test(claims, ciphertext_that_looks_like_locks_costs_nothing, 0, 3);
	return claims_run(claims, "a ledger that somebody has written to");
}
