/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/memory/os_memory.h"
#include "daemon/ledger/ledger.h"
#include "tests/unit/ledger_rig.h"

/* Large blocks that were given back and are wiped later: nobody has them, and they do not stay. */

#define SIZE ((size_t)262400)
#define PIECES 17 /* of 16 KiB, in one of that size */

static struct ledger *new_later(void)
{
	struct ledger *ledger = new_ledger();

	ck_assert(!ledger_wipe_later(ledger, true));
	return ledger;
}

/* A block that is full of the same 16 bytes. */
static uint64_t take_planted(struct ledger *ledger, const uint8_t planted[static 16], size_t size)
{
	uint64_t offset = take(ledger, size);

	for (size_t i = 0; i + 16 <= size; i += 16)
		memcpy(ledger_at(ledger, offset + i, 16), planted, 16);
	return offset;
}

static bool is_anywhere(const uint8_t *bytes, size_t size, const uint8_t planted[static 16])
{
	return memmem(bytes, size, planted, 8) || memmem(bytes, size, planted + 8, 8);
}

static bool ledger_holds(const struct ledger *ledger, const uint8_t planted[static 16])
{
	size_t size = ledger_mapped(ledger) - LEDGER_UNIT;

	return is_anywhere(ledger_at(ledger, LEDGER_UNIT, size), size, planted);
}

START_TEST(what_is_large_is_wiped_piece_by_piece)
{
	struct ledger *ledger = new_later();
	struct block before = { .offset = take(ledger, 64), .size = 64 };
	struct block behind = { .size = 64 };
	uint8_t planted[16];
	uint64_t offset;
	unsigned pieces = 0;

	randombytes_buf(planted, sizeof(planted));
	offset = take_planted(ledger, planted, SIZE);
	behind.offset = take(ledger, behind.size);
	fill(ledger, &before);
	fill(ledger, &behind);
	ledger_give(ledger, offset);
	ck_assert(ledger_has_waste(ledger));
	ck_assert(ledger_holds(ledger, planted));
	/* It is no block any more, but nobody else's either. */
	ck_assert_uint_eq(ledger_block(ledger, offset), 0);
	ck_assert_uint_eq(ledger_next(ledger, before.offset), behind.offset);
	ck_assert_uint_ne(take(ledger, SIZE), offset);
	while (ledger_wipe_some(ledger))
		pieces++;
	ck_assert_uint_eq(pieces, PIECES);
	ck_assert(!ledger_has_waste(ledger));
	ck_assert(!ledger_holds(ledger, planted));
	ck_assert(is_filled(ledger, &before));
	ck_assert(is_filled(ledger, &behind));
	ck_assert_uint_eq(take(ledger, SIZE / 2), offset);
	ledger_free(ledger);
}
END_TEST

START_TEST(what_is_small_is_wiped_at_once)
{
	struct ledger *ledger = new_later();
	uint8_t planted[16];

	randombytes_buf(planted, sizeof(planted));
	ledger_give(ledger, take_planted(ledger, planted, LEDGER_LARGE - 16));
	ck_assert(!ledger_has_waste(ledger));
	ck_assert(!ledger_holds(ledger, planted));
	ledger_free(ledger);
}
END_TEST

START_TEST(blocks_never_overlap_whatever_is_still_to_be_wiped)
{
	struct ledger *ledger = new_later();
	static struct block blocks[BLOCKS];
	uint64_t used = 0;

	memset(blocks, 0, sizeof(blocks));
	for (int i = 0; i < STEPS; i++) {
		step(ledger, &blocks[randombytes_uniform(BLOCKS)], &used);
		ck_assert_uint_ge(ledger_used(ledger), used);
		if (randombytes_uniform(3) == 0)
			(void)ledger_wipe_some(ledger);
		if (randombytes_uniform(2000) == 0) {
			ledger_wipe_all(ledger);
			ck_assert_uint_eq(ledger_used(ledger), used);
		}
	}
	for (int i = 0; i < BLOCKS; i++) {
		if (blocks[i].offset == 0)
			continue;
		ck_assert(is_filled(ledger, &blocks[i]));
		ledger_give(ledger, blocks[i].offset);
	}
	ck_assert(ledger_wipe_later(ledger, false));
	ck_assert_uint_eq(ledger_used(ledger), 0);
	ck_assert(!ledger_has_waste(ledger));
	ledger_free(ledger);
}
END_TEST

START_TEST(whoever_wants_room_has_it_before_the_ledger_grows_for_ever)
{
	struct ledger *ledger = new_later();
	uint64_t offset = take(ledger, 4 * MIB);

	for (int i = 0; i < 300; i++) {
		uint64_t next = take(ledger, 4 * MIB);

		ledger_give(ledger, offset);
		offset = next;
	}
	ck_assert_uint_le(ledger_mapped(ledger), 32 * MIB);
	ledger_free(ledger);
}
END_TEST

