/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/lib/memory/enclave.h"
#include "client/lib/mgclient.h"
#include "common/memory/coffer.h"
#include "common/memory/enclave.h"
#include "tests/conformance/conformance.h"
#include "tests/unit/process.h"

/* Rows 28 to 35: the holder of the key, and everybody at it at once. */

#define PREFER MG_MEMORY_PREFER_LOCK
#define PREKEY 512
#define LEFT (48 + GUARD_SIZE) /* where the masked key begins: behind the notes */

static _Alignas(64) uint8_t keys[3 * PREKEY], view[256], other_keys[3 * PREKEY];
static struct guard guard;
static struct coffer coffer;

static void fill(void)
{
	guard_init(&guard);
	coffer_init(&coffer, keys, PREKEY, view, &guard);
}

static void copy_master(uint8_t out[COFFER_KEY_SIZE])
{
	memcpy(out, coffer_view(&coffer)->master[COFFER_VAULT], COFFER_KEY_SIZE);
	coffer_forget(&coffer);
}

/* Keys of another length do not compile here; on the wire they are refused (test_outside.py). */
START_TEST(wrong_keys)
{
	uint8_t key[ENCLAVE_KEY_SIZE], other[ENCLAVE_KEY_SIZE], chunk[16 + ENCLAVE_TAG_SIZE];
	uint8_t out[17];

	enclave_draw_key(key);
	enclave_draw_key(other);
	enclave_seal_chunk(chunk, (const uint8_t *)"yellow submarine", 16, 0, true, key);
	memset(out, 0xee, sizeof(out));
	ck_assert_int_eq(enclave_open_chunk(out, chunk, sizeof(chunk), 0, true, other), -EBADMSG);
	ck_assert(all_are(out, sizeof(out), 0xee));
	/* More than there is does not open in part. */
	ck_assert_int_eq(
		enclave_open_part(out, 0, 17, chunk, sizeof(chunk), 0, true, key), -EBADMSG);
	ck_assert(all_are(out, sizeof(out), 0xee));
	ck_assert_int_eq(enclave_open_chunk(out, chunk, sizeof(chunk), 0, true, key), 0);
	ck_assert_mem_eq(out, "yellow submarine", 16);
	ck_assert_uint_eq(out[16], 0xee);
}
END_TEST

START_TEST(hashes)
{
	static const char *const rows[][2] = {
		{ "", "DldRwCblQ7Loqy6wYJnaodHl30d3j3eH+qtFzfEv46g=" },
		{ "hash", "l+2qaVlkOBNtzRKFU+kEvAP1JkJvcn0nC2mEH7bPUNM=" },
		{ "test", "kosgNmlD4q/RHrwOri5TqTvxd6T881vMZNUDcE5l4gI=" },
	};

	for (size_t i = 0; i < 3; i++) {
		uint8_t hash[crypto_generichash_BYTES];
		char text[64];

		crypto_generichash(hash, sizeof(hash), (const uint8_t *)rows[i][0],
			strlen(rows[i][0]), NULL, 0);
		sodium_bin2base64(
			text, sizeof(text), hash, sizeof(hash), sodium_base64_VARIANT_ORIGINAL);
		ck_assert_str_eq(text, rows[i][1]);
	}
}
END_TEST

/* The pre-key is one part; the other lies in front of it, masked by its hash. */
START_TEST(both_parts)
{
	uint8_t master[COFFER_KEY_SIZE];

	fill();
	ck_assert(!all_are(keys, PREKEY, 0));
	ck_assert(!all_are(keys + PREKEY, PREKEY, 0));
	copy_master(master);
	ck_assert(!all_are(master, sizeof(master), 0));
	ck_assert_ptr_null(memmem(keys, sizeof(keys), master, 8));
}
END_TEST

START_TEST(drawn_anew)
{
	uint8_t first[COFFER_KEY_SIZE], second[COFFER_KEY_SIZE];

	fill();
	copy_master(first);
	fill();
	copy_master(second);
	ck_assert_mem_ne(first, second, sizeof(first));
	coffer_replace(&coffer, COFFER_VAULT);
	copy_master(first);
	ck_assert_mem_ne(first, second, sizeof(first));
}
END_TEST

START_TEST(remasked)
{
	uint8_t before[COFFER_KEY_SIZE], after[COFFER_KEY_SIZE];

	fill();
	copy_master(before);
	memcpy(other_keys, keys, sizeof(keys));
	coffer_remask(&coffer);
	copy_master(after);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_mem_ne(keys, other_keys, PREKEY);
	/* The pre-key went to the other generation; the older one is wiped. */
	ck_assert_mem_ne(keys + PREKEY, other_keys + PREKEY, PREKEY);
	ck_assert_mem_ne(keys + 2 * PREKEY, other_keys + PREKEY, PREKEY);
}
END_TEST

