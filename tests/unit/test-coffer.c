/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/coffer_rig.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REMASKS 1000
#define KILLS 300

static const size_t prekeys[] = { 512, 1024, PREKEY_MAX };

/* -- masters and parts --------------------------------------------------------------------- */

START_TEST(masters_are_random_and_independent)
{
	struct masters first = masters_of(&coffer);
	struct masters second;

	ck_assert(!sodium_is_zero(first.bytes[COFFER_VAULT], COFFER_KEY_SIZE));
	ck_assert(!sodium_is_zero(first.bytes[COFFER_CHANNEL], COFFER_KEY_SIZE));
	ck_assert_mem_ne(first.bytes[COFFER_VAULT], first.bytes[COFFER_CHANNEL], COFFER_KEY_SIZE);
	set_up();
	second = masters_of(&coffer);
	ck_assert(!same(&first, &second, COFFER_VAULT));
	ck_assert(!same(&first, &second, COFFER_CHANNEL));
}
END_TEST

START_TEST(masters_stay_and_both_parts_change_over_a_thousand_remasks)
{
	uint8_t left[LEFT_SIZE];
	uint8_t right[PREKEY_MAX];
	size_t prekey = prekeys[_i];
	struct masters before;

	set_up_in(keys, prekey);
	before = masters_of(&coffer);
	for (int i = 0; i < REMASKS; i++) {
		struct masters now;

		memcpy(left, left_of(&coffer, current(&coffer)), LEFT_SIZE);
		memcpy(right, right_of(&coffer, current(&coffer)), prekey);
		coffer_remask(&coffer);
		ck_assert_mem_ne(left, left_of(&coffer, current(&coffer)), LEFT_SIZE);
		/* Every 16 bytes of the pre-key are new, not only some. */
		for (size_t at = 0; at < prekey; at += 16)
			ck_assert_mem_ne(right + at, right_of(&coffer, current(&coffer)) + at, 16);
		now = masters_of(&coffer);
		ck_assert_mem_eq(&now, &before, sizeof(now));
	}
}
END_TEST

/* The construction, told a second time: BLAKE2b-512 of the whole pre-key masks both masters. */
START_TEST(left_is_the_masters_under_the_hash_of_the_prekey)
{
	size_t prekey = prekeys[_i];
	struct masters masters;
	uint8_t mask[64];

	set_up_in(keys, prekey);
	masters = masters_of(&coffer);
	ck_assert_int_eq(crypto_generichash_blake2b(mask, 64, keys + prekey, prekey, NULL, 0), 0);
	for (size_t i = 0; i < 64; i++)
		ck_assert_uint_eq(left_of(&coffer, 0)[i] ^ mask[i],
			masters.bytes[i / COFFER_KEY_SIZE][i % COFFER_KEY_SIZE]);
}
END_TEST

START_TEST(no_bit_of_the_prekey_is_idle)
{
	struct masters before = masters_of(&coffer);
	uint8_t *right = right_of(&coffer, current(&coffer));

	for (size_t at = 0; at < PREKEY_MAX; at += 127) {
		struct masters now;

		right[at] ^= 1;
		now = masters_of(&coffer);
		right[at] ^= 1;
		ck_assert(!same(&now, &before, COFFER_VAULT));
		ck_assert(!same(&now, &before, COFFER_CHANNEL));
	}
}
END_TEST

START_TEST(no_master_lies_anywhere_at_rest)
{
	struct masters masters = masters_of(&coffer);

	for (int i = 0; i < 20; i++) {
		ck_assert(!holds_a_window(keys, sizeof(keys), &masters));
		ck_assert(!holds_a_window(view, sizeof(view), &masters));
		ck_assert(!holds_a_window((const uint8_t *)&coffer, sizeof(coffer), &masters));
		coffer_remask(&coffer);
	}
	/* The control: while it is viewed, the same search finds it, and still not in the keys. */
	ck_assert_ptr_nonnull(coffer_ledger_key(&coffer));
	ck_assert(holds(view, sizeof(view), (const uint8_t *)&masters, sizeof(masters)));
	ck_assert(!holds_a_window(keys, sizeof(keys), &masters));
	coffer_forget(&coffer);
	ck_assert(!holds_a_window(view, sizeof(view), &masters));
	ck_assert(sodium_is_zero((const uint8_t *)coffer.view, sizeof(*coffer.view)));
}
END_TEST

