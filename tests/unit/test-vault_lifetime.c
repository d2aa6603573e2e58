/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vault_rig.h"

/* Secrets that end by themselves, and secrets that cannot be changed, under a clock of our own. */

#define DAY ((uint64_t)24 * 3600 * 1000)
#define NAMES_KEPT 1000

static const struct conditions none;
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

/* Stores a value that ends as `lifetime` says. */
static struct kept *store_limited(const char *name, size_t size, const struct lifetime *lifetime)
{
	struct kept *kept = draw(size);
	struct vault_put put = put_of(name, kept);

	put.lifetime = *lifetime;
	ck_assert_int_eq(try_put(&put, kept), 0);
	return kept;
}

static struct info info_of(const char *name)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;

	record_info(find(name), &info, tags);
	return info;
}

/* A fetch as a session makes it. */
static void fetch(const char *name, const struct kept *kept)
{
	struct record *record = record_pin(find(name));
	uint8_t key[ENCLAVE_KEY_SIZE];

	ck_assert_int_eq(record_key(vault, record, key), 0);
	ck_assert_mem_eq(key, kept->key, sizeof(key));
	ck_assert_int_eq(record_use(vault, record), 0);
	check_chunks(record, kept);
	record_unpin(vault, record);
}

static void expire_all(void)
{
	while (vault_expire(vault))
		;
}

START_TEST(a_secret_lives_as_long_as_its_ttl_and_is_wiped_then)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000 };
	struct kept *kept = store_limited("x", wiped_sizes[_i], &lifetime);
	struct kept *other = store_new("y", 100);
	struct wrapped wrapped = wrapped_of("x");
	char names[256];

	clock_ms += 999;
	check_stored("x", kept);
	ck_assert_uint_eq(info_of("x").left.ttl_ms, 1);
	ck_assert_uint_eq(vault_expiry_ms(vault), clock_ms + 1);
	ck_assert(!vault_expire(vault));
	clock_ms++;
	/* By nobody found, though still there. */
	list("", names);
	ck_assert_str_eq(names, "y ");
	ck_assert(is_wrapped_anywhere(&wrapped));
	ck_assert(vault_expire(vault));
	ck_assert(!vault_expire(vault));
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	ck_assert(!is_wrapped_anywhere(&wrapped));
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_count(vault), 1);
	check_stored("y", other);
	forget(kept);
	forget(other);
}
END_TEST

START_TEST(what_is_over_is_wiped_by_whoever_looks_for_it)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000 };
	struct kept *kept = store_limited("x", 100, &lifetime);

	clock_ms += 1000;
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	forget(kept);
}
END_TEST

START_TEST(a_name_that_is_over_is_free_again)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000 };
	static const struct conditions create_only = { .create_only = true };
	struct kept *kept = store_limited("x", 100, &lifetime);
	struct kept *next = draw(200);
	struct vault_put put = put_of("x", next);
	char names[256];

	put.conditions = create_only;
	ck_assert_int_eq(try_put(&put, next), STATUS_CONFLICT);
	clock_ms += 1000;
	/* A list goes past it first, and takes it out of its order. */
	list("", names);
	ck_assert_str_eq(names, "");
	ck_assert_int_eq(try_put(&put, next), 0);
	ck_assert_uint_eq(next->version, 1);
	list("", names);
	ck_assert_str_eq(names, "x ");
	check_stored("x", next);
	clock_ms += 100000;
	expire_all();
	check_stored("x", next);
	forget(kept);
	forget(next);
}
END_TEST

START_TEST(the_next_version_brings_its_own_lifetime)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000, .reads = 1 };
	struct kept *first = store_limited("x", 100, &lifetime);
	struct kept *second = store_new("x", 100);

	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	clock_ms += 5000;
	fetch("x", second);
	fetch("x", second);
	ck_assert_uint_eq(info_of("x").version, 2);
	forget(first);
	forget(second);
}
END_TEST

START_TEST(an_idle_secret_ends_and_a_fetched_one_does_not)
{
	static const struct lifetime lifetime = { .idle_ms = 10000 };
	struct kept *kept = store_limited("x", 20000, &lifetime);
	struct kept *idle = store_limited("y", 20000, &lifetime);

	for (int i = 0; i < 5; i++) {
		clock_ms += 9000;
		fetch("x", kept);
		ck_assert_uint_eq(info_of("x").idle_left_ms, 10000);
		ck_assert_uint_eq(info_of("x").left.idle_ms, 10000);
	}
	expire_all();
	ck_assert_int_eq(find_status("y"), STATUS_NOT_FOUND);
	/* A stat is no fetch. */
	clock_ms += 9999;
	ck_assert_uint_eq(info_of("x").idle_left_ms, 1);
	clock_ms++;
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	forget(kept);
	forget(idle);
}
END_TEST

