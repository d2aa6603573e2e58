/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/change_rig.h"

#include <sys/resource.h>

#include "daemon/vault/vault_restore.h"

/* A vault without its master: nothing is found, nothing is lost. */

static const uint8_t right[LOCK_KEY_SIZE] = { 1, 2, 3 };
static const struct vault_lock lock = { .salt = { 5, 6 },
	.opslimit = 3,
	.memlimit = 256 * MIB,
	.uid = 77,
	.number = { 8 },
	.digest = { 9 },
	.note = { 10 } };

static struct kept *small, *large;

static void set_up_secrets(void)
{
	set_up_clock();
	small = store_new("a/small", 100);
	large = store_new("b/large", MIB + 5);
}

static void tear_down_secrets(void)
{
	forget(small);
	forget(large);
	tear_down_in_file();
}

static void lock_it(void)
{
	ck_assert_int_eq(vault_lock(vault, &lock, right), 0);
	ck_assert(vault_is_locked(vault));
}

static void check_all(void)
{
	check_stored("a/small", small);
	check_stored("b/large", large);
	ck_assert_uint_eq(vault_count(vault), 2);
	ck_assert_uint_eq(vault_broken(vault), 0);
}

/* A vault that was made while it was locked is made anew once it is not. */
static void see(void)
{
	ck_assert(vault_is_blind(vault));
	vault_free(vault);
	ck_assert_int_eq(vault_new(&vault, &past.remains->coffer, past.remains->fd), 0);
	ck_assert(!vault_is_blind(vault));
	vault->now = our_clock;
}

static void crash_locked(void)
{
	crash_on_time();
	ck_assert(vault_is_locked(vault));
}

/* -- locking and unlocking ----------------------------------------------------------------- */

START_TEST(nothing_is_found_and_nothing_changes_while_it_is_locked)
{
	uint64_t bytes, version;
	struct record *record;
	struct conditions conditions = { 0 };

	lock_it();
	bytes = vault_bytes(vault);
	ck_assert_int_eq(find_status("a/small"), STATUS_LOCKED);
	ck_assert_int_eq(find_status("nothing"), STATUS_LOCKED);
	ck_assert_int_eq(remove_name("a/small"), STATUS_LOCKED);
	ck_assert_int_eq(vault_next(vault, span_text(""), span_text(""), &record), STATUS_LOCKED);
	ck_assert_int_eq(move_name("a/small", "c"), STATUS_LOCKED);
	ck_assert_int_eq(
		vault_touch(vault, span_text("a/small"), 1, &conditions, &version), STATUS_LOCKED);
	ck_assert_int_eq(vault_freeze(vault, span_text("a/small"), true, &conditions, &version),
		STATUS_LOCKED);
	ck_assert_int_eq(may_put("a/small", &conditions), STATUS_LOCKED);
	ck_assert(!vault_expire(vault));
	ck_assert(!vault_compact(vault));
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	ck_assert_uint_eq(vault_bytes(vault), bytes);
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	check_all();
}
END_TEST

START_TEST(a_set_under_way_is_refused_and_may_be_made_later)
{
	struct kept *kept = draw(300);
	struct vault_put put = put_of("c", kept);
	struct value *value = new_value(kept);

	lock_it();
	ck_assert_int_eq(vault_put(vault, &value, &put, &kept->version), STATUS_LOCKED);
	ck_assert_ptr_nonnull(value);
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	ck_assert_int_eq(vault_put(vault, &value, &put, &kept->version), 0);
	check_stored("c", kept);
	forget(kept);
}
END_TEST

START_TEST(it_opens_with_its_key_alone)
{
	uint8_t wrong[LOCK_KEY_SIZE];
	uint64_t bytes = vault_bytes(vault);

	lock_it();
	for (size_t i = 0; i < 8 * sizeof(wrong); i++) {
		memcpy(wrong, right, sizeof(wrong));
		wrong[i / 8] ^= (uint8_t)(1 << i % 8);
		ck_assert_int_eq(vault_unlock(vault, wrong), STATUS_NO);
		ck_assert(vault_is_locked(vault));
	}
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	ck_assert(!vault_is_locked(vault));
	ck_assert_ptr_null(vault_lock_of(vault));
	check_all();
	/* Nothing is left of the lock. */
	ck_assert_uint_eq(vault_bytes(vault), bytes);
	ck_assert(!is_anywhere(lock.salt, sizeof(lock.salt)));
}
END_TEST

