/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/crash.h"

/* What the next process finds of a batch whose own process has ended: all of it or nothing. */

#define NAMES 5
#define MANY 200

static const struct batch_times times = { .version = 3, .created_ms = 1000, .changed_ms = 2000 };
static const uint8_t number[MESSAGE_NUMBER_SIZE] = { 1 };
static const uint8_t digest[VAULT_DIGEST_SIZE] = { 2 };

static struct batch *new_batch(void)
{
	struct batch *batch = NULL;

	ck_assert_int_eq(batch_new(vault, &batch), 0);
	return batch;
}

static struct kept *add_for(
	struct batch *batch, const char *name, size_t size, const struct lifetime *lifetime)
{
	struct kept *kept = draw(size);
	struct vault_put put = put_of(name, kept);
	struct value *value = new_value(kept);

	put.lifetime = *lifetime;
	ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
	kept->version = times.version;
	return kept;
}

static struct kept *add(struct batch *batch, const char *name, size_t size)
{
	return add_for(batch, name, size, &(struct lifetime){ 0 });
}

static void look(struct batch *batch)
{
	struct span name;
	int r;

	while ((r = batch_check(vault, batch, NULL, &name)) == 0)
		;
	ck_assert_int_eq(r, 1);
}

static void commit(struct batch *batch)
{
	look(batch);
	vault_promise(vault, 1000, number, digest);
	ck_assert_int_eq(batch_commit(vault, batch), 0);
	ck_assert_uint_ne(vault_promise_end(vault, true), 0);
}

static uint64_t staged_at(const struct batch *batch, const char *name)
{
	uint64_t suspect;
	uint64_t offset = index_find(batch->index, span_text(name), &suspect);

	ck_assert_uint_ne(offset, 0);
	return offset;
}

static int see_answer(void *context, const struct vault_answer *answer)
{
	ck_assert_uint_eq(answer->uid, 1000);
	ck_assert_mem_eq(answer->number, number, sizeof(number));
	ck_assert_mem_eq(answer->digest, digest, sizeof(digest));
	*(uint64_t *)context += answer->version;
	return 0;
}

/* What a repeat is told: how many secrets; 0: nothing. */
static uint64_t answered(void)
{
	uint64_t secrets = 0;

	ck_assert_int_eq(vault_answers(vault, see_answer, &secrets), 0);
	return secrets;
}

/* Every second name is there already, in different versions. */
static void store_before(struct kept *before[static NAMES])
{
	char name[] = "app/0";

	for (int i = 0; i < NAMES; i++, name[4]++) {
		before[i] = NULL;
		for (int j = 0; i % 2 == 0 && j <= i; j++) {
			forget(before[i]);
			before[i] = store_new(name, wiped_sizes[j % 4]);
		}
	}
}

static struct batch *stage_names(struct kept *kept[static NAMES])
{
	struct batch *batch = new_batch();
	char name[] = "app/0";

	for (int i = 0; i < NAMES; i++, name[4]++)
		kept[i] = add(batch, name, wiped_sizes[(i + 1) % 4]);
	return batch;
}

/* The versions that follow those before. */
static void follow(struct kept *kept[static NAMES])
{
	kept[2]->version = 4;
	kept[4]->version = 6;
}

static void check_names(struct kept *kept[static NAMES], struct kept *gone[static NAMES])
{
	char name[] = "app/0";
	uint64_t count = 0;

	for (int i = 0; i < NAMES; i++, name[4]++) {
		if (kept[i])
			check_stored(name, kept[i]);
		else
			ck_assert_int_eq(find_status(name), STATUS_NOT_FOUND);
		ck_assert(!gone[i] || !is_value_anywhere(gone[i]));
		count += kept[i] != NULL;
	}
	ck_assert_uint_eq(vault_count(vault), count);
	ck_assert_uint_eq(vault_broken(vault), 0);
}

static void forget_names(struct kept *one[static NAMES], struct kept *other[static NAMES])
{
	for (int i = 0; i < NAMES; i++) {
		forget(one[i]);
		forget(other[i]);
	}
}

START_TEST(what_was_committed_is_there_however_much_was_published)
{
	struct kept *before[NAMES];
	struct kept *kept[NAMES];
	char name[] = "app/0";

	store_before(before);
	commit(stage_names(kept));
	follow(kept);
	for (int i = 0; i < _i; i++, name[4]++)
		check_stored(name, kept[i]);
	crash();
	check_names(kept, before);
	ck_assert_uint_eq(answered(), NAMES);
	rise();
	forget_names(before, kept);
}
END_TEST

START_TEST(what_was_only_looked_at_is_not)
{
	struct kept *before[NAMES];
	struct kept *kept[NAMES];
	struct batch *batch;

	store_before(before);
	batch = stage_names(kept);
	if (_i > 0)
		look(batch);
	crash();
	check_names(before, kept);
	ck_assert_uint_eq(answered(), 0);
	rise();
	batch_free(vault, batch);
	check_names(before, kept);
	forget_names(before, kept);
}
END_TEST

