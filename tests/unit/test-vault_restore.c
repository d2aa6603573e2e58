/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/index_inside.h"
#include "tests/unit/vault_rig.h"

/* Batches: secrets that appear together or not at all. */

#define MANY 200

static const struct conditions none;
static const struct batch_times times = { .version = 3, .created_ms = 1000, .changed_ms = 2000 };
static uint64_t clock_ms;

static uint64_t our_clock(void)
{
	return clock_ms;
}

static void set_up_clock(void)
{
	set_up();
	clock_ms = 5000000;
	vault->now = our_clock;
}

static struct batch *new_batch(void)
{
	struct batch *batch = NULL;

	ck_assert_int_eq(batch_new(vault, &batch), 0);
	return batch;
}

static int try_add(
	struct batch *batch, const char *name, struct kept *kept, const struct lifetime *lifetime)
{
	struct vault_put put = put_of(name, kept);
	struct value *value = new_value(kept);
	int r;

	if (lifetime)
		put.lifetime = *lifetime;
	r = batch_add(vault, batch, &value, &put, &times);
	ck_assert_int_eq(r == 0, value == NULL);
	value_free(vault, value);
	kept->version = times.version;
	return r;
}

static struct kept *add(struct batch *batch, const char *name, size_t size)
{
	struct kept *kept = draw(size);

	ck_assert_int_eq(try_add(batch, name, kept, NULL), 0);
	return kept;
}

static int check(struct batch *batch)
{
	struct span name;
	int r;

	while ((r = batch_check(vault, batch, NULL, &name)) == 0)
		;
	return r;
}

static void commit(struct batch *batch)
{
	ck_assert_int_eq(check(batch), 1);
	ck_assert_int_eq(batch_commit(vault, batch), 0);
}

static void publish_all(struct batch *batch)
{
	while (!batch_publish(vault, batch))
		;
	ck_assert_uint_eq(batch_count(batch), 0);
	batch_free(vault, batch);
}

static uint64_t staged_at(const struct batch *batch, const char *name)
{
	uint64_t suspect;
	uint64_t offset = index_find(batch->index, span_text(name), &suspect);

	ck_assert_uint_ne(offset, 0);
	return offset;
}

static uint64_t version_of(const char *name)
{
	return get_number(record_header(vault, offset_of(name))->version);
}

START_TEST(a_batch_is_seen_by_nobody_and_appears_whole)
{
	struct batch *batch = new_batch();
	struct kept *before = store_new("b", 100);
	struct kept *a = add(batch, "a", wiped_sizes[_i]);
	struct kept *b = add(batch, "b", wiped_sizes[_i]);
	struct wrapped wrapped = wrapped_of("b");
	char names[256];

	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	check_stored("b", before);
	ck_assert_uint_eq(vault_count(vault), 1);
	commit(batch);
	publish_all(batch);
	check_stored("a", a);
	check_stored("b", b);
	list("", names);
	ck_assert_str_eq(names, "a b ");
	ck_assert(!is_value_anywhere(before));
	ck_assert(!is_wrapped_anywhere(&wrapped));
	ck_assert_uint_eq(get_number(record_header(vault, offset_of("a"))->created), 1000);
	ck_assert_uint_eq(get_number(record_header(vault, offset_of("a"))->changed), 2000);
	forget(before);
	forget(a);
	forget(b);
}
END_TEST

START_TEST(what_is_not_committed_is_wiped)
{
	struct batch *batch = new_batch();
	struct kept *a = add(batch, "a", wiped_sizes[_i]);

	ck_assert(is_value_anywhere(a));
	ck_assert_int_eq(check(batch), 1);
	batch_free(vault, batch);
	ck_assert(!is_value_anywhere(a));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(a);
}
END_TEST

START_TEST(a_name_that_is_asked_for_has_its_turn_at_once)
{
	struct batch *batch = new_batch();
	struct kept *kept[MANY];
	char name[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		kept[i] = add(batch, name, 10);
	}
	commit(batch);
	check_stored("150", kept[150]);
	ck_assert_int_eq(remove_name("150"), 0);
	ck_assert_int_eq(remove_name("199"), 0);
	ck_assert_uint_eq(batch_count(batch), MANY - 2);
	publish_all(batch);
	ck_assert_int_eq(find_status("150"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(vault), MANY - 2);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		if (i != 150 && i != 199)
			check_stored(name, kept[i]);
		forget(kept[i]);
	}
}
END_TEST

