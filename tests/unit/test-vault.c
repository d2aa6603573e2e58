/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vault_rig.h"

/* -- storing and fetching ------------------------------------------------------------------ */

static const size_t value_sizes[] = { 1, 64, 16383, 16384, 16385, 16 * 16384, 16 * 16384 + 1, MIB,
	5 * MIB, 5 * MIB + 777, 64 * MIB };

START_TEST(every_value_comes_back_as_it_was_stored)
{
	struct kept *kept = store_new("app/key", value_sizes[_i]);

	forget(store_new("app/another", 100));
	check_stored("app/key", kept);
	ck_assert_int_eq(find_status("app/ke"), STATUS_NOT_FOUND);
	ck_assert_int_eq(find_status("app/key2"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(vault), 2);
	forget(kept);
}
END_TEST

static uint64_t rounded(uint64_t size)
{
	return (size + LEDGER_UNIT - 1) / LEDGER_UNIT * LEDGER_UNIT;
}

START_TEST(a_value_takes_what_it_needs_and_no_more)
{
	size_t size = value_sizes[_i];
	uint64_t extents = extents_in(chunks_in(size));
	uint64_t needed = rounded(sizeof(struct header) + 7);

	for (uint64_t i = 0; i < extents; i++)
		needed += rounded(extent_size(size, i));
	if (extents > 1)
		needed += rounded(table_size(extents));
	forget(store_new("app/key", size));
	ck_assert_uint_eq(vault_bytes(vault), needed);
}
END_TEST

START_TEST(a_record_tells_what_was_put_into_it)
{
	struct kept *kept = draw(1000);
	struct vault_put put = put_of("~1000/x", kept);
	struct tag tag[MESSAGE_TAGS_MAX];
	struct tag out[MESSAGE_TAGS_MAX];
	char key[MESSAGE_TAG_KEY_MAX];
	char text[MESSAGE_TAG_VALUE_MAX];
	struct record *record;
	struct info info;
	uint64_t before = now_ms();

	memset(key, 'k', sizeof(key));
	memset(text, 'v', sizeof(text));
	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++)
		tag[i] = (struct tag){ .key = span_of(key, i == 0 ? sizeof(key) : i),
			.value = span_of(text, i == 0 ? sizeof(text) : i - 1) };
	put.tags = (struct tags){ .tag = tag, .count = MESSAGE_TAGS_MAX };
	ck_assert_int_eq(try_put(&put, kept), 0);
	record = find("~1000/x");
	record_info(record, &info, out);
	ck_assert_uint_eq(info.version, 1);
	ck_assert_int_ge(info.created_ms, (int64_t)before);
	ck_assert_int_le(info.created_ms, (int64_t)now_ms());
	ck_assert_int_eq(info.changed_ms, info.created_ms);
	ck_assert_uint_eq(info.tags.count, MESSAGE_TAGS_MAX);
	for (size_t i = 0; i < MESSAGE_TAGS_MAX; i++) {
		ck_assert(span_equal(info.tags.tag[i].key, tag[i].key));
		ck_assert(span_equal(info.tags.tag[i].value, tag[i].value));
	}
	ck_assert_uint_eq(record_owner(record), 1000);
	check_stored("~1000/x", kept);
	forget(kept);
}
END_TEST

START_TEST(the_first_to_store_a_secret_stays_its_owner)
{
	struct kept *kept = draw(10);
	struct vault_put put = put_of("x", kept);
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info first;
	struct info second;

	ck_assert_int_eq(try_put(&put, kept), 0);
	record_info(find("x"), &first, tags);
	while (now_ms() <= (uint64_t)first.changed_ms)
		;
	put.owner = 0;
	ck_assert_int_eq(try_put(&put, kept), 0);
	record_info(find("x"), &second, tags);
	ck_assert_uint_eq(record_owner(find("x")), 1000);
	ck_assert_int_eq(second.created_ms, first.created_ms);
	ck_assert_int_gt(second.changed_ms, first.changed_ms);
	ck_assert_int_eq(remove_name("x"), 0);
	ck_assert_int_eq(try_put(&put, kept), 0);
	ck_assert_uint_eq(record_owner(find("x")), 0);
	forget(kept);
}
END_TEST

