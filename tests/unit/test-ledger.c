/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/ledger.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/memory/os_memory.h"
#include "tests/unit/ledger_rig.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNLIMITED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNLIMITED 1
#endif
#endif
#ifndef UNLIMITED
#define UNLIMITED 0 /* the sanitizer's shadow is larger than any limit of address space */
#endif

/* Everything that is mapped, but the first unit. */
static const uint8_t *all(const struct ledger *ledger, size_t *sizep)
{
	*sizep = ledger_mapped(ledger) - LEDGER_UNIT;
	return ledger_at(ledger, LEDGER_UNIT, *sizep);
}

static bool is_anywhere(const struct ledger *ledger, const void *part, size_t size)
{
	size_t all_size;
	const uint8_t *bytes = all(ledger, &all_size);

	return memmem(bytes, all_size, part, size) != NULL;
}

START_TEST(blocks_never_overlap_and_keep_what_is_in_them)
{
	struct ledger *ledger = new_ledger();
	struct block blocks[BLOCKS] = { { 0 } };
	uint64_t used = 0;

	for (int i = 0; i < STEPS; i++) {
		step(ledger, &blocks[randombytes_uniform(BLOCKS)], &used);
		ck_assert_uint_eq(ledger_used(ledger), used);
	}
	for (int i = 0; i < BLOCKS; i++) {
		if (blocks[i].offset == 0)
			continue;
		ck_assert(is_filled(ledger, &blocks[i]));
		ledger_give(ledger, blocks[i].offset);
	}
	ck_assert_uint_eq(ledger_used(ledger), 0);
	ledger_free(ledger);
}
END_TEST

START_TEST(what_was_given_back_in_pieces_is_whole_again)
{
	struct ledger *ledger = new_ledger();
	uint64_t offsets[4000];
	uint64_t mapped;

	for (size_t i = 0; i < 4000; i++)
		offsets[i] = take(ledger, 1000);
	mapped = ledger_mapped(ledger);
	ck_assert_uint_eq(mapped, 4 * MIB);
	for (size_t i = 0; i < 4000; i += 2)
		ledger_give(ledger, offsets[i]);
	for (size_t i = 1; i < 4000; i += 2)
		ledger_give(ledger, offsets[i]);
	/* Longer than any piece, and as long as can be without more memory. */
	ck_assert_uint_ne(take(ledger, mapped * 7 / 8), 0);
	ck_assert_uint_eq(ledger_mapped(ledger), mapped);
	ledger_free(ledger);
}
END_TEST

START_TEST(growing_moves_nothing_that_is_mapped)
{
	struct ledger *ledger = new_ledger();
	struct block first = { .size = 5000 };
	uint8_t *before;

	first.offset = take(ledger, first.size);
	fill(ledger, &first);
	before = ledger_at(ledger, first.offset, first.size);
	while (ledger_mapped(ledger) < 256 * MIB)
		take(ledger, 8 * MIB);
	ck_assert_ptr_eq(ledger_at(ledger, first.offset, first.size), before);
	ck_assert(is_filled(ledger, &first));
	ledger_free(ledger);
}
END_TEST

START_TEST(a_little_takes_a_little)
{
	struct ledger *ledger = new_ledger();

	ck_assert_uint_eq(ledger_mapped(ledger), LEDGER_GROWTH_MIN);
	take(ledger, 80);
	ck_assert_uint_eq(ledger_used(ledger), 80);
	take(ledger, 81);
	ck_assert_uint_eq(ledger_used(ledger), 80 + 96);
	ck_assert_uint_eq(ledger_mapped(ledger), LEDGER_GROWTH_MIN);
	ledger_free(ledger);
}
END_TEST

/* Sizes below and above the one from which pages go back to the kernel. */
static const size_t wiped_sizes[] = { 16, 80, 4000, 16400, 65536, 262400, 5000000 };

START_TEST(what_is_given_back_is_wiped)
{
	struct ledger *ledger = new_ledger();
	struct block before = { .offset = take(ledger, 64), .size = 64 };
	struct block block = { .size = wiped_sizes[_i] };
	struct block behind = { .size = 64 };
	uint8_t planted[16];

	block.offset = take(ledger, block.size);
	behind.offset = take(ledger, behind.size);
	fill(ledger, &before);
	fill(ledger, &behind);
	randombytes_buf(planted, sizeof(planted));
	for (size_t i = 0; i + sizeof(planted) <= block.size; i += sizeof(planted))
		memcpy(ledger_at(ledger, block.offset + i, sizeof(planted)), planted,
			sizeof(planted));
	ck_assert(is_anywhere(ledger, planted, sizeof(planted)));
	ledger_give(ledger, block.offset);
	ck_assert(!is_anywhere(ledger, planted, 8));
	ck_assert(!is_anywhere(ledger, planted + 8, 8));
	ck_assert(is_filled(ledger, &before));
	ck_assert(is_filled(ledger, &behind));
	ledger_free(ledger);
}
END_TEST

