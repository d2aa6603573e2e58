/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/quantity.h"

#include <check.h>

#include "tests/unit/claims.h"

static const struct unit units[] = { { "", 1 }, { "k", 1024 }, { "ms", 1 }, { "g", 1 << 30 } };

static const struct {
	const char *text;
	uint64_t number; /* 0: it is none */
} quantities[] = { { "1", 1 }, { "0010", 10 }, { "64k", 65536 }, { "500ms", 500 },
	{ "17179869183g", 17179869183ull << 30 }, { "17179869184g", 0 },
	{ "18446744073709551615", UINT64_MAX }, { "18446744073709551616", 0 }, { "0", 0 },
	{ "", 0 }, { "k", 0 }, { " 1", 0 }, { "1 ", 0 }, { "+1", 0 }, { "-1", 0 }, { "0x10", 0 },
	{ "1K", 0 }, { "1kk", 0 }, { "1.5k", 0 }, { "1m", 0 } };

START_TEST(a_quantity_is_digits_and_a_unit)
{
	ck_assert_uint_eq(quantity_read(quantities[_i].text, units, sizeof(units) / sizeof(*units)),
		quantities[_i].number);
}
END_TEST

START_TEST(a_quantity_that_needs_its_unit_is_none_without)
{
	ck_assert_uint_eq(quantity_read("5", units + 1, 2), 0);
	ck_assert_uint_eq(quantity_read("5ms", units + 1, 2), 5);
	ck_assert_uint_eq(quantity_read("5", units, 0), 0);
}
END_TEST

static const struct {
	const char *text;
	int64_t id; /* -1: it is none */
} ids[] = { { "0", 0 }, { "1000", 1000 }, { "4294967294", 4294967294 }, { "4294967295", -1 },
	{ "4294967296", -1 }, { "18446744073709551616", -1 }, { "", -1 }, { "-1", -1 },
	{ " 1", -1 }, { "1 ", -1 }, { "+1", -1 }, { "1k", -1 }, { "root", -1 } };

START_TEST(the_number_of_a_user_is_never_the_one_for_none)
{
	uint32_t id = 77;
	bool is_one = quantity_read_id(ids[_i].text, &id);

	ck_assert(is_one == (ids[_i].id >= 0));
	ck_assert_uint_eq(id, is_one ? (uint32_t)ids[_i].id : 77);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("quantity");

	tcase_add_loop_test(claims, a_quantity_is_digits_and_a_unit, 0,
		(int)(sizeof(quantities) / sizeof(*quantities)));
	tcase_add_test(claims, a_quantity_that_needs_its_unit_is_none_without);
	tcase_add_loop_test(claims, the_number_of_a_user_is_never_the_one_for_none, 0,
		(int)(sizeof(ids) / sizeof(*ids)));
	return claims_run(claims, "quantities");
}