START_TEST(the_older_generation_is_zero_after_a_remask)
{
	for (int i = 0; i < 5; i++) {
		uint32_t now = current(&coffer);

		ck_assert(!sodium_is_zero(left_of(&coffer, now), LEFT_SIZE));
		ck_assert(!sodium_is_zero(right_of(&coffer, now), PREKEY_MAX));
		if (i % 2 == 0)
			coffer_remask(&coffer);
		else
			coffer_replace(&coffer, COFFER_VAULT);
		ck_assert_uint_eq(current(&coffer), !now);
		ck_assert(sodium_is_zero(left_of(&coffer, now), LEFT_SIZE));
		ck_assert(sodium_is_zero(right_of(&coffer, now), PREKEY_MAX));
	}
}
END_TEST

/* -- views --------------------------------------------------------------------------------- */

START_TEST(a_view_is_shared_until_it_is_forgotten)
{
	const struct coffer_view *first = coffer_view(&coffer);
	struct masters before;
	struct masters after;

	ck_assert_ptr_nonnull(coffer_ledger_key(&coffer));
	memcpy(&before, first, sizeof(before));
	ck_assert(coffer.viewing);
	ck_assert_ptr_eq(coffer_view(&coffer), first);
	/* A re-mask leaves a view that is held as it is. */
	coffer_remask(&coffer);
	ck_assert_mem_eq(first, &before, sizeof(before));
	coffer_forget(&coffer);
	ck_assert(!coffer.viewing);
	after = masters_of(&coffer);
	ck_assert_mem_eq(&after, &before, sizeof(after));
	coffer_forget(&coffer);
}
END_TEST

START_TEST(the_audit_seed_hangs_on_the_vault_master)
{
	static const uint8_t salt[16];
	static const uint8_t personal[16] = "mg audit seed 1";
	struct masters masters = masters_of(&coffer);
	uint8_t expected[COFFER_SEED_SIZE], seed[COFFER_SEED_SIZE];

	crypto_generichash_blake2b_salt_personal(expected, sizeof(expected), NULL, 0,
		masters.bytes[COFFER_VAULT], COFFER_KEY_SIZE, salt, personal);
	ck_assert_int_eq(coffer_audit_seed(&coffer, seed), 0);
	ck_assert_mem_eq(seed, expected, sizeof(seed));
	coffer_remask(&coffer);
	coffer_replace(&coffer, COFFER_CHANNEL);
	ck_assert_int_eq(coffer_audit_seed(&coffer, seed), 0);
	ck_assert_mem_eq(seed, expected, sizeof(seed));
	coffer_replace(&coffer, COFFER_VAULT);
	ck_assert_int_eq(coffer_audit_seed(&coffer, seed), 0);
	ck_assert_mem_ne(seed, expected, sizeof(seed));
	coffer_destroy(&coffer);
	ck_assert_int_eq(coffer_audit_seed(&coffer, seed), -EKEYEXPIRED);
	ck_assert_ptr_null(coffer_chain(&coffer));
}
END_TEST

START_TEST(the_ledger_key_hangs_on_the_vault_master)
{
	static const uint8_t salt[16];
	static const uint8_t personal[16] = "mg ledger key 1";
	struct masters masters = masters_of(&coffer);
	uint8_t expected[COFFER_KEY_SIZE];

	crypto_generichash_blake2b_salt_personal(expected, sizeof(expected), NULL, 0,
		masters.bytes[COFFER_VAULT], COFFER_KEY_SIZE, salt, personal);
	ck_assert_mem_eq(masters.ledger, expected, sizeof(expected));
}
END_TEST

START_TEST(the_ledger_key_is_made_for_those_who_ask)
{
	static const uint8_t none[COFFER_KEY_SIZE];
	const struct coffer_view *joined = coffer_view(&coffer);

	ck_assert_mem_eq(joined->ledger, none, sizeof(none));
	ck_assert_ptr_eq(coffer_ledger_key(&coffer), joined->ledger);
	ck_assert_mem_ne(joined->ledger, none, sizeof(none));
	coffer_forget(&coffer);
	ck_assert_mem_eq(joined->ledger, none, sizeof(none));
	coffer_view(&coffer);
	ck_assert_mem_eq(joined->ledger, none, sizeof(none));
	coffer_destroy(&coffer);
	ck_assert_ptr_null(coffer_ledger_key(&coffer));
}
END_TEST

