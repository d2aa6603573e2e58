/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/restore.h"
#include "daemon/request/upload.h"
#include "tests/unit/request_rig.h"

/* Exports, and what is staged and committed, without sockets. */

static const struct peer own = { .uid = 4242, .pidfd = -1 };

static struct request staging(const char *name, size_t size)
{
	struct request request = { .verb = VERB_STAGE,
		.name = span_text(name),
		.key = key,
		.size = size,
		.version = 1,
		.owner = 77 };

	request.id = next_id++;
	return request;
}

static int stage(const struct peer *peer, const char *name, size_t size)
{
	int code = store_with(peer, staging(name, size), size)->code;

	book.count = 0;
	return code;
}

static struct request committing(uint64_t secrets)
{
	struct request request = { .verb = VERB_COMMIT, .numbered = true, .secrets = secrets };

	request.id = next_id++;
	randombytes_buf(request.number, sizeof(request.number));
	return request;
}

/* Steps, as turns of a session would take them. */
static void go_on(void)
{
	while (restore_running(&transfers))
		ck_assert_int_eq(restore_go_on(&transfers, &house, &book.answers), 0);
}

static struct note_of_reply *commit(const struct peer *peer, struct request request)
{
	size_t before = book.count;

	(void)ask(peer, request);
	go_on();
	ck_assert_uint_eq(book.count, before + 1);
	ck_assert_uint_eq(notebook_last(&book)->id, request.id);
	return notebook_last(&book);
}

static struct note_of_reply *export_after(
	const struct peer *peer, const char *prefix, const char *after)
{
	return ask(peer,
		(struct request){ .verb = VERB_EXPORT,
			.name = span_text(prefix),
			.after = span_text(after) });
}

static uint32_t owner_of(const char *name)
{
	struct record *record;

	ck_assert_int_eq(vault_find(house.vault, span_text(name), &record), 0);
	return record_owner(record);
}

START_TEST(what_is_staged_appears_with_its_commit)
{
	ck_assert_int_eq(stage(&root, "a", 10), 0);
	ck_assert_int_eq(stage(&root, "b", 100000), 0);
	ck_assert_uint_eq(vault_count(house.vault), 0);
	ck_assert_uint_eq(commit(&root, committing(2))->secrets, 2);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_uint_eq(vault_count(house.vault), 2);
	ck_assert_uint_eq(transfers.count, 0);
	ck_assert_ptr_null(transfers.restore);
}
END_TEST

START_TEST(an_owner_is_taken_from_who_may_do_everything)
{
	ck_assert_int_eq(stage(&root, "~1000/a", 10), 0);
	ck_assert_int_eq(commit(&root, committing(1))->code, 0);
	ck_assert_int_eq(stage(&own, "~1000/b", 10), 0);
	ck_assert_int_eq(commit(&own, committing(1))->code, 0);
	ck_assert_int_eq(stage(&user, "~/c", 10), 0);
	ck_assert_int_eq(stage(&user, "shared", 10), STATUS_DENIED);
	ck_assert_int_eq(commit(&user, committing(1))->code, 0);
	ck_assert_uint_eq(owner_of("~1000/a"), 77);
	ck_assert_uint_eq(owner_of("~1000/b"), 77);
	ck_assert_uint_eq(owner_of("~1000/c"), 1000);
}
END_TEST

/* Step by step, however much it is. */
static void expect_wiped(void)
{
	ck_assert_uint_gt(vault_bytes(house.vault), 0);
	ck_assert_uint_eq(vault_expiry_ms(house.vault), 0);
	daemon_expire(&house);
	ck_assert_uint_eq(vault_bytes(house.vault), 0);
}

START_TEST(what_is_not_gone_on_with_is_dropped)
{
	ck_assert_int_eq(stage(&root, "a", 100000), 0);
	ck_assert_uint_gt(restore_deadline(&transfers), daemon_now_ms());
	house.upload_ms = 1;
	ck_assert_int_eq(stage(&root, "b", 10), 0);
	while (daemon_now_ms() < restore_deadline(&transfers))
		;
	ck_assert_int_eq(restore_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_ptr_null(transfers.restore);
	expect_wiped();
	ck_assert_uint_eq(book.count, 0);
	ck_assert_int_eq(ask(&root, committing(2))->code, STATUS_NOT_FOUND);
}
END_TEST

START_TEST(nothing_is_staged_while_a_commit_is_under_way)
{
	struct request request = committing(1);

	ck_assert_int_eq(stage(&root, "a", 10), 0);
	ck_assert_ptr_null(ask(&root, request));
	ck_assert_uint_eq(transfers.count, 1);
	ck_assert(transfers_has(&transfers, request.id));
	ck_assert_uint_eq(restore_deadline(&transfers), 0);
	ck_assert_int_eq(stage(&root, "b", 10), STATUS_CONFLICT);
	ck_assert_int_eq(ask(&root, committing(1))->code, STATUS_CONFLICT);
	book.count = 0;
	go_on();
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_int_eq(stage(&root, "b", 10), 0);
}
END_TEST

/* Whoever is told that it was cancelled finds nothing of it. */
START_TEST(a_commit_that_has_begun_is_not_cancelled)
{
	struct request request = committing(200);
	char name[16];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "%u", i);
		ck_assert_int_eq(stage(&root, name, 10), 0);
	}
	ck_assert_ptr_null(ask(&root, request));
	while (vault_count(house.vault) == 0)
		ck_assert_int_eq(restore_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_lt(vault_count(house.vault), 200);
	book.count = 0;
	(void)ask(&root, (struct request){ .verb = VERB_CANCEL, .target = request.id });
	for (size_t i = 0; i < book.count; i++)
		ck_assert_uint_ne(book.notes[i].id, request.id);
	ck_assert(restore_has(&transfers, request.id));
	go_on();
	ck_assert_uint_eq(notebook_last(&book)->id, request.id);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	ck_assert_uint_eq(vault_count(house.vault), 200);
}
END_TEST

