/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/conformance/conformance.h"
#include "tests/unit/process.h"

/* Rows 39 to 44: streams. */

#define PREFER MG_MEMORY_PREFER_LOCK
#define PAGE ((size_t)4096)
#define CHUNK ((size_t)16384)
#define LARGEST (2 * CHUNK + 1024)

static struct mg_stream *stream;
static uint8_t bytes[LARGEST], copy[LARGEST], out[LARGEST];

static void begin(void)
{
	ck_assert_int_eq(mg_stream_new(&stream), MG_OK);
	randombytes_buf(bytes, sizeof(bytes));
}

static void write_first(size_t size)
{
	memcpy(copy, bytes, size);
	ck_assert_int_eq(mg_stream_write(stream, copy, size), MG_OK);
	ck_assert(all_are(copy, size, 0));
}

static void reads(const uint8_t *wanted, size_t size)
{
	size_t got = 0;

	ck_assert_int_eq(mg_stream_read(stream, out, size, &got), MG_OK);
	ck_assert_uint_eq(got, size);
	ck_assert_mem_eq(out, wanted, size);
}

static void ends(void)
{
	size_t got = 1;

	ck_assert_int_eq(mg_stream_read(stream, out, 1, &got), MG_NO);
	ck_assert_uint_eq(got, 0);
	mg_stream_cleanup(&stream);
}

static void is(struct mg_secret *secret, const uint8_t *wanted, size_t size)
{
	ck_assert(mg_secret_equal(secret, wanted, size));
	mg_secret_free(secret);
}

START_TEST(next_and_flush)
{
	struct mg_secret *secret = NULL;

	begin();
	write_first(LARGEST);
	ck_assert_int_eq(mg_stream_next(stream, &secret, PREFER), MG_OK);
	is(secret, bytes, CHUNK);
	ck_assert_int_eq(mg_stream_flush(stream, &secret, PREFER), MG_OK);
	is(secret, bytes + CHUNK, CHUNK + 1024);
	ends();
}
END_TEST

START_TEST(written_and_read)
{
	begin();
	write_first(1024);
	reads(bytes, 1024);
	ends();
}
END_TEST

START_TEST(page_by_page)
{
	begin();
	memcpy(bytes + CHUNK, "yellow submarine", 16);
	write_first(CHUNK + 16);
	for (size_t at = 0; at < CHUNK; at += PAGE)
		reads(bytes + at, PAGE);
	reads((const uint8_t *)"yellow submarine", 16);
	ends();
}
END_TEST

START_TEST(two_writes)
{
	static const uint8_t zeros[16];
	uint8_t source[16];

	begin();
	memcpy(source, "yellow submarine", 16);
	/* The second time it has been wiped. */
	ck_assert_int_eq(mg_stream_write(stream, source, 16), MG_OK);
	ck_assert_int_eq(mg_stream_write(stream, source, 16), MG_OK);
	reads((const uint8_t *)"yell", 4);
	reads((const uint8_t *)"ow s", 4);
	reads((const uint8_t *)"ubmarine", 8);
	reads(zeros, 16);
	ends();
}
END_TEST

START_TEST(as_a_source)
{
	size_t size = 2 * PAGE + 1024;
	struct mg_secret *secret = NULL;

	begin();
	write_first(size);
	ck_assert_int_eq(
		mg_secret_from_source(&secret, mg_stream_source, stream, size, PREFER), MG_OK);
	is(secret, bytes, size);
	write_first(size);
	ck_assert_int_eq(
		mg_secret_from_source_all(&secret, mg_stream_source, stream, size, PREFER), MG_OK);
	is(secret, bytes, size);
	for (size_t i = 0; i < size; i++)
		bytes[i] = i + 1 < size ? bytes[i] & 0x3f : 'x';
	write_first(size);
	ck_assert_int_eq(
		mg_secret_from_source_until(&secret, mg_stream_source, stream, 'x', size, PREFER),
		MG_OK);
	is(secret, bytes, size - 1);
	ends();
}
END_TEST

START_TEST(no_bytes)
{
	size_t got = 1;

	begin();
	write_first(100);
	ck_assert_int_eq(mg_stream_read(stream, out, 0, &got), MG_OK);
	ck_assert_uint_eq(got, 0);
	ck_assert_uint_eq(mg_stream_size(stream), 100);
	reads(bytes, 100);
	ends();
}
END_TEST

const struct row stream_rows[] = {
	{ 39, "the next of a stream is one chunk, the flush is the rest", &next_and_flush, 0, 0 },
	{ 40, "what is written is read, and then it is over", &written_and_read, 0, 0 },
	{ 41, "pages are read across the border of a chunk", &page_by_page, 0, 0 },
	{ 42, "two writes are read one after the other, the source being wiped", &two_writes, 0,
		0 },
	{ 43, "a stream is a source like any other", &as_a_source, 0, 0 },
	{ 44, "reading no bytes loses none", &no_bytes, 0, 0 },
	{ 0 },
};