START_TEST(each_lock_has_a_secret_of_its_own)
{
	uint8_t wrapped[2][LOCK_WRAPPED];

	for (int i = 0; i < 2; i++) {
		lock_it();
		memcpy(wrapped[i], vault->lock.wrapped, LOCK_WRAPPED);
		ck_assert_int_eq(vault_unlock(vault, right), 0);
	}
	ck_assert_mem_ne(wrapped[0], wrapped[1], LOCK_WRAPPED);
	check_all();
}
END_TEST

/* The construction, told a second time. */
START_TEST(the_master_is_sealed_under_the_hash_of_the_secret_keyed_with_the_key)
{
	static const uint8_t nonce[24], salt[16], personal[16] = "mg lock wrap 1";
	uint8_t master[32], opened[32], secret[32], wrapping[32];

	memcpy(master, coffer_view(vault->coffer)->master[COFFER_VAULT], 32);
	lock_it();
	memcpy(secret, coffer_lock_secret(vault->coffer), 32);
	coffer_forget(vault->coffer);
	crypto_generichash_blake2b_salt_personal(
		wrapping, 32, secret, 32, right, 32, salt, personal);
	ck_assert_int_eq(
		crypto_secretbox_open_easy(opened, vault->lock.wrapped, 48, nonce, wrapping), 0);
	ck_assert_mem_eq(opened, master, 32);
}
END_TEST

/* -- memory that is used up ---------------------------------------------------------------- */

static struct rlimit file_limit;

static void let_no_file_grow(void)
{
	struct rlimit nothing;

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &file_limit), 0);
	nothing = (struct rlimit){ .rlim_max = file_limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &nothing), 0);
}

/* What is claimed is written to a file. */
static void let_files_grow(void)
{
	setrlimit(RLIMIT_FSIZE, &file_limit);
}

/* Room for one more lock is there and no other: whatever wants it is refused. */
static bool is_full(void)
{
	uint64_t offset;

	return ledger_take(vault->ledger, sizeof(struct lock_block), &offset) < 0;
}

/* Secrets of all sizes, until there is no room for the smallest one, and none for a lock. */
static unsigned fill(void)
{
	unsigned count = 0;

	for (size_t size = 300000; size > 0; size /= 3) {
		struct kept *kept = draw(size);
		struct value *value;
		char name[16];
		int r;

		do {
			struct vault_put put = put_of(name, kept);

			snprintf(name, sizeof(name), "x/%u", count++);
			put.name = span_text(name);
			if (value_new(vault, &value) != 0)
				break;
			r = append_chunks(value, kept, 0, kept->chunks);
			if (r == 0)
				r = vault_put(vault, &value, &put, &kept->version);
			value_free(vault, value);
		} while (r == 0);
		count--;
		forget(kept);
	}
	return count;
}

static void lock_and_unlock(void)
{
	lock_it();
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	check_stored("a/small", small);
	check_stored("b/large", large);
}

START_TEST(it_is_locked_though_all_memory_is_used_up)
{
	unsigned count;

	let_no_file_grow();
	count = fill();
	ck_assert_uint_gt(count, 10);
	ck_assert(is_full());
	for (int i = 0; i < 3; i++)
		lock_and_unlock();
	ck_assert(is_full());
	/* A purge leaves that room, too. */
	vault_purge(vault);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	fill();
	ck_assert(is_full());
	lock_it();
	let_files_grow();
}
END_TEST

/* The next process has as much room as the one before had, and no more. */
START_TEST(so_it_is_by_the_next_process)
{
	let_no_file_grow();
	fill();
	ck_assert(is_full());
	if (_i)
		lock_it();
	let_files_grow();
	past.remains = remains_of_now();
	past.vault = vault;
	let_no_file_grow();
	ck_assert_int_eq(adopt_remains(past.remains, &vault), 0);
	vault->now = our_clock;
	if (_i) {
		ck_assert_int_eq(vault_unlock(vault, right), 0);
		see();
	}
	ck_assert(is_full());
	lock_and_unlock();
	let_files_grow();
	rise();
}
END_TEST