/* Bytes of the ledger that have memory behind them. */
static uint64_t resident(const struct ledger *ledger)
{
	size_t size;
	const uint8_t *bytes = all(ledger, &size);
	size_t pages = ledger_mapped(ledger) / os_memory_page();
	unsigned char *present = calloc(pages, 1);
	uint64_t count = 0;

	ck_assert_ptr_nonnull(present);
	ck_assert_int_eq(
		mincore((void *)(uintptr_t)(bytes - LEDGER_UNIT), ledger_mapped(ledger), present),
		0);
	for (size_t i = 0; i < pages; i++)
		count += present[i] & 1;
	free(present);
	return count * os_memory_page();
}

START_TEST(the_pages_of_large_blocks_go_back_to_the_kernel)
{
	struct ledger *ledger = new_ledger();
	uint64_t offsets[12];

	for (size_t i = 0; i < 12; i++)
		offsets[i] = take_filled(ledger, 4 * MIB);
	ck_assert_uint_ge(resident(ledger), 48 * MIB);
	for (size_t i = 0; i < 12; i++)
		ledger_give(ledger, offsets[i]);
	ck_assert_uint_lt(resident(ledger), MIB);
	ledger_free(ledger);
}
END_TEST

START_TEST(the_pages_of_many_small_blocks_go_back_to_the_kernel)
{
	enum { COUNT = 100000, SIZE = 480 };
	struct ledger *ledger = new_ledger();
	uint64_t *offsets = calloc(COUNT, sizeof(*offsets));

	ck_assert_ptr_nonnull(offsets);
	for (size_t i = 0; i < COUNT; i++)
		offsets[i] = take_filled(ledger, SIZE);
	ck_assert_uint_ge(resident(ledger), 45 * MIB);
	for (size_t i = 0; i < COUNT; i++)
		ledger_give(ledger, offsets[i]);
	ck_assert_uint_lt(resident(ledger), 10 * MIB);
	free(offsets);
	ledger_free(ledger);
}
END_TEST

START_TEST(trimming_keeps_the_beginning_and_frees_the_end)
{
	struct ledger *ledger = new_ledger();
	struct block block = { .offset = take(ledger, 262400), .size = 32800 };

	fill(ledger, &block);
	ledger_trim(ledger, block.offset, block.size);
	ck_assert_uint_eq(ledger_block(ledger, block.offset), 32800);
	ck_assert_uint_eq(ledger_used(ledger), 32800);
	ck_assert(is_filled(ledger, &block));
	/* The end is there for others: four times the whole would not fit into what is mapped. */
	for (int i = 0; i < 3; i++)
		take(ledger, 262400);
	ck_assert_uint_eq(ledger_mapped(ledger), LEDGER_GROWTH_MIN);
	ck_assert(is_filled(ledger, &block));
	ledger_free(ledger);
}
END_TEST

START_TEST(only_the_beginning_of_a_taken_block_is_one)
{
	struct ledger *ledger = new_ledger();
	uint64_t block = take(ledger, 160);
	uint64_t given = take(ledger, 160);

	take(ledger, 160);
	ledger_give(ledger, given);
	ck_assert_uint_eq(ledger_block(ledger, block), 160);
	ck_assert_uint_eq(ledger_block(ledger, given), 0);
	ck_assert_uint_eq(ledger_block(ledger, block + 16), 0);
	ck_assert_uint_eq(ledger_block(ledger, block + 1), 0);
	ck_assert_uint_eq(ledger_block(ledger, 0), 0);
	ck_assert_uint_eq(ledger_block(ledger, ledger_mapped(ledger)), 0);
	ck_assert_uint_eq(ledger_block(ledger, UINT64_MAX - 15), 0);
	ledger_free(ledger);
}
END_TEST

