/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/resource.h>

#include "client/lib/memory/secret.h"
#include "common/memory/os_memory.h"
#include "daemon/harden.h"
#include "tests/conformance/conformance.h"
#include "tests/unit/process.h"

/* Rows 45 to 47: what the kernel is asked for. */

START_TEST(taken_and_given)
{
	struct os_memory memory = { .count = 1, .regions = { { .size = 32 } } };
	struct rlimit limit;
	uint8_t *data;

	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), 0);
	data = memory.regions[0].data;
	ck_assert(all_are(data, 32, 0));
	memset(data, 1, 32);
	ck_assert_int_eq(os_memory_protect(&memory, 0, OS_MEMORY_READ), 0);
	ck_assert(all_are(data, 32, 1));
	ck_assert_int_eq(os_memory_protect(&memory, 0, OS_MEMORY_WRITE), 0);
	os_memory_unmap(&memory);
	os_memory_unmap(&memory);
	/* And no core file. */
	ck_assert_int_eq(harden_early(), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
	ck_assert_uint_eq(limit.rlim_cur, 0);
	ck_assert(!harden_dumpable());
}
END_TEST

START_TEST(words_for_nothing)
{
	struct os_memory nothing = { 0 }, empty = { .count = 1 };
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(os_memory_map(&nothing, OS_MEMORY_PREFER_LOCK), -EINVAL);
	ck_assert_ptr_nonnull(os_memory_advice(&nothing));
	ck_assert_int_eq(os_memory_map(&empty, OS_MEMORY_PREFER_LOCK), -EINVAL);
	ck_assert_ptr_nonnull(os_memory_advice(&empty));
	os_memory_unmap(&nothing);
	ck_assert_int_eq(mg_secret_new(&secret, 0, MG_MEMORY_PREFER_LOCK), MG_INVALID);
	ck_assert_uint_gt(strlen(mg_last_error()), 0);
	ck_assert_int_eq(mg_secret_read_at(NULL, 0, NULL, 0), MG_INVALID);
	mg_wipe_bytes(NULL, 0);
}
END_TEST

START_TEST(too_much)
{
	struct os_memory memory = { .count = 2,
		.regions = { { .size = SIZE_MAX / 2 }, { .size = SIZE_MAX / 2 + 2 } } };
	struct mg_secret *secret = NULL;

	ck_assert_int_lt(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(mg_secret_new(&secret, SIZE_MAX, MG_MEMORY_PREFER_LOCK), MG_LIMIT);
	ck_assert_int_eq(mg_secret_new(&secret, SIZE_MAX - 100, MG_MEMORY_PREFER_LOCK), MG_LIMIT);
	ck_assert_int_eq(mg_secret_new(&secret, (size_t)1 << 47, MG_MEMORY_PREFER_LOCK), MG_LIMIT);
	ck_assert_ptr_null(secret);
}
END_TEST

/* Ten thousand of random sizes, some of them alive at once. */
START_TEST(many_sizes)
{
	struct mg_secret *alive[16] = { NULL };

	for (size_t i = 0; i < 10000; i++) {
		struct mg_secret **one = &alive[i % 16];
		size_t size = 1 + randombytes_uniform(i % 100 == 0 ? 100000 : 2000);

		mg_secret_cleanup(one);
		ck_assert_int_eq(mg_secret_new(one, size, MG_MEMORY_PREFER_LOCK), MG_OK);
		memset(mg_secret_writable(*one), (int)i, size);
		ck_assert_int_eq(mg_secret_freeze(*one), MG_OK);
		ck_assert(all_are(mg_secret_data(*one), size, (uint8_t)i));
	}
	for (size_t i = 0; i < 16; i++)
		mg_secret_cleanup(&alive[i]);
}
END_TEST

/* A byte beyond is found when the buffer goes, or at once. */
static void write_beyond(size_t size, ptrdiff_t at)
{
	struct mg_secret *secret = NULL;
	volatile uint8_t *bytes;

	ck_assert_int_eq(mg_secret_new(&secret, size, MG_MEMORY_PREFER_LOCK), MG_OK);
	bytes = mg_secret_writable(secret);
	bytes[at] ^= 1;
	mg_secret_free(secret);
}

START_TEST(one_beyond)
{
	write_beyond(100, 100);
}
END_TEST

START_TEST(eight_before)
{
	write_beyond(100, -8);
}
END_TEST

START_TEST(a_page_beyond)
{
	write_beyond(100, (ptrdiff_t)os_memory_page());
}
END_TEST

const struct row memory_rows[] = {
	{ 45, "memory is zeroed, locked, readable, writable and given back", &taken_and_given, 0,
		0 },
	{ 46, "there are words for nothing, too", &words_for_nothing, 0, 0 },
	{ 47, "more than there is is an error", &too_much, 0, 0 },
	{ 47, "ten thousand buffers of random sizes come and go", &many_sizes, 0, 0 },
	{ 47, "a byte written behind a buffer is found", &one_beyond, SIGABRT, 0 },
	{ 47, "a byte written in front of it, too", &eight_before, SIGABRT, 0 },
	{ 47, "a page behind it nothing can be written", &a_page_beyond, SIGSEGV, 0 },
	{ 0 },
};
