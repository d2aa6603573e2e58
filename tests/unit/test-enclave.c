/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/enclave.h"

#include <check.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/claims.h"

#define PREKEY 512
#define KEYS 2048

static const struct enclave_binding binding = { .secret = 7, .version = 1ULL << 40 };

static _Alignas(16) uint8_t keys[KEYS];
static _Alignas(16) uint8_t view[256];
static struct guard guard;
static struct coffer coffer;

/* A value, its sealed form and room to open it in. */
static uint8_t key[ENCLAVE_KEY_SIZE];
static uint8_t plain[ENCLAVE_CHUNK_PLAIN];
static uint8_t chunk[ENCLAVE_CHUNK_SIZE];
static uint8_t opened[ENCLAVE_CHUNK_PLAIN];

static void set_up(void)
{
	guard_init(&guard);
	coffer_init(&coffer, keys, PREKEY, view, &guard);
	enclave_draw_key(key);
	randombytes_buf(plain, sizeof(plain));
}

/* -- wrapping ------------------------------------------------------------------------------ */

static uint8_t wrapped[ENCLAVE_WRAP_SIZE(200)];
static uint8_t bare[200];

static int wrap(const uint8_t *secret, size_t size)
{
	return enclave_wrap(wrapped, secret, size, binding, &coffer, COFFER_VAULT);
}

static int unwrap(size_t size, struct enclave_binding with, enum coffer_master master)
{
	memset(bare, 0, sizeof(bare));
	return enclave_unwrap(bare, wrapped, size, with, &coffer, master);
}

START_TEST(what_is_wrapped_comes_back)
{
	static const size_t sizes[] = { 1, 31, ENCLAVE_KEY_SIZE, 33, 64, 200 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int master = 0; master < COFFER_MASTERS; master++) {
			ck_assert_int_eq(enclave_wrap(wrapped, plain, sizes[i], binding, &coffer,
						 (enum coffer_master)master),
				0);
			ck_assert_int_eq(unwrap(sizes[i], binding, (enum coffer_master)master), 0);
			ck_assert_mem_eq(bare, plain, sizes[i]);
		}
	}
	ck_assert_uint_eq(ENCLAVE_WRAPPED_KEY, 64);
}
END_TEST

START_TEST(a_wrapped_key_shows_nothing_of_the_key)
{
	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	for (size_t i = 0; i + 4 <= sizeof(key); i++)
		ck_assert_ptr_null(memmem(wrapped, ENCLAVE_WRAPPED_KEY, key + i, 4));
}
END_TEST

START_TEST(two_wraps_of_one_key_have_nothing_in_common)
{
	uint8_t first[ENCLAVE_WRAPPED_KEY];

	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	memcpy(first, wrapped, sizeof(first));
	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	for (size_t at = 0; at < sizeof(first); at += 16)
		ck_assert_mem_ne(first + at, wrapped + at, 16);
}
END_TEST

/* The construction told a second time, from the header's words alone. */
START_TEST(a_wrap_is_a_secretbox_under_a_key_derived_from_the_salt)
{
	static const uint8_t nonce[crypto_secretbox_NONCEBYTES] = { 7, [13] = 1 };
	static const uint8_t personal[16] = "mg wrapping key";
	uint8_t wrapping[32];

	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	crypto_generichash_blake2b_salt_personal(wrapping, 32, NULL, 0,
		coffer_view(&coffer)->master[COFFER_VAULT], 32, wrapped, personal);
	ck_assert_int_eq(crypto_secretbox_open_easy(bare, wrapped + ENCLAVE_SALT_SIZE,
				 ENCLAVE_WRAPPED_KEY - ENCLAVE_SALT_SIZE, nonce, wrapping),
		0);
	ck_assert_mem_eq(bare, key, sizeof(key));
}
END_TEST

START_TEST(another_binding_or_master_does_not_unwrap)
{
	static const struct enclave_binding others[] = {
		{ 8, 1ULL << 40 },
		{ 7, (1ULL << 40) + 1 },
		{ 7 + (1ULL << 63), 1ULL << 40 },
		{ 7, 0 },
		{ 0, 0 },
		{ 1ULL << 40, 7 },
	};

	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		ck_assert_int_eq(unwrap(sizeof(key), others[i], COFFER_VAULT), -EBADMSG);
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_CHANNEL), -EBADMSG);
	ck_assert(sodium_is_zero(bare, sizeof(bare)));
	ck_assert_int_eq(unwrap(sizeof(key) - 1, binding, COFFER_VAULT), -EBADMSG);
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_VAULT), 0);
}
END_TEST

