/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <sodium.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/memory/secret.h"
#include "common/memory/guard.h"
#include "tests/conformance/conformance.h"
#include "tests/unit/process.h"

/* Rows 1 to 17 and 48: buffers. */

#define PREFER MG_MEMORY_PREFER_LOCK

static struct mg_secret *made(size_t size)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_secret_new(&secret, size, PREFER), MG_OK);
	return secret;
}

static struct mg_secret *drawn(size_t size)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_secret_random(&secret, size, PREFER), MG_OK);
	return secret;
}

START_TEST(no_size)
{
	struct mg_secret *secret = (struct mg_secret *)&secret;
	size_t before = status_kb("VmLck:");

	ck_assert_int_eq(mg_secret_new(&secret, 0, PREFER), MG_INVALID);
	ck_assert_ptr_null(secret);
	/* What a negative number becomes on its way to a size. */
	ck_assert_int_eq(mg_secret_new(&secret, (size_t)-1, PREFER), MG_LIMIT);
	ck_assert_ptr_null(secret);
	ck_assert_uint_eq(status_kb("VmLck:"), before);
}
END_TEST

/* All of the pages but the value is canary, at least 16 bytes on each side. */
static void is_guarded(const struct mg_secret *secret, size_t size)
{
	const struct os_region *region = &secret->memory.regions[0];
	const uint8_t *canary = region->data;
	size_t other = 0;

	ck_assert_uint_eq(region->size % (size_t)sysconf(_SC_PAGESIZE), 0);
	ck_assert_ptr_eq(secret->data, region->data + GUARD_SIZE);
	ck_assert_uint_ge(region->size, size + 2 * (size_t)GUARD_SIZE);
	ck_assert(!all_are(canary, GUARD_SIZE, 0));
	/* Counted: an assertion costs a hundred times what it looks at. */
	for (size_t i = GUARD_SIZE + size; i < region->size; i++)
		other += region->data[i] != canary[i % GUARD_SIZE];
	ck_assert_uint_eq(other, 0);
}

START_TEST(every_size)
{
	for (size_t size = 1; size <= 16385; size += size < 100 || size > 16300 ? 1 : 13) {
		struct mg_secret *secret = made(size);
		uint8_t *bytes = mg_secret_writable(secret);

		ck_assert_uint_eq(mg_secret_size(secret), size);
		ck_assert(all_are(bytes, size, 0));
		is_guarded(secret, size);
		memset(bytes, 0xa5, size);
		ck_assert(all_are(mg_secret_data(secret), size, 0xa5));
		is_guarded(secret, size);
		mg_secret_free(secret);
	}
}
END_TEST

/* What a region of so many bytes gets, in pages; 0 when it is refused. */
static size_t pages_for(size_t size)
{
	struct os_memory memory = { .count = 1, .regions = { { .size = size } } };
	size_t page = os_memory_page();
	size_t pages;

	if (os_memory_map(&memory, OS_MEMORY_PREFER_LOCK) < 0)
		return 0;
	ck_assert_uint_eq(memory.regions[0].size % page, 0);
	pages = memory.regions[0].size / page;
	os_memory_unmap(&memory);
	return pages;
}

START_TEST(whole_pages)
{
	size_t page = os_memory_page();

	ck_assert_uint_eq(pages_for(0), 0);
	ck_assert_uint_eq(pages_for(1), 1);
	ck_assert_uint_eq(pages_for(page), 1);
	ck_assert_uint_eq(pages_for(page + 1), 2);
}
END_TEST

START_TEST(freeze)
{
	struct mg_secret *secret = made(16);
	const void *data = mg_secret_data(secret);

	ck_assert_int_eq(mg_secret_copy(secret, "yellow submarine", 16), MG_OK);
	for (int twice = 0; twice < 2; twice++)
		ck_assert_int_eq(mg_secret_freeze(secret), MG_OK);
	ck_assert(!mg_secret_mutable(secret));
	ck_assert_ptr_eq(mg_secret_data(secret), data);
	ck_assert(mg_secret_equal(secret, "yellow submarine", 16));
	ck_assert_int_eq(mg_secret_copy(secret, "green submarine!", 16), MG_FROZEN);
	ck_assert_int_eq(mg_secret_wipe(secret), MG_FROZEN);
	ck_assert(mg_secret_equal(secret, "yellow submarine", 16));
	mg_secret_free(secret);
}
END_TEST

