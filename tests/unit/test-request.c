/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "tests/unit/request_rig.h"

/* Fetches and compares with what `value` holds; gives the version. */
static uint64_t fetch(const struct peer *peer, const char *name, size_t size)
{
	static uint8_t plain[VALUE_MAX];
	size_t first = book.count;
	size_t at = 0;
	uint64_t number = 0;
	const uint8_t *data_key;

	ask(peer, getting(name));
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(book.notes[first].code, 0);
	ck_assert_int_eq(book.notes[first].body, BODY_VALUE);
	ck_assert_uint_eq(book.notes[first].size, size);
	data_key = book.notes[first].key;
	for (size_t i = first; i < book.count; i++) {
		struct note_of_reply *note = &book.notes[i];
		size_t used = 0;

		for (uint32_t c = 0; note->chunked && c < note->chunks.count; c++) {
			bool last = c + 1 == note->chunks.count;
			size_t chunk = last ? note->chunks.last : ENCLAVE_CHUNK_SIZE;

			ck_assert_int_eq(enclave_open_chunk(plain + at, note->bytes + used, chunk,
						 number++, last && note->chunks.final, data_key),
				0);
			used += chunk;
			at += chunk - ENCLAVE_TAG_SIZE;
		}
	}
	ck_assert_uint_eq(at, size);
	ck_assert_mem_eq(plain, value, size);
	ck_assert(notebook_last(&book)->chunks.final);
	return book.notes[first].version;
}

static int get_code(const struct peer *peer, const char *name)
{
	return ask(peer, getting(name))->code;
}

static const size_t sizes[] = { 1, 16383, 16384, 16385, 65536, 65537, VALUE_MAX };

START_TEST(what_is_stored_comes_back)
{
	ck_assert_int_eq(store(&root, "a/b", sizes[_i])->code, 0);
	ck_assert_uint_eq(fetch(&root, "a/b", sizes[_i]), 1);
	book.count = 0;
	ck_assert_uint_eq(store(&root, "a/b", sizes[_i])->version, 2);
	ck_assert_uint_eq(fetch(&root, "a/b", sizes[_i]), 2);
}
END_TEST

START_TEST(a_stranger_cannot_tell_absent_from_forbidden)
{
	struct note_of_reply here, absent;

	store(&root, "web/db", 10);
	here = *ask(&user, getting("web/db"));
	absent = *ask(&user, getting("web/none"));
	ck_assert_int_eq(here.code, STATUS_DENIED);
	ck_assert_int_eq(absent.code, STATUS_DENIED);
	ck_assert_str_eq(here.detail, absent.detail);
	ck_assert_int_eq(store(&user, "web/db", 10)->code, STATUS_DENIED);
}
END_TEST

