/* SPDX-License-Identifier: Apache-2.0 */

/* The answers are included as source, so that memory can be made to run out. */
#include <stddef.h>
#include <stdlib.h>

static void *rationed_calloc(size_t count, size_t size);
static void *rationed_reallocarray(void *old, size_t count, size_t size);

#define calloc rationed_calloc
#define reallocarray rationed_reallocarray
#include "daemon/request/repeat.c"
#undef calloc
#undef reallocarray

#include <check.h>
#include <time.h>

#include "common/bytes.h"
#include "tests/unit/claims.h"

static struct repeats *repeats;

/* Allocations that still succeed; negative: all of them. Bytes asked for are counted. */
static int ration = -1;
static size_t asked;

static bool use_ration(size_t size)
{
	asked += size;
	if (ration == 0)
		return false;
	if (ration > 0)
		ration--;
	return true;
}

static void *rationed_calloc(size_t count, size_t size)
{
	return use_ration(count * size) ? calloc(count, size) : NULL;
}

static void *rationed_reallocarray(void *old, size_t count, size_t size)
{
	return use_ration(count * size) ? reallocarray(old, count, size) : NULL;
}

static void set_up(void)
{
	ck_assert_int_eq(repeats_new(&repeats, NULL, NULL), 0);
}

static void tear_down(void)
{
	repeats_free(repeats);
}

/* The number and the digest of request `i`. */
struct asked {
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[REPEAT_DIGEST_SIZE];
};

static struct asked request(uint64_t i)
{
	struct asked request = { { 0 }, { 0 } };

	bytes_put64(request.number + 3, i);
	bytes_put64(request.digest, ~i);
	return request;
}

static int keep(uint32_t uid, uint64_t i)
{
	struct asked asked_for = request(i);
	struct repeat_answer answer = { .code = (int)(i % 100) - 50, .version = i << 33 | i };

	return repeats_keep(repeats, uid, asked_for.number, asked_for.digest, &answer);
}

/* Whether the first answer to request `i` is still there, and is that one. */
static bool is_kept(uint32_t uid, uint64_t i)
{
	struct asked asked_for = request(i);
	struct repeat_answer answer = { .code = 12345 };
	int r = repeats_find(repeats, uid, asked_for.number, asked_for.digest, &answer);

	if (r == 0)
		return false;
	ck_assert_int_eq(r, 1);
	ck_assert_int_eq(answer.code, (int)(i % 100) - 50);
	ck_assert_uint_eq(answer.version, i << 33 | i);
	return true;
}

START_TEST(a_repeated_number_gets_its_first_answer)
{
	ck_assert(!is_kept(1000, 1));
	ck_assert_int_eq(keep(1000, 1), 0);
	ck_assert(is_kept(1000, 1));
	ck_assert(is_kept(1000, 1));
	ck_assert(!is_kept(1000, 2));
}
END_TEST

START_TEST(the_same_number_for_another_request_is_a_conflict)
{
	struct asked other = request(1);
	struct repeat_answer answer = { .code = 12345 };

	ck_assert_int_eq(keep(1000, 1), 0);
	other.digest[REPEAT_DIGEST_SIZE - 1] ^= 1;
	ck_assert_int_eq(
		repeats_find(repeats, 1000, other.number, other.digest, &answer), STATUS_CONFLICT);
	ck_assert_int_eq(answer.code, 12345);
}
END_TEST

START_TEST(numbers_of_one_user_mean_nothing_for_another)
{
	/* Users whose uids fall into one chain, too. */
	ck_assert_int_eq(keep(1000, 1), 0);
	ck_assert_int_eq(keep(1000 + USER_CHAINS, 2), 0);
	ck_assert(!is_kept(1001, 1));
	ck_assert(!is_kept(1000 + USER_CHAINS, 1));
	ck_assert(!is_kept(1000, 2));
	ck_assert(is_kept(1000 + USER_CHAINS, 2));
}
END_TEST

START_TEST(the_last_thousand_answers_of_a_user_are_kept)
{
	for (uint64_t i = 0; i < 5 * REPEAT_KEPT + 17; i++) {
		ck_assert_int_eq(keep(7, i), 0);
		if (i % 97 != 0)
			continue;
		for (uint64_t at = 0; at <= i; at++)
			ck_assert_int_eq(is_kept(7, at), at + REPEAT_KEPT > i);
	}
}
END_TEST

START_TEST(another_users_flood_pushes_nothing_out)
{
	ck_assert_int_eq(keep(1, 0), 0);
	for (uint64_t i = 0; i < 3 * REPEAT_KEPT; i++)
		ck_assert_int_eq(keep(2, i), 0);
	ck_assert(is_kept(1, 0));
}
END_TEST