/* Whatever was taken for it is there, whoever takes all the rest. */
START_TEST(once_it_is_committed_it_needs_no_memory)
{
	struct batch *batch = new_batch();
	struct kept *kept[MANY];
	struct kept *before = store_new("007", 10);
	char name[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		kept[i] = add(batch, name, i % 10 == 0 ? 300000 : 10);
	}
	commit(batch);
	ration = 0;
	while (!batch_publish(vault, batch))
		;
	batch_free(vault, batch);
	ration = -1;
	kept[7]->version = 3;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		check_stored(name, kept[i]);
		forget(kept[i]);
	}
	forget(before);
}
END_TEST

static uint64_t answer;

/* With the answer that a repeat gets: without room for that one nothing is done. */
static int commit_with_answer(struct batch *batch)
{
	static const uint8_t number[MESSAGE_NUMBER_SIZE] = { 1 };
	static const uint8_t digest[VAULT_DIGEST_SIZE] = { 2 };
	int r;

	vault_promise(vault, 1000, number, digest);
	r = batch_commit(vault, batch);
	answer = vault_promise_end(vault, r == 0);
	ck_assert_int_eq(r == 0, answer != 0);
	return r;
}

START_TEST(without_memory_nothing_appears)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000 };
	struct kept *before = store_new("x", 10);
	struct kept *kept = draw(300000);
	uint64_t bytes = vault_bytes(vault);
	int allowed = 0;
	bool done = false;

	for (; !done; allowed++) {
		struct batch *batch = NULL;
		int r;

		ck_assert_int_lt(allowed, 100);
		ration = allowed;
		r = batch_new(vault, &batch);
		ration = -1;
		if (r != 0) {
			ck_assert_int_eq(r, STATUS_LIMIT);
			continue;
		}
		{
			struct vault_put put = put_of("x", kept);
			struct value *value = new_value(kept);

			put.lifetime = lifetime;
			ration = allowed;
			r = batch_add(vault, batch, &value, &put, &times);
			if (r == 0)
				r = check(batch);
			if (r == 1)
				r = commit_with_answer(batch);
			ration = -1;
			value_free(vault, value);
		}
		done = r == 0;
		if (!done) {
			ck_assert_int_eq(r, STATUS_LIMIT);
			ck_assert_uint_eq(vault->index->promised, 0);
			batch_free(vault, batch);
			ck_assert_uint_eq(vault_bytes(vault), bytes);
			check_stored("x", before);
			continue;
		}
		publish_all(batch);
	}
	ck_assert_int_gt(allowed, 8);
	vault_drop_answer(vault, answer);
	kept->version = 3;
	check_stored("x", kept);
	forget(before);
	forget(kept);
}
END_TEST

START_TEST(a_version_succeeds_what_is_there)
{
	struct batch *batch = new_batch();
	struct kept *kept = NULL;
	struct kept *a = add(batch, "a", 10);
	struct kept *b = add(batch, "b", 10);

	for (int i = 0; i < 5; i++) {
		forget(kept);
		kept = store_new("a", 10);
	}
	forget(store_new("b", 10));
	commit(batch);
	publish_all(batch);
	a->version = 6;
	b->version = 3;
	check_stored("a", a);
	check_stored("b", b);
	forget(a);
	forget(b);
	forget(kept);
}
END_TEST