START_TEST(every_user_has_a_space_of_its_own)
{
	ck_assert_int_eq(store(&user, "~/x", 10)->code, 0);
	ck_assert_int_eq(get_code(&root, "~/x"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(fetch(&root, "~1000/x", 10), 1);
	ck_assert_uint_eq(fetch(&user, "~1000/x", 10), 1);
}
END_TEST

START_TEST(a_list_tells_only_what_the_caller_may_see)
{
	struct request list = { .verb = VERB_LIST };

	store(&root, "web/db", 10);
	store(&root, "~/mine", 10);
	store(&user, "~/x", 10);
	store(&user, "~/y", 10);
	book.count = 0;
	ask(&user, list);
	ck_assert_uint_eq(book.count, 3);
	ck_assert_str_eq(book.notes[0].name, "~/x");
	ck_assert_str_eq(book.notes[1].name, "~/y");
	ck_assert_int_eq(book.notes[2].body, BODY_LISTING);
	ck_assert(!book.notes[2].more);
	book.count = 0;
	list.name = span_text("web/");
	ask(&user, list);
	ck_assert_uint_eq(book.count, 1);
	book.count = 0;
	list.name = span_text("");
	ask(&root, list);
	ck_assert_uint_eq(book.count, 5);
	ck_assert_str_eq(book.notes[0].name, "web/db");
}
END_TEST

START_TEST(a_list_goes_on_where_it_ended)
{
	struct request list = { .verb = VERB_LIST, .limit = 3 };
	char after[300] = "";
	size_t names = 0;

	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%02d", i);
		store(&root, name, 1);
		book.count = 0;
	}
	do {
		book.count = 0;
		list.after = span_text(after);
		ask(&root, list);
		names += book.count - 1;
		snprintf(after, sizeof(after), "%s", notebook_last(&book)->next);
	} while (notebook_last(&book)->more);
	ck_assert_uint_eq(names, 10);
}
END_TEST

START_TEST(a_list_after_a_name_outside_its_prefix_begins_or_ends_there)
{
	static const struct {
		const char *prefix;
		const char *after;
		size_t names;
	} rows[] = { { "b/", "a/2", 2 }, { "b/", "b", 2 }, { "b/", "b/0", 2 }, { "b/", "b/1", 1 },
		{ "b/", "b/9", 0 }, { "b/", "c", 0 }, { "b/", "c/2", 0 }, { "", "b/1", 2 },
		{ "", "~/x", 0 } };

	store(&root, "a/1", 1);
	store(&root, "b/1", 1);
	store(&root, "b/2", 1);
	store(&root, "c/1", 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct request list = { .verb = VERB_LIST,
			.name = span_text(rows[i].prefix),
			.after = span_text(rows[i].after) };

		book.count = 0;
		ask(&root, list);
		ck_assert_uint_eq(book.count, rows[i].names + 1);
		ck_assert_int_eq(notebook_last(&book)->code, 0);
		ck_assert(!notebook_last(&book)->more);
	}
}
END_TEST

START_TEST(a_wrong_tag_stores_nothing)
{
	struct request request = setting("t", 100);

	seal(100);
	sealed[20] ^= 1;
	ck_assert_int_eq(ask(&root, with_chunks(request, 100, 0, 1))->code, STATUS_INTEGRITY);
	ck_assert_int_eq(get_code(&root, "t"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(a_missing_or_doubled_chunk_stores_nothing)
{
	for (int doubled = 0; doubled < 2; doubled++) {
		struct request request = setting("t", 50000);

		seal(50000);
		ck_assert_ptr_null(ask(&root, with_chunks(request, 50000, 0, 1)));
		ck_assert_int_eq(
			ask(&root, with_chunks(going_on(request.id), 50000, doubled ? 0 : 2, 1))
				->code,
			STATUS_INTEGRITY);
		/* What still comes is dropped, and the set is over with its last chunk. */
		ck_assert_ptr_null(ask(&root, with_chunks(going_on(request.id), 50000, 3, 1)));
		ck_assert_int_eq(get_code(&root, "t"), STATUS_NOT_FOUND);
	}
}
END_TEST

START_TEST(a_value_shorter_or_longer_than_announced_stores_nothing)
{
	ck_assert_int_eq(store_with(&root, setting("t", 101), 100)->code, STATUS_INTEGRITY);
	ck_assert_int_eq(store_with(&root, setting("t", 99), 100)->code, STATUS_INTEGRITY);
	ck_assert_int_eq(get_code(&root, "t"), STATUS_NOT_FOUND);
	ck_assert_int_eq(store_with(&root, setting("t", 0), 100)->code, 0);
}
END_TEST

START_TEST(a_value_over_the_limit_is_refused_announced_or_not)
{
	ck_assert_int_eq(
		ask(&root, with_chunks(setting("t", VALUE_MAX + 1), VALUE_MAX, 0, 1))->code,
		STATUS_LIMIT);
	house.max_value = 20000;
	seal(50000);
	{
		struct request request = setting("t", 0);

		ck_assert_int_eq(ask(&root, with_chunks(request, 50000, 0, 2))->code, STATUS_LIMIT);
		ck_assert_ptr_null(ask(&root, with_chunks(going_on(request.id), 50000, 2, 2)));
		ck_assert(!transfers_has(&transfers, request.id));
	}
}
END_TEST

START_TEST(a_set_under_way_keeps_the_limit_that_it_began_with)
{
	struct request large = setting("large", 0), small = setting("small", 0);

	seal(50000);
	ck_assert_ptr_null(ask(&root, with_chunks(large, 50000, 0, 2)));
	house.max_value = 40000;
	ck_assert_ptr_null(ask(&root, with_chunks(small, 50000, 0, 2)));
	ck_assert_int_eq(ask(&root, with_chunks(going_on(large.id), 50000, 2, 2))->code, 0);
	/* The other way round: what was promised to others meanwhile is not promised to it. */
	house.max_value = VALUE_MAX;
	ck_assert_int_eq(
		ask(&root, with_chunks(going_on(small.id), 50000, 2, 2))->code, STATUS_LIMIT);
	ck_assert_int_eq(get_code(&root, "large"), 0);
	ck_assert_int_eq(get_code(&root, "small"), STATUS_NOT_FOUND);
}
END_TEST

START_TEST(a_set_given_up_stores_nothing)
{
	struct request request = setting("t", 50000), end = going_on(request.id);

	seal(50000);
	ask(&root, with_chunks(request, 50000, 0, 1));
	end.chunked = end.chunks.abort = true;
	ck_assert_int_eq(ask(&root, end)->code, STATUS_TIMEOUT);
	ck_assert(!transfers_has(&transfers, request.id));
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(a_set_cut_off_leaves_nothing)
{
	seal(50000);
	ask(&root, with_chunks(setting("t", 50000), 50000, 0, 2));
	transfers_finish(&transfers, &house);
	ck_assert_int_eq(get_code(&root, "t"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(a_set_that_does_not_go_on_is_given_up)
{
	struct request request = setting("t", 50000), more;

	seal(50000);
	house.upload_ms = 0;
	ask(&root, with_chunks(request, 50000, 0, 1));
	ck_assert_uint_le(uploads_deadline(&transfers), daemon_now_ms());
	/* It is the last chunk that counts. */
	house.upload_ms = 3600000;
	ask(&root, with_chunks(going_on(request.id), 50000, 1, 1));
	ck_assert_uint_gt(uploads_deadline(&transfers), daemon_now_ms());
	ck_assert_int_eq(uploads_look(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 0);
	house.upload_ms = 0;
	ask(&root, with_chunks(going_on(request.id), 50000, 2, 1));
	ck_assert_int_eq(uploads_look(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(book.notes[0].code, STATUS_TIMEOUT);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
	ck_assert_uint_eq(uploads_deadline(&transfers), 0);
	/* It is told once, and what still comes is dropped. */
	ck_assert_int_eq(uploads_look(&transfers, &house, &book.answers), 0);
	more = with_chunks(going_on(request.id), 50000, 3, 1);
	ck_assert_int_eq(serve(&root, &more), 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(get_code(&root, "t"), STATUS_NOT_FOUND);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_repeat_gets_its_first_answer_even_after_a_newer_version)
{
	struct request request = setting("r", 50000), again;

	ck_assert_uint_eq(store_with(&root, request, 50000)->version, 1);
	ck_assert_uint_eq(store(&root, "r", 10)->version, 2);
	again = request;
	again.id = next_id++;
	ck_assert_uint_eq(store_with(&root, again, 50000)->version, 1);
	ck_assert_uint_eq(fetch(&root, "r", 10), 2);
}
END_TEST

START_TEST(other_bytes_under_the_same_number_conflict)
{
	struct request request = setting("r", 100), again = request;

	ck_assert_int_eq(store_with(&root, request, 100)->code, 0);
	value[5] ^= 1;
	again.id = next_id++;
	ck_assert_int_eq(store_with(&root, again, 100)->code, STATUS_CONFLICT);
	again.id = next_id++;
	again.name = span_text("other");
	value[5] ^= 1;
	ck_assert_int_eq(store_with(&root, again, 100)->code, STATUS_CONFLICT);
	ck_assert_uint_eq(fetch(&root, "r", 100), 1);
}
END_TEST

START_TEST(a_repeated_removal_gets_its_first_answer)
{
	struct request removal = {
		.verb = VERB_REMOVE, .numbered = true, .number = { 5 }, .name = span_text("r")
	};

	store(&root, "r", 10);
	ck_assert_int_eq(ask(&root, removal)->code, 0);
	ck_assert_int_eq(ask(&root, removal)->code, 0);
	removal.number[0] = 6;
	ck_assert_int_eq(ask(&root, removal)->code, STATUS_NOT_FOUND);
}
END_TEST

START_TEST(conditions_that_do_not_hold_change_nothing)
{
	struct request request = setting("c", 10);

	request.conditions.create_only = true;
	ck_assert_int_eq(store_with(&root, request, 10)->code, 0);
	request = setting("c", 20);
	request.conditions.create_only = true;
	ck_assert_int_eq(store_with(&root, request, 20)->code, STATUS_CONFLICT);
	request = setting("c", 20);
	request.conditions = (struct conditions){ .compare = true, .version = 7 };
	ck_assert_int_eq(store_with(&root, request, 20)->code, STATUS_CONFLICT);
	ck_assert_uint_eq(notebook_last(&book)->version, 1);
	request = setting("c", 20);
	request.conditions = (struct conditions){ .compare = true, .version = 1 };
	ck_assert_uint_eq(store_with(&root, request, 20)->version, 2);
}
END_TEST

START_TEST(a_generated_value_has_the_characters_asked_for)
{
	static const char *const sets[] = { [CHARSET_HEX] = "0123456789abcdef",
		[CHARSET_ALNUM] =
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" };
	struct request request = { .verb = VERB_GENERATE,
		.numbered = true,
		.name = span_text("g"),
		.size = _i == CHARSET_HEX ? 200 : 4096, /* drawn by the system, or from a seed */
		.charset = (enum charset)_i };
	unsigned counts[256] = { 0 };
	uint8_t plain[4096];
	size_t drawn = 0;

	for (uint8_t i = 1; drawn < 10000; i++) {
		struct note_of_reply *note;

		request.number[0] = i;
		ck_assert_int_eq(ask(&root, request)->code, 0);
		note = ask(&root, getting("g"));
		ck_assert_uint_eq(note->chunks.last, request.size + ENCLAVE_TAG_SIZE);
		ck_assert_int_eq(enclave_open_chunk(
					 plain, note->bytes, note->chunks.last, 0, true, note->key),
			0);
		for (size_t at = 0; at < request.size; at++) {
			ck_assert_ptr_nonnull(strchr(sets[_i], plain[at]));
			counts[plain[at]]++;
		}
		drawn += request.size;
	}
	/* Each character of the set is there, none far more often than the others. */
	for (const char *c = sets[_i]; *c; c++) {
		double expected = (double)drawn / (double)strlen(sets[_i]);

		ck_assert(counts[(uint8_t)*c] > expected / 2);
		ck_assert(counts[(uint8_t)*c] < expected * 2);
	}
}
END_TEST

START_TEST(a_purge_at_each_chunk_boundary_of_a_set_answers_gone)
{
	struct request request = setting("p", 150000);

	seal(150000);
	for (int i = 0; i <= _i; i++)
		ask(&root,
			with_chunks(
				i == 0 ? request : going_on(request.id), 150000, (uint64_t)i, 1));
	vault_purge(house.vault);
	ck_assert_int_eq(
		ask(&root, with_chunks(going_on(request.id), 150000, (uint64_t)_i + 1, 1))->code,
		STATUS_GONE);
	ck_assert_int_eq(get_code(&root, "p"), STATUS_NOT_FOUND);
	ck_assert_int_eq(store(&root, "p", 10)->code, 0);
	fetch(&root, "p", 10);
}
END_TEST

START_TEST(a_purge_at_each_frame_of_a_get_ends_it_with_gone)
{
	store(&root, "p", VALUE_MAX);
	book.count = 0;
	book.frames = (size_t)_i;
	ask(&root, getting("p"));
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	vault_purge(house.vault);
	book.frames = SIZE_MAX;
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 2 + (size_t)_i);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_GONE);
	ck_assert(!notebook_last(&book)->chunked);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_get_sends_one_version_whatever_happens_meanwhile)
{
	store(&root, "v", VALUE_MAX);
	book.count = 0;
	book.frames = 1;
	ask(&root, getting("v"));
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	value[0] ^= 1;
	enclave_draw_key(key);
	ck_assert_uint_eq(store(&root, "v", 10)->version, 2);
	value[0] ^= 1;
	book.notes[book.count - 1] = (struct note_of_reply){ 0 };
	book.count--;
	book.frames = SIZE_MAX;
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1 + VALUE_MAX / ENCLAVE_CHUNK_PLAIN / FRAME_CHUNKS);
	for (size_t i = 1, number = 0; i < book.count; i++)
		for (uint32_t c = 0; c < book.notes[i].chunks.count; c++, number++) {
			static uint8_t plain[ENCLAVE_CHUNK_PLAIN];

			ck_assert_int_eq(
				enclave_open_chunk(plain,
					book.notes[i].bytes + (size_t)c * ENCLAVE_CHUNK_SIZE,
					ENCLAVE_CHUNK_SIZE, number,
					number + 1 == VALUE_MAX / ENCLAVE_CHUNK_PLAIN,
					book.notes[0].key),
				0);
			ck_assert_mem_eq(
				plain, value + number * ENCLAVE_CHUNK_PLAIN, ENCLAVE_CHUNK_PLAIN);
		}
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_get_waits_for_its_name)
{
	struct request request = getting("w");

	request.wait_ms = 60000;
	ck_assert_ptr_null(ask(&root, request));
	ck_assert_int_eq(waiters_look(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 0);
	store(&root, "w", 10);
	ck_assert_ptr_eq(wait_queue_next(&house.waits), &transfers.party);
	ck_assert_ptr_null(wait_queue_next(&house.waits));
	ck_assert_int_eq(waiters_look(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(notebook_last(&book)->id, request.id);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_wait_in_vain_is_a_timeout)
{
	struct request request = getting("w");

	request.wait_ms = 1;
	ck_assert_ptr_null(ask(&root, request));
	while (daemon_now_ms() < waiters_deadline(&transfers))
		;
	ck_assert_int_eq(waiters_look(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_TIMEOUT);
}
END_TEST

START_TEST(no_more_than_64_requests_wait)
{
	for (int i = 0; i < TRANSFERS_MAX; i++) {
		struct request request = getting("w");

		request.wait_ms = 60000;
		ck_assert_ptr_null(ask(&root, request));
	}
	{
		struct request request = getting("w");

		request.wait_ms = 60000;
		ck_assert_int_eq(ask(&root, request)->code, STATUS_LIMIT);
	}
}
END_TEST

START_TEST(sets_that_are_refused_without_end_close_the_session)
{
	int r = 0;

	for (int i = 0; i < 4 * TRANSFERS_MAX && r == 0; i++) {
		struct request request = setting("~5/x", 10);

		book.count = 0;
		r = serve(&user, &request);
	}
	ck_assert_int_eq(r, -EPROTO);
}
END_TEST

START_TEST(chunks_for_nothing_close_the_session)
{
	struct request request = with_chunks(going_on(99), 10, 0, 1);

	ck_assert_int_eq(serve(&root, &request), -EPROTO);
}
END_TEST

START_TEST(an_id_still_under_way_closes_the_session)
{
	struct request request = getting("w");

	request.wait_ms = 60000;
	ck_assert_ptr_null(ask(&root, request));
	ck_assert_int_eq(serve(&root, &request), -EPROTO);
}
END_TEST

START_TEST(a_cancelled_get_is_answered_and_ends)
{
	struct request cancel = { .verb = VERB_CANCEL };

	store(&root, "v", VALUE_MAX);
	book.count = 0;
	book.frames = 1;
	cancel.target = next_id;
	ask(&root, getting("v"));
	ck_assert_int_eq(ask(&root, cancel)->code, 0);
	ck_assert_int_eq(book.notes[book.count - 2].code, STATUS_TIMEOUT);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_cancelled_set_that_has_failed_is_not_answered_again)
{
	struct request cancel = { .verb = VERB_CANCEL };
	struct request request = setting("t", 50000), more;

	seal(50000);
	sealed[20] ^= 1;
	ck_assert_int_eq(ask(&root, with_chunks(request, 50000, 0, 1))->code, STATUS_INTEGRITY);
	book.count = 0;
	cancel.target = request.id;
	ck_assert_int_eq(ask(&root, cancel)->code, 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert(!transfers_has(&transfers, request.id));
	more = with_chunks(going_on(request.id), 50000, 1, 1);
	ck_assert_int_eq(serve(&root, &more), -EPROTO);
}
END_TEST

START_TEST(a_cancelled_set_is_answered_and_leaves_nothing)
{
	struct request cancel = { .verb = VERB_CANCEL };
	struct request request = setting("t", 50000);

	seal(50000);
	ck_assert_ptr_null(ask(&root, with_chunks(request, 50000, 0, 1)));
	cancel.target = request.id;
	ck_assert_int_eq(ask(&root, cancel)->code, 0);
	ck_assert_uint_eq(book.count, 2);
	ck_assert_uint_eq(book.notes[0].id, request.id);
	ck_assert_int_eq(book.notes[0].code, STATUS_TIMEOUT);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(nothing_stays_on_the_bench)
{
	static const char marker[] = "yellow submarine yellow submarine";

	memcpy(value + 100, marker, sizeof(marker));
	store(&root, "m", 5000);
	fetch(&root, "m", 5000);
	for (size_t i = 0; i < house.bench.size; i++)
		ck_assert_uint_eq(house.bench.base[i], 0);
}
END_TEST

START_TEST(status_counts_are_for_the_privileged)
{
	struct request request = { .verb = VERB_STATUS };

	store(&root, "a", 10);
	ck_assert(ask(&root, request)->state.counts);
	ck_assert_uint_eq(notebook_last(&book)->state.secrets, 1);
	ck_assert(!ask(&user, request)->state.counts);
	ck_assert_uint_eq(notebook_last(&book)->state.secrets, 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request");

	tcase_set_timeout(claims, 30);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_loop_test(claims, what_is_stored_comes_back, 0, sizeof(sizes) / sizeof(sizes[0]));
	tcase_add_test(claims, a_stranger_cannot_tell_absent_from_forbidden);
	tcase_add_test(claims, every_user_has_a_space_of_its_own);
	tcase_add_test(claims, a_list_tells_only_what_the_caller_may_see);
	tcase_add_test(claims, a_list_goes_on_where_it_ended);
	tcase_add_test(claims, a_list_after_a_name_outside_its_prefix_begins_or_ends_there);
	tcase_add_test(claims, a_wrong_tag_stores_nothing);
	tcase_add_test(claims, a_missing_or_doubled_chunk_stores_nothing);
	tcase_add_test(claims, a_value_shorter_or_longer_than_announced_stores_nothing);
	tcase_add_test(claims, a_value_over_the_limit_is_refused_announced_or_not);
	tcase_add_test(claims, a_set_under_way_keeps_the_limit_that_it_began_with);
	tcase_add_test(claims, a_set_given_up_stores_nothing);
	tcase_add_test(claims, a_set_cut_off_leaves_nothing);
	tcase_add_test(claims, a_set_that_does_not_go_on_is_given_up);
	tcase_add_test(claims, a_repeat_gets_its_first_answer_even_after_a_newer_version);
	tcase_add_test(claims, other_bytes_under_the_same_number_conflict);
	tcase_add_test(claims, a_repeated_removal_gets_its_first_answer);
	tcase_add_test(claims, conditions_that_do_not_hold_change_nothing);
	tcase_add_loop_test(claims, a_generated_value_has_the_characters_asked_for, CHARSET_ALNUM,
		CHARSET_BASE64);
	tcase_add_loop_test(claims, a_purge_at_each_chunk_boundary_of_a_set_answers_gone, 0, 9);
	tcase_add_loop_test(claims, a_purge_at_each_frame_of_a_get_ends_it_with_gone, 0, 4);
	tcase_add_test(claims, a_get_sends_one_version_whatever_happens_meanwhile);
	tcase_add_test(claims, a_get_waits_for_its_name);
	tcase_add_test(claims, a_wait_in_vain_is_a_timeout);
	tcase_add_test(claims, no_more_than_64_requests_wait);
	tcase_add_test(claims, sets_that_are_refused_without_end_close_the_session);
	tcase_add_test(claims, chunks_for_nothing_close_the_session);
	tcase_add_test(claims, an_id_still_under_way_closes_the_session);
	tcase_add_test(claims, a_cancelled_get_is_answered_and_ends);
	tcase_add_test(claims, a_cancelled_set_that_has_failed_is_not_answered_again);
	tcase_add_test(claims, a_cancelled_set_is_answered_and_leaves_nothing);
	tcase_add_test(claims, nothing_stays_on_the_bench);
	tcase_add_test(claims, status_counts_are_for_the_privileged);
	return claims_run(claims, "request");
}
