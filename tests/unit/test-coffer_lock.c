/* SPDX-License-Identifier: Apache-2.0 */

/* A coffer whose vault's master has given way to a lock secret, and whoever ends on the way. */
#include "tests/unit/coffer_rig.h"

#include <signal.h>

#include "tests/unit/claims.h"

static uint8_t secret[COFFER_KEY_SIZE];
static struct masters open_masters; /* before it was locked */

static void set_up_lock(void)
{
	set_up();
	randombytes_buf(secret, sizeof(secret));
	open_masters = masters_of(&coffer);
}

static void lock(void)
{
	coffer_lock(&coffer, secret);
}

static void unlock(void)
{
	coffer_unlock(&coffer, open_masters.bytes[COFFER_VAULT]);
}

/* Whether a coffer is as it was before, or locked with the secret; the channel's master stays. */
static bool is_open(struct coffer *from)
{
	struct masters now;

	if (coffer_is_locked(from))
		return false;
	now = masters_of(from);
	return memcmp(&now, &open_masters, sizeof(now)) == 0;
}

static bool is_shut(struct coffer *from)
{
	const uint8_t *found = coffer_lock_secret(from);
	const uint8_t *channel = coffer_master(from, COFFER_CHANNEL);
	bool shut = found && memcmp(found, secret, sizeof(secret)) == 0 &&
		memcmp(channel, open_masters.bytes[COFFER_CHANNEL], COFFER_KEY_SIZE) == 0;

	coffer_forget(from);
	return shut;
}

/* Any 8 bytes in a row of the vault's master, or of what is made from it. */
static bool holds_vault_master(const uint8_t *memory, size_t size)
{
	struct masters vault = open_masters;

	memcpy(vault.bytes[COFFER_CHANNEL], vault.bytes[COFFER_VAULT], COFFER_KEY_SIZE);
	return holds_a_window(memory, size, &vault);
}

START_TEST(a_locked_coffer_has_the_vaults_master_nowhere)
{
	/* The control: what is looked for is there while the coffer is open and viewed. */
	coffer_ledger_key(&coffer);
	ck_assert(holds_vault_master(view, sizeof(view)));
	lock();
	ck_assert(!coffer.viewing);
	for (int i = 0; i < 4; i++) {
		ck_assert(is_shut(&coffer));
		ck_assert_ptr_nonnull(coffer_view(&coffer));
		ck_assert(!holds_vault_master(view, sizeof(view)));
		ck_assert(!holds_vault_master(keys, sizeof(keys)));
		ck_assert(!holds_vault_master((const uint8_t *)&coffer, sizeof(coffer)));
		/* Nor does the secret lie there at rest. */
		coffer_forget(&coffer);
		ck_assert(!holds(view, sizeof(view), secret, 8));
		ck_assert(!holds(keys, sizeof(keys), secret, 8));
		coffer_remask(&coffer);
	}
}
END_TEST

START_TEST(both_generations_of_the_old_parts_are_wiped)
{
	uint32_t before = current(&coffer);
	uint8_t left[LEFT_SIZE];

	memcpy(left, left_of(&coffer, before), sizeof(left));
	if (_i)
		lock();
	else
		coffer_lock(&coffer, secret), before = current(&coffer), unlock();
	ck_assert_uint_eq(current(&coffer), !before);
	ck_assert(sodium_is_zero(left_of(&coffer, before), LEFT_SIZE));
	ck_assert(sodium_is_zero(right_of(&coffer, before), PREKEY_MAX));
	ck_assert(!holds(keys, sizeof(keys), left, 8));
}
END_TEST

START_TEST(nothing_is_made_from_the_lock_secret_instead_of_the_master)
{
	uint8_t seed[COFFER_SEED_SIZE] = { 0 };

	lock();
	ck_assert_ptr_null(coffer_master(&coffer, COFFER_VAULT));
	ck_assert_ptr_null(coffer_ledger_key(&coffer));
	ck_assert_int_eq(coffer_audit_seed(&coffer, seed), -EKEYEXPIRED);
	ck_assert(sodium_is_zero(seed, sizeof(seed)));
	ck_assert(sodium_is_zero(coffer_view(&coffer)->master[COFFER_VAULT], COFFER_KEY_SIZE));
	ck_assert(coffer_alive(&coffer));
	ck_assert_ptr_nonnull(coffer_notes(&coffer));
}
END_TEST

START_TEST(what_is_unlocked_is_as_it_was)
{
	for (int i = 0; i < 3; i++) {
		lock();
		coffer_remask(&coffer);
		ck_assert(is_shut(&coffer));
		unlock();
		ck_assert(is_open(&coffer));
		ck_assert_ptr_null(coffer_lock_secret(&coffer));
		ck_assert(!holds(keys, sizeof(keys), secret, 8));
	}
}
END_TEST

