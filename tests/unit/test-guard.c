/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/guard.h"

#include <check.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/claims.h"

#define SIZE_END 65 /* sizes 0 to 64 */
#define MARGIN 32   /* bytes around a slot that must stay as they are */
#define MARK 0xc3
#define ROOM (MARGIN + SIZE_END + 64 + MARGIN)

static struct guard guard;

/* An armed object of `size` bytes in the middle of marked bytes. */
static uint8_t *arm(uint8_t *memory, size_t size)
{
	memset(memory, MARK, ROOM);
	guard_init(&guard);
	return guard_arm(&guard, memory + MARGIN, size);
}

/* In one process: nobody here dies, and each process is looked through for leaks at its end. */
static void each_size(void (*check)(size_t size))
{
	for (size_t size = 0; size < SIZE_END; size++)
		check(size);
}

START_TEST(a_span_is_a_multiple_of_16_with_room_for_both_canaries)
{
	for (size_t size = 0; size < SIZE_END; size++) {
		ck_assert_uint_eq(guard_span(size) % 16, 0);
		ck_assert_uint_ge(guard_span(size), size + 2 * (size_t)GUARD_SIZE);
		ck_assert_uint_lt(guard_span(size), size + 2 * (size_t)GUARD_SIZE + 16);
	}
}
END_TEST

static void check_margins(size_t size)
{
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, size);

	ck_assert_ptr_eq(object, memory + MARGIN + GUARD_SIZE);
	for (size_t i = 0; i < MARGIN; i++) {
		ck_assert_uint_eq(memory[i], MARK);
		ck_assert_uint_eq(memory[MARGIN + guard_span(size) + i], MARK);
	}
}

START_TEST(an_object_begins_behind_its_canary_and_nothing_is_written_beyond_the_span)
{
	each_size(check_margins);
}
END_TEST

static void write_itself(size_t size)
{
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, size);

	ck_assert(guard_intact(&guard, object, size));
	memset(object, 0xff, size);
	ck_assert(guard_intact(&guard, object, size));
	randombytes_buf(object, size);
	guard_check(&guard, object, size);
}

START_TEST(writing_the_object_itself_breaks_nothing)
{
	each_size(write_itself);
}
END_TEST

static void change_each_bit_before(size_t size)
{
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, size);

	for (size_t back = 1; back <= GUARD_SIZE; back++) {
		for (int bit = 0; bit < 8; bit++) {
			object[-(ptrdiff_t)back] ^= (uint8_t)(1 << bit);
			ck_assert(!guard_intact(&guard, object, size));
			object[-(ptrdiff_t)back] ^= (uint8_t)(1 << bit);
		}
	}
	ck_assert(guard_intact(&guard, object, size));
}

START_TEST(each_byte_before_the_object_counts)
{
	each_size(change_each_bit_before);
}
END_TEST

/* All of them: the canary, and its beginning again as far as the rounding goes. */
static void change_each_bit_behind(size_t size)
{
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, size);
	size_t behind = guard_span(size) - GUARD_SIZE - size;

	ck_assert_uint_ge(behind, GUARD_SIZE);
	for (size_t i = 0; i < behind; i++) {
		for (int bit = 0; bit < 8; bit++) {
			object[size + i] ^= (uint8_t)(1 << bit);
			ck_assert(!guard_intact(&guard, object, size));
			object[size + i] ^= (uint8_t)(1 << bit);
		}
	}
	ck_assert(guard_intact(&guard, object, size));
}

START_TEST(each_byte_behind_the_object_counts)
{
	each_size(change_each_bit_behind);
}
END_TEST

static void change_the_neighbours(size_t size)
{
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, size);

	memory[MARGIN - 1] ^= 1;
	memory[MARGIN + guard_span(size)] ^= 1;
	ck_assert(guard_intact(&guard, object, size));
}

START_TEST(a_byte_outside_the_span_does_not_count)
{
	each_size(change_the_neighbours);
}
END_TEST

START_TEST(every_canary_is_another)
{
	struct guard other;
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, 32);

	guard_init(&other);
	ck_assert_mem_ne(guard.canary, other.canary, GUARD_SIZE);
	ck_assert(!sodium_is_zero(other.canary, GUARD_SIZE));
	ck_assert(!guard_intact(&other, object, 32));
}
END_TEST

START_TEST(one_byte_before_ends_the_process)
{
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, 32);

	object[-1] ^= 1;
	guard_check(&guard, object, 32);
}
END_TEST

START_TEST(one_byte_behind_ends_the_process)
{
	uint8_t memory[ROOM];
	uint8_t *object = arm(memory, 31);

	object[31] ^= 1;
	guard_check(&guard, object, 31);
}
END_TEST

static TCase *guard_case(void)
{
	TCase *tc = tcase_create("canaries");

	tcase_add_test(tc, a_span_is_a_multiple_of_16_with_room_for_both_canaries);
	tcase_add_test(
		tc, an_object_begins_behind_its_canary_and_nothing_is_written_beyond_the_span);
	tcase_add_test(tc, writing_the_object_itself_breaks_nothing);
	tcase_add_test(tc, each_byte_before_the_object_counts);
	tcase_add_test(tc, each_byte_behind_the_object_counts);
	tcase_add_test(tc, a_byte_outside_the_span_does_not_count);
	tcase_add_test(tc, every_canary_is_another);
	tcase_add_test_raise_signal(tc, one_byte_before_ends_the_process, SIGABRT);
	tcase_add_test_raise_signal(tc, one_byte_behind_ends_the_process, SIGABRT);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("guard");
	SRunner *runner;
	int failed;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	suite_add_tcase(suite, guard_case());
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
