/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/flow.h"
#include "daemon/request/quota.h"
#include "daemon/vault/vault_stream.h"
#include "tests/unit/request_rig.h"

/* Requests over what one user may have, and what they are told. */

static struct user account;

static void set_up_limited(void)
{
	set_up();
	account = (struct user){ .all = &house.users, .uid = 1000 };
	transfers.user = &account;
}

static void set_quotas(uint64_t count, uint64_t bytes)
{
	const struct quotas quotas = { .count = count, .bytes = bytes, .sessions = 256 };

	daemon_set_quotas(&house, &quotas);
}

/* Names are filed as ~1000/x: 7 bytes. */
#define BESIDE (VAULT_BESIDE + 7)

static uint64_t bytes_of(uint32_t uid)
{
	return vault_usage(house.vault, uid).bytes;
}

static uint64_t size_of(const char *name)
{
	struct record *record;

	ck_assert_int_eq(vault_find(house.vault, span_text(name), &record), 0);
	return record_size(record);
}

static struct note_of_reply *check_refused(struct note_of_reply *note, const char *words)
{
	ck_assert_int_eq(note->code, STATUS_LIMIT);
	ck_assert_str_eq(note->detail, words);
	return note;
}

START_TEST(a_set_over_quota_is_told_which_and_leaves_what_was)
{
	set_quotas(1, 1000);
	ck_assert_int_eq(store(&user, "~/a", 500)->code, 0);
	check_refused(store(&user, "~/a", 738),
		"this user has 763 bytes, this would be 238 more, and quota-bytes allows 1000");
	check_refused(store(&user, "~/b", 1), "this user has 1 secret, and quota-count allows 1");
	ck_assert_uint_eq(size_of("~1000/a"), 500);
	ck_assert_int_eq(store(&user, "~/a", 737)->code, 0);
	ck_assert_uint_eq(bytes_of(1000), 1000);
}
END_TEST

