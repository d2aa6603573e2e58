/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/* Secrets that are filled from bytes, from chance, and from descriptors. */

#define LARGE 16000
#define DELIMITER 0x80

static uint8_t bytes[LARGE];
static struct mg_secret *secret;
static int ends[2];

static void set_up(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	randombytes_buf(bytes, sizeof(bytes));
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	/* One value stands for no byte of them. */
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] &= (uint8_t)~DELIMITER;
}

static void tear_down(void)
{
	mg_secret_cleanup(&secret);
	close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
}

static void pour(const void *from, size_t size)
{
	ck_assert_int_eq(write(ends[1], from, size), (ssize_t)size);
}

static void dry_up(void)
{
	close(ends[1]);
	ends[1] = -1;
}

/* Every call sets what it is given, whatever that was. */
static void forget(void)
{
	ck_assert_ptr_null(secret);
	secret = (struct mg_secret *)(void *)bytes;
}

static int exactly(size_t size)
{
	forget();
	return mg_secret_from_fd(&secret, ends[0], size, MG_MEMORY_PREFER_LOCK);
}

static int until(unsigned char delimiter, size_t most)
{
	forget();
	return mg_secret_from_fd_until(&secret, ends[0], delimiter, most, MG_MEMORY_PREFER_LOCK);
}

static int all(size_t most)
{
	forget();
	return mg_secret_from_fd_all(&secret, ends[0], most, MG_MEMORY_PREFER_LOCK);
}

/* The secret holds that and is read-only. */
static void holds(const void *expected, size_t size)
{
	ck_assert_uint_eq(mg_secret_size(secret), size);
	ck_assert(size == 0 || mg_secret_equal(secret, expected, size));
	ck_assert(!mg_secret_mutable(secret));
	mg_secret_cleanup(&secret);
}

static void is_none(void)
{
	ck_assert_ptr_null(secret);
	ck_assert_uint_eq(mg_secret_size(secret), 0);
}

START_TEST(bytes_are_taken_over_and_wiped)
{
	static const size_t sizes[] = { 1, 32, 1324, 1325, 4096, LARGE };
	uint8_t *copy = malloc(LARGE);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memcpy(copy, bytes, sizes[i]);
		ck_assert_int_eq(
			mg_secret_from_bytes(&secret, copy, sizes[i], MG_MEMORY_PREFER_LOCK),
			MG_OK);
		ck_assert(all_are(copy, sizes[i], 0));
		holds(bytes, sizes[i]);
	}
	ck_assert_int_eq(mg_secret_from_bytes(&secret, copy, 0, MG_MEMORY_PREFER_LOCK), MG_INVALID);
	is_none();
	memcpy(copy, bytes, 32);
	ck_assert_int_eq(mg_secret_from_bytes(&secret, copy, 32, (enum mg_memory)3), MG_INVALID);
	ck_assert_mem_eq(copy, bytes, 32);
	free(copy);
}
END_TEST