START_TEST(a_use_is_written_down_once_a_second_at_most)
{
	static const struct lifetime lifetime = { .idle_ms = 10000 };
	struct kept *kept = store_limited("x", 100, &lifetime);
	uint64_t offset = offset_of("x");

	for (int i = 0; i < 9; i++) {
		clock_ms += 100;
		fetch("x", kept);
		ck_assert_uint_eq(offset_of("x"), offset);
	}
	clock_ms += 100;
	fetch("x", kept);
	ck_assert_uint_ne(offset_of("x"), offset);
	ck_assert_uint_eq(vault_count(vault), 1);
	forget(kept);
}
END_TEST

/* However short the time: what is not written down counts too. */
START_TEST(a_use_that_is_not_written_down_defers_the_end)
{
	static const struct lifetime lifetime = { .idle_ms = 500, .ttl_ms = 5000 };
	struct kept *kept = store_limited("x", 100, &lifetime);

	for (int i = 0; i < 12; i++) {
		clock_ms += 400;
		fetch("x", kept);
	}
	clock_ms += 199;
	check_stored("x", kept);
	/* But not the other end. */
	clock_ms++;
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	forget(kept);
	kept = store_limited("x", 100, &lifetime);
	clock_ms += 400;
	fetch("x", kept);
	clock_ms += 499;
	check_stored("x", kept);
	clock_ms++;
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	forget(kept);
}
END_TEST

START_TEST(a_secret_is_fetched_as_often_as_it_may_be)
{
	static const struct lifetime lifetime = { .reads = 3 };
	struct kept *kept = store_limited("x", wiped_sizes[_i], &lifetime);
	struct wrapped first = wrapped_of("x");
	struct wrapped last;
	char names[256];

	fetch("x", kept);
	ck_assert_uint_eq(info_of("x").left.reads, 2);
	fetch("x", kept);
	last = wrapped_of("x");
	/* The wrapped key was copied with the header, and is nowhere twice. */
	ck_assert_mem_eq(&first, &last, sizeof(first));
	fetch("x", kept);
	ck_assert_int_eq(find_status("x"), STATUS_GONE);
	ck_assert(!is_wrapped_anywhere(&last));
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_count(vault), 0);
	list("", names);
	ck_assert_str_eq(names, "");
	ck_assert_int_eq(remove_name("x"), STATUS_GONE);
	forget(kept);
}
END_TEST

START_TEST(a_fetch_without_a_pin_ends_the_record_with_its_chunks)
{
	static const struct lifetime lifetime = { .reads = 1 };
	struct kept *kept = store_limited("x", 300000, &lifetime);
	struct record *record = find("x");
	uint8_t key[ENCLAVE_KEY_SIZE];

	ck_assert_int_eq(record_use(vault, record), 0);
	ck_assert_int_eq(record_key(vault, record, key), STATUS_GONE);
	ck_assert(!is_value_anywhere(kept));
	forget(kept);
}
END_TEST

START_TEST(two_readers_of_one_secret_do_not_take_each_others_chunks)
{
	static const struct lifetime lifetime = { .reads = 2 };
	struct kept *kept = store_limited("x", MIB, &lifetime);
	struct record *one = record_pin(find("x"));
	struct record *two;

	ck_assert_int_eq(record_use(vault, one), 0);
	two = record_pin(find("x"));
	ck_assert_ptr_eq(one, two);
	ck_assert_int_eq(record_use(vault, two), 0);
	ck_assert_int_eq(find_status("x"), STATUS_GONE);
	check_chunks(one, kept);
	record_unpin(vault, one);
	check_chunks(two, kept);
	record_unpin(vault, two);
	ck_assert(!is_value_anywhere(kept));
	forget(kept);
}
END_TEST

