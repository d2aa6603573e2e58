/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/quota_rig.h"

/* What an owner may have, and what becomes of more. */

#define ALICE UID_FIRST
#define BOB (UID_FIRST + 1)
#define OWN 77

static void set_quotas(uint64_t names, uint64_t bytes)
{
	const struct vault_quotas quotas = { .names = names, .bytes = bytes, .own = OWN };

	vault_set_quotas(vault, &quotas);
}

static int put_for(uint32_t uid, const char *name, size_t size, const struct rotation *rotation)
{
	struct kept *kept = draw(size);
	struct vault_put put = put_of(name, kept);
	int r;

	put.owner = uid;
	put.limited = true;
	put.size = size;
	if (rotation)
		put.rotation = *rotation;
	r = try_put(&put, kept);
	forget(kept);
	return r;
}

static int set_for(uint32_t uid, const char *name, size_t size)
{
	return put_for(uid, name, size, NULL);
}

/* Refused for a quota: which one, its limit, what there is beside, and what was to come. */
static void check_refused(
	int r, enum vault_quota quota, uint64_t most, uint64_t used, uint64_t more)
{
	struct vault_refusal refusal = vault_refusal(vault);

	ck_assert_int_eq(r, STATUS_LIMIT);
	ck_assert_int_eq(refusal.quota, quota);
	ck_assert_uint_eq(refusal.most, most);
	ck_assert_uint_eq(refusal.used, used);
	ck_assert_uint_eq(refusal.more, more);
	/* It is told once. */
	ck_assert_int_eq(vault_refusal(vault).quota, QUOTA_NONE);
}

static void check_has(uint32_t uid, uint64_t names, uint64_t bytes)
{
	struct tally_sum has = vault_usage(vault, uid);

	ck_assert_uint_eq(has.names, names);
	ck_assert_uint_eq(has.bytes, bytes);
	check_tally();
}

static uint64_t size_of(const char *name)
{
	return record_size(find(name));
}

START_TEST(a_version_counts_its_name_its_tags_its_value_and_256_beside)
{
	struct tag tag = { span_text("colour"), span_text("blue") };
	struct kept *kept = draw(1000);
	struct vault_put put = put_of("name", kept);

	put.tags = (struct tags){ .tag = &tag, .count = 1 };
	ck_assert_int_eq(try_put(&put, kept), 0);
	check_has(ALICE, 1, 256 + 4 + 3 + 6 + 4 + 1000);
	forget(kept);
}
END_TEST

START_TEST(who_has_as_many_names_as_may_be_gets_no_more)
{
	set_quotas(2, 0);
	ck_assert_int_eq(set_for(ALICE, "a", 10), 0);
	ck_assert_int_eq(set_for(ALICE, "b", 10), 0);
	check_refused(set_for(ALICE, "c", 10), QUOTA_COUNT, 2, 2, 1);
	/* What is there may be stored anew, and others have their own. */
	ck_assert_int_eq(set_for(ALICE, "b", 10000), 0);
	ck_assert_int_eq(set_for(BOB, "c", 10), 0);
	ck_assert_int_eq(remove_name("a"), 0);
	ck_assert_int_eq(set_for(ALICE, "d", 10), 0);
	check_refused(set_for(ALICE, "e", 10), QUOTA_COUNT, 2, 2, 1);
}
END_TEST

START_TEST(to_the_last_byte_and_not_one_more)
{
	set_quotas(0, 1000);
	ck_assert_int_eq(set_for(ALICE, "a", 1000 - 257), 0);
	check_has(ALICE, 1, 1000);
	check_refused(set_for(ALICE, "b", 1), QUOTA_BYTES, 1000, 1000, 258);
	ck_assert_int_eq(set_for(ALICE, "a", 1000 - 257), 0);
	check_refused(set_for(ALICE, "a", 1001 - 257), QUOTA_BYTES, 1000, 1000, 1);
	ck_assert_uint_eq(size_of("a"), 1000 - 257);
	ck_assert_int_eq(set_for(ALICE, "a", 900 - 257), 0);
	check_refused(set_for(ALICE, "a", 1001 - 257), QUOTA_BYTES, 1000, 900, 101);
	ck_assert_int_eq(set_for(ALICE, "a", 1000 - 257), 0);
	check_has(ALICE, 1, 1000);
}
END_TEST