START_TEST(chance_gives_something_else_every_time)
{
	struct mg_secret *other = NULL;

	ck_assert_int_eq(mg_secret_random(&secret, 32, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_int_eq(mg_secret_random(&other, 32, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert(!all_are(mg_secret_data(secret), 32, 0));
	ck_assert(!mg_secret_equal(secret, mg_secret_data(other), 32));
	ck_assert(!mg_secret_mutable(secret));
	mg_secret_free(other);
	mg_secret_cleanup(&secret);
	ck_assert_int_eq(mg_secret_random(&secret, 0, MG_MEMORY_PREFER_LOCK), MG_INVALID);
	is_none();
}
END_TEST

START_TEST(exactly_so_many_bytes_are_read)
{
	pour(bytes, 48);
	ck_assert_int_eq(exactly(16), MG_OK);
	holds(bytes, 16);
	/* Not one more was taken. */
	ck_assert_int_eq(exactly(32), MG_OK);
	holds(bytes + 16, 32);
	pour(bytes, 16);
	ck_assert_int_eq(exactly(0), MG_OK);
	is_none();
	dry_up();
	ck_assert_int_eq(exactly(17), MG_NO);
	holds(bytes, 16);
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "16 bytes"));
	ck_assert_int_eq(exactly(17), MG_NO);
	is_none();
}
END_TEST

START_TEST(up_to_a_delimiter_and_not_a_byte_further)
{
	static uint8_t zeros[4999 + 1];

	zeros[4999] = 1;
	pour(zeros, 5000);
	pour(bytes, 1);
	ck_assert_int_eq(until(1, 10000), MG_OK);
	holds(zeros, 4999);
	ck_assert_int_eq(exactly(1), MG_OK);
	holds(bytes, 1);
	pour("\1", 1);
	ck_assert_int_eq(until(1, 10000), MG_OK);
	is_none();
	pour(zeros, 32);
	dry_up();
	ck_assert_int_eq(until(1, 10000), MG_NO);
	holds(zeros, 32);
	ck_assert_int_eq(until(1, 10000), MG_NO);
	is_none();
}
END_TEST

START_TEST(everything_to_the_end)
{
	pour(bytes, LARGE);
	dry_up();
	ck_assert_int_eq(all(1 << 20), MG_OK);
	holds(bytes, LARGE);
	ck_assert_int_eq(all(1 << 20), MG_OK);
	is_none();
}
END_TEST

START_TEST(a_file_equals_itself)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	off_t size = lseek(file, 0, SEEK_END);
	uint8_t *content = malloc((size_t)size);

	ck_assert_int_gt(size, LARGE);
	ck_assert_int_eq(pread(file, content, (size_t)size, 0), size);
	ck_assert_int_eq(lseek(file, 0, SEEK_SET), 0);
	ck_assert_int_eq(
		mg_secret_from_fd_all(&secret, file, 1 << 26, MG_MEMORY_PREFER_LOCK), MG_OK);
	holds(content, (size_t)size);
	free(content);
	close(file);
}
END_TEST

/* A new pipe that holds so many bytes and the delimiter, or their end. */
static void refill(size_t size, bool delimited)
{
	tear_down();
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	pour(bytes, size);
	if (delimited)
		pour(&(uint8_t){ DELIMITER }, 1);
	else
		dry_up();
}

/* One test a size, at both sides of where the room grows. */
START_TEST(the_most_is_allowed_and_one_more_is_not)
{
	static const size_t sizes[] = { 2, 3999, 4000, 4001, 7999, 8000, 8001 };
	size_t size = sizes[_i];

	refill(size, true);
	ck_assert_int_eq(until(DELIMITER, size), MG_OK);
	holds(bytes, size);
	refill(size, true);
	ck_assert_int_eq(until(DELIMITER, size - 1), MG_LIMIT);
	is_none();
	refill(size, false);
	ck_assert_int_eq(all(size), MG_OK);
	holds(bytes, size);
	refill(size, false);
	ck_assert_int_eq(all(size - 1), MG_LIMIT);
	is_none();
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "more than the"));
}
END_TEST

START_TEST(a_descriptor_that_cannot_be_read_is_said)
{
	int writable = ends[1];

	ck_assert_int_eq(
		mg_secret_from_fd(&secret, writable, 5, MG_MEMORY_PREFER_LOCK), MG_INTERNAL);
	is_none();
	ck_assert_int_eq(mg_secret_from_fd_all(&secret, -1, 5, MG_MEMORY_PREFER_LOCK), MG_INTERNAL);
	is_none();
	ck_assert_ptr_nonnull(strstr(mg_last_error(), strerror(EBADF)));
}
END_TEST

static void *drip(void *argument)
{
	for (size_t i = 0; i < 100; i++) {
		if (write(ends[1], bytes + i, 1) != 1)
			return argument;
		usleep(500);
	}
	return NULL;
}