START_TEST(a_commit_that_has_not_begun_is_cancelled)
{
	struct request request = committing(1);

	ck_assert_int_eq(stage(&root, "a", 10), 0);
	ck_assert_ptr_null(ask(&root, request));
	(void)ask(&root, (struct request){ .verb = VERB_CANCEL, .target = request.id });
	ck_assert_uint_eq(book.notes[0].id, request.id);
	ck_assert_int_eq(book.notes[0].code, STATUS_TIMEOUT);
	ck_assert_uint_eq(transfers.count, 0);
	expect_wiped();
}
END_TEST

START_TEST(a_session_that_ends_leaves_what_was_committed)
{
	char name[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		ck_assert_int_eq(stage(&root, name, 10), 0);
	}
	(void)ask(&root, committing(1000));
	/* Looks come first. */
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(restore_go_on(&transfers, &house, &book.answers), 0);
	if (_i > 0)
		while (vault_count(house.vault) == 0)
			ck_assert_int_eq(restore_go_on(&transfers, &house, &book.answers), 0);
	transfers_finish(&transfers, &house);
	while (vault_expiry_ms(house.vault) == 0)
		daemon_expire(&house);
	ck_assert_uint_eq(vault_count(house.vault), _i > 0 ? 1000 : 0);
	if (_i == 0)
		ck_assert_uint_eq(vault_bytes(house.vault), 0);
}
END_TEST

START_TEST(a_session_has_only_so_much_under_way)
{
	ck_assert_int_eq(stage(&root, "a", 10), 0);
	transfers.count = TRANSFERS_MAX;
	ck_assert_int_eq(ask(&root, committing(1))->code, STATUS_LIMIT);
	transfers.count = 0;
	ck_assert_int_eq(commit(&root, committing(1))->code, 0);
}
END_TEST

START_TEST(an_export_tells_all_and_counts_nothing)
{
	struct request request = setting("a", 20000);
	struct note_of_reply *note;
	struct record *record;
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;

	request.lifetime.idle_ms = 100000;
	ck_assert_int_eq(store_with(&own, request, 20000)->code, 0);
	ck_assert_int_eq(store(&own, "b", 10)->code, 0);
	book.count = 0;
	note = export_after(&root, "", "");
	ck_assert_int_eq(note->body, BODY_RECORD);
	ck_assert_str_eq(note->name, "a");
	ck_assert_mem_eq(note->key, key, sizeof(key));
	ck_assert(!note->chunked);
	ck_assert_int_eq(downloads_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(notebook_last(&book)->bytes_size, (size_t)enclave_sealed_size(20000));
	note = export_after(&root, "", "a");
	ck_assert_str_eq(note->name, "b");
	ck_assert(note->chunked);
	note = export_after(&root, "", "b");
	ck_assert_int_eq(note->body, BODY_LISTING);
	ck_assert(!note->more);
	ck_assert_int_eq(vault_find(house.vault, span_text("a"), &record), 0);
	record_info(record, &info, tags);
	ck_assert_uint_le(info.idle_left_ms, 100000);
}
END_TEST

START_TEST(an_export_passes_over_what_hangs_on_us)
{
	struct request request = setting("a", 10);

	request.lifetime = (struct lifetime){ .reads = 1 };
	ck_assert_int_eq(store_with(&root, request, 10)->code, 0);
	request = setting("b", 10);
	request.lifetime = (struct lifetime){ .session = true };
	ck_assert_int_eq(store_with(&root, request, 10)->code, 0);
	ck_assert_int_eq(store(&root, "c", 10)->code, 0);
	ck_assert_str_eq(export_after(&root, "", "")->name, "c");
	ck_assert_int_eq(export_after(&user, "", "")->body, BODY_LISTING);
	ck_assert_int_eq(export_after(&user, "c", "")->body, BODY_LISTING);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_restore");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 100);
	tcase_add_test(claims, what_is_staged_appears_with_its_commit);
	tcase_add_test(claims, an_owner_is_taken_from_who_may_do_everything);
	tcase_add_test(claims, what_is_not_gone_on_with_is_dropped);
	tcase_add_test(claims, nothing_is_staged_while_a_commit_is_under_way);
	tcase_add_test(claims, a_commit_that_has_begun_is_not_cancelled);
	tcase_add_test(claims, a_commit_that_has_not_begun_is_cancelled);
	tcase_add_loop_test(claims, a_session_that_ends_leaves_what_was_committed, 0, 2);
	tcase_add_test(claims, a_session_has_only_so_much_under_way);
	tcase_add_test(claims, an_export_tells_all_and_counts_nothing);
	tcase_add_test(claims, an_export_passes_over_what_hangs_on_us);
	return claims_run(claims, "request_restore");
}
