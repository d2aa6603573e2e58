/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ledger/bitmap.h"

#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/claims.h"

#define BITS 5000 /* more than a word of the summary stands for */

/* The same, told by a byte each. */
static uint8_t told[BITS];
static struct bitmap map;

static void set_up(void)
{
	memset(told, 0, sizeof(told));
	ck_assert_int_eq(bitmap_widen(&map, 0, BITS), 0);
}

static void tear_down(void)
{
	bitmap_finish(&map);
}

static uint64_t first_told(uint8_t bit, uint64_t from, uint64_t end)
{
	while (from < end && told[from] != bit)
		from++;
	return from < end ? from : end;
}

static void check_from(uint64_t from, uint64_t end)
{
	ck_assert_uint_eq(bitmap_after(&map, from, end), first_told(1, from, end));
	ck_assert_uint_eq(bitmap_gap(&map, from, end), first_told(0, from, end));
}

static void check_all(void)
{
	size_t other = 0;

	/* Counted: an assertion costs a hundred times what it looks at. */
	for (uint64_t at = 0; at < BITS; at++)
		other += bitmap_get(&map, at) != (told[at] != 0);
	ck_assert_uint_eq(other, 0);
	for (uint64_t from = 0; from < BITS; from += 1 + randombytes_uniform(40)) {
		check_from(from, BITS);
		check_from(from, from + randombytes_uniform((uint32_t)(BITS - from) + 1));
	}
	/* An end before the beginning is one. */
	ck_assert_uint_eq(bitmap_gap(&map, 10, 10), 10);
	ck_assert_uint_eq(bitmap_gap(&map, 10, 5), 5);
}

static void fill(uint64_t from, uint64_t end)
{
	bitmap_fill(&map, from, end);
	memset(told + from, 1, end > from ? end - from : 0);
}

START_TEST(a_run_is_filled_and_its_neighbours_are_not)
{
	static const uint64_t edges[] = { 0, 1, 63, 64, 65, 127, 128, 4095, 4096, 4097, BITS };
	enum { EDGES = sizeof(edges) / sizeof(edges[0]) };

	for (size_t i = 0; i < EDGES; i++)
		for (size_t j = i; j < EDGES; j++) {
			fill(edges[i], edges[j]);
			check_all();
			tear_down();
			set_up();
		}
}
END_TEST

START_TEST(gaps_and_bits_are_found_among_many)
{
	for (int i = 0; i < 100; i++) {
		uint64_t from = randombytes_uniform(BITS);
		uint64_t one = randombytes_uniform(BITS);

		fill(from, from + randombytes_uniform((uint32_t)(BITS - from) / 8 + 1));
		bitmap_clear(&map, one);
		told[one] = 0;
		check_all();
	}
}
END_TEST

START_TEST(a_full_map_has_no_gap)
{
	fill(0, BITS);
	ck_assert_uint_eq(bitmap_gap(&map, 0, BITS), BITS);
	ck_assert_uint_eq(bitmap_gap(&map, BITS - 1, BITS), BITS);
	bitmap_clear(&map, BITS - 1);
	ck_assert_uint_eq(bitmap_gap(&map, 0, BITS), BITS - 1);
	/* Room that was made is empty, and nothing that was there is lost. */
	ck_assert_int_eq(bitmap_widen(&map, BITS, 4 * BITS), 0);
	ck_assert_uint_eq(bitmap_gap(&map, 0, 4 * BITS), BITS - 1);
	ck_assert_uint_eq(bitmap_after(&map, BITS - 1, 4 * BITS), 4 * BITS);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("bitmap");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_run_is_filled_and_its_neighbours_are_not);
	tcase_add_test(claims, gaps_and_bits_are_found_among_many);
	tcase_add_test(claims, a_full_map_has_no_gap);
	return claims_run(claims, "a bitmap");
}
