/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/backlog.h"

#include <check.h>

#include "tests/unit/claims.h"

/* What was read and not served: bytes stay in order, whatever is taken and whatever comes. */

static uint8_t bytes[1000];

static void fill(void)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
}

START_TEST(what_is_left_is_the_end_of_what_was_there)
{
	struct backlog backlog = { 0 };
	const uint8_t *first;
	struct span rest;

	fill();
	ck_assert_int_eq(backlog_keep(&backlog, span_of(bytes, 1000)), 0);
	first = backlog.bytes;
	/* Piece by piece: it is copied only where most of it has gone. */
	for (size_t left = 1000; left >= 500; left -= 100) {
		rest = backlog_span(&backlog);
		ck_assert_int_eq(
			backlog_keep(&backlog, span_of(rest.data + (rest.size - left), left)), 0);
		ck_assert_mem_eq(backlog_span(&backlog).data, bytes + 1000 - left, left);
		ck_assert_uint_eq(backlog.size, left);
		ck_assert_ptr_eq(backlog.bytes, first);
	}
	rest = backlog_span(&backlog);
	ck_assert_int_eq(backlog_keep(&backlog, span_of(rest.data + 1, rest.size - 1)), 0);
	ck_assert_uint_eq(backlog.served, 0);
	ck_assert_mem_eq(backlog_span(&backlog).data, bytes + 501, 499);
	ck_assert_int_eq(backlog_keep(&backlog, span_of(NULL, 0)), 0);
	ck_assert_ptr_null(backlog.bytes);
	ck_assert_uint_eq(backlog_span(&backlog).size, 0);
}
END_TEST

START_TEST(what_comes_goes_behind_it)
{
	struct backlog backlog = { 0 };
	struct span more = span_of(bytes, 300);
	struct span rest;

	fill();
	/* Nothing is there: it stays where it is. */
	ck_assert_int_eq(backlog_join(&backlog, &more), 0);
	ck_assert_ptr_eq(more.data, bytes);
	ck_assert_int_eq(backlog_keep(&backlog, more), 0);
	rest = backlog_span(&backlog);
	ck_assert_int_eq(backlog_keep(&backlog, span_of(rest.data + 100, 200)), 0);
	more = span_of(bytes + 300, 700);
	ck_assert_int_eq(backlog_join(&backlog, &more), 0);
	ck_assert_uint_eq(more.size, 900);
	ck_assert_mem_eq(more.data, bytes + 100, 900);
	ck_assert_uint_eq(backlog_span(&backlog).size, 900);
	/* The whole of it once more changes nothing. */
	ck_assert_int_eq(backlog_keep(&backlog, more), 0);
	ck_assert_mem_eq(backlog_span(&backlog).data, bytes + 100, 900);
	backlog_finish(&backlog);
	ck_assert_uint_eq(backlog_span(&backlog).size, 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("backlog");

	tcase_add_test(claims, what_is_left_is_the_end_of_what_was_there);
	tcase_add_test(claims, what_comes_goes_behind_it);
	return claims_run(claims, "backlog");
}
