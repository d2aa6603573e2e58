/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/change_rig.h"

/* Versions in their grace: with whom they go, and with whom they end. */

static void purge_it(void)
{
	vault_purge_record(vault, find("a"));
}

START_TEST(who_reads_one_that_is_purged_is_told)
{
	struct kept *old = store_new("a", 300000);
	struct kept *kept = rotate("a", 10, 1000);
	struct record *record = NULL;

	ck_assert_int_eq(vault_find_version(vault, span_text("a"), 1, &record), 0);
	record_pin(record);
	purge_it();
	ck_assert(record_purged(record));
	ck_assert_uint_eq(record_chunk(vault, record, 0).size, 0);
	record_unpin(vault, record);
	ck_assert(!is_value_anywhere(old));
	forget(old);
	forget(kept);
}
END_TEST
START_TEST(they_go_with_their_secret_to_another_name)
{
	struct kept *old = store_new("a", 100);
	struct kept *kept = rotate("a", 100, 1000);
	struct kept *other;

	ck_assert_int_eq(move_name("a", "b"), 0);
	other = store_new("a", 100);
	check_version("b", old);
	check_version("a", other);
	crash_on_time();
	check_version("b", old);
	check_version("b", kept);
	check_version("a", other);
	ck_assert_int_eq(remove_name("a"), 0);
	check_version("b", old);
	ck_assert_int_eq(remove_name("b"), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget(old);
	forget(kept);
	forget(other);
}
END_TEST

static void remove_it(void)
{
	ck_assert_int_eq(remove_name("a"), 0);
}

static void let_it_end(void)
{
	clock_ms += 60000;
	expire_all();
}

static void consume_it(void)
{
	ck_assert_int_eq(record_use(vault, find("a")), 0);
	ck_assert_int_eq(record_use(vault, find("a")), 0);
	vault_forget_consumed(vault, 1000);
}

static void purge_all(void)
{
	vault_purge(vault);
}

static void (*const ends[])(void) = { remove_it, let_it_end, consume_it, purge_it, purge_all };

START_TEST(they_end_with_their_secret)
{
	static const struct lifetime lifetime = { .ttl_ms = 60000, .reads = 2 };
	struct kept *old = store_tagged("a", &lifetime);
	struct kept *middle = rotate("a", 100, 3600000);
	struct kept *kept = rotate("a", 100, 3600000);
	struct record *record = NULL;

	check_version("a", old);
	check_version("a", middle);
	ck_assert_int_eq(vault_find_version(vault, span_text("a"), 1, &record), 0);
	record = record_pin(record);
	ends[_i]();
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	ck_assert_ptr_null(vault->families);
	ck_assert_int_eq(record_key(vault, record, (uint8_t[ENCLAVE_KEY_SIZE]){ 0 }), STATUS_GONE);
	record_unpin(vault, record);
	ck_assert(!is_value_anywhere(old));
	ck_assert(!is_value_anywhere(middle));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	forget(old);
	forget(middle);
	forget(kept);
}
END_TEST

static struct batch *restored_next(const char *name, struct kept *kept)
{
	static const struct batch_times times = { .version = 3, .created_ms = 1, .changed_ms = 2 };
	struct vault_put put = put_of(name, kept);
	struct value *value = new_value(kept);
	struct batch *batch = NULL;
	struct span first;

	ck_assert_int_eq(batch_new(vault, &batch), 0);
	ck_assert_int_eq(batch_add(vault, batch, &value, &put, &times), 0);
	ck_assert_int_eq(batch_check(vault, batch, NULL, &first), 1);
	ck_assert_int_eq(batch_commit(vault, batch), 0);
	return batch;
}

static void restore(struct batch *batch, const char *name, struct kept *kept)
{
	while (!batch_publish(vault, batch))
		;
	batch_free(vault, batch);
	kept->version = get_number(record_header(vault, offset_of(name))->version);
}

START_TEST(they_are_not_those_of_what_was_restored_over_their_secret)
{
	struct kept *old = store_new("a", 100);
	struct kept *kept = rotate("a", 100, 1000);
	struct kept *restored = draw(100);

	restore(restored_next("a", restored), "a", restored);
	ck_assert_uint_eq(restored->version, 3);
	ck_assert_int_eq(version_status("a", 1), STATUS_NOT_FOUND);
	ck_assert_int_eq(version_status("a", 2), STATUS_NOT_FOUND);
	ck_assert_ptr_null(vault->families);
	ck_assert(!is_value_anywhere(old));
	ck_assert(!is_value_anywhere(kept));
	crash_on_time();
	check_stored("a", restored);
	ck_assert_int_eq(version_status("a", 1), STATUS_NOT_FOUND);
	rise();
	forget(old);
	forget(kept);
	forget(restored);
}
END_TEST

/* What else makes another record the current one. */
static void nothing_more(struct kept *kept)
{
	(void)kept;
}

static void set_again(struct kept *kept)
{
	store("a", kept);
}

static void touch_it(struct kept *kept)
{
	(void)kept;
	ck_assert_int_eq(vault_touch(vault, span_text("a"), 60000, &none, &(uint64_t){ 0 }), 0);
}

static void move_away_and_back(struct kept *kept)
{
	(void)kept;
	ck_assert_int_eq(move_name("a", "b"), 0);
	ck_assert_int_eq(move_name("b", "a"), 0);
}

static void be_adopted(struct kept *kept)
{
	(void)kept;
	crash_on_time();
}

static void overwrite_header(void)
{
	memset(record_header(vault, offset_of("a"))->secret, 0x5a, sizeof(uint64_t));
}

static void overwrite_and_remove(void)
{
	overwrite_header();
	ck_assert_int_eq(find_status("a"), STATUS_INTEGRITY);
	remove_it();
}

/* It was right when it was looked at for the last time. */
static void overwrite_and_restore(void)
{
	struct kept *restored = draw(100);
	struct batch *batch = restored_next("a", restored);

	overwrite_header();
	restore(batch, "a", restored);
	check_stored("a", restored);
	forget(restored);
}

static void (*const turns[])(
	struct kept *kept) = { nothing_more, set_again, touch_it, move_away_and_back, be_adopted };

/* Its header does not say whose they are any more. */
START_TEST(they_end_with_a_secret_whose_header_was_overwritten)
{
	struct kept *old = store_new("a", 100);
	struct kept *kept = rotate("a", 100, 1000);
	struct kept *other = draw(100);

	turns[_i / 2](other);
	check_version("a", old);
	if (_i % 2 == 0)
		overwrite_and_remove();
	else
		overwrite_and_restore();
	ck_assert_ptr_null(vault->families);
	ck_assert(!is_value_anywhere(old));
	while (vault_compact(vault))
		;
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	if (turns[_i / 2] == be_adopted)
		rise();
	forget(old);
	forget(kept);
	forget(other);
}
END_TEST

START_TEST(fetches_of_one_are_counted_for_it_alone)
{
	static const struct lifetime lifetime = { .reads = 2 };
	struct tag tags[MESSAGE_TAGS_MAX];
	struct kept *old = store_tagged("a", &lifetime);
	struct kept *kept = rotate("a", 100, 1000);
	struct record *record;

	for (int i = 0; i < 2; i++) {
		check_version("a", old);
		ck_assert_int_eq(vault_find_version(vault, span_text("a"), 1, &record), 0);
		ck_assert_int_eq(record_use(vault, record), 0);
	}
	/* The name is not consumed: it has another version. */
	ck_assert_int_eq(version_status("a", 1), STATUS_NOT_FOUND);
	ck_assert(!is_value_anywhere(old));
	check_stored("a", kept);
	ck_assert_uint_eq(info_of("a", tags).left.reads, 2);
	forget(old);
	forget(kept);
}
END_TEST

START_TEST(both_hang_on_the_same_connection)
{
	struct kept *old = draw(100);
	struct vault_put put = put_of("a", old);
	struct kept *kept;

	put.lifetime.session = true;
	put.session = holder_new(NULL, NULL);
	ck_assert_int_eq(try_put(&put, old), 0);
	kept = rotate("a", 100, 1000);
	ck_assert_uint_eq(holder_count(put.session), 2);
	vault_end_holder(vault, put.session);
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	expire_all();
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(old);
	forget(kept);
}
END_TEST

START_TEST(what_hung_on_a_connection_is_not_adopted)
{
	struct kept *old = draw(100);
	struct vault_put put = put_of("a", old);
	struct kept *kept;

	put.lifetime.session = true;
	put.session = holder_new(NULL, NULL);
	ck_assert_int_eq(try_put(&put, old), 0);
	kept = rotate("a", 100, 1000);
	crash_on_time();
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	ck_assert_uint_eq(vault_broken(vault), 0);
	rise();
	vault_end_holder(vault, put.session);
	forget(old);
	forget(kept);
}
END_TEST

/* No process lives that another one could have hung on. */
static int find_nobody(void *context, uint32_t pid, uint64_t started, struct holder **holderp)
{
	(void)context;
	ck_assert_uint_eq(pid, 6);
	ck_assert_uint_eq(started, 77);
	*holderp = NULL;
	return 0;
}

START_TEST(both_end_with_the_process_that_they_hung_on)
{
	struct kept *old = draw(100);
	struct vault_put put = put_of("a", old);
	struct kept *kept;

	put.lifetime.pid = 6;
	put.process_started = 77;
	ck_assert_int_eq(try_put(&put, old), 0);
	kept = rotate("a", 100, 60000);
	crash_on_time();
	ck_assert_uint_eq(vault->bound.count, 2);
	ck_assert_int_eq(vault_bind(vault, find_nobody, NULL), 0);
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	ck_assert_ptr_null(vault->families);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget(old);
	forget(kept);
}
END_TEST

START_TEST(one_that_was_overwritten_is_damage_and_nothing_else_is)
{
	struct kept *old = store_new("a", 100);
	struct kept *kept = rotate("a", 100, 1000);
	size_t size = sizeof(struct header) + sizeof(struct lifetime_bytes);
	uint64_t offset =
		former_find(vault, get_number(record_header(vault, offset_of("a"))->secret), 1);
	uint8_t *bytes = (uint8_t *)record_header(vault, offset);

	for (size_t place = 0; place < size; place++) {
		bytes[place] ^= 0x10;
		ck_assert_int_eq(version_status("a", 1), STATUS_INTEGRITY);
		check_stored("a", kept);
		bytes[place] ^= 0x10;
	}
	check_version("a", old);
	bytes[offsetof(struct header, secret)] ^= 0x10;
	clock_ms += 1000;
	expire_all();
	ck_assert_int_eq(version_status("a", 1), STATUS_INTEGRITY);
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	ck_assert_int_eq(remove_name("a"), 0);
	ck_assert_ptr_null(vault->families);
	forget(old);
	forget(kept);
}
END_TEST
int main(void)
{
	TCase *claims = tcase_create("vault_former");

	tcase_add_checked_fixture(claims, set_up_clock, tear_down_in_file);
	tcase_set_timeout(claims, 100);
	tcase_add_test(claims, who_reads_one_that_is_purged_is_told);
	tcase_add_test(claims, they_go_with_their_secret_to_another_name);
	tcase_add_loop_test(claims, they_end_with_their_secret, 0, COUNT_OF(ends));
	tcase_add_test(claims, they_are_not_those_of_what_was_restored_over_their_secret);
	tcase_add_loop_test(claims, they_end_with_a_secret_whose_header_was_overwritten, 0,
		2 * COUNT_OF(turns));
	tcase_add_test(claims, fetches_of_one_are_counted_for_it_alone);
	tcase_add_test(claims, both_hang_on_the_same_connection);
	tcase_add_test(claims, what_hung_on_a_connection_is_not_adopted);
	tcase_add_test(claims, both_end_with_the_process_that_they_hung_on);
	tcase_add_test(claims, one_that_was_overwritten_is_damage_and_nothing_else_is);
	return claims_run(claims, "vault_former");
}