START_TEST(no_byte_of_a_wrapped_key_can_be_changed)
{
	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	for (size_t i = 0; i < ENCLAVE_WRAPPED_KEY; i++) {
		for (int bit = 0; bit < 8; bit++) {
			wrapped[i] ^= (uint8_t)(1 << bit);
			ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_VAULT), -EBADMSG);
			ck_assert(sodium_is_zero(bare, sizeof(bare)));
			wrapped[i] ^= (uint8_t)(1 << bit);
		}
	}
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_VAULT), 0);
}
END_TEST

START_TEST(a_wrap_outlives_remasks_and_moves_in_memory)
{
	uint8_t moved[ENCLAVE_WRAPPED_KEY + 1];

	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	memcpy(moved + 1, wrapped, ENCLAVE_WRAPPED_KEY);
	memset(wrapped, 0, sizeof(wrapped));
	coffer_forget(&coffer);
	for (int i = 0; i < 10; i++)
		coffer_remask(&coffer);
	ck_assert_int_eq(
		enclave_unwrap(bare, moved + 1, sizeof(key), binding, &coffer, COFFER_VAULT), 0);
	ck_assert_mem_eq(bare, key, sizeof(key));
}
END_TEST

START_TEST(a_replaced_master_unwraps_nothing_and_the_other_all)
{
	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	coffer_replace(&coffer, COFFER_CHANNEL);
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_VAULT), 0);
	coffer_replace(&coffer, COFFER_VAULT);
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_VAULT), -EBADMSG);
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_CHANNEL), -EBADMSG);
	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_VAULT), 0);
}
END_TEST

START_TEST(a_destroyed_coffer_wraps_and_unwraps_nothing)
{
	ck_assert_int_eq(wrap(key, sizeof(key)), 0);
	coffer_destroy(&coffer);
	ck_assert_int_eq(unwrap(sizeof(key), binding, COFFER_VAULT), -EKEYEXPIRED);
	ck_assert(sodium_is_zero(bare, sizeof(bare)));
	memset(wrapped, 0, sizeof(wrapped));
	ck_assert_int_eq(wrap(key, sizeof(key)), -EKEYEXPIRED);
	ck_assert(sodium_is_zero(wrapped + ENCLAVE_SALT_SIZE, sizeof(key)));
}
END_TEST

/* -- chunks -------------------------------------------------------------------------------- */

static const size_t sizes[] = { 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 4096, 16383,
	ENCLAVE_CHUNK_PLAIN };
#define SIZES ((int)(sizeof(sizes) / sizeof(sizes[0])))

static const uint64_t numbers[] = { 0, 1, 255, 256, 1ULL << 32, UINT64_MAX };
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static int check(size_t size, uint64_t number, bool final)
{
	return enclave_check_chunk(chunk, size + ENCLAVE_TAG_SIZE, number, final, key);
}

static int open_chunk(size_t size, uint64_t number, bool final)
{
	memset(opened, 0, sizeof(opened));
	return enclave_open_chunk(opened, chunk, size + ENCLAVE_TAG_SIZE, number, final, key);
}

START_TEST(a_sealed_chunk_checks_and_opens)
{
	size_t size = sizes[_i];

	for (size_t i = 0; i < NUMBERS; i++) {
		for (int final = 0; final < 2; final++) {
			enclave_seal_chunk(chunk, plain, size, numbers[i], final, key);
			ck_assert_int_eq(check(size, numbers[i], final), 0);
			ck_assert_int_eq(open_chunk(size, numbers[i], final), 0);
			ck_assert_mem_eq(opened, plain, size);
		}
	}
}
END_TEST

/* The format of PROTOCOL.md: a plain secretbox with the tag first and a nonce told in bytes. */
START_TEST(a_chunk_is_a_plain_secretbox)
{
	static uint8_t expected[ENCLAVE_CHUNK_SIZE];
	uint8_t nonce[crypto_secretbox_NONCEBYTES] = { 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02,
		0x01, 1 };
	size_t size = sizes[_i];

	crypto_secretbox_easy(expected, plain, size, nonce, key);
	enclave_seal_chunk(chunk, plain, size, 0x0102030405060708, true, key);
	ck_assert_mem_eq(chunk, expected, size + ENCLAVE_TAG_SIZE);
	nonce[8] = 0;
	crypto_secretbox_easy(chunk, plain, size, nonce, key);
	ck_assert_int_eq(open_chunk(size, 0x0102030405060708, false), 0);
	ck_assert_mem_eq(opened, plain, size);
}
END_TEST