START_TEST(what_is_in_the_way_is_told_by_name)
{
	struct batch *batch = new_batch();
	struct kept *kept = store_new("b", 10);
	struct span name;
	uint64_t version;
	uint64_t stream;
	uint64_t offset;

	forget(add(batch, "a", 10));
	forget(add(batch, "b", 10));
	forget(add(batch, "c", 10));
	ck_assert_int_eq(vault_freeze(vault, span_text("b"), true, &none, &version), 0);
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), STATUS_FROZEN);
	ck_assert(span_equal(name, span_text("b")));
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), STATUS_FROZEN);
	ck_assert_int_eq(vault_freeze(vault, span_text("b"), false, &none, &version), 0);
	ck_assert_int_eq(vault_put_stream(vault, span_text("c"), 1000, &offset, &stream), 0);
	ck_assert_int_eq(check(batch), STATUS_INVALID);
	batch_free(vault, batch);
	check_stored("b", kept);
	forget(kept);
}
END_TEST

START_TEST(a_damaged_record_is_in_the_way)
{
	struct batch *batch = new_batch();
	struct kept *kept = store_new("b", 10);

	forget(add(batch, "b", 10));
	record_header(vault, offset_of("b"))->version[0] ^= 1;
	ck_assert_int_eq(check(batch), STATUS_INTEGRITY);
	batch_free(vault, batch);
	forget(kept);
}
END_TEST

START_TEST(what_is_frozen_during_the_look_is_seen)
{
	struct batch *batch = new_batch();
	struct kept *kept = store_new("000", 10);
	char text[16];
	struct span name;
	uint64_t version;
	int r = 0;

	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%03d", i);
		forget(add(batch, text, 10));
	}
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), 0);
	ck_assert_int_eq(vault_freeze(vault, span_text("000"), true, &none, &version), 0);
	ck_assert_int_eq(check(batch), STATUS_FROZEN);
	/* Nor does somebody who melts it and changes it again and again hold the others up. */
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_eq(vault_freeze(vault, span_text("000"), false, &none, &version), 0);
		forget(store_new("000", 10));
		r = batch_check(vault, batch, NULL, &name);
		if (r == 1)
			break;
		ck_assert_int_eq(r, 0);
	}
	ck_assert_int_eq(r, 1);
	batch_free(vault, batch);
	forget(kept);
}
END_TEST

/* What cannot be noted is a reason to begin again, but not for ever. */
START_TEST(without_memory_for_what_was_changed_it_is_looked_at_again)
{
	struct batch *batch = new_batch();
	struct span name;
	int rounds = 0;
	int r = 0;

	forget(add(batch, "a", 10));
	forget(add(batch, "b", 10));
	ck_assert_int_eq(check(batch), 1);
	while (r == 0) {
		struct kept *kept = draw(10);
		struct vault_put put = put_of("a", kept);
		struct value *value = new_value(kept);

		ck_assert_int_eq(offsets_add(&batch->again, 1), 0);
		batch->again.count = batch->again.capacity;
		ration_fails_once = true;
		/* The owner's place in the tally, the record, the name's place where it is new, and
		 * then the note. */
		ration = rounds == 0 ? 3 : 2;
		ck_assert_int_eq(vault_put(vault, &value, &put, &kept->version), 0);
		ck_assert_int_eq(ration, -1);
		ck_assert_int_eq(batch_commit(vault, batch), STATUS_CONFLICT);
		forget(kept);
		r = batch_check(vault, batch, NULL, &name);
		if (rounds++ == 0) {
			ck_assert_int_eq(r, 0);
			ck_assert_int_eq(check(batch), 1);
			r = 0;
		} else if (r == 0) {
			ck_assert_int_eq(check(batch), 1);
		}
	}
	ck_assert_int_eq(r, STATUS_CONFLICT);
	ck_assert_int_eq(rounds, CHECKS_MAX);
	batch_free(vault, batch);
}
END_TEST

/* -- what is changed between the look and the commit --------------------------------------- */

static void change_set(void)
{
	forget(store_new("a", 20));
}

static void change_rotate(void)
{
	struct kept *kept = draw(20);
	struct vault_put put = put_of("a", kept);

	put.rotation = (struct rotation){ .asked = true, .grace_ms = 1000 };
	ck_assert_int_eq(try_put(&put, kept), 0);
	forget(kept);
}

static void change_remove(void)
{
	ck_assert_int_eq(remove_name("a"), 0);
}

static void change_remove_and_set(void)
{
	change_remove();
	change_set();
}

