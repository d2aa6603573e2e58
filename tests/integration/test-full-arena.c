/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"
#include "tests/unit/world.h"

/*
 * A service at its limit of locked memory: whoever asks for more is told, each time, and nobody
 * else loses anything.
 */

#define LIMIT ((size_t)128 * 1024)
#define THREADS 4
#define ROUNDS 30
#define EACH 2000 /* secrets that a thread would have: far more than there is room for */
#define KEPT 50
#define SIZE_MOST 1324 /* bytes: larger ones share no pages */
#define TIMES 2
#define NEED MG_MEMORY_REQUIRE_LOCK

/*
 * The second time without memfd_secret. Root with CAP_IPC_LOCK is held to no limit: "nobody" is.
 */
static void become_limited(int time)
{
	struct rlimit limit = { LIMIT, LIMIT };

	if (time > 0)
		deny(SYS_memfd_secret, ENOSYS);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
}

/* What a secret holds follows from a number. */
static size_t compose(uint8_t out[static SIZE_MOST], uint32_t seed)
{
	uint8_t key[randombytes_SEEDBYTES] = { 0 };
	size_t size = 1 + seed % SIZE_MOST;

	memcpy(key, &seed, sizeof(seed));
	randombytes_buf_deterministic(out, size, key);
	return size;
}

static int make(struct mg_secret **secretp, uint32_t seed)
{
	uint8_t bytes[SIZE_MOST];

	return mg_secret_from_bytes(secretp, bytes, compose(bytes, seed), NEED);
}

static bool holds(const struct mg_secret *secret, uint32_t seed)
{
	uint8_t bytes[SIZE_MOST];

	return mg_secret_equal(secret, bytes, compose(bytes, seed));
}

/* -- those who ask ------------------------------------------------------------------------- */

struct asker {
	pthread_t thread;
	uint32_t number;
	size_t refused;
	const char *fault; /* what nobody may meet */
	struct mg_secret *secrets[EACH];
};

static struct asker askers[THREADS];

static uint32_t seed_of(const struct asker *asker, size_t i)
{
	return asker->number * 100003 + (uint32_t)i * 7;
}

/* As many as there is room for; they are there from the first to the last. */
static size_t take_all(struct asker *asker)
{
	for (size_t i = 0; i < EACH; i++) {
		int r = asker->secrets[i] ? MG_OK : make(&asker->secrets[i], seed_of(asker, i));

		if (r == MG_OK)
			continue;
		if (r != MG_LIMIT || asker->secrets[i] || !mg_last_error()[0])
			asker->fault = "a refusal that is none";
		asker->refused++;
		return i;
	}
	asker->fault = "no limit";
	return EACH;
}

static void give_some(struct asker *asker, size_t count, uint32_t one_of)
{
	for (size_t i = 0; i < count; i++) {
		if (!holds(asker->secrets[i], seed_of(asker, i)))
			asker->fault = "other bytes";
		if (randombytes_uniform(one_of) != 0)
			continue;
		mg_secret_free(asker->secrets[i]);
		asker->secrets[i] = NULL;
	}
}

static void *ask(void *argument)
{
	struct asker *asker = argument;
	size_t count = 0;

	for (int i = 0; i < ROUNDS && !asker->fault; i++) {
		count = take_all(asker);
		give_some(asker, count, 3);
	}
	for (size_t i = 0; i < EACH; i++)
		mg_secret_free(asker->secrets[i]);
	return NULL;
}

/* -- those who were there before ------------------------------------------------------------ */

static struct {
	struct mg_secret *shared[KEPT];
	struct mg_secret *own;
	struct mg_enclave *enclave;
	struct mg_stream *stream;
} kept;

static void keep(void)
{
	uint8_t bytes[SIZE_MOST];

	for (uint32_t i = 0; i < KEPT; i++)
		ck_assert_int_eq(make(&kept.shared[i], i), MG_OK);
	ck_assert_int_eq(mg_secret_new(&kept.own, compose(bytes, KEPT), NEED), MG_OK);
	ck_assert_int_eq(mg_secret_copy(kept.own, bytes, compose(bytes, KEPT)), MG_OK);
	ck_assert_int_eq(mg_enclave_new(&kept.enclave, bytes, compose(bytes, KEPT)), MG_OK);
	ck_assert_int_eq(mg_stream_new(&kept.stream), MG_OK);
}

