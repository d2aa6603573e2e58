/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Compares candidates with secrets as the daemon does, while memcheck takes every byte of plaintext
 * for undefined: a branch that hangs on one, or an address made from one, is an error that it
 * reports. The method is A. Langley's ctgrind (2010). The verdict is defined again before it is
 * looked at.
 *
 * With PLANTED_MEMCMP the comparison is memcmp's, which stops at the first difference.
 */
#include <sodium.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "common/memory/enclave.h"

static int open_classified(uint8_t *out, size_t offset, size_t size, const uint8_t *chunk,
	size_t chunk_size, uint64_t number, bool final, const uint8_t *key)
{
	int r = enclave_open_part(out, offset, size, chunk, chunk_size, number, final, key);

	if (r == 0)
		(void)VALGRIND_MAKE_MEM_UNDEFINED(out, size);
	return r;
}

#define enclave_open_part open_classified
#ifdef PLANTED_MEMCMP
#define sodium_memcmp(a, b, size) (memcmp(a, b, size) == 0 ? 0 : -1)
#endif
#include "daemon/request/trial.c"
#undef enclave_open_part
#undef sodium_memcmp

#include <stdio.h>

#include "client/lib/mgclient.h"
#include "daemon/daemon.h"
#include "tests/fuzz/fuzz.h"

#define LARGEST ((size_t)1 << 20)

static struct daemon house;
static struct transfers transfers;
static struct guard guard;
static _Alignas(64) uint8_t bench[40960];
static _Alignas(64) uint8_t keys[3 * 4096];
static _Alignas(64) uint8_t view[4096];
static uint8_t value[LARGEST];
static uint8_t other[LARGEST];

/* A value in the ledger, as an upload leaves it, and its key. */
static struct value *take_in(const uint8_t *bytes, size_t size, uint8_t key[ENCLAVE_KEY_SIZE])
{
	static uint8_t chunk[ENCLAVE_CHUNK_SIZE];
	struct value *taken = NULL;
	uint64_t number = 0;

	enclave_draw_key(key);
	MUST(value_new(house.vault, &taken) == 0);
	for (size_t left = size; left > 0; number++) {
		size_t part = left < ENCLAVE_CHUNK_PLAIN ? left : ENCLAVE_CHUNK_PLAIN;

		left -= part;
		enclave_seal_chunk(chunk, bytes, part, number, left == 0, key);
		MUST(value_append(house.vault, taken, span_of(chunk, part + ENCLAVE_TAG_SIZE)) ==
			0);
		bytes += part;
	}
	return taken;
}

static void store(const uint8_t *bytes, size_t size)
{
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct value *taken = take_in(bytes, size, key);
	struct vault_put put = { .name = span_text("secret"), .key = key };
	uint64_t version;

	MUST(vault_put(house.vault, &taken, &put, &version) == 0);
}

/* As trials_go_on does it, but for the verdict, which is made defined before it is read. */
static int verify(const uint8_t *bytes, size_t size)
{
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct candidate candidate = { .id = 1,
		.uid = 1,
		.name = span_text("secret"),
		.value = take_in(bytes, size, key),
		.wrapped = wrapped,
		.binding = { .secret = 7 } };
	struct trial *trial;
	int r;

	MUST(enclave_wrap(wrapped, key, sizeof(key), candidate.binding, &house.coffer,
		     COFFER_VAULT) == 0);
	MUST(trial_begin(&transfers, &candidate) == 0);
	trial = transfers.trials;
	MUST(enter(trial, &house) == 0);
	do
		r = step(trial, &house);
	while (r == 1);
	MUST(r == 0);
	(void)VALGRIND_MAKE_MEM_DEFINED(&trial->difference, sizeof(trial->difference));
	r = judge(trial);
	trial_end(&transfers, &house, trial);
	return r;
}

static void compare(size_t size)
{
	store(value, size);
	MUST(verify(value, size) == 0);
	memcpy(other, value, size);
	other[0] ^= 1;
	MUST(verify(other, size) == STATUS_NO);
	other[0] ^= 1;
	other[size - 1] ^= 0x80;
	MUST(verify(other, size) == STATUS_NO);
	/* A candidate of another size meets the same comparison. */
	MUST(verify(value, size / 2 + 1) == (size / 2 + 1 == size ? 0 : STATUS_NO));
}

/* The same question in the library. */
static void compare_in_library(size_t size)
{
	struct mg_secret *secret = NULL;
	bool equal;

	MUST(mg_secret_new(&secret, size, MG_MEMORY_PREFER_LOCK) == MG_OK);
	memcpy(mg_secret_writable(secret), value, size);
	(void)VALGRIND_MAKE_MEM_UNDEFINED(mg_secret_writable(secret), size);
	equal = mg_secret_equal(secret, value, size);
	(void)VALGRIND_MAKE_MEM_DEFINED(&equal, sizeof(equal));
	MUST(equal);
	equal = mg_secret_equal(secret, other, size);
	(void)VALGRIND_MAKE_MEM_DEFINED(&equal, sizeof(equal));
	(void)VALGRIND_MAKE_MEM_DEFINED(mg_secret_writable(secret), size);
	mg_secret_free(secret);
}

/* Ordinary memory and the ordinary stack: memcheck does not know where another one begins. */
static void furnish(void)
{
	guard_init(&guard);
	workbench_init(&house.bench, bench, sizeof(bench), &guard);
	MUST(sizeof(keys) >= coffer_keys_size(4096));
	coffer_init(&house.coffer, keys, 4096, view, &guard);
	MUST(vault_new(&house.vault, &house.coffer, -1) == 0);
	MUST(penalties_new(&house.penalties) == 0);
}

int main(void)
{
	static const size_t sizes[] = { 1, 16384, 16385, LARGEST };

	MUST(sodium_init() >= 0);
	furnish();
	randombytes_buf(value, sizeof(value));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		compare(sizes[i]);
		compare_in_library(sizes[i] < 65536 ? sizes[i] : 65536);
		printf("compared %zu bytes\n", sizes[i]);
	}
	vault_free(house.vault);
	penalties_free(house.penalties);
	return 0;
}