static void store_into(struct mg_secret *secret)
{
	*(volatile uint8_t *)(uintptr_t)mg_secret_data(secret) = 1;
}

START_TEST(store_after_freeze)
{
	struct mg_secret *secret = made(16);

	if (mg_secret_freeze(secret) == MG_OK)
		store_into(secret);
}
END_TEST

START_TEST(store_into_shared)
{
	store_into(drawn(16));
}
END_TEST

/* Of both kinds: with pages of its own, and with pages that it shares until then. */
START_TEST(melt)
{
	for (size_t size = 16; size <= 5000; size += 4984) {
		struct mg_secret *secret = drawn(size);
		uint8_t *before = malloc(size);

		memcpy(before, mg_secret_data(secret), size);
		for (int twice = 0; twice < 2; twice++)
			ck_assert_int_eq(mg_secret_melt(secret), MG_OK);
		ck_assert(mg_secret_mutable(secret));
		ck_assert(mg_secret_equal(secret, before, size));
		((uint8_t *)mg_secret_writable(secret))[3] ^= 0xff;
		before[3] ^= 0xff;
		ck_assert(mg_secret_equal(secret, before, size));
		free(before);
		mg_secret_free(secret);
	}
}
END_TEST

static void is_dead(struct mg_secret *secret)
{
	ck_assert_uint_eq(mg_secret_size(secret), 0);
	ck_assert_ptr_null(mg_secret_data(secret));
	ck_assert(!mg_secret_alive(secret));
	ck_assert(!mg_secret_mutable(secret));
}

START_TEST(destroy)
{
	struct mg_secret *secret;
	size_t before;

	mg_secret_free(drawn(16));
	before = status_kb("VmLck:");
	secret = made(5000);
	mg_secret_destroy(secret);
	is_dead(secret);
	mg_secret_destroy(secret);
	is_dead(secret);
	ck_assert_uint_eq(status_kb("VmLck:"), before);
	mg_secret_free(secret);
	mg_secret_destroy(NULL);
	mg_secret_free(NULL);
}
END_TEST

START_TEST(after_destroy)
{
	struct mg_secret *secret = made(16);
	struct mg_enclave *enclave = NULL;
	uint8_t bytes[16] = { 7 };

	mg_secret_destroy(secret);
	ck_assert_int_eq(mg_secret_freeze(secret), MG_GONE);
	ck_assert_int_eq(mg_secret_melt(secret), MG_GONE);
	ck_assert_int_eq(mg_secret_copy(secret, bytes, 16), MG_GONE);
	ck_assert_int_eq(mg_secret_copy_at(secret, 0, bytes, 1), MG_GONE);
	ck_assert_int_eq(mg_secret_move(secret, bytes, 16), MG_GONE);
	ck_assert_uint_eq(bytes[0], 7);
	ck_assert_int_eq(mg_secret_read_at(secret, 0, bytes, 1), MG_GONE);
	ck_assert_int_eq(mg_secret_scramble(secret), MG_GONE);
	ck_assert_int_eq(mg_secret_wipe(secret), MG_GONE);
	ck_assert_int_eq(mg_enclave_seal(&enclave, secret), MG_GONE);
	ck_assert_ptr_null(MG_VIEW(uint32_t, secret));
	ck_assert(!mg_secret_equal(secret, bytes, 0));
	is_dead(secret);
	mg_secret_free(secret);
}
END_TEST

START_TEST(copy)
{
	struct mg_secret *secret = made(16);

	ck_assert_int_eq(mg_secret_copy(secret, "yellow submarine", 16), MG_OK);
	ck_assert(mg_secret_equal(secret, "yellow submarine", 16));
	mg_secret_free(secret);
}
END_TEST