/* Garbage over the links of free blocks, of every kind that could be believed. */
static void overwrite_links(struct ledger *ledger, uint64_t offset, int kind)
{
	uint64_t *links = ledger_at(ledger, offset, 16);

	switch (kind % 5) {
	case 0:
		randombytes_buf(links, 16);
		break;
	case 1: /* itself */
		links[0] = links[1] = offset / LEDGER_UNIT;
		break;
	case 2: /* a unit in the middle of a block */
		links[0] = randombytes_uniform((uint32_t)(ledger_mapped(ledger) / LEDGER_UNIT));
		break;
	case 3: /* the end */
		links[0] = links[1] = 0;
		break;
	default:
		links[1] ^= 1;
		break;
	}
}

START_TEST(an_overwritten_free_list_hands_out_nothing_twice)
{
	struct ledger *ledger = new_ledger();
	struct block blocks[BLOCKS] = { { 0 } };
	uint64_t used = 0;

	for (int i = 0; i < STEPS / 2; i++) {
		struct block *block = &blocks[randombytes_uniform(BLOCKS)];
		uint64_t offset = block->offset;

		step(ledger, block, &used);
		if (offset != 0 && block->offset == 0 && ledger_block(ledger, offset) == 0)
			overwrite_links(ledger, offset, i);
		ck_assert_uint_eq(ledger_used(ledger), used);
	}
	for (int i = 0; i < BLOCKS; i++)
		if (blocks[i].offset != 0)
			ck_assert(is_filled(ledger, &blocks[i]));
	ledger_free(ledger);
}
END_TEST

START_TEST(giving_back_what_is_not_taken_kills)
{
	struct ledger *ledger = new_ledger();
	uint64_t offset = take(ledger, 160);

	ledger_give(ledger, offset);
	ledger_give(ledger, offset);
}
END_TEST

START_TEST(giving_back_the_middle_of_a_block_kills)
{
	struct ledger *ledger = new_ledger();

	ledger_give(ledger, take(ledger, 160) + LEDGER_UNIT);
}
END_TEST

START_TEST(reaching_behind_the_end_kills)
{
	struct ledger *ledger = new_ledger();

	ledger_at(ledger, ledger_mapped(ledger) - 16, 17);
}
END_TEST

START_TEST(reaching_for_nothing_kills)
{
	struct ledger *ledger = new_ledger();

	ledger_at(ledger, 0, 1);
}
END_TEST

START_TEST(a_size_that_no_block_has_is_refused)
{
	struct ledger *ledger = new_ledger();
	uint64_t offset = 7;

	ck_assert_int_eq(ledger_take(ledger, 0, &offset), -EINVAL);
	ck_assert_int_eq(ledger_take(ledger, LEDGER_BLOCK_MAX + 1, &offset), -EINVAL);
	ck_assert_int_eq(ledger_take(ledger, SIZE_MAX, &offset), -EINVAL);
	ck_assert_uint_eq(offset, 7);
	take(ledger, LEDGER_BLOCK_MAX);
	ledger_free(ledger);
}
END_TEST

static uint64_t address_space(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%llu", &pages), 1);
	fclose(file);
	return pages * os_memory_page();
}

static struct rlimit at_most(uint64_t size)
{
	return (struct rlimit){ .rlim_cur = size, .rlim_max = size };
}

/* Takes until nothing is left, then finds everything as it was. */
static size_t use_up(struct ledger *ledger, struct block *blocks, size_t max)
{
	size_t count = 0;
	uint64_t used;
	uint64_t offset = 0;
	int r = 0;

	while (count < max) {
		blocks[count].size = 200000;
		used = ledger_used(ledger);
		r = ledger_take(ledger, blocks[count].size, &blocks[count].offset);
		if (r != 0)
			break;
		fill(ledger, &blocks[count++]);
	}
	ck_assert_int_eq(r, -ENOMEM);
	ck_assert_int_eq(ledger_take(ledger, 200000, &offset), -ENOMEM);
	ck_assert_uint_eq(ledger_used(ledger), used);
	for (size_t i = 0; i < count; i++)
		ck_assert(is_filled(ledger, &blocks[i]));
	return count;
}

START_TEST(when_the_address_space_is_used_up_what_is_there_stays)
{
	static struct block blocks[100000];
	struct ledger *ledger;
	struct rlimit limit;
	size_t count;

	if (UNLIMITED) {
		puts("skipped: the sanitizer needs more address space than any limit");
		return;
	}
	limit = at_most(address_space() + 150 * MIB);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	ledger = new_ledger();
	count = use_up(ledger, blocks, 100000);
	ck_assert_uint_ge(count * 200000, 60 * MIB);
	ck_assert_uint_le(ledger_mapped(ledger), 150 * MIB);
	/* What is given back can be taken again. */
	ledger_give(ledger, blocks[count / 2].offset);
	ck_assert_uint_ne(take(ledger, 200000), 0);
	ledger_free(ledger);
}
END_TEST

