/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/workbench.h"

#include <check.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 4096
#define MARGIN 64
#define MARK 0xc3
#define FILL 0x5a

/* The bench's memory in the middle of marked bytes. */
static struct {
	uint8_t before[MARGIN];
	_Alignas(16) uint8_t bench[SIZE];
	uint8_t behind[MARGIN];
} memory;

static struct guard guard;
static struct workbench bench;

static void set_up_size(size_t size)
{
	memset(&memory, MARK, sizeof(memory));
	guard_init(&guard);
	workbench_init(&bench, memory.bench, size, &guard);
}

static void set_up(void)
{
	set_up_size(SIZE);
}

static bool all_are(const uint8_t *bytes, size_t size, uint8_t value)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

static uint8_t *take(size_t size)
{
	uint8_t *object = workbench_take(&bench, size);

	ck_assert_ptr_nonnull(object);
	return object;
}

START_TEST(what_is_taken_is_zero_aligned_and_apart)
{
	uint8_t *objects[20];

	for (size_t i = 0; i < 20; i++) {
		objects[i] = take(i * 3);
		ck_assert_uint_eq((uintptr_t)objects[i] % 16, 0);
		ck_assert(all_are(objects[i], i * 3, 0));
		memset(objects[i], (int)i + 1, i * 3);
	}
	for (size_t i = 0; i < 20; i++)
		ck_assert(all_are(objects[i], i * 3, (uint8_t)(i + 1)));
	workbench_wipe(&bench);
}
END_TEST

START_TEST(the_bench_lies_in_its_memory_and_nowhere_else)
{
	while (workbench_room(&bench) > 0) {
		size_t size = workbench_room(&bench) < 100 ? workbench_room(&bench) : 100;
		uint8_t *object = take(size);

		ck_assert(object >= memory.bench);
		ck_assert(object + size <= memory.bench + SIZE);
		memset(object, FILL, size);
	}
	workbench_wipe(&bench);
	ck_assert(all_are(memory.before, MARGIN, MARK));
	ck_assert(all_are(memory.behind, MARGIN, MARK));
}
END_TEST

START_TEST(the_room_that_is_told_can_be_had_and_not_a_byte_more)
{
	size_t room = workbench_room(&bench);

	ck_assert_ptr_null(workbench_take(&bench, room + 1));
	ck_assert_uint_eq(workbench_room(&bench), room);
	memset(take(room), FILL, room);
	ck_assert_uint_eq(workbench_room(&bench), 0);
	ck_assert_ptr_null(workbench_take(&bench, 1));
	workbench_release(&bench, 0);
	ck_assert_uint_eq(workbench_room(&bench), room);
}
END_TEST

START_TEST(sizes_that_overflow_give_null)
{
	ck_assert_ptr_null(workbench_take(&bench, SIZE_MAX));
	ck_assert_ptr_null(workbench_take(&bench, SIZE_MAX - 15));
	ck_assert_ptr_null(workbench_take(&bench, SIZE_MAX - 63));
	ck_assert_ptr_null(workbench_take(&bench, SIZE_MAX / 2));
	ck_assert_ptr_null(workbench_take(&bench, SIZE));
	ck_assert_ptr_nonnull(workbench_take(&bench, 16));
	workbench_wipe(&bench);
}
END_TEST

/* Whatever the bench's size, taking nothing until there is no more never leaves it. */
START_TEST(taking_nothing_from_a_full_bench_gives_null)
{
	for (size_t size = 0; size < 200; size++) {
		set_up_size(size);
		while (workbench_take(&bench, 0))
			ck_assert_uint_le(bench.used, size);
		ck_assert_uint_le(bench.used, size);
		ck_assert(all_are(memory.bench + size, SIZE - size, MARK));
		workbench_wipe(&bench);
	}
}
END_TEST

START_TEST(released_memory_is_zero_and_what_was_before_the_mark_stays)
{
	uint8_t *kept = take(40);
	size_t mark;
	uint8_t *gone;

	memset(kept, FILL, 40);
	mark = workbench_mark(&bench);
	gone = take(100);
	memset(gone, FILL, 100);
	memset(take(7), FILL, 7);
	workbench_release(&bench, mark);
	ck_assert_uint_eq(workbench_mark(&bench), mark);
	ck_assert(all_are(memory.bench + mark, SIZE - mark, 0));
	ck_assert(all_are(kept, 40, FILL));
	ck_assert_ptr_eq(take(100), gone);
	ck_assert(all_are(gone, 100, 0));
	workbench_wipe(&bench);
}
END_TEST

START_TEST(marks_nest)
{
	size_t outer = workbench_mark(&bench);
	size_t inner;

	take(10);
	inner = workbench_mark(&bench);
	take(20);
	take(30);
	workbench_release(&bench, inner);
	take(5);
	workbench_release(&bench, outer);
	ck_assert_uint_eq(workbench_mark(&bench), outer);
	ck_assert(all_are(memory.bench, SIZE, 0));
	workbench_release(&bench, outer);
}
END_TEST

START_TEST(wiping_leaves_nothing_but_zeros_and_all_the_room)
{
	size_t room = workbench_room(&bench);

	for (int i = 0; i < 8; i++)
		memset(take(200), FILL, 200);
	ck_assert(!all_are(memory.bench, SIZE, 0));
	workbench_wipe(&bench);
	ck_assert(all_are(memory.bench, SIZE, 0));
	ck_assert_uint_eq(workbench_room(&bench), room);
	ck_assert_uint_eq(bench.used, 0);
}
END_TEST