static void move(const char *from, const char *to)
{
	struct vault_move moved = { .name = span_text(from), .to = span_text(to), .owner = 1000 };
	uint64_t version;

	ck_assert_int_eq(vault_move(vault, &moved, &version), 0);
}

static void change_move_away(void)
{
	move("a", "elsewhere");
}

static void change_move_there(void)
{
	change_remove();
	for (int i = 0; i < 9; i++)
		forget(store_new("other", 10));
	move("other", "a");
}

static void change_touch(void)
{
	uint64_t version;

	ck_assert_int_eq(vault_touch(vault, span_text("a"), 60000, &none, &version), 0);
}

static void change_freeze_and_melt(void)
{
	uint64_t version;

	ck_assert_int_eq(vault_freeze(vault, span_text("a"), true, &none, &version), 0);
	ck_assert_int_eq(vault_freeze(vault, span_text("a"), false, &none, &version), 0);
}

static void change_use(void)
{
	ck_assert_int_eq(record_use(vault, find("a")), 0);
}

static void change_consume(void)
{
	change_use();
	change_use();
	ck_assert_int_eq(find_status("a"), STATUS_GONE);
}

static void change_expire(void)
{
	clock_ms += 100000;
	ck_assert(vault_expire(vault));
}

static void change_purge(void)
{
	vault_purge_record(vault, find("a"));
}

static void change_restore(void)
{
	struct batch *other = new_batch();

	forget(add(other, "a", 20));
	commit(other);
	publish_all(other);
}

static void (*const changes[])(void) = { change_set, change_rotate, change_remove,
	change_remove_and_set, change_move_away, change_move_there, change_touch,
	change_freeze_and_melt, change_use, change_consume, change_expire, change_purge,
	change_restore };

/* It is ready for what was there, and so it is made ready again. */
START_TEST(what_is_changed_after_the_look_is_followed_all_the_same)
{
	static const struct lifetime lifetime = { .ttl_ms = 100000, .reads = 2 };
	struct batch *batch = new_batch();
	struct kept *before = draw(10);
	struct vault_put put = put_of("a", before);
	struct kept *a = add(batch, "a", 300000);
	struct kept *b = add(batch, "b", 10);
	uint64_t offset = staged_at(batch, "a");
	uint64_t version = 0;
	uint64_t old;

	put.lifetime = lifetime;
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(try_put(&put, before), 0);
	ck_assert_int_eq(check(batch), 1);
	ck_assert(record_staged(vault, offset));
	ck_assert_uint_eq(get_number(record_header(vault, offset)->version), 5);
	changes[_i]();
	ck_assert(!record_staged(vault, offset));
	ck_assert_int_eq(batch_commit(vault, batch), STATUS_CONFLICT);
	ck_assert_int_eq(check(batch), 1);
	ck_assert(record_staged(vault, offset));
	if (vault_look_up(vault, span_text("a"), &old) == 0) {
		version = get_number(record_header(vault, old)->version);
		ck_assert_uint_gt(get_number(record_header(vault, offset)->sequence),
			get_number(record_header(vault, old)->sequence));
	}
	ck_assert_int_eq(batch_commit(vault, batch), 0);
	publish_all(batch);
	a->version = version_of("a");
	ck_assert_uint_gt(a->version, version);
	check_stored("a", a);
	check_stored("b", b);
	ck_assert(!is_value_anywhere(before) || changes[_i] == change_move_away);
	ck_assert_ptr_null(vault->families);
	forget(before);
	forget(a);
	forget(b);
}
END_TEST

START_TEST(what_is_in_the_way_since_the_look_is_seen)
{
	struct batch *batch = new_batch();
	struct kept *kept = store_new("a", 10);
	uint64_t version;
	uint64_t stream;
	uint64_t offset;

	forget(add(batch, "a", 10));
	forget(add(batch, "s", 10));
	ck_assert_int_eq(check(batch), 1);
	ck_assert_int_eq(vault_freeze(vault, span_text("a"), true, &none, &version), 0);
	ck_assert_int_eq(check(batch), STATUS_FROZEN);
	ck_assert_int_eq(vault_freeze(vault, span_text("a"), false, &none, &version), 0);
	ck_assert_int_eq(check(batch), 1);
	ck_assert_int_eq(vault_put_stream(vault, span_text("s"), 1000, &offset, &stream), 0);
	ck_assert_int_eq(check(batch), STATUS_INVALID);
	batch_free(vault, batch);
	check_stored("a", kept);
	forget(kept);
}
END_TEST