START_TEST(a_new_channel_master_leaves_it_locked)
{
	lock();
	coffer_replace(&coffer, COFFER_CHANNEL);
	ck_assert(coffer_is_locked(&coffer));
	ck_assert_mem_eq(coffer_lock_secret(&coffer), secret, sizeof(secret));
	ck_assert_mem_ne(coffer_master(&coffer, COFFER_CHANNEL), open_masters.bytes[COFFER_CHANNEL],
		COFFER_KEY_SIZE);
}
END_TEST

START_TEST(a_new_vault_master_takes_the_place_of_the_secret)
{
	struct masters now;

	lock();
	coffer_replace(&coffer, COFFER_VAULT);
	ck_assert(!coffer_is_locked(&coffer));
	now = masters_of(&coffer);
	ck_assert_mem_ne(now.bytes[COFFER_VAULT], secret, sizeof(secret));
	ck_assert(!same(&now, &open_masters, COFFER_VAULT));
	ck_assert(same(&now, &open_masters, COFFER_CHANNEL));
	ck_assert(!holds(keys, sizeof(keys), secret, 8));
}
END_TEST

/* -- whoever ends on the way --------------------------------------------------------------- */

static void purge(void)
{
	coffer_replace(&coffer, COFFER_VAULT);
}

static const struct change {
	void (*before)(void); /* NULL: it is open */
	void (*change)(void);
} changes[] = { { NULL, lock }, { lock, unlock }, { lock, purge } };

/* What the next process finds is all of what was, or all of what was to be. */
START_TEST(a_crash_at_any_step_leaves_it_locked_or_not)
{
	static _Alignas(16) uint8_t found[KEYS_MAX];
	const struct change *change = &changes[_i];
	struct masters after;
	size_t old = 0;

	if (change->before)
		change->before();
	picture_all(change->change);
	if (change->change == purge)
		after = masters_of(&coffer);
	for (size_t i = 0; i < picture_count; i++) {
		bool shut;

		memcpy(found, pictures[i], sizeof(found));
		ck_assert_int_eq(adopt(found, PREKEY_MAX), 0);
		shut = coffer_is_locked(&next);
		old += shut == (change->before != NULL);
		if (shut) {
			ck_assert(is_shut(&next));
			ck_assert(!holds_vault_master(found, sizeof(found)));
		} else if (change->change == purge) {
			struct masters now = masters_of(&next);

			ck_assert_mem_eq(&now, &after, sizeof(now));
		} else {
			ck_assert(is_open(&next));
		}
	}
	/* The pictures show both sides of the move. */
	ck_assert_uint_gt(old, 4);
	ck_assert_uint_lt(old, picture_count - 2);
}
END_TEST

START_TEST(no_overwritten_bit_locks_or_unlocks)
{
	if (_i / 32)
		lock();
	coffer.keys->index ^= UINT32_C(1) << (_i % 32);
	/* Bit 0 is the generation, of which the other one is wiped. */
	ck_assert_int_eq(adopt(keys, PREKEY_MAX), _i % 32 == 0 ? 0 : -EBADMSG);
	if (_i % 32 == 0)
		ck_assert_int_eq(coffer_is_locked(&next), _i / 32);
}
END_TEST

START_TEST(locking_twice_ends_the_process)
{
	lock();
	lock();
}
END_TEST

START_TEST(unlocking_what_is_open_ends_the_process)
{
	unlock();
}
END_TEST

START_TEST(a_destroyed_coffer_is_not_locked)
{
	lock();
	coffer_destroy(&coffer);
	ck_assert(!coffer_is_locked(&coffer));
	ck_assert_ptr_null(coffer_lock_secret(&coffer));
	ck_assert(!holds(keys, sizeof(keys), secret, 8));
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_add_checked_fixture(claims, set_up_lock, NULL);
	tcase_add_test(claims, a_locked_coffer_has_the_vaults_master_nowhere);
	tcase_add_loop_test(claims, both_generations_of_the_old_parts_are_wiped, 0, 2);
	tcase_add_test(claims, nothing_is_made_from_the_lock_secret_instead_of_the_master);
	tcase_add_test(claims, what_is_unlocked_is_as_it_was);
	tcase_add_test(claims, a_new_channel_master_leaves_it_locked);
	tcase_add_test(claims, a_new_vault_master_takes_the_place_of_the_secret);
	tcase_add_loop_test(claims, a_crash_at_any_step_leaves_it_locked_or_not, 0, 3);
	tcase_add_loop_test(claims, no_overwritten_bit_locks_or_unlocks, 0, 64);
	tcase_add_test_raise_signal(claims, locking_twice_ends_the_process, SIGABRT);
	tcase_add_test_raise_signal(claims, unlocking_what_is_open_ends_the_process, SIGABRT);
	tcase_add_test(claims, a_destroyed_coffer_is_not_locked);
	return claims_run(claims, "coffer_lock");
}