START_TEST(keys_and_view_stay_within_their_sizes)
{
	enum { MARGIN = 64 };
	static _Alignas(16) uint8_t room[KEYS_MAX + MARGIN];
	static _Alignas(16) uint8_t view_room[sizeof(struct coffer_view) + 128 + MARGIN];
	size_t size = coffer_keys_size(prekeys[_i]);

	memset(room, 0xc3, sizeof(room));
	memset(view_room, 0xc3, sizeof(view_room));
	guard_init(&guard);
	coffer_init(&coffer, room, prekeys[_i], view_room, &guard);
	for (int i = 0; i < 10; i++) {
		coffer_replace(&coffer, (enum coffer_master)(i % 2));
		coffer_view(&coffer);
		coffer_remask(&coffer);
		coffer_forget(&coffer);
	}
	coffer_destroy(&coffer);
	for (size_t i = 0; i < MARGIN; i++) {
		ck_assert_uint_eq(room[size + i], 0xc3);
		ck_assert_uint_eq(view_room[coffer_view_size() + i], 0xc3);
	}
}
END_TEST

/* -- replacing and destroying -------------------------------------------------------------- */

START_TEST(replacing_changes_one_master_and_not_the_other)
{
	enum coffer_master replaced = (enum coffer_master)_i;
	struct masters before = masters_of(&coffer);

	for (int i = 0; i < 20; i++) {
		struct masters now;

		/* A view that is held must not outlive the master it shows. */
		coffer_view(&coffer);
		coffer_replace(&coffer, replaced);
		ck_assert(!coffer.viewing);
		ck_assert(!holds_a_window(view, sizeof(view), &before));
		now = masters_of(&coffer);
		ck_assert(!same(&now, &before, replaced));
		ck_assert(same(&now, &before, !replaced));
		ck_assert_int_eq(memcmp(now.ledger, before.ledger, COFFER_KEY_SIZE) != 0,
			replaced == COFFER_VAULT);
		before = now;
	}
}
END_TEST

START_TEST(a_destroyed_coffer_gives_no_view_and_holds_nothing)
{
	struct masters masters = masters_of(&coffer);

	if (_i)
		ck_assert_ptr_nonnull(coffer_view(&coffer));
	ck_assert(coffer_alive(&coffer));
	coffer_destroy(&coffer);
	ck_assert(!coffer_alive(&coffer));
	ck_assert_ptr_null(coffer_view(&coffer));
	ck_assert(!holds_a_window(keys, sizeof(keys), &masters));
	ck_assert(!holds_a_window(view, sizeof(view), &masters));
	for (uint32_t i = 0; i < GENERATIONS; i++) {
		ck_assert(sodium_is_zero(left_of(&coffer, i), LEFT_SIZE));
		ck_assert(sodium_is_zero(right_of(&coffer, i), PREKEY_MAX));
	}
	coffer_remask(&coffer);
	coffer_replace(&coffer, COFFER_VAULT);
	coffer_forget(&coffer);
	ck_assert_ptr_null(coffer_view(&coffer));
	coffer_destroy(&coffer);
}
END_TEST

START_TEST(a_coffer_that_never_was_is_harmless)
{
	struct coffer never = { 0 };

	ck_assert(!coffer_alive(&never));
	ck_assert_ptr_null(coffer_view(&never));
	coffer_remask(&never);
	coffer_replace(&never, COFFER_VAULT);
	coffer_forget(&never);
	coffer_destroy(&never);
}
END_TEST

/* -- crashes ------------------------------------------------------------------------------- */

static void do_remask(void)
{
	coffer_remask(&coffer);
}

static void do_replace(void)
{
	coffer_replace(&coffer, COFFER_VAULT);
}

START_TEST(a_crash_at_any_step_of_a_remask_loses_nothing)
{
	struct masters before = masters_of(&coffer);
	size_t moved = 0;

	for (int round = 0; round < 4; round++) {
		uint32_t start = current(&coffer);

		picture_all(do_remask);
		ck_assert_uint_ge(picture_count, 12);
		for (size_t i = 0; i < picture_count; i++) {
			struct masters whole = masters_after_crash(pictures[i], false);
			struct masters torn = masters_after_crash(pictures[i], true);

			ck_assert_mem_eq(&whole, &before, sizeof(before));
			ck_assert_mem_eq(&torn, &before, sizeof(before));
			moved += ((struct coffer_keys *)(void *)pictures[i])->index != start;
		}
	}
	/* The pictures show both sides of the move, or they would prove nothing. */
	ck_assert_uint_gt(moved, 4);
	ck_assert_uint_lt(moved, 4 * picture_count);
}
END_TEST