/* The names are in both: under all of them it is the later one, whoever's turn it is. */
START_TEST(of_two_batches_the_later_one_counts_under_every_name)
{
	struct batch *first = new_batch();
	struct batch *second = new_batch();
	struct kept *kept[MANY];
	struct span at;
	char name[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		forget(add(first, name, 10));
		kept[i] = add(second, name, 10);
	}
	ck_assert_int_eq(check(second), 1);
	commit(first);
	ck_assert_int_eq(batch_commit(vault, second), STATUS_CONFLICT);
	ck_assert_int_eq(batch_check(vault, second, NULL, &at), 0);
	ck_assert_uint_gt(batch_count(first), 0);
	commit(second);
	ck_assert_uint_eq(batch_count(first), 0);
	ck_assert(batch_publish(vault, first));
	batch_free(vault, first);
	publish_all(second);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		kept[i]->version = 4;
		check_stored(name, kept[i]);
		forget(kept[i]);
	}
	ck_assert_uint_eq(vault_count(vault), MANY);
}
END_TEST

START_TEST(a_batch_has_its_limit)
{
	struct batch *batch = new_batch();
	struct kept *kept = draw(10);
	uint64_t bytes = vault_bytes(vault);

	batch->index->count = BATCH_MAX;
	ck_assert_int_eq(try_add(batch, "a", kept, NULL), STATUS_LIMIT);
	ck_assert_uint_eq(vault_bytes(vault), bytes);
	batch->index->count = BATCH_MAX - 1;
	ck_assert_int_eq(try_add(batch, "a", kept, NULL), 0);
	batch->index->count = 1;
	batch_free(vault, batch);
	forget(kept);
}
END_TEST

START_TEST(a_purge_takes_it_at_any_time)
{
	struct batch *batch = new_batch();
	struct kept *a = add(batch, "a", wiped_sizes[1]);
	struct kept *b = add(batch, "b", wiped_sizes[2]);
	struct value *value;
	struct vault_put put = put_of("c", a);

	if (_i == 1)
		ck_assert_int_eq(check(batch), 1);
	if (_i > 1)
		commit(batch);
	if (_i > 2)
		check_stored("a", a);
	vault_purge(vault);
	ck_assert_uint_eq(vault->index->promised, 0);
	ck_assert_int_eq(batch_commit(vault, batch), STATUS_GONE);
	ck_assert(!is_value_anywhere(a));
	ck_assert(!is_value_anywhere(b));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	value = new_value(a);
	ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), STATUS_GONE);
	value_free(vault, value);
	if (_i < 2)
		ck_assert_int_eq(check(batch), STATUS_GONE);
	else
		ck_assert(batch_publish(vault, batch));
	batch_free(vault, batch);
	forget(store_new("a", 10));
	forget(a);
	forget(b);
}
END_TEST

START_TEST(one_that_was_left_is_finished)
{
	struct batch *batch = new_batch();
	struct kept *kept[MANY];
	char name[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		kept[i] = add(batch, name, 10);
	}
	commit(batch);
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	batch_leave(batch);
	ck_assert_uint_eq(vault_expiry_ms(vault), 0);
	while (vault_expire(vault))
		;
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	ck_assert_uint_eq(vault_count(vault), MANY);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		check_stored(name, kept[i]);
		forget(kept[i]);
	}
}
END_TEST

/* It has begun with the adding, and may be over with it. */
START_TEST(a_life_that_ends_before_the_commit_does_not_appear)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000 };
	struct batch *batch = new_batch();
	struct kept *kept = draw(wiped_sizes[1]);
	struct kept *b = add(batch, "b", 10);

	ck_assert_int_eq(try_add(batch, "a", kept, &lifetime), 0);
	clock_ms += 1000;
	if (_i > 0)
		while (vault_expire(vault))
			;
	commit(batch);
	publish_all(batch);
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	while (vault_expire(vault))
		;
	check_stored("b", b);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_count(vault), 1);
	forget(kept);
	forget(b);
}
END_TEST