START_TEST(a_limit_that_is_lowered_takes_nothing_and_lets_it_shrink)
{
	ck_assert_int_eq(set_for(ALICE, "a", 5000), 0);
	ck_assert_int_eq(set_for(ALICE, "b", 5000), 0);
	set_quotas(1, 1000);
	check_has(ALICE, 2, 2 * 5257);
	check_refused(set_for(ALICE, "a", 5001), QUOTA_BYTES, 1000, 2 * 5257, 1);
	check_refused(set_for(ALICE, "c", 1), QUOTA_COUNT, 1, 2, 1);
	ck_assert_uint_eq(size_of("a"), 5000);
	ck_assert_int_eq(set_for(ALICE, "a", 5000), 0);
	ck_assert_int_eq(set_for(ALICE, "a", 4000), 0);
	check_has(ALICE, 2, 5257 + 4257);
	set_quotas(0, 0);
	ck_assert_int_eq(set_for(ALICE, "c", 100000), 0);
}
END_TEST

/* And whoever may do everything is held to none, though it be another's. */
START_TEST(root_and_the_daemons_own_user_have_no_quota)
{
	struct kept *kept = draw(100000);
	struct vault_put put = put_of("b", kept);

	set_quotas(1, 1000);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(set_for(0, i == 0 ? "r1" : "r2", 100000), 0);
		ck_assert_int_eq(set_for(OWN, i == 0 ? "o1" : "o2", 100000), 0);
	}
	ck_assert_int_eq(set_for(ALICE, "a", 10), 0);
	ck_assert_int_eq(try_put(&put, kept), 0);
	check_has(ALICE, 2, 257 + 10 + 257 + 100000);
	/* What is root's is, whoever stores it. */
	ck_assert_int_eq(set_for(ALICE, "r1", 200000), 0);
	forget(kept);
}
END_TEST

START_TEST(a_name_counts_for_who_stored_it_first)
{
	set_quotas(0, 2000);
	ck_assert_int_eq(set_for(ALICE, "a", 1000), 0);
	ck_assert_int_eq(set_for(BOB, "a", 1500), 0);
	check_has(ALICE, 1, 1757);
	check_has(BOB, 0, 0);
	check_refused(set_for(BOB, "a", 1800), QUOTA_BYTES, 2000, 1757, 300);
}
END_TEST

START_TEST(versions_in_their_grace_count_their_bytes)
{
	const struct rotation rotation = { .asked = true, .grace_ms = 60000 };
	const struct rotation at_once = { .asked = true };

	set_quotas(1, 1000);
	ck_assert_int_eq(set_for(ALICE, "a", 100), 0);
	ck_assert_int_eq(put_for(ALICE, "a", 101, &rotation), 0);
	check_has(ALICE, 1, 357 + 358);
	check_refused(put_for(ALICE, "a", 100, &rotation), QUOTA_BYTES, 1000, 357 + 358, 357);
	ck_assert_uint_eq(size_of("a"), 101);
	ck_assert_int_eq(put_for(ALICE, "a", 101 + 285, &at_once), 0);
	check_has(ALICE, 1, 1000);
	ck_assert_int_eq(remove_name("a"), 0);
	check_has(ALICE, 0, 0);
}
END_TEST

static int move_for(uint32_t uid, const char *name, const char *to)
{
	struct vault_move move = {
		.name = span_text(name), .to = span_text(to), .owner = uid, .limited = true
	};
	uint64_t version;

	return vault_move(vault, &move, &version);
}

START_TEST(what_gets_another_name_counts_for_its_new_owner)
{
	set_quotas(1, 1000);
	ck_assert_int_eq(set_for(ALICE, "a", 700), 0);
	ck_assert_int_eq(move_for(BOB, "a", "bb"), 0);
	check_has(ALICE, 0, 0);
	check_has(BOB, 1, 258 + 700);
	ck_assert_int_eq(set_for(ALICE, "a", 10), 0);
	check_refused(move_for(BOB, "a", "c"), QUOTA_COUNT, 1, 1, 1);
	/* A longer name is more, a shorter one is not. */
	set_quotas(1, 958);
	check_refused(move_for(BOB, "bb", "bbb"), QUOTA_BYTES, 958, 958, 1);
	ck_assert_int_eq(move_for(BOB, "bb", "b"), 0);
	check_has(BOB, 1, 957);
	check_has(ALICE, 1, 267);
}
END_TEST