/* A process that leaves takes nothing along; this one's keys and its file stay where they are. */
START_TEST(whoever_leaves_has_it_published_by_the_next_one)
{
	struct kept *before[NAMES];
	struct kept *kept[NAMES];
	struct batch *batch;

	store_before(before);
	batch = stage_names(kept);
	if (_i > 0)
		commit(batch);
	else
		look(batch);
	follow(kept);
	vault_leave(vault);
	ck_assert_int_eq(vault_new(&vault, &rig.coffer, ledger_fd), 0);
	if (_i > 0)
		check_names(kept, before);
	else
		check_names(before, kept);
	ck_assert_uint_eq(answered(), _i > 0 ? NAMES : 0);
	forget_names(before, kept);
}
END_TEST

START_TEST(what_was_changed_since_stays_so)
{
	struct kept *before[NAMES];
	struct kept *kept[NAMES];
	struct kept *since[NAMES] = { NULL };

	store_before(before);
	commit(stage_names(kept));
	since[0] = store_new("app/0", 70);
	ck_assert_uint_eq(since[0]->version, 4);
	ck_assert_int_eq(remove_name("app/2"), 0);
	follow(kept);
	crash();
	check_stored("app/0", since[0]);
	check_stored("app/1", kept[1]);
	ck_assert_int_eq(find_status("app/2"), STATUS_NOT_FOUND);
	check_stored("app/3", kept[3]);
	check_stored("app/4", kept[4]);
	ck_assert(!is_value_anywhere(kept[0]));
	ck_assert(!is_value_anywhere(kept[2]));
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	forget_names(before, kept);
	forget(since[0]);
}
END_TEST

static uint64_t an_hour_from_now(void)
{
	return boot_ms() + 3600000;
}

static void end_lives(void)
{
	vault->now = an_hour_from_now;
	while (vault_expire(vault))
		;
	vault->now = boot_ms;
}

/* What ends before the commit was never there; what ends later ends what it has followed. */
START_TEST(what_has_ended_does_not_come_back)
{
	static const struct lifetime lifetime = { .ttl_ms = 60000 };
	struct batch *batch = new_batch();
	struct kept *before = store_new("a", 100);
	struct kept *a = add_for(batch, "a", 100, &lifetime);
	struct kept *b = add(batch, "b", 100);

	look(batch);
	if (_i == 0)
		end_lives();
	commit(batch);
	if (_i > 0)
		end_lives();
	crash();
	if (_i == 0)
		check_stored("a", before);
	else
		ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	check_stored("b", b);
	ck_assert(!is_value_anywhere(a));
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	forget(before);
	forget(a);
	forget(b);
}
END_TEST

/* A record is listed each time it becomes ready, and counts once. */
START_TEST(what_was_made_ready_again_and_again_is_there_once)
{
	struct kept *before[NAMES];
	struct kept *kept[NAMES];
	struct batch *batch;

	store_before(before);
	batch = stage_names(kept);
	for (int i = 0; i < 70; i++) {
		look(batch);
		forget(before[1]);
		before[1] = store_new("app/1", 10);
	}
	look(batch);
	ck_assert_uint_eq(batch->listed_count, NAMES + 70);
	commit(batch);
	follow(kept);
	kept[1]->version = 71;
	crash();
	check_names(kept, before);
	rise();
	forget_names(before, kept);
}
END_TEST

/* Where a record of the one was, there is one of the other now, which was not committed. */
START_TEST(a_commit_lists_nothing_of_another_batch)
{
	struct batch *batch = new_batch();
	struct batch *other = new_batch();
	struct kept *kept;
	struct span at;
	char name[16];
	uint64_t place;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		forget(add(batch, name, 10));
	}
	commit(batch);
	place = staged_at(batch, "000");
	ck_assert_int_eq(remove_name("000"), 0);
	kept = add(other, "xyz", 10);
	ck_assert_int_eq(batch_check(vault, other, NULL, &at), 0);
	ck_assert_uint_eq(staged_at(other, "xyz"), place);
	ck_assert(record_staged(vault, place));
	ck_assert_uint_gt(batch_count(batch), 0);
	crash();
	ck_assert_int_eq(find_status("xyz"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("000"), STATUS_NOT_FOUND);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_count(vault), MANY - 1);
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	forget(kept);
}
END_TEST

static bool opens(const char *name, const struct kept *kept)
{
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct record *record;

	return vault_find(vault, span_text(name), &record) == 0 &&
		record_key(vault, record, key) == 0 && memcmp(key, kept->key, sizeof(key)) == 0;
}