/* Once it is committed it follows what was there, and goes with its own end. */
START_TEST(a_life_that_ends_after_the_commit_ends_what_was_before_it)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000 };
	struct batch *batch = new_batch();
	struct kept *before = store_new("a", 10);
	struct kept *kept = draw(wiped_sizes[1]);

	ck_assert_int_eq(try_add(batch, "a", kept, &lifetime), 0);
	commit(batch);
	clock_ms += 1000;
	if (_i > 0)
		while (vault_expire(vault))
			;
	publish_all(batch);
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	while (vault_expire(vault))
		;
	ck_assert(!is_value_anywhere(kept));
	ck_assert(!is_value_anywhere(before));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(before);
	forget(kept);
}
END_TEST

START_TEST(a_name_has_one_place_in_it)
{
	struct batch *batch = new_batch();
	struct kept *a = add(batch, "a", 10);
	struct kept *again = draw(10);

	ck_assert_int_eq(try_add(batch, "a", again, NULL), STATUS_CONFLICT);
	commit(batch);
	publish_all(batch);
	check_stored("a", a);
	ck_assert_uint_eq(version_of("a"), 3);
	forget(a);
	forget(again);
}
END_TEST

/* It has not the kind of one before its turn; the tag is there to show what is overwritten. */
START_TEST(what_is_not_published_is_no_record)
{
	struct batch *batch = new_batch();
	struct kept *a = add(batch, "a", 10);
	uint64_t offset = staged_at(batch, "a");

	ck_assert(!record_intact(vault, offset));
	ck_assert(!record_staged(vault, offset));
	ck_assert(record_proved(vault, offset));
	commit(batch);
	ck_assert(!record_intact(vault, offset));
	ck_assert(record_proved(vault, offset));
	publish_all(batch);
	ck_assert(record_intact(vault, offset));
	forget(a);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("vault_restore");

	tcase_add_checked_fixture(claims, set_up_clock, tear_down);
	tcase_set_timeout(claims, 100);
	tcase_add_loop_test(
		claims, a_batch_is_seen_by_nobody_and_appears_whole, 0, COUNT_OF(wiped_sizes));
	tcase_add_loop_test(claims, what_is_not_committed_is_wiped, 0, COUNT_OF(wiped_sizes));
	tcase_add_loop_test(claims, a_purge_takes_it_at_any_time, 0, 4);
	tcase_add_loop_test(claims, a_life_that_ends_before_the_commit_does_not_appear, 0, 2);
	tcase_add_test(claims, a_name_that_is_asked_for_has_its_turn_at_once);
	tcase_add_test(claims, once_it_is_committed_it_needs_no_memory);
	tcase_add_test(claims, without_memory_nothing_appears);
	tcase_add_test(claims, a_version_succeeds_what_is_there);
	tcase_add_test(claims, what_is_in_the_way_is_told_by_name);
	tcase_add_test(claims, a_damaged_record_is_in_the_way);
	tcase_add_test(claims, what_is_frozen_during_the_look_is_seen);
	tcase_add_test(claims, without_memory_for_what_was_changed_it_is_looked_at_again);
	tcase_add_loop_test(claims, what_is_changed_after_the_look_is_followed_all_the_same, 0,
		COUNT_OF(changes));
	tcase_add_test(claims, what_is_in_the_way_since_the_look_is_seen);
	tcase_add_test(claims, of_two_batches_the_later_one_counts_under_every_name);
	tcase_add_test(claims, a_batch_has_its_limit);
	tcase_add_loop_test(
		claims, a_life_that_ends_after_the_commit_ends_what_was_before_it, 0, 2);
	tcase_add_test(claims, one_that_was_left_is_finished);
	tcase_add_test(claims, a_name_has_one_place_in_it);
	tcase_add_test(claims, what_is_not_published_is_no_record);
	return claims_run(claims, "vault_restore");
}