/* Where there is none it is looked for when it is needed. */
START_TEST(without_any_room_it_is_not_locked)
{
	for (size_t i = 0; i < LOCK_COPIES; i++) {
		ledger_give(vault->ledger, vault->lock_rooms[i]);
		vault->lock_rooms[i] = 0;
	}
	ration = 0;
	ck_assert_int_eq(vault_lock(vault, &lock, right), STATUS_LIMIT);
	ration = -1;
	ck_assert(!vault_is_locked(vault));
	check_all();
	/* For one copy is better than for none. */
	ration = 1;
	lock_it();
	ration = -1;
	ck_assert_uint_eq(vault->lock_rooms[1], 0);
	crash_locked();
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	see();
	check_all();
	rise();
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	lock_and_unlock();
	ck_assert_uint_ne(vault->lock_rooms[1], 0);
}
END_TEST

/* As if the ledger had been full when the room was looked for: it lies behind everything. */
static uint64_t put_room_far(void)
{
	static uint64_t taken[4096];
	size_t count = 0;
	uint64_t far = 0;

	while (far < 3 * MIB / 2) {
		ck_assert_uint_lt(count, 4096);
		ck_assert_int_eq(ledger_take(vault->ledger, sizeof(struct lock_block), &far), 0);
		taken[count++] = far;
	}
	taken[count - 1] = vault->lock_rooms[1];
	while (count > 0)
		ledger_give(vault->ledger, taken[--count]);
	vault->lock_rooms[1] = far;
	return far;
}

/* Whoever compacts the ledger takes it along: the pages behind the line go back. */
START_TEST(the_room_for_it_is_moved_with_everything_else)
{
	uint64_t far;
	char name[16];

	/* Some stay between those that go. */
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "x/%d", i);
		forget(store_new(name, 1000));
	}
	far = put_room_far();
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "x/%d", i);
		if (i % 30 != 0)
			ck_assert_int_eq(remove_name(name), 0);
	}
	while (vault_compact(vault))
		;
	ck_assert_uint_lt(vault->lock_rooms[1], far);
	ck_assert_uint_ne(vault->lock_rooms[1], vault->lock_rooms[0]);
	ck_assert_uint_eq(ledger_block(vault->ledger, far), 0);
	ck_assert_uint_ge(
		ledger_block(vault->ledger, vault->lock_rooms[1]), sizeof(struct lock_block));
	lock_and_unlock();
}
END_TEST

/* -- the next process ---------------------------------------------------------------------- */

START_TEST(the_next_process_looks_at_nothing_before_it_is_unlocked)
{
	const struct vault_lock *found;

	lock_it();
	crash_locked();
	ck_assert(vault_is_blind(vault));
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_int_eq(find_status("a/small"), STATUS_LOCKED);
	found = vault_lock_of(vault);
	ck_assert_ptr_nonnull(found);
	ck_assert_mem_eq(found, &lock, sizeof(lock));
	ck_assert_int_eq(vault_unlock(vault, small->key), STATUS_NO);
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	see();
	check_all();
	rise();
}
END_TEST

