/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/crash.h"

/* Secrets that get another name, and versions that stay for a while when they are rotated. */

static const struct conditions none;
static uint64_t clock_ms;
static struct kept *next;

static uint64_t our_clock(void)
{
	return clock_ms;
}

static void set_up_clock(void)
{
	set_up_in_file();
	clock_ms = boot_ms();
	vault->now = our_clock;
}

/* The next process, under the same clock. */
static void crash_on_time(void)
{
	crash();
	vault->now = our_clock;
}

static void expire_all(void)
{
	while (vault_expire(vault))
		;
}

static int move(const char *name, const char *to, uint64_t *versionp)
{
	struct vault_move move = { .name = span_text(name), .to = span_text(to), .owner = 1001 };

	return vault_move(vault, &move, versionp);
}

static int move_name(const char *name, const char *to)
{
	uint64_t version;

	return move(name, to, &version);
}

static int rotate_from(const char *name, struct kept *kept, uint64_t grace_ms)
{
	struct vault_put put = put_of(name, kept);

	put.rotation = (struct rotation){ .asked = true, .grace_ms = grace_ms };
	return try_put(&put, kept);
}

static struct kept *rotate(const char *name, size_t size, uint64_t grace_ms)
{
	struct kept *kept = draw(size);

	ck_assert_int_eq(rotate_from(name, kept, grace_ms), 0);
	return kept;
}

static int version_status(const char *name, uint64_t version)
{
	struct record *record;

	return vault_find_version(vault, span_text(name), version, &record);
}

static void check_version(const char *name, const struct kept *kept)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record = NULL;
	struct info info;

	ck_assert_int_eq(vault_find_version(vault, span_text(name), kept->version, &record), 0);
	record_info(record, &info, tags);
	ck_assert_uint_eq(info.version, kept->version);
	ck_assert_uint_eq(info.size, kept->size);
	check_chunks(record, kept);
	check_opens(record, kept);
}

static struct info info_of(const char *name, struct tag tags[MESSAGE_TAGS_MAX])
{
	struct info info;

	record_info(find(name), &info, tags);
	return info;
}

static struct kept *store_tagged(const char *name, const struct lifetime *lifetime)
{
	static const struct tag tag = { { (const uint8_t *)"env", 3 },
		{ (const uint8_t *)"prod", 4 } };
	struct kept *kept = draw(20000);
	struct vault_put put = put_of(name, kept);

	put.tags = (struct tags){ .tag = &tag, .count = 1 };
	put.lifetime = *lifetime;
	ck_assert_int_eq(try_put(&put, kept), 0);
	return kept;
}

static void check_tagged(const struct info *info)
{
	ck_assert_uint_eq(info->tags.count, 1);
	ck_assert(span_equal(info->tags.tag[0].value, span_text("prod")));
}

/* -- another name -------------------------------------------------------------------------- */

START_TEST(a_secret_is_the_same_under_another_name)
{
	static const struct lifetime lifetime = { .ttl_ms = 5000, .reads = 3 };
	struct tag tags[2][MESSAGE_TAGS_MAX];
	struct kept *kept = store_tagged("a", &lifetime);
	struct info before = info_of("a", tags[0]);
	struct info after;
	uint64_t version;
	char names[256];

	ck_assert_int_eq(move("a", "dir/b", &version), 0);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	check_stored("dir/b", kept);
	after = info_of("dir/b", tags[1]);
	check_tagged(&after);
	ck_assert_int_eq(after.created_ms, before.created_ms);
	ck_assert_int_eq(after.changed_ms, before.changed_ms);
	ck_assert_uint_eq(after.left.ttl_ms, 5000);
	ck_assert_uint_eq(after.left.reads, 3);
	/* It is of whoever has named it so. */
	ck_assert_uint_eq(record_owner(find("dir/b")), 1001);
	list("", names);
	ck_assert_str_eq(names, "dir/b ");
	crash_on_time();
	check_stored("dir/b", kept);
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(vault), 1);
	clock_ms += 5000;
	expire_all();
	ck_assert_int_eq(find_status("dir/b"), STATUS_NOT_FOUND);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget(kept);
}
END_TEST