START_TEST(copy_at)
{
	struct mg_secret *secret = made(8);

	ck_assert_int_eq(mg_secret_copy_at(secret, 0, "1234", 4), MG_OK);
	ck_assert(mg_secret_equal(secret, "1234\0\0\0\0", 8));
	ck_assert_int_eq(mg_secret_copy_at(secret, 4, "5678", 4), MG_OK);
	ck_assert(mg_secret_equal(secret, "12345678", 8));
	mg_secret_free(secret);
}
END_TEST

START_TEST(move)
{
	struct mg_secret *secret = made(16);
	uint8_t source[16];

	memcpy(source, "yellow submarine", 16);
	ck_assert_int_eq(mg_secret_move(secret, source, 16), MG_OK);
	ck_assert(mg_secret_equal(secret, "yellow submarine", 16));
	ck_assert(all_are(source, 16, 0));
	memcpy(source, "green submarines", 16);
	ck_assert_int_eq(mg_secret_move_at(secret, 0, source, 8), MG_OK);
	ck_assert(all_are(source, 8, 0));
	ck_assert_int_eq(mg_secret_move_at(secret, 8, source + 8, 8), MG_OK);
	ck_assert(all_are(source, 16, 0));
	ck_assert(mg_secret_equal(secret, "green submarines", 16));
	mg_secret_free(secret);
}
END_TEST

START_TEST(other_lengths)
{
	struct mg_secret *secret = made(16);
	uint8_t source[32];

	memset(source, 'x', sizeof(source));
	ck_assert_int_eq(mg_secret_copy(secret, source, 17), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy(secret, source, 15), MG_INVALID);
	ck_assert_int_eq(mg_secret_move(secret, source, 17), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy_at(secret, 17, source, 0), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy_at(secret, 10, source, 7), MG_INVALID);
	ck_assert(all_are(mg_secret_data(secret), 16, 0));
	ck_assert(all_are(source, sizeof(source), 'x'));
	mg_secret_free(secret);
}
END_TEST

START_TEST(scramble)
{
	struct mg_secret *secret = made(32);
	uint8_t first[32];

	ck_assert_int_eq(mg_secret_scramble(secret), MG_OK);
	memcpy(first, mg_secret_data(secret), 32);
	ck_assert(!all_are(first, 32, 0));
	ck_assert_int_eq(mg_secret_scramble(secret), MG_OK);
	ck_assert(!all_are(mg_secret_data(secret), 32, 0));
	ck_assert(!mg_secret_equal(secret, first, 32));
	mg_secret_free(secret);
}
END_TEST

START_TEST(chance)
{
	struct mg_secret *secret = drawn(32);

	ck_assert(!mg_secret_mutable(secret));
	ck_assert(!all_are(mg_secret_data(secret), 32, 0));
	mg_secret_free(secret);
	ck_assert_int_eq(mg_secret_random(&secret, 0, PREFER), MG_INVALID);
	ck_assert_ptr_null(secret);
}
END_TEST

START_TEST(wipe)
{
	struct mg_secret *secret = made(32);

	ck_assert_int_eq(mg_secret_scramble(secret), MG_OK);
	ck_assert_int_eq(mg_secret_wipe(secret), MG_OK);
	ck_assert(all_are(mg_secret_data(secret), 32, 0));
	mg_secret_free(secret);
}
END_TEST

START_TEST(text)
{
	struct mg_secret *secret = made(5);
	const char *seen = MG_VIEW(char, secret);
	size_t count = 0;

	MG_VIEW_WRITABLE(char, secret)[2] = 'x';
	ck_assert_int_eq(seen[2], 'x');
	ck_assert_ptr_eq(MG_ITEMS(char, secret, &count), seen);
	ck_assert_uint_eq(count, 5);
	mg_secret_destroy(secret);
	ck_assert_ptr_null(MG_ITEMS(char, secret, &count));
	ck_assert_uint_eq(count, 0);
	mg_secret_free(secret);
}
END_TEST

static void has_items(size_t size, size_t item_size, size_t wanted)
{
	struct mg_secret *secret = made(size);
	size_t count = SIZE_MAX;
	const void *items = mg_secret_items(secret, item_size, item_size, &count);

	ck_assert_uint_eq(count, wanted);
	ck_assert_ptr_eq(items, wanted > 0 ? mg_secret_data(secret) : NULL);
	ck_assert_uint_eq((uintptr_t)items % item_size, 0);
	mg_secret_free(secret);
}

