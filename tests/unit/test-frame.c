/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "common/wire/frame.h"
#include "tests/unit/claims.h"

static uint8_t bytes[FRAME_SIZE_MAX + 16];

static int64_t size_of(uint32_t sealed, uint32_t chunks)
{
	bytes_put32(bytes, sealed);
	bytes_put32(bytes + 4, chunks);
	return frame_size(span_of(bytes, FRAME_HEADER_SIZE));
}

START_TEST(a_length_of_nothing_is_refused)
{
	ck_assert_int_eq(size_of(0, 0), -EPROTO);
	ck_assert_int_eq(size_of(18, 0), -EPROTO);
	ck_assert_int_eq(size_of(19, 0), 8 + 19);
}
END_TEST

START_TEST(a_length_too_long_is_refused_before_memory_is_taken)
{
	ck_assert_int_eq(size_of(FRAME_SEALED_MAX, FRAME_CHUNKS_MAX), FRAME_SIZE_MAX);
	ck_assert_int_eq(size_of(FRAME_SEALED_MAX + 1, 0), -EPROTO);
	ck_assert_int_eq(size_of(FRAME_SEALED_MAX, FRAME_CHUNKS_MAX + 1), -EPROTO);
	ck_assert_int_eq(size_of(UINT32_MAX, UINT32_MAX), -EPROTO);
}
END_TEST

START_TEST(a_header_that_is_not_whole_says_nothing)
{
	memset(bytes, 0xff, sizeof(bytes));
	for (size_t i = 0; i < FRAME_HEADER_SIZE; i++)
		ck_assert_int_eq(frame_size(span_of(bytes, i)), 0);
}
END_TEST

START_TEST(two_frames_in_a_row_come_apart_at_their_borders)
{
	struct span input = span_of(bytes, 2 * 8 + 20 + 100 + 19);
	struct frame frame;

	frame_header_write(bytes, 20, 100);
	frame_header_write(bytes + 8 + 120, 19, 0);
	ck_assert_int_eq(frame_next(&frame, &input), 1);
	ck_assert_ptr_eq(frame.header.data, bytes);
	ck_assert_ptr_eq(frame.sealed.data, bytes + 8);
	ck_assert_uint_eq(frame.sealed.size, 20);
	ck_assert_ptr_eq(frame.chunks.data, bytes + 28);
	ck_assert_uint_eq(frame.chunks.size, 100);
	ck_assert_int_eq(frame_next(&frame, &input), 1);
	ck_assert_uint_eq(frame.sealed.size, 19);
	ck_assert_uint_eq(frame.chunks.size, 0);
	ck_assert_uint_eq(input.size, 0);
	ck_assert_int_eq(frame_next(&frame, &input), 0);
}
END_TEST

START_TEST(a_frame_that_lacks_one_byte_stays_where_it_is)
{
	struct span input = span_of(bytes, 8 + 20 + 16);
	struct frame frame;

	frame_header_write(bytes, 20, 17);
	ck_assert_int_eq(frame_next(&frame, &input), 0);
	ck_assert_ptr_eq(input.data, bytes);
	input.size++;
	ck_assert_int_eq(frame_next(&frame, &input), 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("frame");

	tcase_add_test(claims, a_length_of_nothing_is_refused);
	tcase_add_test(claims, a_length_too_long_is_refused_before_memory_is_taken);
	tcase_add_test(claims, a_header_that_is_not_whole_says_nothing);
	tcase_add_test(claims, two_frames_in_a_row_come_apart_at_their_borders);
	tcase_add_test(claims, a_frame_that_lacks_one_byte_stays_where_it_is);
	return claims_run(claims, "frame");
}