/* What is not what was written is set aside and counted, as it is whenever a ledger is adopted. */
START_TEST(what_was_overwritten_meanwhile_is_found_when_it_is_unlocked)
{
	lock_it();
	record_header(vault, offset_of("a/small"))->owner[0] ^= 1;
	crash_locked();
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	see();
	ck_assert_int_eq(find_status("a/small"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_lost(vault, LOSS_SECRET), 1);
	check_stored("b/large", large);
	rise();
}
END_TEST

static uint8_t *copy_of_lock(size_t copy)
{
	return ledger_at(vault->ledger, vault->lock_rooms[copy], sizeof(struct lock_block));
}

/* Whoever comes next finds the other one. */
START_TEST(a_lock_of_which_one_copy_was_overwritten_opens_all)
{
	lock_it();
	for (size_t i = 0; i <= sizeof(struct lock_block); i++) {
		uint8_t *block = copy_of_lock((size_t)_i);
		uint8_t was[sizeof(struct lock_block)];

		memcpy(was, block, sizeof(was));
		/* At last all of it. */
		if (i < sizeof(was))
			block[i] ^= 0x10;
		else
			memset(block, 0xff, sizeof(was));
		crash_locked();
		ck_assert_mem_eq(vault_lock_of(vault), &lock, sizeof(lock));
		ck_assert_int_eq(vault_unlock(vault, right), 0);
		see();
		check_stored("a/small", small);
		ck_assert_uint_eq(vault_count(vault), 2);
		rise();
		memcpy(block, was, sizeof(was));
	}
}
END_TEST

START_TEST(a_lock_that_was_overwritten_opens_nothing)
{
	lock_it();
	for (size_t i = 0; i < sizeof(struct lock_block); i++) {
		for (size_t copy = 0; copy < LOCK_COPIES; copy++)
			copy_of_lock(copy)[i] ^= 0x10;
		crash_locked();
		ck_assert_ptr_null(vault_lock_of(vault));
		ck_assert_int_eq(vault_unlock(vault, right), STATUS_INTEGRITY);
		ck_assert(vault_is_locked(vault));
		rise();
		for (size_t copy = 0; copy < LOCK_COPIES; copy++)
			copy_of_lock(copy)[i] ^= 0x10;
	}
	/* The control. And who has locked it needs no block. */
	crash_locked();
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	rise();
}
END_TEST

/* An image of the ledger is worth nothing without the pages of the keys, whoever has the key. */
START_TEST(the_block_opens_nothing_with_another_secret)
{
	uint8_t secret[COFFER_KEY_SIZE] = { 1 };
	uint8_t master[COFFER_KEY_SIZE];

	lock_it();
	/* The same keys, but for the lock secret. */
	memcpy(master, right, sizeof(master));
	coffer_unlock(vault->coffer, master);
	coffer_lock(vault->coffer, secret);
	ck_assert_int_eq(vault_unlock(vault, right), STATUS_NO);
	crash_locked();
	ck_assert_ptr_null(vault_lock_of(vault));
	ck_assert_int_eq(vault_unlock(vault, right), STATUS_INTEGRITY);
	rise();
}
END_TEST

/* -- what ends meanwhile ------------------------------------------------------------------- */

START_TEST(whose_time_is_over_is_gone_when_it_is_unlocked)
{
	struct kept *kept = draw(200);
	struct vault_put put = put_of("c", kept);
	struct wrapped wrapped;

	put.lifetime.ttl_ms = 1000;
	ck_assert_int_eq(try_put(&put, kept), 0);
	wrapped = wrapped_of("c");
	lock_it();
	clock_ms += 2000;
	ck_assert(!vault_expire(vault));
	if (_i) {
		crash_locked();
		ck_assert_int_eq(vault_unlock(vault, right), 0);
		see();
	} else {
		ck_assert_int_eq(vault_unlock(vault, right), 0);
	}
	ck_assert_uint_eq(vault_expiry_ms(vault) > clock_ms, 0);
	ck_assert_int_eq(find_status("c"), STATUS_NOT_FOUND);
	expire_all();
	ck_assert(!is_wrapped_anywhere(&wrapped));
	check_all();
	if (_i)
		rise();
	forget(kept);
}
END_TEST

START_TEST(what_hung_on_a_session_that_ended_is_gone)
{
	struct kept *kept = draw(200);
	struct vault_put put = put_of("c", kept);
	struct wrapped wrapped;

	put.lifetime.session = true;
	put.session = holder_new(NULL, NULL);
	ck_assert_int_eq(try_put(&put, kept), 0);
	wrapped = wrapped_of("c");
	lock_it();
	if (_i)
		vault_end_holder(vault, put.session);
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	/* One that goes on has what it had. */
	ck_assert_int_eq(find_status("c"), _i ? STATUS_NOT_FOUND : 0);
	expire_all();
	ck_assert_int_eq(is_wrapped_anywhere(&wrapped), !_i);
	if (!_i)
		vault_end_holder(vault, put.session);
	expire_all();
	check_all();
	forget(kept);
}
END_TEST

START_TEST(a_get_under_way_is_read_to_its_end)
{
	struct record *record = record_pin(find("b/large"));
	uint8_t key[ENCLAVE_KEY_SIZE];

	lock_it();
	check_chunks(record, large);
	/* But nobody gets its key any more. */
	ck_assert_int_eq(record_key(vault, record, key), STATUS_LOCKED);
	record_unpin(vault, record);
	ck_assert_int_eq(vault_unlock(vault, right), 0);
	check_all();
}
END_TEST

/* -- purges -------------------------------------------------------------------------------- */

START_TEST(a_purge_opens_it_and_leaves_nothing)
{
	struct wrapped wrapped = wrapped_of("a/small");
	struct kept *kept;

	lock_it();
	if (_i) {
		crash_locked();
		vault_purge_blindly(vault);
		ck_assert(!vault_is_locked(vault));
		see();
	} else {
		vault_purge(vault);
	}
	ck_assert(!vault_is_locked(vault));
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	ck_assert_uint_eq(vault_broken(vault), 0);
	ck_assert_uint_eq(atomic_load(&coffer_notes(vault->coffer)->purging), 0);
	ck_assert_int_eq(find_status("a/small"), STATUS_NOT_FOUND);
	ck_assert(!is_wrapped_anywhere(&wrapped));
	ck_assert(!is_anywhere(lock.salt, sizeof(lock.salt)));
	kept = store_new("a/small", 50);
	check_stored("a/small", kept);
	forget(kept);
	if (_i)
		rise();
}
END_TEST

/* -- batches ------------------------------------------------------------------------------- */

START_TEST(a_batch_that_was_committed_waits)
{
	struct kept *kept = draw(100);
	struct vault_put put = put_of("c", kept);
	struct batch_times times = { .version = 1 };
	struct value *value = new_value(kept);
	struct batch *batch = NULL;
	struct span name;
	int r;

	ck_assert_int_eq(batch_new(vault, &batch), 0);
	ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
	while ((r = batch_check(vault, batch, NULL, &name)) == 0)
		;
	ck_assert_int_eq(r, 1);
	ck_assert_int_eq(batch_commit(vault, batch), 0);
	lock_it();
	ck_assert(!batch_publish(vault, batch));
	batch_leave(batch);
	ck_assert(!vault_expire(vault));
	if (_i) {
		crash_locked();
		ck_assert_int_eq(vault_unlock(vault, right), 0);
		see();
	} else {
		ck_assert_int_eq(vault_unlock(vault, right), 0);
	}
	expire_all();
	kept->version = 1;
	check_stored("c", kept);
	if (_i)
		rise();
	forget(kept);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up_secrets, tear_down_secrets);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, nothing_is_found_and_nothing_changes_while_it_is_locked);
	tcase_add_test(claims, a_set_under_way_is_refused_and_may_be_made_later);
	tcase_add_test(claims, it_opens_with_its_key_alone);
	tcase_add_test(claims, each_lock_has_a_secret_of_its_own);
	tcase_add_test(
		claims, the_master_is_sealed_under_the_hash_of_the_secret_keyed_with_the_key);
	tcase_add_test(claims, it_is_locked_though_all_memory_is_used_up);
	tcase_add_loop_test(claims, so_it_is_by_the_next_process, 0, 2);
	tcase_add_test(claims, without_any_room_it_is_not_locked);
	tcase_add_test(claims, the_room_for_it_is_moved_with_everything_else);
	tcase_add_test(claims, the_next_process_looks_at_nothing_before_it_is_unlocked);
	tcase_add_test(claims, what_was_overwritten_meanwhile_is_found_when_it_is_unlocked);
	tcase_add_loop_test(
		claims, a_lock_of_which_one_copy_was_overwritten_opens_all, 0, LOCK_COPIES);
	tcase_add_test(claims, a_lock_that_was_overwritten_opens_nothing);
	tcase_add_test(claims, the_block_opens_nothing_with_another_secret);
	tcase_add_loop_test(claims, whose_time_is_over_is_gone_when_it_is_unlocked, 0, 2);
	tcase_add_loop_test(claims, what_hung_on_a_session_that_ended_is_gone, 0, 2);
	tcase_add_test(claims, a_get_under_way_is_read_to_its_end);
	tcase_add_loop_test(claims, a_purge_opens_it_and_leaves_nothing, 0, 2);
	tcase_add_loop_test(claims, a_batch_that_was_committed_waits, 0, 2);
	return claims_run(claims, "vault_lock");
}
