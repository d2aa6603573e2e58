/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/change_rig.h"

/* Secrets that get another name, and versions that stay for a while when they are rotated. */

static struct kept *next;

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
	while (vault_compact(vault))
		;
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
	tcase_add_loop_test(
		claims, a_change_without_memory_changes_nothing, 0, 2 * COUNT_OF(changes));
	tcase_add_test(claims, without_memory_nothing_is_adopted);
	return claims_run(claims, "vault_change");
}