START_TEST(many_of_them_are_remembered)
{
	enum { COUNT = 1000 };
	struct ledger *ledger = new_later();
	uint64_t offsets[COUNT];
	uint8_t planted[16];

	randombytes_buf(planted, sizeof(planted));
	for (size_t i = 0; i < COUNT; i++)
		offsets[i] = take_planted(ledger, planted, LEDGER_LARGE);
	for (size_t i = 0; i < COUNT; i++)
		ledger_give(ledger, offsets[i]);
	for (size_t i = 0; i < COUNT; i++)
		ck_assert_uint_eq(ledger_block(ledger, offsets[i]), 0);
	ck_assert_uint_eq(ledger_next(ledger, 0), 0);
	ck_assert_uint_eq(ledger_used(ledger), COUNT * LEDGER_LARGE);
	ledger_wipe_all(ledger);
	ck_assert_uint_eq(ledger_used(ledger), 0);
	ck_assert(!ledger_holds(ledger, planted));
	ledger_free(ledger);
}
END_TEST

START_TEST(nothing_of_it_stays_in_a_file)
{
	struct ledger *ledger = new_later();
	uint8_t planted[16];
	uint8_t *bytes;
	off_t size;

	randombytes_buf(planted, sizeof(planted));
	ledger_give(ledger, take_planted(ledger, planted, SIZE));
	ck_assert(ledger_holds(ledger, planted));
	ledger_leave(ledger);
	if (ledger_fd < 0)
		return;
	size = lseek(ledger_fd, 0, SEEK_END);
	bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, ledger_fd, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	ck_assert(!is_anywhere(bytes, (size_t)size, planted));
	munmap(bytes, (size_t)size);
}
END_TEST

START_TEST(giving_it_back_once_more_kills)
{
	struct ledger *ledger = new_later();
	uint64_t offset = take(ledger, SIZE);

	ledger_give(ledger, offset);
	ledger_give(ledger, offset);
}
END_TEST

/* Pages from one place to another that have memory behind them. */
static size_t resident(const struct ledger *ledger, uint64_t begin, uint64_t end)
{
	size_t page = os_memory_page();
	uint8_t *first = (uint8_t *)ledger_at(ledger, begin, 1) - begin % page;
	size_t pages = (end - begin / page * page + page - 1) / page, count = 0;
	unsigned char *present = calloc(pages, 1);

	ck_assert_ptr_nonnull(present);
	ck_assert_int_eq(mincore(first, pages * page, present), 0);
	for (size_t i = 0; i < pages; i++)
		count += present[i] & 1;
	free(present);
	return count;
}

START_TEST(its_pages_go_back_to_the_kernel)
{
	enum { COUNT = 64 };
	struct ledger *ledger = new_later();
	uint64_t offsets[COUNT];
	size_t before, after;

	for (size_t i = 0; i < COUNT; i++) {
		offsets[i] = take_filled(ledger, SIZE);
		take(ledger, 16);
	}
	before = resident(ledger, offsets[0], offsets[COUNT - 1] + SIZE);
	ck_assert_uint_ge(before, COUNT * SIZE / os_memory_page());
	for (size_t i = 0; i < COUNT; i++)
		ledger_give(ledger, offsets[i]);
	ledger_wipe_all(ledger);
	/* But for those at its ends, which it had in common with others. */
	after = resident(ledger, offsets[0], offsets[COUNT - 1] + SIZE);
	ck_assert_uint_le(after, 2 * COUNT);
	ledger_free(ledger);
}
END_TEST

static void add_claims(Suite *suite, const char *name, void (*set_up)(void))
{
	TCase *claims = tcase_create(name);

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, what_is_large_is_wiped_piece_by_piece);
	tcase_add_test(claims, what_is_small_is_wiped_at_once);
	tcase_add_test(claims, blocks_never_overlap_whatever_is_still_to_be_wiped);
	tcase_add_test(claims, whoever_wants_room_has_it_before_the_ledger_grows_for_ever);
	tcase_add_test(claims, many_of_them_are_remembered);
	tcase_add_test(claims, nothing_of_it_stays_in_a_file);
	tcase_add_test(claims, its_pages_go_back_to_the_kernel);
	tcase_add_test_raise_signal(claims, giving_it_back_once_more_kills, SIGABRT);
	suite_add_tcase(suite, claims);
}

int main(void)
{
	Suite *suite = suite_create("ledger_waste");
	SRunner *runner;
	int failed;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	add_claims(suite, "in memory", in_memory);
	add_claims(suite, "in a file", in_a_file);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
