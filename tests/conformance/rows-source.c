/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/conformance/conformance.h"
#include "tests/unit/process.h"

/* Rows 18 to 21: what buffers are filled from. */

#define PREFER MG_MEMORY_PREFER_LOCK
#define LARGE 16000
#define END 1

static uint8_t bytes[LARGE];
static struct mg_secret *secret;

/* The reading end of a pipe that holds so many bytes, then this one, unless it is 0, then its end.
 */
static int pipe_with(const uint8_t *from, size_t size, uint8_t last)
{
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(write(ends[1], from, size), (ssize_t)size);
	if (last != 0)
		ck_assert_int_eq(write(ends[1], &last, 1), 1);
	close(ends[1]);
	return ends[0];
}

static void holds(const uint8_t *wanted, size_t size)
{
	ck_assert_uint_eq(mg_secret_size(secret), size);
	ck_assert(size == 0 || mg_secret_equal(secret, wanted, size));
	ck_assert(!mg_secret_mutable(secret));
	mg_secret_cleanup(&secret);
}

START_TEST(from_bytes)
{
	uint8_t source[16];

	memcpy(source, "yellow submarine", 16);
	ck_assert_int_eq(mg_secret_from_bytes(&secret, source, 16, PREFER), MG_OK);
	ck_assert(all_are(source, 16, 0));
	holds((const uint8_t *)"yellow submarine", 16);
	ck_assert_int_eq(mg_secret_from_bytes(&secret, source, 0, PREFER), MG_INVALID);
	ck_assert_ptr_null(secret);
}
END_TEST

START_TEST(exactly)
{
	randombytes_buf(bytes, sizeof(bytes));
	ck_assert_int_eq(mg_secret_from_fd(&secret, pipe_with(bytes, 16, 0), 16, PREFER), MG_OK);
	holds(bytes, 16);
	/* One too few: what there was is kept. */
	ck_assert_int_eq(mg_secret_from_fd(&secret, pipe_with(bytes, 16, 0), 17, PREFER), MG_NO);
	holds(bytes, 16);
	ck_assert_int_eq(mg_secret_from_fd(&secret, pipe_with(bytes, 0, 0), 17, PREFER), MG_NO);
	ck_assert_ptr_null(secret);
	/* Nothing wanted: nothing is read, not even from what cannot be read. */
	ck_assert_int_eq(mg_secret_from_fd(&secret, -1, 0, PREFER), MG_OK);
	ck_assert_ptr_null(secret);
}
END_TEST

static int until(int fd)
{
	return mg_secret_from_fd_until(&secret, fd, END, LARGE, PREFER);
}

START_TEST(up_to_a_delimiter)
{
	memset(bytes, 0, sizeof(bytes));
	ck_assert_int_eq(until(pipe_with(bytes, 4999, END)), MG_OK);
	holds(bytes, 4999);
	ck_assert_int_eq(until(pipe_with(bytes, 32, 0)), MG_NO);
	holds(bytes, 32);
	ck_assert_int_eq(until(pipe_with(bytes, 0, END)), MG_OK);
	holds(bytes, 0);
	ck_assert_int_eq(until(pipe_with(bytes, 0, 0)), MG_NO);
	ck_assert_ptr_null(secret);
}
END_TEST

static int all(int fd)
{
	return mg_secret_from_fd_all(&secret, fd, LARGE, PREFER);
}

static ssize_t fail_at_5000(void *context, void *buffer, size_t capacity)
{
	size_t *have = context;
	size_t size = 5000 - *have < capacity ? 5000 - *have : capacity;

	if (size == 0)
		return -1;
	memcpy(buffer, bytes + *have, size);
	*have += size;
	return (ssize_t)size;
}

START_TEST(everything)
{
	size_t have = 0;

	randombytes_buf(bytes, sizeof(bytes));
	ck_assert_int_eq(all(pipe_with(bytes, 16, 0)), MG_OK);
	holds(bytes, 16);
	ck_assert_int_eq(all(pipe_with(bytes, LARGE, 0)), MG_OK);
	holds(bytes, LARGE);
	ck_assert_int_eq(all(pipe_with(bytes, 0, 0)), MG_OK);
	holds(bytes, 0);
	ck_assert_int_eq(all(pipe_with(bytes, 4999, 0)), MG_OK);
	holds(bytes, 4999);
	ck_assert_int_eq(mg_secret_from_source_all(&secret, fail_at_5000, &have, LARGE, PREFER),
		MG_INTERNAL);
	holds(bytes, 5000);
}
END_TEST

START_TEST(a_file)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	static uint8_t content[1 << 16];
	ssize_t size = pread(file, content, sizeof(content), 0);

	ck_assert_int_gt(size, LARGE);
	ck_assert_int_eq(mg_secret_from_fd(&secret, file, (size_t)size, PREFER), MG_OK);
	holds(content, (size_t)size);
	close(file);
}
END_TEST

const struct row source_rows[] = {
	{ 18, "bytes that a buffer takes over are wiped where they were", &from_bytes, 0, 0 },
	{ 19, "exactly so many bytes are read, or it is said, and what came is kept", &exactly, 0,
		0 },
	{ 20, "what comes before a delimiter is read, whatever its length", &up_to_a_delimiter, 0,
		0 },
	{ 21, "everything is read to the end, or up to where reading fails", &everything, 0, 0 },
	{ 21, "a file equals itself", &a_file, 0, 0 },
	{ 0 },
};