START_TEST(a_chunk_can_be_sealed_and_opened_where_it_lies)
{
	static uint8_t place[ENCLAVE_CHUNK_SIZE];
	size_t size = sizes[_i];

	memcpy(place, plain, size);
	enclave_seal_chunk(place, place, size, 3, true, key);
	enclave_seal_chunk(chunk, plain, size, 3, true, key);
	ck_assert_mem_eq(place, chunk, size + ENCLAVE_TAG_SIZE);
	ck_assert_int_eq(
		enclave_open_chunk(place, place, size + ENCLAVE_TAG_SIZE, 3, true, key), 0);
	ck_assert_mem_eq(place, plain, size);
}
END_TEST

static void expect_refused(size_t size, uint64_t number, bool final)
{
	ck_assert_int_eq(check(size, number, final), -EBADMSG);
	ck_assert_int_eq(open_chunk(size, number, final), -EBADMSG);
	ck_assert(sodium_is_zero(opened, sizeof(opened)));
}

START_TEST(another_number_final_mark_or_key_is_refused)
{
	size_t size = sizes[_i];

	enclave_seal_chunk(chunk, plain, size, 256, false, key);
	ck_assert_int_eq(check(size, 256, false), 0);
	expect_refused(size, 256, true);
	expect_refused(size, 257, false);
	expect_refused(size, 0, false);
	/* The final mark stands behind the number and is not its ninth byte's carry. */
	expect_refused(size, 256 + (1ULL << 63), false);
	for (size_t i = 0; i < sizeof(key); i++) {
		key[i] ^= 0x10;
		expect_refused(size, 256, false);
		key[i] ^= 0x10;
	}
	ck_assert_int_eq(open_chunk(size, 256, false), 0);
}
END_TEST

START_TEST(no_byte_of_a_chunk_can_be_changed)
{
	size_t size = sizes[_i];

	enclave_seal_chunk(chunk, plain, size, 0, true, key);
	for (size_t i = 0; i < size + ENCLAVE_TAG_SIZE; i++) {
		chunk[i] ^= 1;
		ck_assert_int_eq(check(size, 0, true), -EBADMSG);
		/* Opening refuses at the same check: of a large chunk a share of the bytes will do.
		 */
		if (size < 100 || i % 64 == 0 || i + 1 == size + ENCLAVE_TAG_SIZE)
			expect_refused(size, 0, true);
		chunk[i] ^= 1;
	}
	ck_assert_int_eq(check(size, 0, true), 0);
}
END_TEST

START_TEST(a_chunk_cut_short_or_longer_is_refused)
{
	enclave_seal_chunk(chunk, plain, 100, 0, true, key);
	chunk[100 + ENCLAVE_TAG_SIZE] = 0;
	for (size_t size = 1; size < 102; size++)
		if (size != 100)
			expect_refused(size, 0, true);
	ck_assert_int_eq(check(100, 0, true), 0);
}
END_TEST

/* A tag over nothing is a valid secretbox, and yet no chunk: not to one and not to the other. */
START_TEST(an_empty_chunk_is_refused_by_both)
{
	enclave_seal_chunk(chunk, plain, 0, 0, true, key);
	for (size_t size = 0; size <= ENCLAVE_TAG_SIZE; size++) {
		ck_assert_int_eq(enclave_check_chunk(chunk, size, 0, true, key), -EBADMSG);
		ck_assert_int_eq(enclave_open_chunk(opened, chunk, size, 0, true, key), -EBADMSG);
	}
}
END_TEST

/* Every offset near a border of the key stream's blocks, and every length from there. */
START_TEST(a_part_of_a_chunk_opens_alone)
{
	enum { SIZE = 300 };
	uint8_t out[SIZE + 1];

	enclave_seal_chunk(chunk, plain, SIZE, 5, true, key);
	for (size_t at = 0; at <= SIZE; at++) {
		for (size_t size = 0; at + size <= SIZE; size++) {
			memset(out, 0xee, sizeof(out));
			ck_assert_int_eq(enclave_open_part(out, at, size, chunk,
						 SIZE + ENCLAVE_TAG_SIZE, 5, true, key),
				0);
			ck_assert_mem_eq(out, plain + at, size);
			ck_assert_uint_eq(out[size], 0xee);
		}
	}
}
END_TEST