START_TEST(names_are_listed_in_byte_order)
{
	static const char *const names[] = { "b", "a/2", "a", "~5/x", "a/10", "aa", "\xc3\xa9" };
	char out[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		forget(store_new(names[i], 5));
	list("", out);
	ck_assert_str_eq(out, "a a/10 a/2 aa b ~5/x \xc3\xa9 ");
	list("a/", out);
	ck_assert_str_eq(out, "a/10 a/2 ");
	ck_assert_int_eq(remove_name("a/10"), 0);
	list("a", out);
	ck_assert_str_eq(out, "a a/2 aa ");
	list("z", out);
	ck_assert_str_eq(out, "");
}
END_TEST

/* -- versions and conditions --------------------------------------------------------------- */

START_TEST(versions_count_up_and_begin_again_after_removal)
{
	struct kept *kept = draw(50);
	struct wrapped first;
	uint64_t secret;

	for (uint64_t i = 1; i <= 5; i++) {
		store("x", kept);
		ck_assert_uint_eq(kept->version, i);
		check_stored("x", kept);
		if (i == 1) {
			first = wrapped_of("x");
			secret = get_number(record_header(vault, offset_of("x"))->secret);
		}
		ck_assert_uint_eq(get_number(record_header(vault, offset_of("x"))->secret), secret);
	}
	ck_assert_int_eq(remove_name("x"), 0);
	ck_assert_int_eq(remove_name("x"), STATUS_NOT_FOUND);
	store("x", kept);
	ck_assert_uint_eq(kept->version, 1);
	/* Version 1 of another secret: what was wrapped for the first one does not open for it. */
	ck_assert_uint_ne(get_number(record_header(vault, offset_of("x"))->secret), secret);
	memcpy(record_header(vault, offset_of("x"))->wrapped, first.bytes, sizeof(first.bytes));
	ck_assert_int_eq(record_tag(vault, record_header(vault, offset_of("x")),
				 record_header(vault, offset_of("x"))->block.tag),
		0);
	ck_assert_int_eq(record_key(vault, find("x"), first.bytes), STATUS_INTEGRITY);
	forget(kept);
}
END_TEST

static int put_if(struct conditions conditions, uint64_t *versionp)
{
	struct kept *kept = draw(20);
	struct vault_put put = put_of("x", kept);
	int r;

	put.conditions = conditions;
	kept->version = 77;
	r = try_put(&put, kept);
	*versionp = kept->version;
	if (r == 0)
		check_stored("x", kept);
	forget(kept);
	return r;
}

START_TEST(a_put_happens_only_under_its_conditions)
{
	static const struct conditions create = { .create_only = true };
	struct conditions compare = { .compare = true, .version = 0 };
	uint64_t version;

	compare.version = 1;
	ck_assert_int_eq(put_if(compare, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 0);
	compare.version = 0;
	ck_assert_int_eq(put_if(compare, &version), 0);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(put_if(compare, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(put_if(create, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 1);
	compare.version = 1;
	ck_assert_int_eq(put_if(compare, &version), 0);
	ck_assert_uint_eq(version, 2);
	ck_assert_int_eq(put_if(compare, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 2);
	ck_assert_int_eq(remove_name("x"), 0);
	ck_assert_int_eq(put_if(create, &version), 0);
	ck_assert_uint_eq(version, 1);
}
END_TEST

START_TEST(a_removal_happens_only_under_its_condition)
{
	struct conditions compare = { .compare = true, .version = 2 };
	uint64_t version = 77;

	ck_assert_int_eq(vault_remove(vault, span_text("x"), &compare, &version), STATUS_NOT_FOUND);
	forget(store_new("x", 10));
	ck_assert_int_eq(vault_remove(vault, span_text("x"), &compare, &version), STATUS_CONFLICT);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(find_status("x"), 0);
	compare.version = 1;
	ck_assert_int_eq(vault_remove(vault, span_text("x"), &compare, &version), 0);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(find_status("x"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_count(vault), 0);
	ck_assert_uint_eq(vault_bytes(vault), 0);
}
END_TEST

/* -- what is over is wiped ----------------------------------------------------------------- */

START_TEST(a_superseded_version_is_wiped)
{
	struct kept *old = store_new("x", wiped_sizes[_i]);
	struct wrapped wrapped = wrapped_of("x");
	struct kept *new;

	ck_assert(is_value_anywhere(old));
	new = store_new("x", 100);
	ck_assert(!is_value_anywhere(old));
	ck_assert(!is_wrapped_anywhere(&wrapped));
	check_stored("x", new);
	forget(old);
	forget(new);
}
END_TEST

START_TEST(a_removed_secret_is_wiped)
{
	struct kept *old = store_new("a-name-to-look-for", wiped_sizes[_i]);
	struct wrapped wrapped = wrapped_of("a-name-to-look-for");

	ck_assert_int_eq(remove_name("a-name-to-look-for"), 0);
	ck_assert(!is_value_anywhere(old));
	ck_assert(!is_wrapped_anywhere(&wrapped));
	ck_assert(!is_anywhere("a-name-to-look-for", 18));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	forget(old);
}
END_TEST

START_TEST(a_value_that_is_not_published_is_wiped)
{
	struct kept *kept = draw(wiped_sizes[_i]);
	struct value *value = new_value(kept);

	ck_assert(is_value_anywhere(kept));
	value_free(vault, value);
	ck_assert(!is_value_anywhere(kept));
	ck_assert_uint_eq(vault_bytes(vault), 0);
	value_free(vault, NULL);
	forget(kept);
}
END_TEST

/* -- pins ---------------------------------------------------------------------------------- */

static void supersede_by_put(void)
{
	forget(store_new("x", 33));
}

static void supersede_by_removal(void)
{
	ck_assert_int_eq(remove_name("x"), 0);
}

static void (*const supersede[])(void) = { supersede_by_put, supersede_by_removal };

START_TEST(a_pinned_record_outlives_its_name_but_not_its_last_pin)
{
	struct kept *old = store_new("x", wiped_sizes[_i % 4]);
	struct wrapped wrapped = wrapped_of("x");
	struct record *record = record_pin(find("x"));
	uint8_t key[ENCLAVE_KEY_SIZE];

	ck_assert_ptr_eq(record_pin(find("x")), record);
	check_opens(record, old);
	supersede[_i / 4]();
	/* The key goes at once, the chunks stay for who has taken it already. */
	ck_assert(!is_wrapped_anywhere(&wrapped));
	ck_assert_int_eq(record_key(vault, record, key), STATUS_GONE);
	ck_assert(!record_purged(record));
	check_chunks(record, old);
	/* Neither another look-up nor new secrets take its place. */
	for (int i = 0; i < 50; i++)
		forget(store_new("y", wiped_sizes[i % 4]));
	check_chunks(record, old);
	record_unpin(vault, record);
	check_chunks(record, old);
	record_unpin(vault, record);
	ck_assert(!is_value_anywhere(old));
	forget(old);
}
END_TEST

START_TEST(unpinning_a_current_record_loses_nothing)
{
	struct kept *kept = store_new("x", 100000);

	for (int i = 0; i < 3; i++)
		record_unpin(vault, record_pin(find("x")));
	check_stored("x", kept);
	forget(kept);
}
END_TEST

START_TEST(many_records_can_be_pinned_at_a_time)
{
	enum { PINS = 3000 };
	struct record *records[PINS];
	struct kept *kept[PINS];

	for (size_t i = 0; i < PINS; i++) {
		kept[i] = store_new("x", 40 + i % 100);
		records[i] = record_pin(find("x"));
	}
	for (size_t i = 0; i < PINS; i++) {
		check_chunks(records[i], kept[i]);
		record_unpin(vault, records[i]);
		if (i + 1 < PINS)
			ck_assert(!is_anywhere(kept[i]->sealed, 16));
		forget(kept[i]);
	}
	ck_assert_uint_eq(vault->pinned_count, 0);
}
END_TEST

START_TEST(unpinning_what_is_not_pinned_kills)
{
	forget(store_new("x", 10));
	record_unpin(vault, find("x"));
}
END_TEST

/* -- values under way ---------------------------------------------------------------------- */

START_TEST(only_the_last_chunk_may_be_short)
{
	struct kept *kept = draw(16384 + 5);
	uint8_t chunk[ENCLAVE_CHUNK_SIZE + 1] = { 0 };
	struct value *value = NULL;

	ck_assert_int_eq(value_new(vault, &value), 0);
	ck_assert_int_eq(value_append(vault, value, span_of(chunk, 0)), STATUS_INTEGRITY);
	ck_assert_int_eq(
		value_append(vault, value, span_of(chunk, ENCLAVE_TAG_SIZE)), STATUS_INTEGRITY);
	ck_assert_int_eq(
		value_append(vault, value, span_of(chunk, sizeof(chunk))), STATUS_INTEGRITY);
	ck_assert_int_eq(append_chunks(value, kept, 0, 2), 0);
	ck_assert_int_eq(value_append(vault, value, chunk_of(kept, 0)), STATUS_INTEGRITY);
	ck_assert_int_eq(value_append(vault, value, chunk_of(kept, 1)), STATUS_INTEGRITY);
	ck_assert_uint_eq(value_size(value), 16384 + 5);
	value_free(vault, value);
	forget(kept);
}
END_TEST

START_TEST(an_empty_value_is_not_published)
{
	struct kept *kept = draw(1);
	struct vault_put put = put_of("x", kept);
	struct value *value = NULL;
	uint64_t version;

	ck_assert_int_eq(value_new(vault, &value), 0);
	ck_assert_int_eq(vault_put(vault, &value, &put, &version), STATUS_INVALID);
	ck_assert_ptr_nonnull(value);
	value_free(vault, value);
	forget(kept);
}
END_TEST

START_TEST(a_name_or_tag_that_does_not_fit_is_refused)
{
	static const uint8_t bytes[NAME_FILED_MAX + 1] = "n";
	struct kept *kept = draw(1);
	struct vault_put put = put_of("x", kept);
	struct tag tag[MESSAGE_TAGS_MAX + 1] = { 0 };

	put.name = span_of(bytes, 0);
	ck_assert_int_eq(try_put(&put, kept), STATUS_INVALID);
	put.name = span_of(bytes, NAME_FILED_MAX + 1);
	ck_assert_int_eq(try_put(&put, kept), STATUS_INVALID);
	put.name = span_of(bytes, NAME_FILED_MAX);
	ck_assert_int_eq(try_put(&put, kept), 0);
	put.tags = (struct tags){ .tag = tag, .count = MESSAGE_TAGS_MAX + 1 };
	ck_assert_int_eq(try_put(&put, kept), STATUS_INVALID);
	put.tags.count = 1;
	tag[0].key = span_of(bytes, MESSAGE_TAG_KEY_MAX + 1);
	ck_assert_int_eq(try_put(&put, kept), STATUS_INVALID);
	tag[0] = (struct tag){ .value = span_of(bytes, MESSAGE_TAG_VALUE_MAX + 1) };
	ck_assert_int_eq(try_put(&put, kept), STATUS_INVALID);
	forget(kept);
}
END_TEST

START_TEST(values_under_way_do_not_mix)
{
	enum { VALUES = 5, CHUNKS = 40 };
	struct kept *kept[VALUES];
	struct value *values[VALUES];
	char name[2] = "a";

	for (size_t i = 0; i < VALUES; i++) {
		kept[i] = draw((CHUNKS - 1) * ENCLAVE_CHUNK_PLAIN + 1 + i);
		ck_assert_int_eq(value_new(vault, &values[i]), 0);
	}
	for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
		for (size_t i = 0; i < VALUES; i++)
			ck_assert_int_eq(append_chunks(values[i], kept[i], chunk, chunk + 1), 0);
	for (size_t i = 0; i < VALUES; i++, name[0]++) {
		struct vault_put put = put_of(name, kept[i]);

		ck_assert_int_eq(vault_put(vault, &values[i], &put, &kept[i]->version), 0);
		ck_assert_ptr_null(values[i]);
	}
	name[0] = 'a';
	for (size_t i = 0; i < VALUES; i++, name[0]++) {
		check_stored(name, kept[i]);
		forget(kept[i]);
	}
}
END_TEST

/* -- memory that runs out ------------------------------------------------------------------ */

/* Chunk by chunk, each as soon as there is memory for it. Returns how often there was none. */
static size_t append_stubbornly(struct value *value, const struct kept *kept)
{
	size_t refused = 0;

	for (uint64_t i = 0; i < kept->chunks; i++)
		for (int allowed = 0;; allowed++) {
			int r;

			ration = allowed;
			r = append_chunks(value, kept, i, i + 1);
			ration = -1;
			if (r == 0)
				break;
			ck_assert_int_eq(r, STATUS_LIMIT);
			ck_assert_uint_eq(value_chunks(value), i);
			refused++;
		}
	return refused;
}

START_TEST(a_put_without_memory_leaves_everything_as_it_was)
{
	size_t size = wiped_sizes[_i];
	struct kept *old = store_new("x", 12345);
	const char *const names[] = { "x", "y" };

	for (size_t i = 0; i < 2; i++) {
		struct kept *kept = draw(size);
		struct vault_put put = put_of(names[i], kept);
		struct value *value = NULL;
		size_t refused = 0;
		uint64_t used;

		ck_assert_int_eq(value_new(vault, &value), 0);
		refused = append_stubbornly(value, kept);
		ck_assert_uint_gt(refused, 0);
		used = vault_bytes(vault);
		for (int allowed = 0;; allowed++) {
			int r;

			ration = allowed;
			r = vault_put(vault, &value, &put, &kept->version);
			ration = -1;
			if (r == 0)
				break;
			ck_assert_int_eq(r, STATUS_LIMIT);
			ck_assert_ptr_nonnull(value);
			ck_assert_uint_eq(vault_bytes(vault), used);
			ck_assert_uint_eq(vault_count(vault), 1);
			if (i == 0)
				check_stored("x", old);
			else
				ck_assert_int_eq(find_status("y"), STATUS_NOT_FOUND);
		}
		check_stored(names[i], kept);
		forget(kept);
	}
	forget(old);
}
END_TEST

START_TEST(without_memory_for_a_handle_nothing_is_found_and_nothing_lost)
{
	struct kept *kept = store_new("x", 10);
	struct record *record = record_pin(find("x"));
	struct value *value = NULL;

	ration = 0;
	ck_assert_int_eq(find_status("x"), STATUS_LIMIT);
	ck_assert_int_eq(value_new(vault, &value), STATUS_LIMIT);
	ration = -1;
	record_unpin(vault, record);
	check_stored("x", kept);
	forget(kept);
}
END_TEST

START_TEST(without_memory_there_is_no_vault)
{
	struct vault *none = NULL;

	ration = 0;
	ck_assert_int_eq(vault_new(&none, &rig.coffer, -1), -ENOMEM);
	ck_assert_ptr_null(none);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("vault");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 100);
	tcase_add_loop_test(
		claims, every_value_comes_back_as_it_was_stored, 0, COUNT_OF(value_sizes));
	tcase_add_loop_test(
		claims, a_value_takes_what_it_needs_and_no_more, 0, COUNT_OF(value_sizes));
	tcase_add_loop_test(claims, a_superseded_version_is_wiped, 0, COUNT_OF(wiped_sizes));
	tcase_add_loop_test(claims, a_removed_secret_is_wiped, 0, COUNT_OF(wiped_sizes));
	tcase_add_loop_test(
		claims, a_value_that_is_not_published_is_wiped, 0, COUNT_OF(wiped_sizes));
	tcase_add_loop_test(claims, a_pinned_record_outlives_its_name_but_not_its_last_pin, 0,
		COUNT_OF(wiped_sizes) * COUNT_OF(supersede));
	tcase_add_loop_test(
		claims, a_put_without_memory_leaves_everything_as_it_was, 0, COUNT_OF(wiped_sizes));
	tcase_add_test(claims, a_record_tells_what_was_put_into_it);
	tcase_add_test(claims, the_first_to_store_a_secret_stays_its_owner);
	tcase_add_test(claims, names_are_listed_in_byte_order);
	tcase_add_test(claims, versions_count_up_and_begin_again_after_removal);
	tcase_add_test(claims, a_put_happens_only_under_its_conditions);
	tcase_add_test(claims, a_removal_happens_only_under_its_condition);
	tcase_add_test(claims, unpinning_a_current_record_loses_nothing);
	tcase_add_test(claims, many_records_can_be_pinned_at_a_time);
	tcase_add_test_raise_signal(claims, unpinning_what_is_not_pinned_kills, SIGABRT);
	tcase_add_test(claims, only_the_last_chunk_may_be_short);
	tcase_add_test(claims, an_empty_value_is_not_published);
	tcase_add_test(claims, a_name_or_tag_that_does_not_fit_is_refused);
	tcase_add_test(claims, values_under_way_do_not_mix);
	tcase_add_test(claims, without_memory_for_a_handle_nothing_is_found_and_nothing_lost);
	tcase_add_test(claims, without_memory_there_is_no_vault);
	return claims_run(claims, "vault");
}