/* Whatever byte it is: what is missing is told of, and what was not committed does not appear. */
START_TEST(another_byte_is_told_of)
{
	struct batch *batch = new_batch();
	struct kept *old = store_new("a", 100);
	struct kept *a = add(batch, "a", 100);
	struct kept *b = add(batch, "bb", 200);
	struct vault *before = vault;
	uint64_t told = 0;
	size_t size;

	commit(batch);
	size = (size_t)vault_bytes(vault) + vault->held + LEDGER_UNIT;
	for (size_t at = LEDGER_UNIT; at < size; at++) {
		struct remains *remains = remains_of_now();
		uint8_t byte;

		ck_assert_int_eq(pread(remains->fd, &byte, 1, (off_t)at), 1);
		byte ^= (uint8_t)(1u << at % 8);
		ck_assert_int_eq(pwrite(remains->fd, &byte, 1, (off_t)at), 1);
		vault = NULL;
		ck_assert_int_eq(adopt_remains(remains, &vault), 0);
		if (vault_broken(vault) == 0 && (!opens("a", a) || !opens("bb", b)))
			ck_abort_msg("byte %zu: it is not all, and nobody is told", at);
		ck_assert_int_eq(
			opens("a", a) || opens("a", old) || find_status("a") == STATUS_NOT_FOUND,
			true);
		told += vault_lost(vault, LOSS_SECRET) > 0;
		vault_free(vault);
		vault = before;
		forget_remains(remains);
	}
	/* The block of the commit, the two records, and the one before. */
	ck_assert_uint_gt(told, COMMIT_SIZE + 3 * sizeof(struct header));
	ck_assert_uint_lt(told, size / 2);
	forget(old);
	forget(a);
	forget(b);
}
END_TEST

/* Without the block that lists it nothing of it counts, and the damage is told of. */
START_TEST(a_damaged_commit_is_none)
{
	static const size_t places[] = { 3, BLOCK_TAG_SIZE, BLOCK_TAG_SIZE + 1, 30, COMMIT_SIZE };
	struct kept *before[NAMES];
	struct kept *kept[NAMES];
	struct batch *batch;

	store_before(before);
	batch = stage_names(kept);
	commit(batch);
	((uint8_t *)ledger_at(vault->ledger, batch->commit, COMMIT_SIZE + 1))[places[_i]] ^= 0x10;
	crash();
	ck_assert_uint_eq(vault_broken(vault), 1);
	memset(vault->lost, 0, sizeof(vault->lost));
	check_names(before, kept);
	rise();
	forget_names(before, kept);
}
END_TEST

START_TEST(without_memory_it_waits_for_the_next_one)
{
	struct kept *names[NAMES];
	struct kept *kept[NAMES];
	struct vault *before = vault;
	struct vault *adopted = NULL;
	struct remains *remains;
	int failed = 0;
	int left;
	int r;

	ration_fails_once = _i == 0;
	store_before(names);
	commit(stage_names(kept));
	follow(kept);
	check_stored("app/3", kept[3]);
	remains = remains_of_now();
	do {
		ration = failed;
		r = adopt_remains(remains, &adopted);
		left = ration;
		ration = -1;
		failed += r != 0;
		ck_assert(r == 0 || r == -ENOMEM);
	} while (r != 0);
	/* Room for a lock is looked for once more when it is needed. */
	ck_assert(left >= 0 || adopted->lock_rooms[0] == 0 || adopted->lock_rooms[1] == 0);
	ck_assert_int_gt(failed, 6);
	vault = adopted;
	check_names(kept, names);
	ck_assert_uint_eq(answered(), NAMES);
	vault_free(vault);
	vault = before;
	forget_remains(remains);
	forget_names(names, kept);
}
END_TEST

START_TEST(a_purge_in_the_midst_leaves_nothing)
{
	struct kept *before[NAMES];
	struct kept *kept[NAMES];
	struct kept *none[NAMES] = { NULL };

	store_before(before);
	commit(stage_names(kept));
	follow(kept);
	if (_i > 0)
		check_stored("app/2", kept[2]);
	vault_purge(vault);
	crash();
	check_names(none, before);
	check_names(none, kept);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget_names(before, kept);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("commit");

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up_in_file, tear_down_in_file);
	tcase_add_loop_test(
		claims, what_was_committed_is_there_however_much_was_published, 0, NAMES + 1);
	tcase_add_loop_test(claims, what_was_only_looked_at_is_not, 0, 2);
	tcase_add_loop_test(claims, whoever_leaves_has_it_published_by_the_next_one, 0, 2);
	tcase_add_test(claims, what_was_changed_since_stays_so);
	tcase_add_loop_test(claims, what_has_ended_does_not_come_back, 0, 2);
	tcase_add_test(claims, what_was_made_ready_again_and_again_is_there_once);
	tcase_add_test(claims, a_commit_lists_nothing_of_another_batch);
	tcase_add_test(claims, another_byte_is_told_of);
	tcase_add_loop_test(claims, a_damaged_commit_is_none, 0, 5);
	tcase_add_loop_test(claims, without_memory_it_waits_for_the_next_one, 0, 2);
	tcase_add_loop_test(claims, a_purge_in_the_midst_leaves_nothing, 0, 2);
	return claims_run(claims, "a batch that is adopted");
}