START_TEST(no_part_of_a_changed_chunk_opens)
{
	uint8_t out[8];
	size_t size = ENCLAVE_CHUNK_SIZE;

	enclave_seal_chunk(chunk, plain, ENCLAVE_CHUNK_PLAIN, 5, true, key);
	memset(out, 0xee, sizeof(out));
	chunk[ENCLAVE_CHUNK_SIZE - 1] ^= 1;
	ck_assert_int_eq(enclave_open_part(out, 0, 8, chunk, size, 5, true, key), -EBADMSG);
	chunk[ENCLAVE_CHUNK_SIZE - 1] ^= 1;
	ck_assert_int_eq(enclave_open_part(out, 0, 8, chunk, size, 6, true, key), -EBADMSG);
	ck_assert_int_eq(enclave_open_part(out, 0, 8, chunk, size, 5, false, key), -EBADMSG);
	/* Nor what is not within it. */
	ck_assert_int_eq(
		enclave_open_part(out, ENCLAVE_CHUNK_PLAIN - 7, 8, chunk, size, 5, true, key),
		-EBADMSG);
	ck_assert_int_eq(enclave_open_part(out, SIZE_MAX, 8, chunk, size, 5, true, key), -EBADMSG);
	for (size_t i = 0; i < sizeof(out); i++)
		ck_assert_uint_eq(out[i], 0xee);
	ck_assert_int_eq(enclave_open_part(out, 0, 8, chunk, size, 5, true, key), 0);
	ck_assert_mem_eq(out, plain, 8);
}
END_TEST

START_TEST(checking_leaves_the_chunk_as_it_is)
{
	static uint8_t before[ENCLAVE_CHUNK_SIZE];

	enclave_seal_chunk(chunk, plain, sizeof(plain), 0, true, key);
	memcpy(before, chunk, sizeof(before));
	ck_assert_int_eq(check(sizeof(plain), 0, true), 0);
	ck_assert_mem_eq(chunk, before, sizeof(before));
}
END_TEST

/* -- sizes and keys ------------------------------------------------------------------------ */

START_TEST(sealed_sizes_are_those_of_the_chunks)
{
	static const struct {
		uint64_t size, sealed;
	} known[] = {
		{ 0, 0 },
		{ 1, 17 },
		{ 16383, 16399 },
		{ 16384, 16400 },
		{ 16385, 16417 },
		{ 32768, 32800 },
		{ 1 << 20, (1 << 20) + 64 * 16 },
		{ 64 << 20, (64 << 20) + 4096 * 16 },
		{ 1ULL << 40, (1ULL << 40) + (1ULL << 26) * 16 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		ck_assert_uint_eq(enclave_sealed_size(known[i].size), known[i].sealed);
}
END_TEST

START_TEST(every_data_key_is_another)
{
	uint8_t other[ENCLAVE_KEY_SIZE];

	enclave_draw_key(other);
	for (size_t at = 0; at < sizeof(other); at += 8)
		ck_assert_mem_ne(other + at, key + at, 8);
}
END_TEST

/* -- all together -------------------------------------------------------------------------- */

static TCase *wrapping_case(void)
{
	TCase *tc = tcase_create("wrapping");

	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_add_test(tc, what_is_wrapped_comes_back);
	tcase_add_test(tc, a_wrapped_key_shows_nothing_of_the_key);
	tcase_add_test(tc, two_wraps_of_one_key_have_nothing_in_common);
	tcase_add_test(tc, a_wrap_is_a_secretbox_under_a_key_derived_from_the_salt);
	tcase_add_test(tc, another_binding_or_master_does_not_unwrap);
	tcase_add_test(tc, no_byte_of_a_wrapped_key_can_be_changed);
	tcase_add_test(tc, a_wrap_outlives_remasks_and_moves_in_memory);
	tcase_add_test(tc, a_replaced_master_unwraps_nothing_and_the_other_all);
	tcase_add_test(tc, a_destroyed_coffer_wraps_and_unwraps_nothing);
	tcase_add_test(tc, every_data_key_is_another);
	return tc;
}

static TCase *chunk_case(void)
{
	TCase *tc = tcase_create("chunks");

	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_sealed_chunk_checks_and_opens, 0, SIZES);
	tcase_add_loop_test(tc, a_chunk_is_a_plain_secretbox, 0, SIZES);
	tcase_add_loop_test(tc, a_chunk_can_be_sealed_and_opened_where_it_lies, 0, SIZES);
	tcase_add_loop_test(tc, another_number_final_mark_or_key_is_refused, 0, SIZES);
	tcase_add_loop_test(tc, no_byte_of_a_chunk_can_be_changed, 0, SIZES);
	tcase_add_test(tc, a_chunk_cut_short_or_longer_is_refused);
	tcase_add_test(tc, an_empty_chunk_is_refused_by_both);
	tcase_add_test(tc, a_part_of_a_chunk_opens_alone);
	tcase_add_test(tc, no_part_of_a_changed_chunk_opens);
	tcase_add_test(tc, checking_leaves_the_chunk_as_it_is);
	tcase_add_test(tc, sealed_sizes_are_those_of_the_chunks);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("enclave");
	SRunner *runner;
	int failed;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	suite_add_tcase(suite, wrapping_case());
	suite_add_tcase(suite, chunk_case());
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
