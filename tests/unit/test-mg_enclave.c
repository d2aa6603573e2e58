/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/memory/enclave.h"
#include "client/lib/mgclient.h"
#include "common/memory/locked_stack.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/* Enclaves that a service keeps in its own process. */

#define LARGE 100000

static uint8_t bytes[LARGE];

static void set_up(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	randombytes_buf(bytes, sizeof(bytes));
}

static struct mg_enclave *sealed(size_t size)
{
	uint8_t *copy = malloc(size);
	struct mg_enclave *enclave = NULL;

	memcpy(copy, bytes, size);
	ck_assert_int_eq(mg_enclave_new(&enclave, copy, size), MG_OK);
	ck_assert(all_are(copy, size, 0));
	ck_assert_uint_eq(mg_enclave_size(enclave), size);
	free(copy);
	return enclave;
}

static void opens_to(const struct mg_enclave *enclave, size_t size)
{
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert(mg_secret_equal(secret, bytes, size));
	ck_assert(!mg_secret_mutable(secret));
	ck_assert_uint_eq(mg_enclave_size(enclave), size);
}

START_TEST(an_enclave_opens_as_often_as_wanted)
{
	static const size_t sizes[] = { 1, 16, 32, 1325, 16383, 16384, 16385, 32768, LARGE };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct mg_enclave *enclave = sealed(sizes[i]);

		for (int twice = 0; twice < 2; twice++)
			opens_to(enclave, sizes[i]);
		mg_enclave_free(enclave);
	}
}
END_TEST

START_TEST(nothing_of_the_value_is_in_the_enclave)
{
	struct mg_enclave *enclave = sealed(LARGE);
	size_t size = sizeof(*enclave) + (size_t)enclave_sealed_size(LARGE);

	for (size_t at = 0; at + 16 <= LARGE; at += 1000)
		ck_assert_ptr_null(memmem(enclave, size, bytes + at, 16));
	mg_enclave_free(enclave);
}
END_TEST

START_TEST(a_secret_is_destroyed_when_it_is_sealed)
{
	struct mg_enclave *enclave = NULL, *again = (struct mg_enclave *)(void *)bytes;
	struct mg_secret *secret = NULL;
	uint8_t copy[16];

	memcpy(copy, bytes, 16);
	ck_assert_int_eq(mg_secret_from_bytes(&secret, copy, 16, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_int_eq(mg_enclave_seal(&enclave, secret), MG_OK);
	ck_assert(!mg_secret_alive(secret));
	opens_to(enclave, 16);
	ck_assert_int_eq(mg_enclave_seal(&again, secret), MG_GONE);
	ck_assert_ptr_null(again);
	ck_assert_int_eq(mg_enclave_seal(&again, NULL), MG_INVALID);
	mg_secret_free(secret);
	mg_enclave_free(enclave);
}
END_TEST

START_TEST(nothing_is_no_enclave)
{
	struct mg_enclave *enclave = (struct mg_enclave *)(void *)bytes;
	struct mg_secret *secret = (struct mg_secret *)(void *)bytes;

	ck_assert_int_eq(mg_enclave_new(&enclave, bytes, 0), MG_INVALID);
	ck_assert_ptr_null(enclave);
	ck_assert_int_eq(mg_enclave_new(&enclave, NULL, 1), MG_INVALID);
	ck_assert_int_eq(mg_enclave_random(&enclave, 0), MG_INVALID);
	ck_assert_ptr_null(enclave);
	ck_assert_int_eq(mg_enclave_open(NULL, &secret, MG_MEMORY_PREFER_LOCK), MG_INVALID);
	ck_assert_ptr_null(secret);
	ck_assert_uint_eq(mg_enclave_size(NULL), 0);
	mg_enclave_free(NULL);
}
END_TEST

START_TEST(chance_is_sealed_like_anything_else)
{
	MG_AUTO_ENCLAVE struct mg_enclave *enclave = NULL;
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_enclave_random(&enclave, 32), MG_OK);
	ck_assert_int_eq(mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_uint_eq(mg_secret_size(secret), 32);
	ck_assert(!all_are(mg_secret_data(secret), 32, 0));
}
END_TEST

START_TEST(a_changed_byte_anywhere_does_not_open)
{
	struct mg_enclave *enclave = sealed(16385);
	size_t sealed_size = (size_t)enclave_sealed_size(16385);
	struct mg_secret *secret;

	for (size_t at = 0; at < ENCLAVE_WRAPPED_KEY + sealed_size; at += at < 200 ? 1 : 997) {
		uint8_t *byte = at < ENCLAVE_WRAPPED_KEY
			? &enclave->wrapped[at]
			: &enclave->sealed[at - ENCLAVE_WRAPPED_KEY];

		*byte ^= 1;
		secret = (struct mg_secret *)(void *)bytes;
		ck_assert_int_eq(
			mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK), MG_INTEGRITY);
		ck_assert_ptr_null(secret);
		*byte ^= 1;
	}
	opens_to(enclave, 16385);
	mg_enclave_free(enclave);
}
END_TEST

START_TEST(the_key_of_one_opens_no_other)
{
	struct mg_enclave *one = sealed(32), *other = sealed(32);
	struct mg_secret *secret;

	memcpy(other->wrapped, one->wrapped, sizeof(one->wrapped));
	memcpy(other->sealed, one->sealed, 48);
	ck_assert_int_eq(mg_enclave_open(other, &secret, MG_MEMORY_PREFER_LOCK), MG_INTEGRITY);
	opens_to(one, 32);
	mg_enclave_free(one);
	mg_enclave_free(other);
}
END_TEST

START_TEST(a_child_opens_nothing_of_its_parents_and_seals_its_own)
{
	struct mg_enclave *enclave = sealed(32);
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct mg_secret *secret;
		struct mg_enclave *own = NULL;
		int r = 0;

		r |= mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK) == MG_INVALID ? 0 : 1;
		/* Not even when it pretends that the enclave is its own. */
		enclave->owner = getpid();
		r |= mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK) == MG_INTEGRITY ? 0
											      : 2;
		r |= mg_enclave_random(&own, 32) == MG_OK ? 0 : 4;
		r |= mg_enclave_open(own, &secret, MG_MEMORY_PREFER_LOCK) == MG_OK ? 0 : 8;
		_exit(r);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	opens_to(enclave, 32);
	mg_enclave_free(enclave);
}
END_TEST