START_TEST(a_descriptor_that_does_not_block_is_waited_for)
{
	pthread_t thread;
	void *failed;

	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, drip, bytes), 0);
	ck_assert_int_eq(exactly(100), MG_OK);
	holds(bytes, 100);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
}
END_TEST

static void *churn(void *argument)
{
	uintptr_t failed = 0;

	for (size_t i = 0; i < 2000; i++) {
		struct mg_secret *own = NULL;
		size_t size = 1 + (i * 37 + (uintptr_t)argument) % 1500;
		uint8_t source[1500];

		memcpy(source, bytes, size);
		failed += mg_secret_from_bytes(&own, source, size, MG_MEMORY_PREFER_LOCK) != MG_OK;
		failed += !mg_secret_equal(own, bytes, size);
		mg_secret_free(own);
	}
	return (void *)failed;
}

START_TEST(threads_make_and_free_side_by_side)
{
	pthread_t threads[8];

	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, (void *)(i * 11)), 0);
	for (size_t i = 0; i < 8; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
}
END_TEST

/* -- a source of the caller's own ---------------------------------------------------------- */

struct reel {
	size_t left;  /* bytes before what comes then */
	ssize_t then; /* 0: the end */
};

static ssize_t unreel(void *context, void *buffer, size_t capacity)
{
	struct reel *reel = context;
	size_t size = reel->left < capacity ? reel->left : capacity;

	if (size == 0)
		return reel->then;
	/* Never more than a few at a time. */
	size = size < 1000 ? size : 1000;
	memset(buffer, 'r', size);
	reel->left -= size;
	return (ssize_t)size;
}

START_TEST(a_source_that_gives_up_leaves_what_came)
{
	static const ssize_t ends_of[] = { -1, -5, SSIZE_MAX };

	for (size_t i = 0; i < 3; i++) {
		struct reel reel = { 5000, ends_of[i] };

		ck_assert_int_eq(mg_secret_from_source_all(
					 &secret, unreel, &reel, LARGE, MG_MEMORY_PREFER_LOCK),
			MG_INTERNAL);
		ck_assert_uint_eq(mg_secret_size(secret), 5000);
		ck_assert_ptr_nonnull(strstr(mg_last_error(), "5000 bytes"));
		mg_secret_cleanup(&secret);
	}
}
END_TEST

START_TEST(a_source_is_read_exactly_or_to_its_end)
{
	struct reel reel = { 5000, 0 };

	ck_assert_int_eq(
		mg_secret_from_source(&secret, unreel, &reel, 4000, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_uint_eq(mg_secret_size(secret), 4000);
	ck_assert_uint_eq(reel.left, 1000);
	mg_secret_cleanup(&secret);
	ck_assert_int_eq(mg_secret_from_source_until(
				 &secret, unreel, &reel, '\n', 2000, MG_MEMORY_PREFER_LOCK),
		MG_NO);
	ck_assert_uint_eq(mg_secret_size(secret), 1000);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("secret_source");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, bytes_are_taken_over_and_wiped);
	tcase_add_test(claims, chance_gives_something_else_every_time);
	tcase_add_test(claims, exactly_so_many_bytes_are_read);
	tcase_add_test(claims, up_to_a_delimiter_and_not_a_byte_further);
	tcase_add_test(claims, everything_to_the_end);
	tcase_add_test(claims, a_file_equals_itself);
	tcase_add_loop_test(claims, the_most_is_allowed_and_one_more_is_not, 0, 7);
	tcase_add_test(claims, a_descriptor_that_cannot_be_read_is_said);
	tcase_add_test(claims, a_descriptor_that_does_not_block_is_waited_for);
	tcase_add_test(claims, threads_make_and_free_side_by_side);
	tcase_add_test(claims, a_source_that_gives_up_leaves_what_came);
	tcase_add_test(claims, a_source_is_read_exactly_or_to_its_end);
	return claims_run(claims, "secrets' sources");
}