START_TEST(destroyed)
{
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY], key[ENCLAVE_KEY_SIZE] = { 1 };
	struct enclave_binding binding = { 1, 1 };

	fill();
	memcpy(other_keys, keys, sizeof(keys));
	coffer_destroy(&coffer);
	ck_assert(!coffer_alive(&coffer));
	ck_assert_ptr_null(coffer_view(&coffer));
	coffer_remask(&coffer);
	coffer_replace(&coffer, COFFER_VAULT);
	ck_assert_ptr_null(coffer_view(&coffer));
	ck_assert_int_eq(enclave_wrap(wrapped, key, sizeof(key), binding, &coffer, COFFER_VAULT),
		-EKEYEXPIRED);
	/* The pre-key is gone, and of what it masked no eight bytes are left but the canaries. */
	ck_assert(all_are(keys + PREKEY, 2 * (size_t)PREKEY, 0));
	for (size_t at = LEFT; at + 8 <= LEFT + 2 * (size_t)COFFER_KEY_SIZE; at++)
		ck_assert_ptr_null(memmem(keys, sizeof(keys), other_keys + at, 8));
}
END_TEST

/* -- at once ------------------------------------------------------------------------------- */

#define THREADS_MAX 20
#define SECRETS 10

static struct mg_enclave *enclaves[SECRETS];
static uint8_t values[SECRETS][100];
static _Atomic bool over, purging;

static void seal_all(void)
{
	for (size_t i = 0; i < SECRETS; i++) {
		uint8_t copy[100];

		randombytes_buf(values[i], sizeof(values[i]));
		memcpy(copy, values[i], sizeof(copy));
		ck_assert_int_eq(mg_enclave_new(&enclaves[i], copy, sizeof(copy)), MG_OK);
	}
}

/* Opens one after the other; every answer is right, or says that it is over. */
static void *open_all(void *argument)
{
	uintptr_t wrong = 0;

	(void)argument;
	for (size_t i = 0; !over; i = (i + 1) % SECRETS) {
		struct mg_secret *secret = NULL;
		int r = mg_enclave_open(enclaves[i], &secret, PREFER);

		if (r == MG_OK)
			wrong += !mg_secret_equal(secret, values[i], sizeof(values[i])) &&
				mg_secret_alive(secret);
		else
			wrong += r != MG_GONE || !purging;
		mg_secret_free(secret);
	}
	return (void *)wrong;
}

static double seconds(double least)
{
	const char *text = getenv("CONFORMANCE_SECONDS");

	return text && atof(text) > least ? atof(text) : least;
}

static void run_threads(size_t count, double duration, bool purge)
{
	pthread_t threads[THREADS_MAX];
	void *wrong;

	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, open_all, NULL), 0);
	usleep((useconds_t)(duration * 500000));
	if (purge) {
		purging = true;
		mg_purge_local();
	}
	usleep((useconds_t)(duration * 500000));
	over = true;
	for (size_t i = 0; i < count; i++) {
		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
}

START_TEST(at_once_while_it_is_destroyed)
{
	struct mg_secret *secret = NULL;

	seal_all();
	run_threads(10, 2, true);
	for (size_t i = 0; i < SECRETS; i++) {
		ck_assert_int_eq(mg_enclave_open(enclaves[i], &secret, PREFER), MG_GONE);
		mg_enclave_free(enclaves[i]);
	}
}
END_TEST

START_TEST(many_at_once)
{
	seal_all();
	run_threads(20, seconds(2), false);
	for (size_t i = 0; i < SECRETS; i++)
		mg_enclave_free(enclaves[i]);
}
END_TEST

const struct row key_rows[] = {
	{ 28, "another key opens nothing, and nothing is written past an end", &wrong_keys, 0, 0 },
	{ 29, "the hash is BLAKE2b-256", &hashes, 0, 0 },
	{ 30, "a new holder has two parts, and its key in neither", &both_parts, 0, 0 },
	{ 31, "a holder that is made anew has another key", &drawn_anew, 0, 0 },
	{ 32, "a re-mask changes both parts and not the key", &remasked, 0, 0 },
	{ 33, "a destroyed holder gives no key, whatever is asked of it", &destroyed, 0, 0 },
	{ 34, "ten threads at a key that one destroys: right, or gone",
		&at_once_while_it_is_destroyed, 0, 0 },
	{ 35, "twenty threads open ten secrets, always rightly", &many_at_once, 0, 0 },
	{ 0 },
};