START_TEST(what_is_announced_is_refused_before_it_comes)
{
	struct request request = setting("~/a", 100000);

	set_quotas(0, 50000);
	seal(100000);
	check_refused(ask(&user, with_chunks(request, 100000, 0, 4)),
		"this user has 0 bytes, this would be 100263 more, and quota-bytes allows 50000");
	ck_assert_uint_eq(bytes_of(1000), 0);
	/* What is still on its way is dropped. */
	book.count = 0;
	ask(&user, with_chunks(going_on(request.id), 100000, 4, 3));
	ck_assert_uint_eq(book.count, 0);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(what_is_not_announced_is_refused_when_it_is_too_much)
{
	struct request request = setting("~/a", 0);

	set_quotas(0, 70000);
	seal(100000);
	ask(&user, with_chunks(request, 100000, 0, 4));
	ck_assert_uint_eq(book.count, 0);
	ck_assert_uint_eq(bytes_of(1000), 65536);
	check_refused(ask(&user, with_chunks(going_on(request.id), 100000, 4, 3)),
		"this user has 0 bytes, this would be 82183 more, and quota-bytes allows 70000");
	ck_assert_uint_eq(bytes_of(1000), 0);
}
END_TEST

/* Each would fit by itself. */
START_TEST(sets_under_way_count_together)
{
	struct request one = setting("~/a", 100000);
	struct request other = setting("~/b", 100000);

	set_quotas(0, 120000);
	seal(100000);
	ask(&user, with_chunks(one, 100000, 0, 4));
	ask(&user, with_chunks(other, 100000, 0, 2));
	check_refused(book.count > 0 ? notebook_last(&book) : NULL,
		"this user has 65536 bytes, this would be 100263 more, and quota-bytes allows "
		"120000");
	ask(&user, with_chunks(going_on(one.id), 100000, 4, 3));
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_uint_eq(bytes_of(1000), BESIDE + 100000);
	/* A session's end gives back what was under way. */
	set_quotas(0, 0);
	ask(&user, with_chunks(setting("~/c", 100000), 100000, 0, 4));
	ck_assert_uint_eq(bytes_of(1000), BESIDE + 100000 + 65536);
	transfers_finish(&transfers, &house);
	ck_assert_uint_eq(bytes_of(1000), BESIDE + 100000);
}
END_TEST

START_TEST(a_repeat_has_its_first_answer_though_there_is_no_more_room)
{
	struct request request = setting("~/a", 1000 - BESIDE);

	set_quotas(1, 1000);
	ck_assert_int_eq(store_with(&user, request, 1000 - BESIDE)->code, 0);
	for (int i = 0; i < 3; i++) {
		request.id = next_id++;
		ck_assert_int_eq(store_with(&user, request, 1000 - BESIDE)->code, 0);
		ck_assert_uint_eq(notebook_last(&book)->version, 1);
		ck_assert_uint_eq(bytes_of(1000), 1000);
		ck_assert_uint_eq(vault_usage(house.vault, 1000).names, 1);
	}
}
END_TEST

START_TEST(generate_and_rotate_are_held_to_it)
{
	struct request request = changing(VERB_GENERATE, "~/a");

	set_quotas(1, 1000);
	request.size = 500;
	ck_assert_int_eq(ask(&user, request)->code, 0);
	request = changing(VERB_GENERATE, "~/b");
	request.size = 10;
	check_refused(ask(&user, request), "this user has 1 secret, and quota-count allows 1");
	request = changing(VERB_GENERATE, "~/a");
	request.size = 500;
	request.rotation = (struct rotation){ .asked = true, .grace_ms = 60000 };
	check_refused(ask(&user, request),
		"this user has 763 bytes, this would be 763 more, and quota-bytes allows 1000");
	request = changing(VERB_GENERATE, "~/a");
	request.size = 737;
	request.rotation = (struct rotation){ .asked = true };
	ck_assert_int_eq(ask(&user, request)->code, 0);
	ck_assert_uint_eq(bytes_of(1000), 1000);
}
END_TEST

START_TEST(a_secret_can_be_verified_though_there_is_no_more_room)
{
	struct request request = setting("~/a", 737);

	set_quotas(1, 1000);
	ck_assert_int_eq(store(&user, "~/a", 737)->code, 0);
	request.verb = VERB_VERIFY;
	request.numbered = false;
	book.count = 0;
	(void)store_with(&user, request, 737);
	/* It waits for its turn, and counts meanwhile. */
	ck_assert_uint_eq(book.count, 0);
	ck_assert_uint_eq(bytes_of(1000), 1737);
	transfers_finish(&transfers, &house);
	ck_assert_uint_eq(bytes_of(1000), 1000);
}
END_TEST

START_TEST(what_is_staged_is_held_to_it)
{
	struct request request = setting("~/a", 500);

	set_quotas(0, 1000);
	request.verb = VERB_STAGE;
	request.version = 1;
	request.numbered = false;
	ck_assert_int_eq(store_with(&user, request, 500)->code, 0);
	request.name = span_text("~/b");
	request.id = next_id++;
	check_refused(store_with(&user, request, 500),
		"this user has 763 bytes, this would be 763 more, and quota-bytes allows 1000");
	transfers_finish(&transfers, &house);
	/* It is taken back step by step. */
	while (vault_expire(house.vault))
		;
	ck_assert_uint_eq(bytes_of(1000), 0);
}
END_TEST

START_TEST(who_may_do_everything_is_held_to_none)
{
	set_quotas(1, 1000);
	ck_assert_int_eq(store(&user, "~/a", 10)->code, 0);
	transfers.user = NULL;
	ck_assert_int_eq(store(&root, "a", 10000)->code, 0);
	ck_assert_int_eq(store(&root, "b", 10000)->code, 0);
	ck_assert_int_eq(store(&root, "~1000/a", 10000)->code, 0);
	ck_assert_uint_eq(bytes_of(1000), BESIDE + 10000);
}
END_TEST

START_TEST(whoami_tells_what_one_has_and_may_have)
{
	struct request request = { .verb = VERB_WHOAMI };
	const struct caller *caller;

	set_quotas(10, 5000);
	ck_assert_int_eq(store(&user, "~/a", 10)->code, 0);
	caller = &ask(&user, request)->caller;
	ck_assert(caller->counts);
	ck_assert_uint_eq(caller->secrets, 1);
	ck_assert_uint_eq(caller->bytes, BESIDE + 10);
	ck_assert_uint_eq(caller->quota_count, 10);
	ck_assert_uint_eq(caller->quota_bytes, 5000);
	ck_assert_uint_eq(caller->quota_sessions, 256);
	ck_assert_uint_eq(caller->quota_inflight, 0);
	transfers.user = NULL;
	caller = &ask(&root, request)->caller;
	ck_assert(caller->counts);
	ck_assert_uint_eq(caller->secrets, 0);
	ck_assert_uint_eq(caller->quota_count, 0);
	ck_assert_uint_eq(caller->quota_bytes, 0);
	ck_assert_uint_eq(caller->quota_sessions, 0);
}
END_TEST

/* -- streams ------------------------------------------------------------------------------- */

static struct request writing(const char *name, size_t size, uint64_t first, uint32_t count)
{
	static uint8_t number[MESSAGE_NUMBER_SIZE] = { 7 };
	struct request request = setting(name, size);

	request.verb = VERB_STREAM_WRITE;
	request.size = 0;
	memcpy(request.number, number, sizeof(number));
	return with_chunks(request, size, first, count);
}

/* What is first in it, read and wiped. */
static void drop_first(struct stream *stream)
{
	struct stream_place place = { 0 };
	struct stream_part part;

	ck_assert_int_eq(stream_next(stream, &place, &part), 0);
	place = (struct stream_place){ .stream = part.stream,
		.segment = part.segment,
		.next = part.chunks.first + part.chunks.count };
	stream_acknowledge(stream, &place);
}

START_TEST(a_writer_waits_for_its_reader_and_not_for_room_that_never_comes)
{
	struct stream *stream;

	set_quotas(0, 40000);
	seal(200000);
	ask(&user, writing("~/s", 200000, 0, 2));
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_uint_eq(bytes_of(1000), BESIDE + VAULT_BESIDE + 32768);
	/* There is something to be read: that will make room. */
	ask(&user, writing("~/s", 200000, 2, 2));
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(flows_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(stream_find(house.vault, span_text("~1000/s"), &stream), 0);
	drop_first(stream);
	ck_assert_int_eq(flows_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 2);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	/* Where nothing is to be read, nothing will. */
	drop_first(stream);
	set_quotas(0, 1000);
	check_refused(ask(&user, writing("~/s", 200000, 4, 1)),
		"this user has 519 bytes, this would be 16384 more, and quota-bytes allows 1000");
}
END_TEST

START_TEST(a_stream_is_one_secret_more)
{
	set_quotas(1, 0);
	seal(1000);
	ck_assert_int_eq(store(&user, "~/a", 10)->code, 0);
	seal(1000);
	check_refused(ask(&user, writing("~/s", 1000, 0, 1)),
		"this user has 1 secret, and quota-count allows 1");
	ck_assert_uint_eq(vault_count(house.vault), 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_quota");

	tcase_add_checked_fixture(claims, set_up_limited, tear_down);
	tcase_add_test(claims, a_set_over_quota_is_told_which_and_leaves_what_was);
	tcase_add_test(claims, what_is_announced_is_refused_before_it_comes);
	tcase_add_test(claims, what_is_not_announced_is_refused_when_it_is_too_much);
	tcase_add_test(claims, sets_under_way_count_together);
	tcase_add_test(claims, a_repeat_has_its_first_answer_though_there_is_no_more_room);
	tcase_add_test(claims, generate_and_rotate_are_held_to_it);
	tcase_add_test(claims, a_secret_can_be_verified_though_there_is_no_more_room);
	tcase_add_test(claims, what_is_staged_is_held_to_it);
	tcase_add_test(claims, who_may_do_everything_is_held_to_none);
	tcase_add_test(claims, whoami_tells_what_one_has_and_may_have);
	tcase_add_test(claims, a_writer_waits_for_its_reader_and_not_for_room_that_never_comes);
	tcase_add_test(claims, a_stream_is_one_secret_more);
	return claims_run(claims, "request_quota");
}