/* All of it is there, and what needs no more memory works. */
static void must_be_kept(void)
{
	uint8_t bytes[SIZE_MOST], out[SIZE_MOST];
	size_t size = compose(bytes, KEPT), got;

	for (uint32_t i = 0; i < KEPT; i++)
		ck_assert(holds(kept.shared[i], i));
	ck_assert(holds(kept.own, KEPT));
	ck_assert_int_eq(mg_secret_freeze(kept.own), MG_OK);
	ck_assert_int_eq(mg_secret_melt(kept.own), MG_OK);
	ck_assert_int_eq(mg_stream_write(kept.stream, bytes, size), MG_OK);
	ck_assert_int_eq(mg_stream_read(kept.stream, out, size, &got), MG_OK);
	ck_assert_uint_eq(got, size);
	compose(bytes, KEPT);
	ck_assert_mem_eq(out, bytes, size);
}

static void let_go(void)
{
	MG_AUTO_SECRET struct mg_secret *opened = NULL;

	ck_assert_int_eq(mg_enclave_open(kept.enclave, &opened, NEED), MG_OK);
	ck_assert(holds(opened, KEPT));
	for (uint32_t i = 0; i < KEPT; i++)
		mg_secret_free(kept.shared[i]);
	mg_secret_free(kept.own);
	mg_enclave_free(kept.enclave);
	mg_stream_free(kept.stream);
}

static bool sanitized(void)
{
	const char *value = getenv("SANITIZED");

	if (value && *value)
		puts("SKIP: mlock is not real under the sanitizers");
	return value && *value;
}

START_TEST(a_full_arena_is_an_error_to_whoever_asks_and_to_nobody_else)
{
	struct asker *asker = &askers[0];
	struct mg_secret *none;
	size_t count;

	if (sanitized())
		return;
	become_limited(_i);
	keep();
	asker->number = 1;
	count = take_all(asker);
	ck_assert_uint_gt(count, 10);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(make(&none, seed_of(asker, count)), MG_LIMIT);
		ck_assert_ptr_null(none);
		/* It stays where it is, and read-only. */
		ck_assert_int_eq(mg_secret_melt(kept.shared[i % KEPT]), MG_LIMIT);
		ck_assert(!mg_secret_mutable(kept.shared[i % KEPT]));
		must_be_kept();
	}
	ck_assert_uint_le(status_kb("VmLck:") * 1024, LIMIT);
	/* The place of one is enough for another. */
	mg_secret_free(asker->secrets[0]);
	ck_assert_int_eq(make(&asker->secrets[0], seed_of(asker, 0)), MG_OK);
	give_some(asker, count, 1);
	ck_assert_ptr_null(asker->fault);
	ck_assert_uint_ge(take_all(asker), count);
	give_some(asker, count, 1);
	let_go();
}
END_TEST

START_TEST(threads_that_fill_the_arena_together_lose_nothing)
{
	if (sanitized())
		return;
	become_limited(_i);
	keep();
	for (uint32_t i = 0; i < THREADS; i++) {
		askers[i].number = i + 1;
		ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		must_be_kept();
		ck_assert_int_eq(pthread_join(askers[i].thread, NULL), 0);
		ck_assert_ptr_null(askers[i].fault);
		ck_assert_uint_eq(askers[i].refused, ROUNDS);
	}
	must_be_kept();
	let_go();
	ck_assert_uint_le(status_kb("VmLck:") * 1024, LIMIT / 4);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("full-arena");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(claims, 60);
	tcase_add_loop_test(
		claims, a_full_arena_is_an_error_to_whoever_asks_and_to_nobody_else, 0, TIMES);
	tcase_add_loop_test(claims, threads_that_fill_the_arena_together_lose_nothing, 0, TIMES);
	return claims_run(claims, "a full arena");
}