START_TEST(what_is_consumed_counts_no_more)
{
	struct kept *kept = draw(100);
	struct vault_put put = put_of("a", kept);
	struct record *record;

	set_quotas(1, 0);
	put.limited = true;
	put.lifetime.reads = 2;
	ck_assert_int_eq(try_put(&put, kept), 0);
	ck_assert_int_eq(record_use(vault, find("a")), 0);
	check_has(ALICE, 1, 357);
	record = record_pin(find("a"));
	ck_assert_int_eq(record_use(vault, record), 0);
	/* Though it is still being read. */
	check_has(ALICE, 0, 0);
	ck_assert_int_eq(find_status("a"), STATUS_GONE);
	ck_assert_int_eq(set_for(ALICE, "b", 10), 0);
	record_unpin(vault, record);
	check_has(ALICE, 1, 267);
	forget(kept);
}
END_TEST

/* -- what is still read -------------------------------------------------------------------- */

START_TEST(what_goes_while_it_is_read_counts_for_who_reads_it)
{
	struct reader bob = { .uid = BOB }, alice = { .uid = ALICE };
	struct record *record;

	ck_assert_int_eq(set_for(ALICE, "a", 1000), 0);
	record = record_pin_for(find("a"), &alice);
	ck_assert_ptr_eq(record_pin_for(record, &bob), record);
	check_has(ALICE, 1, 1257);
	check_has(BOB, 0, 0);
	ck_assert_int_eq(remove_name("a"), 0);
	/* The last one who came, and then the other one. */
	check_has(ALICE, 0, 0);
	check_has(BOB, 0, 1256);
	quota_doubt(vault);
	check_has(BOB, 0, 1256);
	record_unpin_for(vault, record, &bob);
	check_has(BOB, 0, 0);
	check_has(ALICE, 0, 1256);
	record_unpin_for(vault, record, &alice);
	check_has(ALICE, 0, 0);
	ck_assert(!vault->doubtful);
}
END_TEST

START_TEST(nobody_reads_more_than_there_may_be)
{
	struct reader reader = { .uid = ALICE }, other = { .uid = BOB };
	struct record *record;

	set_quotas(0, 3000);
	ck_assert_int_eq(set_for(ALICE, "a", 1000), 0);
	record = record_pin_for(find("a"), &reader);
	ck_assert_int_eq(set_for(ALICE, "a", 1000), 0);
	check_has(ALICE, 1, 2513);
	/* What is to be replaced makes room, what is read does not. */
	ck_assert_int_eq(set_for(ALICE, "b", 1000), STATUS_LIMIT);
	ck_assert_int_eq(set_for(ALICE, "a", 1000), 0);
	record_unpin_for(vault, record, &reader);
	check_has(ALICE, 1, 1257);
	ck_assert_int_eq(set_for(ALICE, "b", 1000), 0);
	record = record_pin_for(find("b"), &reader);
	ck_assert_int_eq(set_for(ALICE, "b", 1000), STATUS_LIMIT);
	record_unpin_for(vault, record, &reader);
	/* Another one's slow reader is in nobody's way. */
	record = record_pin_for(find("b"), &other);
	ck_assert_int_eq(set_for(ALICE, "b", 1000), 0);
	check_has(ALICE, 2, 2514);
	check_has(BOB, 0, 1256);
	vault_purge(vault);
	check_has(BOB, 0, 0);
	record_unpin_for(vault, record, &other);
	check_has(BOB, 0, 0);
	ck_assert(!vault->doubtful);
}
END_TEST

/* -- values on their way ------------------------------------------------------------------- */

static struct value *begin_value(uint32_t uid)
{
	struct value *value = NULL;

	ck_assert_int_eq(value_new(vault, &value), 0);
	ck_assert_int_eq(value_count_for(vault, value, uid), 0);
	return value;
}