START_TEST(a_crash_while_replacing_leaves_the_old_masters_or_the_new)
{
	struct masters before = masters_of(&coffer);
	struct masters after;
	size_t old = 0;

	picture_all(do_replace);
	after = masters_of(&coffer);
	for (size_t i = 0; i < picture_count; i++) {
		struct masters found = masters_after_crash(pictures[i], true);
		bool is_old = memcmp(&found, &before, sizeof(found)) == 0;

		ck_assert(is_old || memcmp(&found, &after, sizeof(found)) == 0);
		old += is_old;
	}
	ck_assert_uint_gt(old, 0);
	ck_assert_uint_lt(old, picture_count);
}
END_TEST

/* The same with a real death, wherever it falls: key memory that a killed process shared. */
START_TEST(a_process_killed_while_it_remasks_leaves_the_masters)
{
	void *shared =
		mmap(NULL, KEYS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct masters before;
	uint32_t found[GENERATIONS] = { 0 };

	ck_assert_ptr_ne(shared, MAP_FAILED);
	set_up_in(shared, PREKEY_MAX);
	before = masters_of(&coffer);
	for (int i = 0; i < KILLS; i++) {
		struct timespec pause = { .tv_nsec = (long)randombytes_uniform(500000) };
		struct masters now;
		int status;
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			for (;;)
				coffer_remask(&coffer);
		nanosleep(&pause, NULL);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		now = masters_of(&coffer);
		ck_assert_mem_eq(&now, &before, sizeof(now));
		found[current(&coffer)]++;
	}
	/* The children did get to re-masking. */
	ck_assert_uint_gt(found[0], 0);
	ck_assert_uint_gt(found[1], 0);
	munmap(shared, KEYS_MAX);
}
END_TEST

/* -- adopting ------------------------------------------------------------------------------ */

START_TEST(masters_are_the_same_for_the_next_process)
{
	struct masters before;
	struct masters after;

	set_up_in(keys, prekeys[_i]);
	for (int i = 0; i < 3; i++) {
		before = masters_of(&coffer);
		ck_assert_int_eq(adopt(keys, prekeys[_i]), 0);
		after = masters_of(&next);
		ck_assert_mem_eq(&after, &before, sizeof(after));
		/* It goes on with them, and so does whoever comes after it. */
		coffer_remask(&next);
		coffer_replace(&next, COFFER_CHANNEL);
		after = masters_of(&next);
		ck_assert(same(&after, &before, COFFER_VAULT));
		ck_assert(!same(&after, &before, COFFER_CHANNEL));
	}
	ck_assert(!holds_a_window(next_view, sizeof(next_view), &after));
}
END_TEST

START_TEST(where_nobody_has_drawn_there_is_nothing_to_adopt)
{
	static const uint8_t none[KEYS_MAX];

	memset(keys, 0, sizeof(keys));
	ck_assert_int_eq(adopt(keys, PREKEY_MAX), -ENODATA);
	ck_assert_mem_eq(keys, none, sizeof(keys));
	ck_assert(!coffer_alive(&next));
	ck_assert_ptr_null(coffer_view(&next));
	/* Nor is there where they were destroyed. */
	set_up();
	coffer_destroy(&coffer);
	ck_assert_int_eq(adopt(keys, PREKEY_MAX), -ENODATA);
}
END_TEST

static void overwrite_format(void)
{
	coffer.keys->format++;
}

static void overwrite_index(void)
{
	coffer.keys->index = GENERATIONS;
}

static void overwrite_before_the_first(void)
{
	left_of(&coffer, 0)[-1] ^= 1;
}

static void overwrite_behind_the_first(void)
{
	left_of(&coffer, 0)[LEFT_SIZE] ^= 1;
}

static void overwrite_before_the_second(void)
{
	left_of(&coffer, 1)[-GUARD_SIZE] ^= 0x80;
}

static void overwrite_behind_the_second(void)
{
	left_of(&coffer, 1)[LEFT_SIZE + GUARD_SIZE - 1] ^= 0x80;
}

static void (*const overwrites[])(void) = { overwrite_format, overwrite_index,
	overwrite_before_the_first, overwrite_behind_the_first, overwrite_before_the_second,
	overwrite_behind_the_second };
#define OVERWRITES (sizeof(overwrites) / sizeof(overwrites[0]))

START_TEST(parts_that_were_overwritten_are_refused_and_left_alone)
{
	static uint8_t found[KEYS_MAX];

	overwrites[_i]();
	memcpy(found, keys, sizeof(found));
	ck_assert_int_eq(adopt(keys, PREKEY_MAX), -EBADMSG);
	ck_assert_mem_eq(keys, found, sizeof(found));
	ck_assert(!coffer_alive(&next));
	ck_assert_ptr_null(coffer_view(&next));
	ck_assert_ptr_null(coffer_notes(&next));
}
END_TEST

static void do_replace_channel(void)
{
	coffer_replace(&coffer, COFFER_CHANNEL);
}

static void (*const changes[])(void) = { do_remask, do_replace, do_replace_channel };

START_TEST(what_a_change_has_left_half_done_is_finished)
{
	static _Alignas(16) uint8_t found[KEYS_MAX];
	struct masters before = masters_of(&coffer);
	struct masters after;
	size_t half = 0;

	picture_all(changes[_i]);
	after = masters_of(&coffer);
	for (size_t i = 0; i < picture_count; i++) {
		struct masters now;
		uint32_t idle;

		memcpy(found, pictures[i], sizeof(found));
		idle = !((struct coffer_keys *)(void *)found)->index;
		half += !sodium_is_zero(found + (1 + idle) * PREKEY_MAX, PREKEY_MAX);
		ck_assert_int_eq(adopt(found, PREKEY_MAX), 0);
		ck_assert_uint_eq(current(&next), !idle);
		ck_assert(sodium_is_zero(left_of(&next, idle), LEFT_SIZE));
		ck_assert(sodium_is_zero(right_of(&next, idle), PREKEY_MAX));
		now = masters_of(&next);
		ck_assert(memcmp(&now, &before, sizeof(now)) == 0 ||
			memcmp(&now, &after, sizeof(now)) == 0);
	}
	/* Some pictures do show two generations. */
	ck_assert_uint_gt(half, 3);
}
END_TEST

/* Whoever ends while he draws has drawn nothing: what he leaves is no masters, or all of them. */
START_TEST(masters_that_were_being_drawn_are_none_or_whole)
{
	static _Alignas(16) uint8_t found[KEYS_MAX];
	struct masters after;
	size_t none = 0;

	coffer.keys = (struct coffer_keys *)(void *)keys;
	picture_all(set_up);
	after = masters_of(&coffer);
	for (size_t i = 0; i < picture_count; i++) {
		struct masters now;
		int r;

		memcpy(found, pictures[i], sizeof(found));
		r = adopt(found, PREKEY_MAX);
		none += r == -ENODATA;
		if (r == -ENODATA)
			continue;
		ck_assert_int_eq(r, 0);
		now = masters_of(&next);
		ck_assert_mem_eq(&now, &after, sizeof(now));
	}
	ck_assert_uint_gt(none, 3);
	ck_assert_uint_lt(none, picture_count);
}
END_TEST

START_TEST(notes_live_as_long_as_the_masters)
{
	struct coffer_notes *notes = coffer_notes(&coffer);

	ck_assert_ptr_nonnull(notes);
	ck_assert_uint_eq(atomic_load(&notes->number), 0);
	ck_assert_uint_eq(atomic_load(&notes->purging), 0);
	atomic_store(&notes->number, UINT64_C(1) << 47);
	atomic_store(&notes->purging, 1);
	coffer_remask(&coffer);
	coffer_replace(&coffer, COFFER_VAULT);
	ck_assert_int_eq(adopt(keys, PREKEY_MAX), 0);
	notes = coffer_notes(&next);
	ck_assert_ptr_nonnull(notes);
	ck_assert_uint_eq(atomic_load(&notes->number), UINT64_C(1) << 47);
	ck_assert_uint_eq(atomic_load(&notes->purging), 1);
	/* Who draws anew begins anew. */
	set_up();
	ck_assert_uint_eq(atomic_load(&coffer_notes(&coffer)->number), 0);
	coffer_destroy(&coffer);
	ck_assert_ptr_null(coffer_notes(&coffer));
}
END_TEST

/* -- deaths -------------------------------------------------------------------------------- */

/* Breaks a canary of the first left, the second left or the view, on either side. */
static void break_canary(int which)
{
	uint8_t *objects[] = { left_of(&coffer, 0), left_of(&coffer, 1), (uint8_t *)coffer.view };
	size_t sizes[] = { LEFT_SIZE, LEFT_SIZE, sizeof(*coffer.view) };

	if (which % 2 == 0)
		objects[which / 2][-1] ^= 1;
	else
		objects[which / 2][sizes[which / 2]] ^= 1;
}

START_TEST(a_broken_canary_ends_the_process_at_the_next_view)
{
	break_canary(_i);
	coffer_view(&coffer);
}
END_TEST

START_TEST(a_broken_canary_ends_the_process_at_the_next_remask)
{
	break_canary(_i);
	coffer_remask(&coffer);
}
END_TEST

START_TEST(a_prekey_too_small_for_the_parts_ends_the_process)
{
	set_up_in(keys, 64);
}
END_TEST

START_TEST(an_index_that_cannot_be_ends_the_process)
{
	coffer.keys->index = GENERATIONS;
	coffer_view(&coffer);
}
END_TEST

/* -- all together -------------------------------------------------------------------------- */

static TCase *masters_case(void)
{
	TCase *tc = tcase_create("masters");

	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_add_test(tc, masters_are_random_and_independent);
	tcase_add_loop_test(tc, masters_stay_and_both_parts_change_over_a_thousand_remasks, 0, 3);
	tcase_add_loop_test(tc, left_is_the_masters_under_the_hash_of_the_prekey, 0, 3);
	tcase_add_test(tc, no_bit_of_the_prekey_is_idle);
	tcase_add_test(tc, no_master_lies_anywhere_at_rest);
	tcase_add_test(tc, the_older_generation_is_zero_after_a_remask);
	tcase_add_test(tc, a_view_is_shared_until_it_is_forgotten);
	tcase_add_test(tc, the_audit_seed_hangs_on_the_vault_master);
	tcase_add_test(tc, the_ledger_key_hangs_on_the_vault_master);
	tcase_add_test(tc, the_ledger_key_is_made_for_those_who_ask);
	tcase_add_loop_test(tc, keys_and_view_stay_within_their_sizes, 0, 3);
	tcase_add_loop_test(tc, replacing_changes_one_master_and_not_the_other, 0, COFFER_MASTERS);
	tcase_add_loop_test(tc, a_destroyed_coffer_gives_no_view_and_holds_nothing, 0, 2);
	tcase_add_test(tc, a_coffer_that_never_was_is_harmless);
	return tc;
}

static TCase *crash_case(void)
{
	TCase *tc = tcase_create("crashes");

	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_crash_at_any_step_of_a_remask_loses_nothing);
	tcase_add_test(tc, a_crash_while_replacing_leaves_the_old_masters_or_the_new);
	tcase_add_test(tc, a_process_killed_while_it_remasks_leaves_the_masters);
	tcase_add_loop_test_raise_signal(
		tc, a_broken_canary_ends_the_process_at_the_next_view, SIGABRT, 0, 6);
	tcase_add_loop_test_raise_signal(
		tc, a_broken_canary_ends_the_process_at_the_next_remask, SIGABRT, 0, 6);
	tcase_add_test_raise_signal(tc, a_prekey_too_small_for_the_parts_ends_the_process, SIGABRT);
	tcase_add_test_raise_signal(tc, an_index_that_cannot_be_ends_the_process, SIGABRT);
	return tc;
}

static TCase *adopting_case(void)
{
	TCase *tc = tcase_create("adopting");

	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_add_loop_test(tc, masters_are_the_same_for_the_next_process, 0, 3);
	tcase_add_test(tc, where_nobody_has_drawn_there_is_nothing_to_adopt);
	tcase_add_loop_test(
		tc, parts_that_were_overwritten_are_refused_and_left_alone, 0, OVERWRITES);
	tcase_add_loop_test(tc, what_a_change_has_left_half_done_is_finished, 0, 3);
	tcase_add_test(tc, masters_that_were_being_drawn_are_none_or_whole);
	tcase_add_test(tc, notes_live_as_long_as_the_masters);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("coffer");
	SRunner *runner;
	int failed;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	suite_add_tcase(suite, masters_case());
	suite_add_tcase(suite, crash_case());
	suite_add_tcase(suite, adopting_case());
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