START_TEST(nothing_is_overwritten_by_a_move)
{
	struct kept *kept = store_new("a", 100);
	struct kept *there = store_new("b", 100);
	struct kept *frozen = store_new("f", 100);
	struct vault_move wrong = { .name = span_text("a"),
		.to = span_text("c"),
		.conditions = { .compare = true, .version = 7 } };
	uint64_t version;

	ck_assert_int_eq(vault_freeze(vault, span_text("f"), true, &none, &version), 0);
	ck_assert_int_eq(move("a", "b", &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 0);
	ck_assert_int_eq(move("a", "a", &version), STATUS_CONFLICT);
	ck_assert_int_eq(vault_move(vault, &wrong, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(move_name("x", "c"), STATUS_NOT_FOUND);
	ck_assert_int_eq(move_name("f", "c"), STATUS_FROZEN);
	check_stored("a", kept);
	check_stored("b", there);
	check_stored("f", frozen);
	ck_assert_int_eq(find_status("c"), STATUS_NOT_FOUND);
	wrong.conditions.version = 1;
	ck_assert_int_eq(vault_move(vault, &wrong, &version), 0);
	check_stored("c", kept);
	forget(kept);
	forget(there);
	forget(frozen);
}
END_TEST

static void use_up(const char *name)
{
	static const struct lifetime lifetime = { .reads = 1 };

	forget(store_tagged(name, &lifetime));
	ck_assert_int_eq(record_use(vault, find(name)), 0);
	ck_assert_int_eq(find_status(name), STATUS_GONE);
}

static uint64_t ticking(void)
{
	return clock_ms++;
}

/* Its life may end between two looks at it. */
START_TEST(what_ends_while_it_is_moved_to_itself_is_not_used)
{
	static const struct lifetime lifetime = { .ttl_ms = 3 };

	for (int i = 0; i < 6; i++) {
		struct kept *kept = store_tagged("a", &lifetime);
		int r;

		clock_ms += (uint64_t)i;
		vault->now = ticking;
		r = move_name("a", "a");
		vault->now = our_clock;
		ck_assert(r == STATUS_CONFLICT || r == STATUS_NOT_FOUND);
		clock_ms += 10;
		expire_all();
		ck_assert_uint_eq(vault_bytes(vault), 0);
		forget(kept);
	}
}
END_TEST

START_TEST(a_consumed_name_is_free_and_is_no_secret)
{
	struct kept *kept = store_new("a", 100);

	use_up("b");
	ck_assert_int_eq(move_name("b", "c"), STATUS_GONE);
	ck_assert_int_eq(move_name("a", "b"), 0);
	check_stored("b", kept);
	ck_assert_uint_eq(vault_count(vault), 1);
	ck_assert_int_eq(remove_name("b"), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
}
END_TEST

START_TEST(a_name_that_is_damaged_is_not_lost_by_a_move)
{
	struct kept *kept = store_new("a", 100);
	struct kept *damaged = store_new("b", 100);

	record_header(vault, offset_of("b"))->created[0] ^= 1;
	ck_assert_int_eq(move_name("a", "b"), STATUS_INTEGRITY);
	ck_assert_int_eq(move_name("b", "c"), STATUS_INTEGRITY);
	check_stored("a", kept);
	ck_assert_int_eq(find_status("b"), STATUS_INTEGRITY);
	forget(kept);
	forget(damaged);
}
END_TEST

START_TEST(who_reads_goes_on_when_the_name_changes)
{
	struct kept *kept = store_new("a", 300000);
	struct record *record = record_pin(find("a"));

	ck_assert_int_eq(move_name("a", "b"), 0);
	check_chunks(record, kept);
	check_opens(record, kept);
	ck_assert_int_eq(remove_name("b"), 0);
	check_chunks(record, kept);
	record_unpin(vault, record);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
}
END_TEST

/* -- rotations ----------------------------------------------------------------------------- */

START_TEST(the_version_before_stays_for_its_grace_and_is_wiped_then)
{
	struct kept *old = store_new("a", wiped_sizes[_i]);
	struct kept *kept = rotate("a", 64, 1000);
	char names[256];

	ck_assert_uint_eq(kept->version, 2);
	check_stored("a", kept);
	check_version("a", kept);
	check_version("a", old);
	ck_assert_int_eq(version_status("a", 3), STATUS_NOT_FOUND);
	list("", names);
	ck_assert_str_eq(names, "a ");
	ck_assert_uint_eq(vault_count(vault), 1);
	crash_on_time();
	ck_assert_uint_eq(vault_count(vault), 1);
	check_stored("a", kept);
	check_version("a", old);
	clock_ms += 999;
	check_version("a", old);
	clock_ms++;
	ck_assert_int_eq(version_status("a", 1), STATUS_NOT_FOUND);
	expire_all();
	ck_assert(!is_value_anywhere(old));
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	check_stored("a", kept);
	ck_assert_int_eq(remove_name("a"), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	rise();
	forget(old);
	forget(kept);
}
END_TEST

START_TEST(without_a_grace_the_version_before_is_gone_at_once)
{
	struct kept *old = store_new("a", wiped_sizes[_i]);
	struct wrapped wrapped = wrapped_of("a");
	struct kept *kept = rotate("a", 64, 0);

	check_stored("a", kept);
	ck_assert_int_eq(version_status("a", 1), STATUS_NOT_FOUND);
	ck_assert(!is_value_anywhere(old));
	ck_assert(!is_wrapped_anywhere(&wrapped));
	ck_assert_ptr_null(vault->families);
	forget(old);
	forget(kept);
}
END_TEST

START_TEST(what_is_rotated_keeps_its_tags_and_what_is_left_of_its_life)
{
	static const struct lifetime lifetime = { .ttl_ms = 10000, .idle_ms = 3000, .reads = 5 };
	struct tag tags[MESSAGE_TAGS_MAX];
	struct kept *old = store_tagged("a", &lifetime);
	struct kept *kept;
	struct info info;

	clock_ms += 2000;
	kept = rotate("a", 30, 60000);
	check_stored("a", kept);
	info = info_of("a", tags);
	check_tagged(&info);
	ck_assert_uint_eq(info.left.ttl_ms, 8000);
	ck_assert_uint_eq(info.left.idle_ms, 3000);
	ck_assert_uint_eq(info.idle_left_ms, 3000);
	ck_assert_uint_eq(info.left.reads, 5);
	/* The one before is no younger: it has not been fetched for longer. */
	clock_ms += 1000;
	ck_assert_int_eq(version_status("a", 1), STATUS_NOT_FOUND);
	check_stored("a", kept);
	clock_ms += 2000;
	expire_all();
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(old);
	forget(kept);
}
END_TEST

START_TEST(only_what_is_there_is_rotated)
{
	struct kept *kept = draw(100);
	struct kept *there = store_new("f", 10);
	struct vault_put put = put_of("f", kept);
	uint64_t version;

	put.rotation.asked = true;
	ck_assert_int_eq(vault_freeze(vault, span_text("f"), true, &none, &version), 0);
	use_up("c");
	ck_assert_int_eq(rotate_from("a", kept, 1000), STATUS_NOT_FOUND);
	ck_assert_int_eq(rotate_from("c", kept, 1000), STATUS_GONE);
	ck_assert_int_eq(rotate_from("f", kept, 1000), STATUS_FROZEN);
	ck_assert_int_eq(vault_may_put(vault, &put, &version), STATUS_FROZEN);
	put.name = span_text("a");
	ck_assert_int_eq(vault_may_put(vault, &put, &version), STATUS_NOT_FOUND);
	put.name = span_text("c");
	ck_assert_int_eq(vault_may_put(vault, &put, &version), STATUS_GONE);
	ck_assert_int_eq(find_status("a"), STATUS_NOT_FOUND);
	check_stored("f", there);
	forget(kept);
	forget(there);
}
END_TEST

START_TEST(several_versions_have_each_its_grace)
{
	struct kept *kept[4];

	kept[0] = store_new("a", 100);
	kept[1] = rotate("a", 40000, 3000);
	kept[2] = rotate("a", 100, 1000);
	/* A set has no grace for its own, and does not shorten one. */
	kept[3] = store_new("a", 300);
	check_stored("a", kept[3]);
	check_version("a", kept[0]);
	check_version("a", kept[1]);
	ck_assert_int_eq(version_status("a", 3), STATUS_NOT_FOUND);
	crash_on_time();
	check_version("a", kept[0]);
	check_version("a", kept[1]);
	clock_ms += 1000;
	expire_all();
	check_version("a", kept[0]);
	ck_assert_int_eq(version_status("a", 2), STATUS_NOT_FOUND);
	ck_assert(!is_value_anywhere(kept[1]));
	clock_ms += 2000;
	expire_all();
	ck_assert_int_eq(version_status("a", 1), STATUS_NOT_FOUND);
	ck_assert_ptr_null(vault->families);
	check_stored("a", kept[3]);
	rise();
	for (size_t i = 0; i < 4; i++)
		forget(kept[i]);
}
END_TEST

START_TEST(no_more_than_16_have_their_grace)
{
	struct kept *kept = store_new("a", 100);

	for (int i = 0; i < FORMERS_MAX; i++)
		forget(rotate("a", 10, 1000));
	check_version("a", kept);
	next = draw(10);
	ck_assert_int_eq(rotate_from("a", next, 1000), STATUS_LIMIT);
	ck_assert_int_eq(rotate_from("a", next, 0), 0);
	check_version("a", kept);
	clock_ms += 1000;
	expire_all();
	ck_assert_int_eq(rotate_from("a", next, 1000), 0);
	forget(next);
	forget(kept);
}
END_TEST

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
	ck_assert_int_eq(batch_check(vault, batch, &first), 1);
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

/* -- without memory ------------------------------------------------------------------------ */

static int try_move(void)
{
	return move_name("a", "b");
}

static struct value *value;

static int try_rotate(void)
{
	struct vault_put put = put_of("a", next);

	put.rotation = (struct rotation){ .asked = true, .grace_ms = 1000 };
	return vault_put(vault, &value, &put, &next->version);
}

static int (*const changes[])(void) = { try_move, try_rotate };

START_TEST(a_change_without_memory_changes_nothing)
{
	static const struct lifetime lifetime = { .ttl_ms = 100000 };
	struct kept *kept = _i % 2 == 0 ? store_new("a", 20000) : store_tagged("a", &lifetime);
	size_t refused = 0;

	next = draw(20000);
	value = new_value(next);
	for (int allowed = 0;; allowed++) {
		uint64_t used = vault_bytes(vault);
		int r;

		ration = allowed;
		r = changes[_i / 2]();
		ration = -1;
		if (r == 0)
			break;
		refused++;
		ck_assert_int_eq(r, STATUS_LIMIT);
		ck_assert_uint_eq(vault_bytes(vault), used);
		ck_assert_ptr_null(vault->families);
		ck_assert_int_eq(find_status("b"), STATUS_NOT_FOUND);
		check_stored("a", kept);
	}
	ck_assert_uint_gt(refused, 0);
	value_free(vault, value);
	forget(kept);
	forget(next);
}
END_TEST

START_TEST(without_memory_nothing_is_adopted)
{
	struct kept *old = store_new("a", 100);
	struct kept *kept = rotate("a", 100, 1000);
	struct remains *remains = remains_of_now();
	struct vault *adopted = NULL;
	size_t refused = 0;

	for (int allowed = 0;; allowed++, refused++) {
		int r;

		ration = allowed;
		r = adopt_remains(remains, &adopted);
		ration = -1;
		if (r == 0)
			break;
		ck_assert_int_eq(r, -ENOMEM);
	}
	ck_assert_uint_gt(refused, 5);
	vault_free(adopted);
	forget_remains(remains);
	forget(old);
	forget(kept);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("vault_change");

	tcase_add_checked_fixture(claims, set_up_clock, tear_down_in_file);
	tcase_set_timeout(claims, 100);
	tcase_add_test(claims, a_secret_is_the_same_under_another_name);
	tcase_add_test(claims, nothing_is_overwritten_by_a_move);
	tcase_add_test(claims, what_ends_while_it_is_moved_to_itself_is_not_used);
	tcase_add_test(claims, no_more_than_16_have_their_grace);
	tcase_add_test(claims, who_reads_one_that_is_purged_is_told);
	tcase_add_test(claims, a_consumed_name_is_free_and_is_no_secret);
	tcase_add_test(claims, a_name_that_is_damaged_is_not_lost_by_a_move);
	tcase_add_test(claims, who_reads_goes_on_when_the_name_changes);
	tcase_add_loop_test(claims, the_version_before_stays_for_its_grace_and_is_wiped_then, 0,
		COUNT_OF(wiped_sizes));
	tcase_add_loop_test(claims, without_a_grace_the_version_before_is_gone_at_once, 0,
		COUNT_OF(wiped_sizes));
	tcase_add_test(claims, what_is_rotated_keeps_its_tags_and_what_is_left_of_its_life);
	tcase_add_test(claims, only_what_is_there_is_rotated);
	tcase_add_test(claims, several_versions_have_each_its_grace);
	tcase_add_test(claims, they_go_with_their_secret_to_another_name);
	tcase_add_loop_test(claims, they_end_with_their_secret, 0, COUNT_OF(ends));
	tcase_add_test(claims, they_are_not_those_of_what_was_restored_over_their_secret);
	tcase_add_loop_test(claims, they_end_with_a_secret_whose_header_was_overwritten, 0,
		2 * COUNT_OF(turns));
	tcase_add_test(claims, fetches_of_one_are_counted_for_it_alone);
	tcase_add_test(claims, both_hang_on_the_same_connection);
	tcase_add_test(claims, what_hung_on_a_connection_is_not_adopted);
	tcase_add_test(claims, one_that_was_overwritten_is_damage_and_nothing_else_is);
	tcase_add_loop_test(
		claims, a_change_without_memory_changes_nothing, 0, 2 * COUNT_OF(changes));
	tcase_add_test(claims, without_memory_nothing_is_adopted);
	return claims_run(claims, "vault_change");
}