static int may_have(const struct value *value, const char *name, uint64_t size, bool stored)
{
	const struct value_plan plan = { .name = span_text(name), .size = size, .stored = stored };

	return value_may_have(vault, value, &plan);
}

START_TEST(a_value_on_its_way_counts_until_it_is_given_up)
{
	struct kept *kept = draw(40000);
	struct value *value = begin_value(ALICE);

	set_quotas(0, 40000);
	check_has(ALICE, 0, 0);
	ck_assert_int_eq(append_chunks(value, kept, 0, 2), 0);
	check_has(ALICE, 0, 32768);
	check_refused(set_for(ALICE, "a", 7000), QUOTA_BYTES, 40000, 32768, 7257);
	ck_assert_int_eq(set_for(ALICE, "a", 6000), 0);
	value_free(vault, value);
	check_has(ALICE, 1, 6257);
	ck_assert_int_eq(set_for(ALICE, "b", 7000), 0);
	forget(kept);
}
END_TEST

START_TEST(what_is_stored_does_not_count_twice)
{
	struct kept *kept = draw(40000);
	struct value *value = begin_value(ALICE);
	struct vault_put put = put_of("a", kept);

	set_quotas(1, 40257);
	put.limited = true;
	ck_assert_int_eq(append_chunks(value, kept, 0, kept->chunks), 0);
	ck_assert_int_eq(vault_put(vault, &value, &put, &kept->version), 0);
	check_has(ALICE, 1, 40257);
	forget(kept);
}
END_TEST

START_TEST(a_purge_ends_what_is_on_its_way)
{
	struct kept *kept = draw(40000);
	struct value *value = begin_value(ALICE);

	ck_assert_int_eq(append_chunks(value, kept, 0, 2), 0);
	ck_assert_int_eq(set_for(ALICE, "a", 10), 0);
	vault_purge(vault);
	check_has(ALICE, 0, 0);
	value_free(vault, value);
	check_has(ALICE, 0, 0);
	forget(kept);
}
END_TEST

START_TEST(what_is_to_be_replaced_makes_room_on_the_way)
{
	struct value *value = begin_value(ALICE);

	set_quotas(1, 1000);
	ck_assert_int_eq(may_have(value, "a", 1000 - 257, true), 0);
	check_refused(may_have(value, "a", 1001 - 257, true), QUOTA_BYTES, 1000, 0, 1001);
	ck_assert_int_eq(set_for(ALICE, "a", 700), 0);
	ck_assert_int_eq(may_have(value, "a", 700, true), 0);
	ck_assert_int_eq(may_have(value, "a", 743, true), 0);
	check_refused(may_have(value, "a", 744, true), QUOTA_BYTES, 1000, 957, 44);
	check_refused(may_have(value, "b", 10, true), QUOTA_COUNT, 1, 1, 1);
	/* A comparison needs no name of its own. */
	ck_assert_int_eq(may_have(value, "a", 700, false), 0);
	check_refused(may_have(value, "b", 10, false), QUOTA_BYTES, 1000, 957, 267);
	set_quotas(1, 2000);
	ck_assert_int_eq(may_have(value, "b", 10, false), 0);
	value_free(vault, value);
}
END_TEST

/* Or whoever begins to replace one thing a hundred times would have a hundred times its room. */
START_TEST(what_is_to_be_replaced_makes_room_once)
{
	struct kept *kept = draw(16384);
	struct value *values[3];

	ck_assert_int_eq(set_for(ALICE, "a", 16384), 0);
	set_quotas(1, 16384 + 257);
	for (int i = 0; i < 3; i++) {
		values[i] = begin_value(ALICE);
		ck_assert_int_eq(may_have(values[i], "a", 16384, true), 0);
	}
	ck_assert_int_eq(append_chunks(values[0], kept, 0, 1), 0);
	ck_assert_int_eq(may_have(values[0], "a", 16384, true), 0);
	check_refused(
		may_have(values[1], "a", 16384, true), QUOTA_BYTES, 16641, 2 * 16384 + 257, 16641);
	check_refused(may_have(values[2], "a", 1, false), QUOTA_BYTES, 16641, 2 * 16384 + 257, 258);
	value_free(vault, values[0]);
	ck_assert_int_eq(may_have(values[1], "a", 16384, true), 0);
	/* Below what there is one may still replace the other. */
	set_quotas(1, 100);
	ck_assert_int_eq(may_have(values[1], "a", 16384, true), 0);
	check_refused(may_have(values[1], "a", 16385, true), QUOTA_BYTES, 100, 16641, 1);
	value_free(vault, values[1]);
	value_free(vault, values[2]);
	forget(kept);
}
END_TEST

