/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"

static struct mg_secret *made(size_t size)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_secret_new(&secret, size, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_ptr_nonnull(secret);
	return secret;
}

START_TEST(a_new_secret_is_zeroed_and_writable)
{
	static const size_t sizes[] = { 1, 15, 16, 4064, 4065, 4096, 100000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct mg_secret *secret = made(sizes[i]);
		uint8_t *bytes = mg_secret_writable(secret);

		ck_assert_uint_eq(mg_secret_size(secret), sizes[i]);
		ck_assert_ptr_eq(mg_secret_data(secret), bytes);
		for (size_t at = 0; at < sizes[i]; at++)
			ck_assert_uint_eq(bytes[at], 0);
		memset(bytes, 0xaa, sizes[i]);
		mg_secret_free(secret);
	}
}
END_TEST

START_TEST(what_cannot_be_had_is_said)
{
	struct mg_secret *secret = (struct mg_secret *)&secret;

	ck_assert_int_eq(mg_secret_new(&secret, 0, MG_MEMORY_PREFER_LOCK), MG_INVALID);
	ck_assert_ptr_null(secret);
	ck_assert_int_eq(mg_secret_new(&secret, SIZE_MAX, MG_MEMORY_PREFER_LOCK), MG_LIMIT);
	ck_assert_int_eq(mg_secret_new(&secret, SIZE_MAX / 8, MG_MEMORY_PREFER_LOCK), MG_LIMIT);
	ck_assert_ptr_null(secret);
	ck_assert_uint_gt(strlen(mg_last_error()), 0);
	ck_assert_int_eq(mg_secret_new(&secret, 1, (enum mg_memory)3), MG_INVALID);
}
END_TEST

START_TEST(nothing_is_a_secret_of_no_bytes)
{
	ck_assert_ptr_null(mg_secret_data(NULL));
	ck_assert_ptr_null(mg_secret_writable(NULL));
	ck_assert_uint_eq(mg_secret_size(NULL), 0);
	ck_assert(!mg_secret_equal(NULL, "", 0));
	ck_assert_int_eq(mg_secret_freeze(NULL), MG_INVALID);
	mg_secret_free(NULL);
}
END_TEST

START_TEST(equal_means_the_same_bytes_and_as_many)
{
	struct mg_secret *secret = made(5);

	memcpy(mg_secret_writable(secret), "abcde", 5);
	ck_assert(mg_secret_equal(secret, "abcde", 5));
	ck_assert(!mg_secret_equal(secret, "abcdf", 5));
	ck_assert(!mg_secret_equal(secret, "abcd", 4));
	ck_assert(!mg_secret_equal(secret, "abcdef", 6));
	mg_secret_free(secret);
}
END_TEST

/* The signal that ends a child which does that to a secret of 100 bytes; 0: it lives on. */
static int signal_of(void (*act)(struct mg_secret *secret))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct mg_secret *secret = made(100);

		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		act(secret);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void store_one(struct mg_secret *secret, ptrdiff_t at)
{
	volatile uint8_t *bytes = (volatile uint8_t *)(uintptr_t)mg_secret_data(secret);

	bytes[at] ^= 1;
}

static void write_in_place(struct mg_secret *secret)
{
	store_one(secret, 50);
	mg_secret_free(secret);
}

static void write_frozen(struct mg_secret *secret)
{
	if (mg_secret_freeze(secret) != MG_OK || mg_secret_writable(secret))
		_exit(1);
	store_one(secret, 50);
}

static void write_behind(struct mg_secret *secret)
{
	store_one(secret, 100);
	mg_secret_free(secret);
}

static void write_in_front(struct mg_secret *secret)
{
	store_one(secret, -1);
	mg_secret_free(secret);
}

static void write_far_behind(struct mg_secret *secret)
{
	store_one(secret, sysconf(_SC_PAGESIZE));
}

static void write_far_in_front(struct mg_secret *secret)
{
	store_one(secret, -sysconf(_SC_PAGESIZE));
}

START_TEST(whoever_writes_where_nobody_may_is_ended)
{
	ck_assert_int_eq(signal_of(write_in_place), 0);
	ck_assert_int_ne(signal_of(write_frozen), 0);
	ck_assert_int_eq(signal_of(write_behind), SIGABRT);
	ck_assert_int_eq(signal_of(write_in_front), SIGABRT);
	ck_assert_int_ne(signal_of(write_far_behind), 0);
	ck_assert_int_ne(signal_of(write_far_in_front), 0);
}
END_TEST

START_TEST(a_frozen_secret_still_reads_and_ends)
{
	struct mg_secret *secret = made(3);

	memcpy(mg_secret_writable(secret), "abc", 3);
	ck_assert_int_eq(mg_secret_freeze(secret), MG_OK);
	ck_assert_ptr_null(mg_secret_writable(secret));
	ck_assert(mg_secret_equal(secret, "abc", 3));
	ck_assert_int_eq(mg_secret_freeze(secret), MG_OK);
	mg_secret_free(secret);
}
END_TEST

START_TEST(a_child_may_end_its_parents_secret)
{
	struct mg_secret *secret = made(3);
	pid_t child = fork();
	int status;

	if (child == 0) {
		mg_secret_free(secret);
		_exit(7);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	memcpy(mg_secret_writable(secret), "abc", 3);
	ck_assert(mg_secret_equal(secret, "abc", 3));
	mg_secret_free(secret);
}
END_TEST

START_TEST(a_local_ends_with_its_block)
{
	struct mg_secret *secret = made(1);

	mg_secret_cleanup(&secret);
	ck_assert_ptr_null(secret);
	mg_secret_cleanup(&secret);
	{
		MG_AUTO_SECRET struct mg_secret *local = made(1);

		ck_assert_ptr_nonnull(mg_secret_data(local));
	}
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("secret");

	tcase_add_test(claims, a_new_secret_is_zeroed_and_writable);
	tcase_add_test(claims, what_cannot_be_had_is_said);
	tcase_add_test(claims, nothing_is_a_secret_of_no_bytes);
	tcase_add_test(claims, equal_means_the_same_bytes_and_as_many);
	tcase_add_test(claims, whoever_writes_where_nobody_may_is_ended);
	tcase_add_test(claims, a_frozen_secret_still_reads_and_ends);
	tcase_add_test(claims, a_child_may_end_its_parents_secret);
	tcase_add_test(claims, a_local_ends_with_its_block);
	return claims_run(claims, "secret");
}