START_TEST(a_number_that_is_kept_again_has_one_answer)
{
	struct asked asked_for = request(5);
	struct repeat_answer answer = { .code = 3, .version = 4 };

	ck_assert_int_eq(keep(7, 5), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(
			repeats_keep(repeats, 7, asked_for.number, asked_for.digest, &answer), 0);
	ck_assert_int_eq(repeats_find(repeats, 7, asked_for.number, asked_for.digest, &answer), 1);
	ck_assert_int_eq(answer.code, 3);
	/* It took one place: a thousand minus one others still fit beside it. */
	for (uint64_t i = 100; i < 100 + REPEAT_KEPT - 1; i++)
		ck_assert_int_eq(keep(7, i), 0);
	ck_assert_int_eq(repeats_find(repeats, 7, asked_for.number, asked_for.digest, &answer), 1);
}
END_TEST

static uint64_t dropped;

static void note_drop(void *context, uint64_t place)
{
	(void)context;
	dropped = place;
}

START_TEST(an_answer_that_the_vault_has_moved_is_dropped_where_it_is)
{
	struct asked asked_for = request(1);
	struct repeat_answer answer = { .version = 1, .place = 160 };

	repeats_free(repeats);
	ck_assert_int_eq(repeats_new(&repeats, note_drop, NULL), 0);
	ck_assert(!repeats_moved(repeats, 1000, asked_for.number, 160, 320));
	ck_assert_int_eq(
		repeats_keep(repeats, 1000, asked_for.number, asked_for.digest, &answer), 0);
	/* Another user's, another number's, another place. */
	ck_assert(!repeats_moved(repeats, 1001, asked_for.number, 160, 320));
	ck_assert(!repeats_moved(repeats, 1000, request(2).number, 160, 320));
	ck_assert(!repeats_moved(repeats, 1000, asked_for.number, 176, 320));
	ck_assert(repeats_moved(repeats, 1000, asked_for.number, 160, 320));
	ck_assert(!repeats_moved(repeats, 1000, asked_for.number, 160, 480));
	repeats_clear(repeats);
	ck_assert_uint_eq(dropped, 320);
}
END_TEST

START_TEST(clearing_forgets_every_answer)
{
	for (uint32_t uid = 0; uid < 600; uid++)
		ck_assert_int_eq(keep(uid, uid), 0);
	repeats_clear(repeats);
	for (uint32_t uid = 0; uid < 600; uid++)
		ck_assert(!is_kept(uid, uid));
	ck_assert_int_eq(keep(1, 1), 0);
	ck_assert(is_kept(1, 1));
}
END_TEST

START_TEST(memory_is_bounded_however_many_users_there_are)
{
	/* Ten times as many users as are kept; the first one stays because it keeps asking. */
	for (uint32_t uid = 0; uid < 10 * USERS_MAX; uid++) {
		ck_assert_int_eq(keep(uid, uid), 0);
		ck_assert_int_eq(keep(UINT32_MAX, uid), 0);
		ck_assert_uint_le(repeats->count, USERS_MAX);
	}
	ck_assert(is_kept(UINT32_MAX, 10 * USERS_MAX - 1));
	ck_assert(is_kept(UINT32_MAX, 10 * USERS_MAX - REPEAT_KEPT));
	ck_assert(is_kept(10 * USERS_MAX - 1, 10 * USERS_MAX - 1));
	ck_assert(!is_kept(0, 0));
}
END_TEST

START_TEST(a_user_takes_at_most_64_kib_and_a_silent_one_little)
{
	asked = 0;
	ck_assert_int_eq(keep(7, 0), 0);
	ck_assert_uint_le(asked, 4096);
	for (uint64_t i = 1; i < 4 * REPEAT_KEPT; i++)
		ck_assert_int_eq(keep(7, i), 0);
	ck_assert_uint_le(
		sizeof(struct user) + find_user(repeats, 7)->capacity * sizeof(struct entry),
		65536);
}
END_TEST

START_TEST(without_memory_nothing_is_kept_and_nothing_lost)
{
	size_t refused = 0;

	for (uint64_t i = 0; i < REPEAT_KEPT; i++)
		for (int allowed = 0;; allowed++) {
			int r;

			ration = allowed;
			r = keep(7, i);
			ration = -1;
			if (r == 0)
				break;
			ck_assert_int_eq(r, -ENOMEM);
			refused++;
			for (uint64_t at = 0; at <= i; at++)
				ck_assert_int_eq(is_kept(7, at), at < i);
		}
	ck_assert_uint_ge(refused, 8);
	ration = 0;
	{
		struct repeats *none = NULL;

		ck_assert_int_eq(repeats_new(&none, NULL, NULL), -ENOMEM);
		ck_assert_ptr_null(none);
	}
	ration = -1;
}
END_TEST

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Seconds that 20,000 look-ups take with so many answers kept. */
static double cost(uint32_t uid, uint64_t kept)
{
	struct repeat_answer answer;
	struct asked asked_for;
	double begin;

	for (uint64_t i = 0; i < kept; i++)
		ck_assert_int_eq(keep(uid, i), 0);
	begin = seconds();
	for (uint64_t i = 0; i < 20000; i++) {
		asked_for = request(i % kept);
		if (repeats_find(repeats, uid, asked_for.number, asked_for.digest, &answer) != 1)
			ck_abort_msg("an answer is missing");
	}
	return seconds() - begin;
}

START_TEST(looking_up_among_a_thousand_costs_what_it_costs_among_ten)
{
	double few = cost(1, 10);
	double many = cost(2, REPEAT_KEPT);

	/* Going through all of them would cost fifty times as much. */
	ck_assert(many < 10 * few + 0.001);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("repeat");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, a_repeated_number_gets_its_first_answer);
	tcase_add_test(claims, the_same_number_for_another_request_is_a_conflict);
	tcase_add_test(claims, numbers_of_one_user_mean_nothing_for_another);
	tcase_add_test(claims, the_last_thousand_answers_of_a_user_are_kept);
	tcase_add_test(claims, another_users_flood_pushes_nothing_out);
	tcase_add_test(claims, a_number_that_is_kept_again_has_one_answer);
	tcase_add_test(claims, an_answer_that_the_vault_has_moved_is_dropped_where_it_is);
	tcase_add_test(claims, clearing_forgets_every_answer);
	tcase_add_test(claims, memory_is_bounded_however_many_users_there_are);
	tcase_add_test(claims, a_user_takes_at_most_64_kib_and_a_silent_one_little);
	tcase_add_test(claims, without_memory_nothing_is_kept_and_nothing_lost);
	tcase_add_test(claims, looking_up_among_a_thousand_costs_what_it_costs_among_ten);
	return claims_run(claims, "repeat");
}
