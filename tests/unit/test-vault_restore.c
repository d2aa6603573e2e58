/* SPDX-License-Identifier: Apache-2.0 */
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
				r = check(batch) == 1 ? batch_commit(vault, batch) : -1;
			ration = -1;
			value_free(vault, value);
		}
		done = r == 0;
		if (!done) {
			ck_assert_int_eq(r, STATUS_LIMIT);
			batch_free(vault, batch);
			ck_assert_uint_eq(vault_bytes(vault), bytes);
			check_stored("x", before);
			continue;
		}
		publish_all(batch);
	}
	ck_assert_int_gt(allowed, 4);
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
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), 0);
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), STATUS_FROZEN);
	ck_assert(span_equal(name, span_text("b")));
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

	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%03d", i);
		forget(add(batch, text, 10));
	}
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), 0);
	ck_assert_int_eq(vault_freeze(vault, span_text("000"), true, &none, &version), 0);
	ck_assert_int_eq(check(batch), STATUS_FROZEN);
	/* Somebody who does so again and again is told of. */
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(vault_freeze(vault, span_text("000"), i % 2, &none, &version), 0);
		if (batch_check(vault, batch, NULL, &name) == STATUS_CONFLICT)
			break;
		ck_assert_int_lt(i, 99);
	}
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

	if (_i > 0)
		commit(batch);
	if (_i > 1)
		check_stored("a", a);
	vault_purge(vault);
	ck_assert(!is_value_anywhere(a));
	ck_assert(!is_value_anywhere(b));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	value = new_value(a);
	ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), STATUS_GONE);
	value_free(vault, value);
	if (_i == 0)
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

/* As a process that died in the midst leaves it: without a tag it is no record. */
START_TEST(what_is_not_published_is_no_record)
{
	struct batch *batch = new_batch();
	struct kept *a = add(batch, "a", 10);
	uint64_t suspect;
	uint64_t offset = index_find(batch->index, span_text("a"), &suspect);

	ck_assert_uint_ne(offset, 0);
	ck_assert(!record_intact(vault, offset));
	commit(batch);
	ck_assert(!record_intact(vault, offset));
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
	tcase_add_loop_test(claims, a_purge_takes_it_at_any_time, 0, 3);
	tcase_add_loop_test(claims, a_life_that_ends_before_the_commit_does_not_appear, 0, 2);
	tcase_add_test(claims, a_name_that_is_asked_for_has_its_turn_at_once);
	tcase_add_test(claims, once_it_is_committed_it_needs_no_memory);
	tcase_add_test(claims, without_memory_nothing_appears);
	tcase_add_test(claims, a_version_succeeds_what_is_there);
	tcase_add_test(claims, what_is_in_the_way_is_told_by_name);
	tcase_add_test(claims, a_damaged_record_is_in_the_way);
	tcase_add_test(claims, what_is_frozen_during_the_look_is_seen);
	tcase_add_test(claims, one_that_was_left_is_finished);
	tcase_add_test(claims, a_name_has_one_place_in_it);
	tcase_add_test(claims, what_is_not_published_is_no_record);
	return claims_run(claims, "vault_restore");
}