/* A page for keys and the stack: two pages, more with the sanitizers. */
START_TEST(any_number_of_enclaves_locks_no_more_than_one)
{
	static struct mg_enclave *many[1000];
	size_t before = status_kb("VmLck:");
	size_t wanted = (locked_stack_size() + (size_t)sysconf(_SC_PAGESIZE)) / 1024;

	for (size_t i = 0; i < 1000; i++)
		many[i] = sealed(32);
	ck_assert_uint_le(status_kb("VmLck:") - before, wanted);
	for (size_t i = 0; i < 1000; i++)
		mg_enclave_free(many[i]);
}
END_TEST

static struct mg_enclave *shared[10];

static void *open_all(void *argument)
{
	uintptr_t failed = 0;

	(void)argument;
	for (size_t i = 0; i < 500; i++) {
		struct mg_secret *secret = NULL;

		failed += mg_enclave_open(shared[i % 10], &secret, MG_MEMORY_PREFER_LOCK) != MG_OK;
		failed += !mg_secret_equal(secret, bytes, 1 + (i % 10) * 4000);
		mg_secret_free(secret);
	}
	return (void *)failed;
}

START_TEST(threads_open_the_same_enclaves)
{
	pthread_t threads[20];

	for (size_t i = 0; i < 10; i++)
		shared[i] = sealed(1 + i * 4000);
	for (size_t i = 0; i < 20; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, open_all, NULL), 0);
	for (size_t i = 0; i < 20; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	for (size_t i = 0; i < 10; i++)
		mg_enclave_free(shared[i]);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("mg_enclave");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, an_enclave_opens_as_often_as_wanted);
	tcase_add_test(claims, nothing_of_the_value_is_in_the_enclave);
	tcase_add_test(claims, a_secret_is_destroyed_when_it_is_sealed);
	tcase_add_test(claims, nothing_is_no_enclave);
	tcase_add_test(claims, chance_is_sealed_like_anything_else);
	tcase_add_test(claims, a_changed_byte_anywhere_does_not_open);
	tcase_add_test(claims, the_key_of_one_opens_no_other);
	tcase_add_test(claims, a_child_opens_nothing_of_its_parents_and_seals_its_own);
	tcase_add_test(claims, any_number_of_enclaves_locks_no_more_than_one);
	tcase_add_test(claims, threads_open_the_same_enclaves);
	return claims_run(claims, "enclaves in process");
}