/* -- what is staged, and streams ----------------------------------------------------------- */

static int stage_for(struct batch *batch, uint32_t uid, const char *name, size_t size)
{
	const struct batch_times times = { .version = 1 };
	struct kept *kept = draw(size);
	struct value *value = new_value(kept);
	struct vault_put put = put_of(name, kept);
	int r;

	put.owner = uid;
	put.limited = true;
	r = batch_add(vault, batch, &value, &put, &times);
	value_free(vault, value);
	forget(kept);
	return r;
}

START_TEST(what_is_staged_counts_beside_what_it_will_replace)
{
	struct batch *batch = NULL;
	struct span name;

	set_quotas(3, 1000);
	ck_assert_int_eq(set_for(ALICE, "a", 100), 0);
	ck_assert_int_eq(batch_new(vault, &batch), 0);
	ck_assert_int_eq(stage_for(batch, ALICE, "a", 200), 0);
	check_has(ALICE, 2, 357 + 457);
	check_refused(stage_for(batch, ALICE, "b", 100), QUOTA_BYTES, 1000, 357 + 457, 357);
	set_quotas(2, 0);
	check_refused(stage_for(batch, ALICE, "b", 100), QUOTA_COUNT, 2, 2, 1);
	ck_assert_int_eq(batch_check(vault, batch, NULL, &name), 1);
	ck_assert_int_eq(batch_commit(vault, batch), 0);
	check_has(ALICE, 2, 357 + 457);
	ck_assert(batch_publish(vault, batch));
	check_has(ALICE, 1, 457);
	batch_free(vault, batch);
	/* What is given up counts no more. */
	ck_assert_int_eq(batch_new(vault, &batch), 0);
	ck_assert_int_eq(stage_for(batch, ALICE, "b", 200), 0);
	batch_free(vault, batch);
	check_has(ALICE, 1, 457);
}
END_TEST

START_TEST(a_stream_counts_what_waits_in_it)
{
	static const uint8_t number[MESSAGE_NUMBER_SIZE] = { 1 };
	static const int writer;
	struct kept *kept = draw(20000);
	struct stream *stream = NULL;
	struct stream_place place = { .segment = 1, .next = 1 };

	set_quotas(1, 20000);
	ck_assert_int_eq(stream_may_begin(vault, NULL, span_text("s"), ALICE), 0);
	ck_assert_int_eq(stream_make(vault, span_text("s"), ALICE, &stream), 0);
	ck_assert_int_eq(stream_begin(stream, number, kept->key, &writer), 0);
	check_has(ALICE, 1, 257 + 256);
	check_refused(stream_may_begin(vault, NULL, span_text("t"), ALICE), QUOTA_COUNT, 1, 1, 1);
	ck_assert_int_eq(stream_may_take(stream, 16384), 0);
	ck_assert_int_eq(stream_append(stream, chunk_of(kept, 0), false, kept->key), 0);
	check_has(ALICE, 1, 257 + 256 + 16384);
	check_refused(stream_may_take(stream, 3616), QUOTA_BYTES, 20000, 16897, 3616);
	place.stream = stream->id;
	stream_acknowledge(stream, &place);
	check_has(ALICE, 1, 257 + 256);
	ck_assert_int_eq(stream_may_take(stream, 3616), 0);
	ck_assert_int_eq(stream_append(stream, chunk_of(kept, 1), true, kept->key), 0);
	place = (struct stream_place){ .stream = stream->id, .segment = 2 };
	stream_acknowledge(stream, &place);
	check_has(ALICE, 0, 0);
	forget(kept);
}
END_TEST

