/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "client/lib/memory/enclave.h"
#include "client/lib/mgclient.h"
#include "tests/conformance/conformance.h"
#include "tests/unit/process.h"

/* Rows 22 to 27: enclaves. */

#define PREFER MG_MEMORY_PREFER_LOCK

static struct mg_enclave *enclave;

static void seal_text(void)
{
	uint8_t source[16];

	memcpy(source, "yellow submarine", 16);
	ck_assert_int_eq(mg_enclave_new(&enclave, source, 16), MG_OK);
	ck_assert(all_are(source, 16, 0));
}

static void opens_to_text(void)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_enclave_open(enclave, &secret, PREFER), MG_OK);
	ck_assert(mg_secret_equal(secret, "yellow submarine", 16));
	ck_assert(!mg_secret_mutable(secret));
	mg_secret_free(secret);
}

START_TEST(sealed_and_opened)
{
	seal_text();
	ck_assert_uint_eq(enclave_sealed_size(16), 16 + ENCLAVE_TAG_SIZE);
	ck_assert_ptr_null(memmem(enclave, sizeof(*enclave) + 32, "submarine", 9));
	opens_to_text();
	opens_to_text();
	mg_enclave_free(enclave);
}
END_TEST

START_TEST(nothing)
{
	enclave = (struct mg_enclave *)(void *)&enclave;
	ck_assert_int_eq(mg_enclave_new(&enclave, &enclave, 0), MG_INVALID);
	ck_assert_ptr_null(enclave);
	ck_assert_int_eq(mg_enclave_random(&enclave, 0), MG_INVALID);
	ck_assert_ptr_null(enclave);
}
END_TEST

START_TEST(chance)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_enclave_random(&enclave, 32), MG_OK);
	ck_assert_int_eq(mg_enclave_open(enclave, &secret, PREFER), MG_OK);
	ck_assert_uint_eq(mg_secret_size(secret), 32);
	ck_assert(!all_are(mg_secret_data(secret), 32, 0));
	mg_secret_free(secret);
	mg_enclave_free(enclave);
}
END_TEST

START_TEST(a_buffer)
{
	struct mg_secret *secret = NULL;
	struct mg_enclave *again = NULL;
	uint8_t source[16];

	memcpy(source, "yellow submarine", 16);
	ck_assert_int_eq(mg_secret_from_bytes(&secret, source, 16, PREFER), MG_OK);
	ck_assert_int_eq(mg_enclave_seal(&enclave, secret), MG_OK);
	ck_assert(!mg_secret_alive(secret));
	opens_to_text();
	ck_assert_int_eq(mg_enclave_seal(&again, secret), MG_GONE);
	ck_assert_ptr_null(again);
	mg_secret_free(secret);
	mg_enclave_free(enclave);
}
END_TEST

START_TEST(size)
{
	static const size_t sizes[] = { 1, 16, 16384, 16385, 100000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct mg_secret *secret = NULL;

		ck_assert_int_eq(mg_enclave_random(&enclave, sizes[i]), MG_OK);
		ck_assert_uint_eq(mg_enclave_size(enclave), sizes[i]);
		ck_assert_int_eq(mg_enclave_open(enclave, &secret, PREFER), MG_OK);
		ck_assert_uint_eq(mg_secret_size(secret), sizes[i]);
		ck_assert_uint_eq(mg_enclave_size(enclave), sizes[i]);
		mg_secret_free(secret);
		mg_enclave_free(enclave);
	}
}
END_TEST

START_TEST(no_enclave)
{
	struct mg_secret *secret = (struct mg_secret *)(void *)&secret;

	ck_assert_int_eq(mg_enclave_open(NULL, &secret, PREFER), MG_INVALID);
	ck_assert_ptr_null(secret);
	ck_assert_uint_eq(mg_enclave_size(NULL), 0);
	mg_enclave_free(NULL);
}
END_TEST

const struct row enclave_rows[] = {
	{ 22, "an enclave opens to what was sealed, as often as wanted", &sealed_and_opened, 0, 0 },
	{ 23, "nothing cannot be sealed", &nothing, 0, 0 },
	{ 24, "a random enclave opens to random bytes", &chance, 0, 0 },
	{ 25, "a buffer that is sealed is destroyed", &a_buffer, 0, 0 },
	{ 26, "an enclave has the size of its value", &size, 0, 0 },
	{ 27, "no enclave is an error, not a crash", &no_enclave, 0, 0 },
	{ 0 },
};