/* Signed or not, a number is as long. */
START_TEST(numbers)
{
	for (size_t item = 2, power = 1; item <= 8; item *= 2, power++) {
		has_items(32, item, 32 / item);
		has_items(item + 1, item, 1);
		has_items(item - 1, item, 0);
	}
	/* An address that is not aligned is never given. */
	ck_assert_ptr_null(mg_secret_items(made(64), 1, 32, NULL));
}
END_TEST

START_TEST(arrays)
{
	for (size_t size = 8; size <= 64; size *= 2) {
		struct mg_secret *enough = made(size), *short_one = made(size - 1);

		ck_assert_ptr_eq(mg_secret_items(enough, size, 1, NULL), mg_secret_data(enough));
		ck_assert_ptr_null(mg_secret_items(short_one, size, 1, NULL));
		mg_secret_free(enough);
		mg_secret_free(short_one);
	}
}
END_TEST

/* As services keep it: two keys, a number and a mark, one behind the other. */
struct record {
	uint8_t key[32];
	uint8_t salt[16];
	uint64_t counter;
	uint8_t mark;
};

static void write_records(struct record *records, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		memset(records[i].key, 1, 32);
		memset(records[i].salt, 2, 16);
		memset(&records[i].counter, 3, 8);
		records[i].mark = 4;
	}
}

START_TEST(structures)
{
	for (size_t count = 1; count <= 3; count++) {
		struct mg_secret *secret = made(count * 64);
		struct record *records = MG_VIEW_WRITABLE(struct record, secret);
		const uint8_t *bytes = mg_secret_data(secret);

		ck_assert_uint_eq(sizeof(struct record), 64);
		ck_assert_ptr_eq(records, bytes);
		write_records(records, count);
		for (size_t i = 0; i < count; i++, bytes += 64) {
			ck_assert(all_are(bytes, 32, 1));
			ck_assert(all_are(bytes + 32, 16, 2));
			ck_assert(all_are(bytes + 48, 8, 3));
			ck_assert_uint_eq(bytes[56], 4);
		}
		mg_secret_free(secret);
	}
}
END_TEST

const struct row buffer_rows[] = {
	{ 1, "a buffer of no bytes, or of -1, is an error and leaves nothing", &no_size, 0, 0 },
	{ 2, "a buffer of any size is zeroed, writable and surrounded by canary", &every_size, 0,
		0 },
	{ 3, "memory comes in whole pages", &whole_pages, 0, 0 },
	{ 4, "a frozen buffer reads as before, and what writes is told so", &freeze, 0, 0 },
	{ 4, "a store into a frozen buffer is SIGSEGV", &store_after_freeze, SIGSEGV, 0 },
	{ 4, "a store into one that shares its pages, too", &store_into_shared, SIGSEGV, 0 },
	{ 5, "a melted buffer has its value and can be written to", &melt, 0, 0 },
	{ 6, "destroying twice, or nothing, is destroying once", &destroy, 0, 0 },
	{ 7, "nothing revives a destroyed buffer", &after_destroy, 0, 0 },
	{ 8, "what is copied is there", &copy, 0, 0 },
	{ 9, "a copy at an offset leaves the rest", &copy_at, 0, 0 },
	{ 10, "what is moved is gone where it was", &move, 0, 0 },
	{ 11, "what does not fit exactly is not written at all", &other_lengths, 0, 0 },
	{ 12, "scrambling twice gives two values", &scramble, 0, 0 },
	{ 13, "a random buffer is read-only and not zero", &chance, 0, 0 },
	{ 14, "a wiped buffer is zero", &wipe, 0, 0 },
	{ 15, "a text over a buffer is the buffer", &text, 0, 0 },
	{ 16, "numbers over a buffer are as many as fit, and aligned", &numbers, 0, 0 },
	{ 17, "an array needs all of its bytes", &arrays, 0, 0 },
	{ 48, "a structure lies over a buffer, field by field", &structures, 0, 0 },
	{ 0 },
};