/* -- what was overwritten ------------------------------------------------------------------ */

START_TEST(whose_header_was_overwritten_counts_until_it_is_taken_out)
{
	struct header *header;

	set_quotas(2, 0);
	ck_assert_int_eq(set_for(ALICE, "a", 100), 0);
	ck_assert_int_eq(set_for(ALICE, "b", 100), 0);
	header = record_header(vault, offset_of("a"));
	bytes_put32(header->owner, BOB);
	header->size[5] = 0xff;
	ck_assert_int_eq(find_status("a"), STATUS_INTEGRITY);
	ck_assert_int_eq(set_for(ALICE, "c", 100), STATUS_LIMIT);
	ck_assert_int_eq(remove_name("a"), 0);
	/* Nobody pays for what was written there, and who is refused was counted anew. */
	ck_assert_int_eq(set_for(ALICE, "c", 100), 0);
	check_has(BOB, 0, 0);
	check_has(ALICE, 2, 2 * 357);
	check_refused(set_for(ALICE, "d", 100), QUOTA_COUNT, 2, 2, 1);
}
END_TEST

START_TEST(after_a_purge_nobody_has_anything_whatever_was_overwritten)
{
	ck_assert_int_eq(set_for(ALICE, "a", 100), 0);
	ck_assert_int_eq(set_for(BOB, "b", 100), 0);
	bytes_put32(record_header(vault, offset_of("a"))->owner, BOB);
	vault_purge(vault);
	ck_assert(!vault->doubtful);
	check_has(ALICE, 0, 0);
	check_has(BOB, 0, 0);
}
END_TEST

START_TEST(who_adopts_counts_what_it_has_and_not_what_was_broken)
{
	ck_assert_int_eq(set_for(ALICE, "a", 100), 0);
	ck_assert_int_eq(set_for(ALICE, "b", 100), 0);
	ck_assert_int_eq(set_for(BOB, "c", 100), 0);
	record_header(vault, offset_of("b"))->size[0] ^= 1;
	crash();
	ck_assert_uint_eq(vault_lost(vault, LOSS_SECRET), 1);
	ck_assert(!vault->doubtful);
	check_has(ALICE, 1, 357);
	check_has(BOB, 1, 357);
	rise();
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up_in_file, tear_down_in_file);
	tcase_add_test(claims, a_version_counts_its_name_its_tags_its_value_and_256_beside);
	tcase_add_test(claims, who_has_as_many_names_as_may_be_gets_no_more);
	tcase_add_test(claims, to_the_last_byte_and_not_one_more);
	tcase_add_test(claims, a_limit_that_is_lowered_takes_nothing_and_lets_it_shrink);
	tcase_add_test(claims, root_and_the_daemons_own_user_have_no_quota);
	tcase_add_test(claims, a_name_counts_for_who_stored_it_first);
	tcase_add_test(claims, versions_in_their_grace_count_their_bytes);
	tcase_add_test(claims, what_gets_another_name_counts_for_its_new_owner);
	tcase_add_test(claims, what_is_consumed_counts_no_more);
	tcase_add_test(claims, what_goes_while_it_is_read_counts_for_who_reads_it);
	tcase_add_test(claims, nobody_reads_more_than_there_may_be);
	tcase_add_test(claims, a_value_on_its_way_counts_until_it_is_given_up);
	tcase_add_test(claims, what_is_stored_does_not_count_twice);
	tcase_add_test(claims, a_purge_ends_what_is_on_its_way);
	tcase_add_test(claims, what_is_to_be_replaced_makes_room_on_the_way);
	tcase_add_test(claims, what_is_to_be_replaced_makes_room_once);
	tcase_add_test(claims, what_is_staged_counts_beside_what_it_will_replace);
	tcase_add_test(claims, a_stream_counts_what_waits_in_it);
	tcase_add_test(claims, whose_header_was_overwritten_counts_until_it_is_taken_out);
	tcase_add_test(claims, after_a_purge_nobody_has_anything_whatever_was_overwritten);
	tcase_add_test(claims, who_adopts_counts_what_it_has_and_not_what_was_broken);
	return claims_run(claims, "vault_quota");
}