START_TEST(a_consumed_name_says_so_for_a_day_or_until_it_is_set)
{
	static const struct lifetime lifetime = { .reads = 1 };
	static const struct conditions create_only = { .create_only = true };
	static const struct conditions absent = { .compare = true };
	struct kept *kept = store_limited("x", 100, &lifetime);
	struct kept *again = draw(100);
	struct vault_put put = put_of("x", again);
	char names[256];

	fetch("x", kept);
	clock_ms += DAY - 1;
	expire_all();
	ck_assert_int_eq(find_status("x"), STATUS_GONE);
	clock_ms++;
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
	kept = store_limited("x", 100, &lifetime);
	fetch("x", kept);
	list("", names);
	/* It is as good as absent for whoever stores. */
	ck_assert_int_eq(may_put("x", &create_only), 0);
	ck_assert_int_eq(may_put("x", &absent), 0);
	put.conditions = create_only;
	ck_assert_int_eq(try_put(&put, again), 0);
	ck_assert_uint_eq(again->version, 1);
	check_stored("x", again);
	list("", names);
	ck_assert_str_eq(names, "x ");
	clock_ms += DAY;
	expire_all();
	check_stored("x", again);
	ck_assert_uint_eq(vault_count(vault), 1);
	forget(kept);
	forget(again);
}
END_TEST

static void consume_one(const char *name, uint32_t owner)
{
	struct kept *kept = draw(20);
	struct vault_put put = put_of(name, kept);

	put.owner = owner;
	put.lifetime.reads = 1;
	ck_assert_int_eq(try_put(&put, kept), 0);
	fetch(name, kept);
	forget(kept);
}