START_TEST(an_overrun_ends_the_process)
{
	uint8_t *object = take(24);

	object[24] ^= 1;
	if (_i == 0)
		workbench_release(&bench, 0);
	else
		workbench_wipe(&bench);
}
END_TEST

START_TEST(an_underrun_ends_the_process)
{
	uint8_t *object = take(24);

	object[-1] ^= 1;
	workbench_wipe(&bench);
}
END_TEST

START_TEST(an_overrun_of_an_older_object_is_found_too)
{
	uint8_t *older = take(24);

	take(8);
	take(0);
	older[24] ^= 1;
	workbench_wipe(&bench);
}
END_TEST

/* A long write that forges the note behind it, so that the way back leads around the object. */
START_TEST(a_forged_way_around_a_broken_canary_ends_the_process)
{
	uint8_t *broken;
	uint8_t *newest;
	uint64_t *note;

	take(16);
	broken = take(16);
	newest = take(16);
	note = (uint64_t *)(void *)(newest - GUARD_SIZE - 16);
	if (note[0] != 16 || note[1] >= (uint64_t)(broken - memory.bench))
		exit(EXIT_FAILURE);
	broken[16] ^= 1;
	note[1] = _i == 0 ? 0 : UINT64_MAX;
	workbench_wipe(&bench);
}
END_TEST

START_TEST(a_forged_size_ends_the_process)
{
	static const uint64_t sizes[] = { 0, 32, SIZE, UINT64_MAX, UINT64_MAX - 15 };
	uint8_t *object = take(16);

	((uint64_t *)(void *)(object - GUARD_SIZE - 16))[0] = sizes[_i];
	workbench_wipe(&bench);
}
END_TEST

/* -- for whoever serves many --------------------------------------------------------------- */

static void break_tail(uint8_t *object)
{
	object[100] ^= 1;
}

static void break_front(uint8_t *object)
{
	object[-1] ^= 1;
}

static void (*const breaks[])(uint8_t *) = { break_tail, break_front };

START_TEST(a_bench_that_survives_wipes_everything_and_gives_nothing_until_it_is_mended)
{
	size_t mark;
	uint8_t *older;
	uint8_t *object;

	workbench_survive(&bench);
	older = workbench_take(&bench, 100);
	memset(older, FILL, 100);
	mark = workbench_mark(&bench);
	object = workbench_take(&bench, 100);
	memset(object, FILL, 100);
	breaks[_i % 2](object);
	ck_assert(!workbench_is_broken(&bench));
	if (_i < 2)
		workbench_release(&bench, mark);
	else if (_i < 4)
		workbench_wipe(&bench);
	else
		workbench_shrink(&bench, object, 10);
	ck_assert(workbench_is_broken(&bench));
	ck_assert(all_are(memory.bench, SIZE, 0));
	ck_assert_ptr_null(workbench_take(&bench, 1));
	/* Whoever does not know yet goes on, to no effect. */
	object[0] = FILL;
	workbench_shrink(&bench, object, 1);
	workbench_release(&bench, mark);
	workbench_wipe(&bench);
	ck_assert(workbench_mend(&bench));
	ck_assert(all_are(memory.bench, SIZE, 0));
	ck_assert(!workbench_mend(&bench));
	ck_assert(!workbench_is_broken(&bench));
	object = workbench_take(&bench, 200);
	ck_assert_ptr_nonnull(object);
	memset(object, FILL, 200);
	workbench_wipe(&bench);
	ck_assert(!workbench_is_broken(&bench));
	ck_assert(all_are(memory.before, MARGIN, MARK) && all_are(memory.behind, MARGIN, MARK));
}
END_TEST

static TCase *bench_case(void)
{
	TCase *tc = tcase_create("bench");

	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_add_test(tc, what_is_taken_is_zero_aligned_and_apart);
	tcase_add_test(tc, the_bench_lies_in_its_memory_and_nowhere_else);
	tcase_add_test(tc, the_room_that_is_told_can_be_had_and_not_a_byte_more);
	tcase_add_test(tc, sizes_that_overflow_give_null);
	tcase_add_test(tc, taking_nothing_from_a_full_bench_gives_null);
	tcase_add_test(tc, released_memory_is_zero_and_what_was_before_the_mark_stays);
	tcase_add_test(tc, marks_nest);
	tcase_add_test(tc, wiping_leaves_nothing_but_zeros_and_all_the_room);
	tcase_add_loop_test_raise_signal(tc, an_overrun_ends_the_process, SIGABRT, 0, 2);
	tcase_add_test_raise_signal(tc, an_underrun_ends_the_process, SIGABRT);
	tcase_add_loop_test(tc,
		a_bench_that_survives_wipes_everything_and_gives_nothing_until_it_is_mended, 0, 6);
	tcase_add_test_raise_signal(tc, an_overrun_of_an_older_object_is_found_too, SIGABRT);
	tcase_add_loop_test_raise_signal(
		tc, a_forged_way_around_a_broken_canary_ends_the_process, SIGABRT, 0, 2);
	tcase_add_loop_test_raise_signal(tc, a_forged_size_ends_the_process, SIGABRT, 0, 5);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("workbench");
	SRunner *runner;
	int failed;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	suite_add_tcase(suite, bench_case());
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