START_TEST(when_memory_is_used_up_what_is_there_stays)
{
	static struct block blocks[100000];
	struct ledger *ledger;
	struct rlimit limit;
	size_t count;

	if (UNLIMITED) {
		puts("skipped: the sanitizer needs more memory than any limit");
		return;
	}
	ledger = new_ledger();
	/* Not a power of two: the last doubling is refused, and a smaller step is taken. */
	limit = at_most(100 * MIB);
	ck_assert_int_eq(setrlimit(RLIMIT_DATA, &limit), 0);
	count = use_up(ledger, blocks, 100000);
	ck_assert_uint_ge(count * 200000, 75 * MIB);
	ledger_free(ledger);
}
END_TEST

START_TEST(without_address_space_there_is_no_ledger)
{
	struct ledger *ledger = NULL;
	struct rlimit limit;

	if (UNLIMITED) {
		puts("skipped: the sanitizer needs more address space than any limit");
		return;
	}
	limit = at_most(address_space() + 32 * MIB);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	ck_assert_int_eq(ledger_new(&ledger, ledger_fd), -ENOMEM);
	ck_assert_ptr_null(ledger);
}
END_TEST

/* The flags that the kernel tells of the mapping that holds an address. */
static bool mapping_has(const void *address, const char *flag)
{
	char line[512];
	bool inside = false;
	bool found = false;
	FILE *file = fopen("/proc/self/smaps", "re");

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned long begin;
		unsigned long end;

		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			inside = (uintptr_t)address >= begin && (uintptr_t)address < end;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	fclose(file);
	return found;
}

START_TEST(no_core_file_holds_the_ledger)
{
	struct ledger *ledger = new_ledger();
	uint64_t offset = take(ledger, 10 * MIB);
	int here = 0;

	if (access("/proc/self/smaps", R_OK) < 0) {
		puts("skipped: no /proc to read the mapping's flags from");
		return;
	}
	ck_assert(mapping_has(ledger_at(ledger, offset, 1), " dd"));
	ck_assert(!mapping_has(&here, " dd"));
	ledger_free(ledger);
}
END_TEST

/* -- all together -------------------------------------------------------------------------- */

/* What is claimed of every ledger, wherever it lies. */
static TCase *claims_of(const char *name, void (*set_up)(void))
{
	TCase *claims = tcase_create(name);

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, blocks_never_overlap_and_keep_what_is_in_them);
	tcase_add_test(claims, what_was_given_back_in_pieces_is_whole_again);
	tcase_add_test(claims, growing_moves_nothing_that_is_mapped);
	tcase_add_test(claims, a_little_takes_a_little);
	tcase_add_loop_test(claims, what_is_given_back_is_wiped, 0,
		sizeof(wiped_sizes) / sizeof(wiped_sizes[0]));
	tcase_add_test(claims, the_pages_of_large_blocks_go_back_to_the_kernel);
	tcase_add_test(claims, the_pages_of_many_small_blocks_go_back_to_the_kernel);
	tcase_add_test(claims, trimming_keeps_the_beginning_and_frees_the_end);
	tcase_add_test(claims, only_the_beginning_of_a_taken_block_is_one);
	tcase_add_test(claims, an_overwritten_free_list_hands_out_nothing_twice);
	tcase_add_test_raise_signal(claims, giving_back_what_is_not_taken_kills, SIGABRT);
	tcase_add_test_raise_signal(claims, giving_back_the_middle_of_a_block_kills, SIGABRT);
	tcase_add_test_raise_signal(claims, reaching_behind_the_end_kills, SIGABRT);
	tcase_add_test_raise_signal(claims, reaching_for_nothing_kills, SIGABRT);
	tcase_add_test(claims, a_size_that_no_block_has_is_refused);
	tcase_add_test(claims, when_the_address_space_is_used_up_what_is_there_stays);
	tcase_add_test(claims, without_address_space_there_is_no_ledger);
	tcase_add_test(claims, no_core_file_holds_the_ledger);
	return claims;
}

int main(void)
{
	TCase *memory = claims_of("in memory", in_memory);
	Suite *suite = suite_create("ledger");
	SRunner *runner;
	int failed;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	/* The limit is one of a process's own memory: a file is not. */
	tcase_add_test(memory, when_memory_is_used_up_what_is_there_stays);
	suite_add_tcase(suite, memory);
	suite_add_tcase(suite, claims_of("in a file", in_a_file));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
