/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/stream.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/claims.h"
#include "tests/unit/process.h"
#include "tests/unit/world.h"

/* Values that come and go in pieces, in the service's own process. */

#define CHUNK 16384
#define LARGE (5 * CHUNK + 1000)

static struct mg_stream *stream;
static uint8_t bytes[LARGE], copy[LARGE], out[LARGE];

static void set_up(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	randombytes_buf(bytes, sizeof(bytes));
	ck_assert_int_eq(mg_stream_new(&stream), MG_OK);
}

static void tear_down(void)
{
	mg_stream_cleanup(&stream);
}

static void write_at(size_t at, size_t size)
{
	memcpy(copy, bytes + at, size);
	ck_assert_int_eq(mg_stream_write(stream, copy, size), MG_OK);
	ck_assert(all_are(copy, size, 0));
}

static void reads(size_t wanted, size_t at, size_t size)
{
	size_t got = SIZE_MAX;

	memset(out, 0xee, wanted);
	ck_assert_int_eq(mg_stream_read(stream, out, wanted, &got), MG_OK);
	ck_assert_uint_eq(got, size);
	ck_assert_mem_eq(out, bytes + at, size);
	ck_assert(all_are(out + size, wanted - size, 0xee));
}

static void is_empty(void)
{
	struct mg_secret *secret = NULL;
	size_t got = SIZE_MAX;

	ck_assert_uint_eq(mg_stream_size(stream), 0);
	ck_assert_int_eq(mg_stream_read(stream, out, 1, &got), MG_NO);
	ck_assert_uint_eq(got, 0);
	ck_assert_int_eq(mg_stream_read(stream, out, 0, &got), MG_OK);
	ck_assert_int_eq(mg_stream_next(stream, &secret, MG_MEMORY_PREFER_LOCK), MG_NO);
	ck_assert_int_eq(mg_stream_flush(stream, &secret, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_ptr_null(secret);
}

/* Writes in these pieces, reads in those: the order is kept whatever the borders. */
START_TEST(what_comes_first_leaves_first)
{
	static const size_t steps[] = { 1, 31, 32, 33, 63, 64, 65, 96, 1000, 16383, 16384, 16385,
		40000 };
	size_t step = steps[_i];

	for (size_t written = 0; written < LARGE;) {
		size_t part = 1 + written % 20000;

		part = part < LARGE - written ? part : LARGE - written;
		write_at(written, part);
		written += part;
		ck_assert_uint_eq(mg_stream_size(stream), written);
	}
	for (size_t read = 0; read < LARGE;) {
		size_t part = step < LARGE - read ? step : LARGE - read;

		reads(step, read, part);
		read += part;
		/* Single bytes would take the whole chunk's tag each: the rest at one go. */
		if (step == 1 && read == 300)
			step = LARGE;
	}
	is_empty();
}
END_TEST

START_TEST(the_next_chunk_and_the_rest_come_as_secrets)
{
	struct mg_secret *secret = NULL;

	write_at(0, 2 * CHUNK + 1024);
	reads(100, 0, 100);
	ck_assert_int_eq(mg_stream_next(stream, &secret, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert(mg_secret_equal(secret, bytes + 100, CHUNK - 100));
	ck_assert(!mg_secret_mutable(secret));
	mg_secret_cleanup(&secret);
	ck_assert_int_eq(mg_stream_flush(stream, &secret, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert(mg_secret_equal(secret, bytes + CHUNK, CHUNK + 1024));
	mg_secret_cleanup(&secret);
	is_empty();
	/* It begins anew. */
	write_at(7, 20);
	reads(20, 7, 20);
}
END_TEST

START_TEST(an_empty_write_is_nothing)
{
	ck_assert_int_eq(mg_stream_write(stream, NULL, 0), MG_OK);
	is_empty();
}
END_TEST

START_TEST(no_stream_is_said)
{
	size_t got;

	ck_assert_int_eq(mg_stream_write(NULL, copy, 1), MG_INVALID);
	ck_assert_int_eq(mg_stream_read(NULL, out, 1, &got), MG_INVALID);
	ck_assert_uint_eq(mg_stream_size(NULL), 0);
	mg_stream_free(NULL);
}
END_TEST

START_TEST(a_stream_is_a_source)
{
	struct mg_secret *secret = NULL;
	uint8_t line[] = "user\nsecret";

	write_at(0, LARGE);
	ck_assert_int_eq(mg_secret_from_source(
				 &secret, mg_stream_source, stream, 1025, MG_MEMORY_PREFER_LOCK),
		MG_OK);
	ck_assert(mg_secret_equal(secret, bytes, 1025));
	mg_secret_cleanup(&secret);
	ck_assert_int_eq(mg_secret_from_source_all(
				 &secret, mg_stream_source, stream, LARGE, MG_MEMORY_PREFER_LOCK),
		MG_OK);
	ck_assert(mg_secret_equal(secret, bytes + 1025, LARGE - 1025));
	mg_secret_cleanup(&secret);
	ck_assert_int_eq(mg_stream_write(stream, line, 11), MG_OK);
	ck_assert_int_eq(mg_secret_from_source_until(&secret, mg_stream_source, stream, '\n', 100,
				 MG_MEMORY_PREFER_LOCK),
		MG_OK);
	ck_assert(mg_secret_equal(secret, "user", 4));
	mg_secret_cleanup(&secret);
	ck_assert_uint_eq(mg_stream_size(stream), 6);
}
END_TEST

/* -- what goes wrong ----------------------------------------------------------------------- */

static uint8_t *sealed_of_first(void)
{
	return stream->first->enclave->sealed;
}

START_TEST(a_chunk_that_does_not_open_is_not_dropped)
{
	struct mg_secret *secret = NULL;
	size_t got;

	write_at(0, CHUNK + 10);
	sealed_of_first()[5000] ^= 1;
	for (int i = 0; i < 2; i++) {
		memset(out, 0xee, 100);
		ck_assert_int_eq(mg_stream_read(stream, out, 100, &got), MG_INTEGRITY);
		ck_assert_uint_eq(got, 0);
		ck_assert_int_eq(
			mg_stream_next(stream, &secret, MG_MEMORY_PREFER_LOCK), MG_INTEGRITY);
		ck_assert_int_eq(
			mg_stream_flush(stream, &secret, MG_MEMORY_PREFER_LOCK), MG_INTEGRITY);
		ck_assert_ptr_null(secret);
		ck_assert_int_eq(mg_stream_source(stream, out, 100), -1);
	}
	ck_assert_uint_eq(mg_stream_size(stream), CHUNK + 10);
	sealed_of_first()[5000] ^= 1;
	reads(CHUNK + 10, 0, CHUNK + 10);
}
END_TEST

START_TEST(without_memory_the_stream_is_as_it_was)
{
	struct mg_secret *secret = NULL;

	write_at(0, CHUNK);
	deny(SYS_memfd_secret, EAGAIN);
	deny(SYS_mlock, ENOMEM);
	ck_assert_int_eq(mg_stream_flush(stream, &secret, MG_MEMORY_REQUIRE_LOCK), MG_LIMIT);
	ck_assert_int_eq(mg_stream_next(stream, &secret, MG_MEMORY_REQUIRE_LOCK), MG_LIMIT);
	reads(CHUNK, 0, CHUNK);
}
END_TEST

START_TEST(a_child_can_use_none_of_it)
{
	pid_t child;
	int status;

	write_at(0, 32);
	child = fork();
	if (child == 0) {
		size_t got;
		int r = mg_stream_read(stream, out, 32, &got) == MG_INVALID ? 0 : 1;

		r |= mg_stream_write(stream, copy, 1) == MG_INVALID ? 0 : 2;
		mg_stream_free(stream);
		_exit(r);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	reads(32, 0, 32);
}
END_TEST

START_TEST(nothing_is_locked_and_no_plaintext_kept)
{
	const uint8_t *sealed;
	size_t before;

	write_at(0, CHUNK);
	sealed = sealed_of_first();
	before = status_kb("VmLck:");
	for (int i = 0; i < 100; i++)
		write_at(0, LARGE);
	ck_assert_uint_eq(status_kb("VmLck:"), before);
	for (size_t at = 0; at + 16 <= CHUNK; at += 1000)
		ck_assert_ptr_null(memmem(sealed, CHUNK, bytes + at, 8));
}
END_TEST

/* -- several threads ----------------------------------------------------------------------- */

#define RECORD 64
#define RECORDS 2000

/* Records of one byte each, so that a torn one shows. */
static void *produce(void *argument)
{
	uint8_t record[RECORD];

	for (int i = 0; i < RECORDS; i++) {
		memset(record, 1 + (int)(intptr_t)argument, sizeof(record));
		ck_assert_int_eq(mg_stream_write(stream, record, sizeof(record)), MG_OK);
	}
	return NULL;
}

static void *consume(void *argument)
{
	uintptr_t read = 0;

	(void)argument;
	while (read < 2 * RECORDS) {
		uint8_t record[RECORD];
		size_t got;

		if (mg_stream_read(stream, record, RECORD, &got) == MG_NO)
			continue;
		if (got != RECORD || !all_are(record, RECORD, record[0]) || record[0] == 0)
			return (void *)0;
		read++;
	}
	return (void *)read;
}

START_TEST(threads_write_and_read_whole_records)
{
	pthread_t threads[3];
	void *read;

	ck_assert_int_eq(pthread_create(&threads[0], NULL, produce, (void *)1), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, produce, (void *)2), 0);
	ck_assert_int_eq(pthread_create(&threads[2], NULL, consume, NULL), 0);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], &read);
	ck_assert_uint_eq((uintptr_t)read, 2 * RECORDS);
	is_empty();
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("stream");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_loop_test(claims, what_comes_first_leaves_first, 0, 13);
	tcase_add_test(claims, the_next_chunk_and_the_rest_come_as_secrets);
	tcase_add_test(claims, an_empty_write_is_nothing);
	tcase_add_test(claims, no_stream_is_said);
	tcase_add_test(claims, a_stream_is_a_source);
	tcase_add_test(claims, a_chunk_that_does_not_open_is_not_dropped);
	tcase_add_test(claims, without_memory_the_stream_is_as_it_was);
	tcase_add_test(claims, a_child_can_use_none_of_it);
	tcase_add_test(claims, nothing_is_locked_and_no_plaintext_kept);
	tcase_add_test(claims, threads_write_and_read_whole_records);
	return claims_run(claims, "streams in process");
}