START_TEST(of_each_owner_the_last_thousand_consumed_names_are_kept)
{
	char name[32];

	consume_one("others", 7);
	for (int i = 0; i < NAMES_KEPT + 10; i++) {
		snprintf(name, sizeof(name), "n/%d", i);
		consume_one(name, 1000);
	}
	ck_assert_int_eq(find_status("n/0"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("n/9"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("n/10"), STATUS_GONE);
	ck_assert_int_eq(find_status("n/1009"), STATUS_GONE);
	ck_assert_int_eq(find_status("others"), STATUS_GONE);
	ck_assert_uint_eq(vault_count(vault), 0);
	vault_forget_consumed(vault, 1000);
	ck_assert_int_eq(find_status("n/1009"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("others"), STATUS_GONE);
	vault_forget_consumed(vault, 1000);
	vault_purge(vault);
	ck_assert_int_eq(find_status("others"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(vault), 0);
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_ptr_null(vault->owners);
}
END_TEST

START_TEST(what_hangs_on_a_holder_ends_with_it)
{
	struct holder *holder = holder_new(NULL, NULL);
	struct kept *bound = draw(20000);
	struct kept *kept = store_new("kept", 10);
	struct vault_put put = put_of("bound/1", bound);

	put.lifetime.session = true;
	put.session = holder;
	ck_assert_int_eq(try_put(&put, bound), 0);
	put.name = span_text("bound/2");
	ck_assert_int_eq(try_put(&put, bound), 0);
	ck_assert(info_of("bound/2").left.session);
	ck_assert_uint_eq(holder_count(holder), 2);
	ck_assert_int_eq(remove_name("bound/1"), 0);
	ck_assert_uint_eq(holder_count(holder), 1);
	vault_end_holder(vault, holder);
	ck_assert_uint_eq(vault_expiry_ms(vault), 0);
	ck_assert_int_eq(find_status("bound/2"), STATUS_NOT_FOUND);
	expire_all();
	ck_assert(!is_value_anywhere(bound));
	check_stored("kept", kept);
	forget(bound);
	forget(kept);
}
END_TEST

START_TEST(a_touch_gives_another_time_to_live)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000, .idle_ms = 5000 };
	static const struct conditions second = { .compare = true, .version = 2 };
	struct kept *kept = store_limited("x", 20000, &lifetime);
	struct kept *plain = store_new("plain", 20000);
	uint64_t version;

	clock_ms += 900;
	ck_assert_int_eq(vault_touch(vault, span_text("x"), 4000, &none, &version), 0);
	ck_assert_uint_eq(version, 1);
	ck_assert_uint_eq(info_of("x").left.ttl_ms, 4000);
	ck_assert_uint_eq(info_of("x").idle_left_ms, 5000);
	ck_assert_int_eq(vault_touch(vault, span_text("x"), 1, &second, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 1);
	clock_ms += 3999;
	check_stored("x", kept);
	clock_ms++;
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	ck_assert_int_eq(
		vault_touch(vault, span_text("x"), 1000, &none, &version), STATUS_NOT_FOUND);
	/* One that had no end. */
	ck_assert_int_eq(vault_touch(vault, span_text("plain"), 1000, &none, &version), 0);
	check_stored("plain", plain);
	clock_ms += 1000;
	expire_all();
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
	forget(plain);
}
END_TEST

START_TEST(a_frozen_secret_is_not_changed)
{
	struct kept *kept = draw(20000);
	struct kept *other = draw(10);
	struct vault_put put = put_of("x", kept);
	struct vault_put change = put_of("x", other);
	static const struct conditions create_only = { .create_only = true };
	uint64_t version;

	put.frozen = _i == 0;
	put.lifetime.ttl_ms = 100000;
	ck_assert_int_eq(try_put(&put, kept), 0);
	if (_i == 1)
		ck_assert_int_eq(vault_freeze(vault, span_text("x"), true, &none, &version), 0);
	ck_assert_int_eq(vault_freeze(vault, span_text("x"), true, &none, &version), 0);
	ck_assert(info_of("x").frozen);
	ck_assert_int_eq(try_put(&change, other), STATUS_FROZEN);
	ck_assert_int_eq(may_put("x", &none), STATUS_FROZEN);
	ck_assert_int_eq(may_put("x", &create_only), STATUS_CONFLICT);
	ck_assert_int_eq(remove_name("x"), STATUS_FROZEN);
	ck_assert_int_eq(vault_touch(vault, span_text("x"), 1, &none, &version), STATUS_FROZEN);
	check_stored("x", kept);
	ck_assert_int_eq(vault_freeze(vault, span_text("x"), false, &none, &version), 0);
	ck_assert_int_eq(vault_freeze(vault, span_text("x"), false, &none, &version), 0);
	ck_assert(!info_of("x").frozen);
	ck_assert_int_eq(try_put(&change, other), 0);
	check_stored("x", other);
	forget(kept);
	forget(other);
}
END_TEST

START_TEST(what_is_frozen_ends_all_the_same)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000 };
	static const struct lifetime once = { .reads = 1 };
	struct kept *first = store_limited("x", 100, &lifetime);
	struct kept *second = store_limited("y", 100, &once);
	struct kept *third = store_limited("z", 100, &lifetime);
	uint64_t version;

	ck_assert_int_eq(vault_freeze(vault, span_text("x"), true, &none, &version), 0);
	ck_assert_int_eq(vault_freeze(vault, span_text("y"), true, &none, &version), 0);
	ck_assert_int_eq(vault_freeze(vault, span_text("z"), true, &none, &version), 0);
	vault_purge_record(vault, find("z"));
	ck_assert_int_eq(find_status("z"), STATUS_NOT_FOUND);
	fetch("y", second);
	ck_assert_int_eq(find_status("y"), STATUS_GONE);
	clock_ms += 1000;
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	forget(first);
	forget(second);
	forget(third);
}
END_TEST

START_TEST(a_change_leaves_readers_their_chunks)
{
	struct kept *kept = store_new("x", MIB);
	struct record *record = record_pin(find("x"));
	uint64_t version;

	ck_assert_int_eq(vault_freeze(vault, span_text("x"), true, &none, &version), 0);
	check_chunks(record, kept);
	ck_assert_int_eq(vault_freeze(vault, span_text("x"), false, &none, &version), 0);
	ck_assert_int_eq(vault_touch(vault, span_text("x"), 1000, &none, &version), 0);
	clock_ms += 1000;
	expire_all();
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	check_chunks(record, kept);
	record_unpin(vault, record);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(kept);
}
END_TEST

/* -- memory that runs out, bytes that are overwritten -------------------------------------- */

static struct record *under_use; /* pinned */

static int try_use(uint64_t *versionp)
{
	(void)versionp;
	return record_use(vault, under_use);
}

static int try_touch(uint64_t *versionp)
{
	return vault_touch(vault, span_text("x"), 5, &none, versionp);
}

static int try_freeze(uint64_t *versionp)
{
	return vault_freeze(vault, span_text("x"), true, &none, versionp);
}

static int (*const changes[])(uint64_t *) = { try_use, try_touch, try_freeze };

START_TEST(a_change_without_memory_changes_nothing)
{
	static const struct lifetime lifetime = { .reads = 1, .idle_ms = 100000 };
	struct kept *kept = store_limited("x", 20000, &lifetime);
	size_t refused = 0;
	uint64_t version;

	for (int allowed = 0;; allowed++) {
		uint64_t used = vault_bytes(vault);
		int r;

		under_use = record_pin(find("x"));
		ration = allowed;
		r = changes[_i](&version);
		ration = -1;
		record_unpin(vault, under_use);
		if (r == 0)
			break;
		refused++;
		ck_assert_int_eq(r, STATUS_LIMIT);
		ck_assert_uint_eq(vault_bytes(vault), used);
		check_stored("x", kept);
		ck_assert_uint_eq(info_of("x").left.reads, 1);
		ck_assert_ptr_null(vault->owners);
	}
	ck_assert_uint_gt(refused, 0);
	forget(kept);
}
END_TEST

START_TEST(a_limited_put_without_memory_leaves_everything_as_it_was)
{
	struct kept *kept = draw(100);
	struct vault_put put = put_of("x", kept);
	struct value *value = new_value(kept);
	uint64_t used = vault_bytes(vault);
	size_t refused = 0;

	put.lifetime.ttl_ms = 1000;
	for (int allowed = 0;; allowed++) {
		int r;

		ration = allowed;
		r = vault_put(vault, &value, &put, &kept->version);
		ration = -1;
		if (r == 0)
			break;
		refused++;
		ck_assert_int_eq(r, STATUS_LIMIT);
		ck_assert_uint_eq(vault_bytes(vault), used);
		ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	}
	ck_assert_uint_gt(refused, 2);
	check_stored("x", kept);
	forget(kept);
}
END_TEST

static void overwrite_byte(size_t place)
{
	static const struct lifetime lifetime = { .ttl_ms = 1000, .reads = 1 };
	struct kept *kept = store_limited("x", 100, &lifetime);
	uint8_t *bytes = (uint8_t *)record_header(vault, offset_of("x"));
	struct wrapped wrapped = wrapped_of("x");

	bytes[place] ^= 0x10;
	ck_assert_int_eq(find_status("x"), STATUS_INTEGRITY);
	/* At its time it loses its key; the name says on that it is damaged, until it is removed.
	 */
	clock_ms += 1000;
	expire_all();
	if (place < offsetof(struct header, wrapped) || place >= offsetof(struct header, secret))
		ck_assert(!is_wrapped_anywhere(&wrapped));
	ck_assert_uint_eq(vault_expiry_ms(vault), UINT64_MAX);
	ck_assert_int_eq(find_status("x"), STATUS_INTEGRITY);
	ck_assert_int_eq(remove_name("x"), 0);
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	forget(kept);
}

START_TEST(a_lifetime_that_was_overwritten_is_damage)
{
	size_t size = sizeof(struct header) + sizeof(struct lifetime_bytes);

	for (size_t place = 0; place < size; place++)
		overwrite_byte(place);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("vault_lifetime");

	tcase_add_checked_fixture(claims, set_up_clock, tear_down);
	tcase_set_timeout(claims, 100);
	tcase_add_loop_test(claims, a_secret_lives_as_long_as_its_ttl_and_is_wiped_then, 0,
		COUNT_OF(wiped_sizes));
	tcase_add_loop_test(
		claims, a_secret_is_fetched_as_often_as_it_may_be, 0, COUNT_OF(wiped_sizes));
	tcase_add_loop_test(claims, a_frozen_secret_is_not_changed, 0, 2);
	tcase_add_loop_test(claims, a_change_without_memory_changes_nothing, 0, COUNT_OF(changes));
	tcase_add_test(claims, a_lifetime_that_was_overwritten_is_damage);
	tcase_add_test(claims, what_is_over_is_wiped_by_whoever_looks_for_it);
	tcase_add_test(claims, a_name_that_is_over_is_free_again);
	tcase_add_test(claims, the_next_version_brings_its_own_lifetime);
	tcase_add_test(claims, an_idle_secret_ends_and_a_fetched_one_does_not);
	tcase_add_test(claims, a_use_that_is_not_written_down_defers_the_end);
	tcase_add_test(claims, a_use_is_written_down_once_a_second_at_most);
	tcase_add_test(claims, a_fetch_without_a_pin_ends_the_record_with_its_chunks);
	tcase_add_test(claims, two_readers_of_one_secret_do_not_take_each_others_chunks);
	tcase_add_test(claims, a_consumed_name_says_so_for_a_day_or_until_it_is_set);
	tcase_add_test(claims, of_each_owner_the_last_thousand_consumed_names_are_kept);
	tcase_add_test(claims, what_hangs_on_a_holder_ends_with_it);
	tcase_add_test(claims, a_touch_gives_another_time_to_live);
	tcase_add_test(claims, what_is_frozen_ends_all_the_same);
	tcase_add_test(claims, a_change_leaves_readers_their_chunks);
	tcase_add_test(claims, a_limited_put_without_memory_leaves_everything_as_it_was);
	return claims_run(claims, "vault_lifetime");
}
