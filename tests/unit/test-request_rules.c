/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/flow.h"
#include "daemon/request/restore.h"
#include "daemon/request/sweep.h"
#include "daemon/request/trial.h"
#include "daemon/request/waiter.h"
#include "tests/unit/policy_rig.h"
#include "tests/unit/request_rig.h"

/* Ways round a rule that there might be: by another verb, by a flag, by time. */

static void policy_says(const char *text)
{
	policy_book_free(house.policy.book);
	house.policy.book = rig_book((const char *const[]){ text, NULL });
}

static int code_of(const struct peer *peer, struct request request)
{
	return ask(peer, request)->code;
}

static int stat_as(const struct peer *peer, const char *name)
{
	return code_of(peer, (struct request){ .verb = VERB_STAT, .name = span_text(name) });
}

/* -- by another verb ----------------------------------------------------------------------- */

static int move_as(const struct peer *peer, const char *name, const char *to)
{
	struct request request = changing(VERB_MOVE, name);

	request.to = span_text(to);
	return code_of(peer, request);
}

START_TEST(what_may_not_be_removed_is_not_moved_away)
{
	policy_says("[namespace keys]\nowner = uid:1000\ndeny = rm signing/** anybody\n"
		    "[namespace /]\nallow = set old uid:1000\n");
	store(&root, "keys/signing/a", 1);
	store(&root, "keys/other", 1);
	ck_assert_int_eq(move_as(&root, "keys/signing/a", "gone"), STATUS_DENIED);
	ck_assert_int_eq(move_as(&user, "keys/signing/a", "old"), STATUS_DENIED);
	ck_assert_int_eq(move_as(&user, "keys/signing/absent", "old"), STATUS_DENIED);
	ck_assert_int_eq(move_as(&user, "keys/other", "old"), 0);
}
END_TEST

static int purge_mine(const struct peer *peer)
{
	struct request purge = changing(VERB_PURGE, "");

	ck_assert_int_eq(serve(peer, &purge), 0);
	for (int i = 0; transfers.sweeps && i < 1000; i++)
		ck_assert_int_eq(sweeps_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->code, 0);
	return (int)notebook_last(&book)->secrets;
}

START_TEST(a_purge_spares_what_may_not_be_removed)
{
	policy_says("[namespace keys]\nallow = set ** uid:1000\n");
	store(&root, "keys/signing", 1);
	store(&root, "keys/b", 1);
	store(&user, "keys/mine", 1);
	store(&user, "~/kept", 1);
	store(&user, "~/x", 1);
	policy_says(
		"[namespace /]\ndeny = rm keys/signing anybody\ndeny = rm ~1000/kept anybody\n");
	/* It has no right in keys any more. */
	ck_assert_int_eq(purge_mine(&user), 1);
	ck_assert_int_eq(stat_as(&user, "~/x"), STATUS_NOT_FOUND);
	ck_assert_int_eq(stat_as(&user, "~/kept"), 0);
	ck_assert_int_eq(stat_as(&root, "keys/mine"), 0);
	ck_assert_int_eq(purge_mine(&root), 1);
	ck_assert_int_eq(stat_as(&root, "keys/signing"), 0);
	ck_assert_int_eq(stat_as(&root, "keys/b"), STATUS_NOT_FOUND);
	policy_says("[namespace keys]\nallow = rm ** uid:1000\n");
	ck_assert_int_eq(purge_mine(&user), 2);
	ck_assert_int_eq(stat_as(&root, "keys/mine"), STATUS_NOT_FOUND);
}
END_TEST

/* -- without a word ------------------------------------------------------------------------ */

static int get_saying(const struct peer *peer, const char *name, const char *reason)
{
	struct request request = getting(name);

	request.reason = span_text(reason);
	return code_of(peer, request);
}

START_TEST(where_a_reason_is_wanted_nobody_does_it_without)
{
	struct request request;

	policy_says("[namespace vault]\nowner = uid:1000\nrequire-reason = get,rm\n"
		    "[namespace vault/deep]\nmax-ttl = 7d\n"
		    "[namespace all]\nrequire-reason = *\n[namespace /]\nmax-ttl = 30d\n"
		    "[namespace ~1000]\nrequire-reason = stat\n");
	store(&root, "vault/a", 1);
	store(&root, "vault/deep/a", 1);
	store(&root, "other", 1);
	ck_assert_int_eq(get_saying(&root, "vault/a", ""), STATUS_DENIED);
	ck_assert_str_eq(
		notebook_last(&book)->detail, "policy asks for a reason: mgctl --reason TEXT");
	ck_assert_int_eq(get_saying(&user, "vault/a", ""), STATUS_DENIED);
	ck_assert_int_eq(get_saying(&root, "vault/deep/a", ""), STATUS_DENIED);
	ck_assert_int_eq(get_saying(&root, "vault/a", "on call"), 0);
	ck_assert_int_eq(get_saying(&user, "vault/deep/a", "on call"), 0);
	ck_assert_int_eq(get_saying(&root, "other", ""), 0);
	/* A reason is no right. */
	ck_assert_int_eq(get_saying(&user, "other", "please"), STATUS_DENIED);
	ck_assert_str_eq(notebook_last(&book)->detail, NOT_ALLOWED);
	ck_assert_int_eq(stat_as(&root, "vault/a"), 0);
	ck_assert_int_eq(stat_as(&root, "all/a"), STATUS_DENIED);
	ck_assert_int_eq(stat_as(&user, "~/a"), STATUS_DENIED);
	/* Nor may it be had under another name, or be destroyed with everything else. */
	ck_assert_int_eq(move_as(&root, "vault/a", "b"), STATUS_DENIED);
	ck_assert_int_eq(purge_mine(&root), 1);
	request = changing(VERB_MOVE, "vault/a");
	request.to = span_text("b");
	request.reason = span_text("on call");
	ck_assert_int_eq(code_of(&root, request), 0);
}
END_TEST

START_TEST(where_all_names_want_a_reason_no_namespace_wants_less)
{
	policy_says("[namespace vault]\nowner = uid:1000\nrequire-reason = rm\n");
	house.policy.reasons = (struct policy_reasons){
		.rights = RIGHT_BIT(RIGHT_GET), .file = "the.conf", .line = 7
	};
	store(&root, "vault/a", 1);
	store(&user, "~/a", 1);
	ck_assert_int_eq(get_saying(&root, "vault/a", ""), STATUS_DENIED);
	ck_assert_str_eq(
		notebook_last(&book)->detail, "policy asks for a reason: mgctl --reason TEXT");
	ck_assert_int_eq(get_saying(&user, "~/a", ""), STATUS_DENIED);
	ck_assert_int_eq(get_saying(&user, "~/a", "on call"), 0);
	ck_assert_int_eq(get_saying(&user, "absent", ""), STATUS_DENIED);
	ck_assert_str_eq(notebook_last(&book)->detail, NOT_ALLOWED);
	ck_assert_int_eq(stat_as(&root, "vault/a"), 0);
	/* The namespace asks for another one beside. */
	ck_assert_int_eq(purge_mine(&root), 0);
	ck_assert_int_eq(purge_mine(&user), 1);
	/* Without any policy as well. */
	policy_book_free(house.policy.book);
	house.policy.book = NULL;
	ck_assert_int_eq(get_saying(&root, "vault/a", ""), STATUS_DENIED);
	house.policy.reasons.rights = RIGHT_BIT(RIGHT_REMOVE);
	ck_assert_int_eq(get_saying(&root, "vault/a", ""), 0);
	ck_assert_int_eq(purge_mine(&root), 0);
}
END_TEST

/* -- by a flag ----------------------------------------------------------------------------- */

static int freeze_as(const struct peer *peer, enum verb verb, const char *name)
{
	struct request request = changing(verb, name);

	request.freeze = true;
	request.size = 8;
	request.key = key;
	return verb == VERB_GENERATE ? code_of(peer, request) : store_with(peer, request, 8)->code;
}

START_TEST(who_may_not_freeze_stores_nothing_frozen)
{
	policy_says("[namespace web]\nallow = set,rotate ** uid:1000\nallow = freeze a uid:1000\n");
	store(&root, "web/x", 1);
	ck_assert_int_eq(freeze_as(&user, VERB_SET, "web/x"), STATUS_DENIED);
	ck_assert_int_eq(freeze_as(&user, VERB_GENERATE, "web/x"), STATUS_DENIED);
	ck_assert_int_eq(freeze_as(&user, VERB_STAGE, "web/x"), STATUS_DENIED);
	ck_assert_int_eq(store(&user, "web/x", 1)->code, 0);
	ck_assert_int_eq(freeze_as(&user, VERB_SET, "web/a"), 0);
	ck_assert_int_eq(freeze_as(&user, VERB_SET, "~/x"), 0);
}
END_TEST

/* Names that are told, and whether their sizes are. */
static void lists(struct request list, const char *expected)
{
	char told[256] = "";
	size_t before = book.count;

	list.id = next_id++;
	list.verb = VERB_LIST;
	ck_assert_int_eq(serve(&user, &list), 0);
	for (size_t i = before; i + 1 < book.count; i++) {
		strcat(told, book.notes[i].name);
		strcat(told, book.notes[i].info_size > 0 ? "=" : " ");
	}
	ck_assert_str_eq(told, expected);
}

START_TEST(a_list_tells_no_more_than_names_where_a_stat_may_not)
{
	static struct tag tag;
	struct request tagged = setting("web/b", 5);

	tag = (struct tag){ span_text("k"), span_text("v") };
	tagged.tags = (struct tags){ .tag = &tag, .count = 1 };
	policy_says("[namespace web]\nallow = ls ** uid:1000\nallow = stat c uid:1000\n");
	store(&root, "web/a", 5);
	ck_assert_int_eq(store_with(&root, tagged, 5)->code, 0);
	tagged = setting("web/c", 5);
	tagged.tags = (struct tags){ .tag = &tag, .count = 1 };
	ck_assert_int_eq(store_with(&root, tagged, 5)->code, 0);
	lists((struct request){ .details = false }, "web/a web/b web/c ");
	lists((struct request){ .details = true }, "web/a web/b web/c=");
	lists((struct request){ .tags = tagged.tags }, "web/c ");
}
END_TEST

static struct request staging(const char *name, uint64_t ttl_ms)
{
	struct request request = setting(name, 1);

	request.verb = VERB_STAGE;
	request.numbered = false;
	request.version = 1;
	request.lifetime.ttl_ms = ttl_ms;
	return request;
}

static int commit(const struct peer *peer, uint64_t secrets)
{
	struct request request = changing(VERB_COMMIT, "");

	request.secrets = secrets;
	(void)ask(peer, request);
	while (restore_running(&transfers))
		ck_assert_int_eq(restore_go_on(&transfers, &house, &book.answers), 0);
	return notebook_last(&book)->code;
}

START_TEST(a_restore_is_no_way_to_live_longer)
{
	struct record *record;
	struct tag tags[MESSAGE_TAGS_MAX];
	struct info info;

	policy_says("[namespace web]\nmax-ttl = 1h\nallow = set ** uid:1000\n");
	ck_assert_int_eq(store_with(&user, staging("web/long", 3600001), 1)->code, STATUS_LIMIT);
	ck_assert_int_eq(store_with(&user, staging("web/x", 0), 1)->code, 0);
	ck_assert_int_eq(commit(&user, 1), 0);
	ck_assert_int_eq(vault_find(house.vault, span_text("web/x"), &record), 0);
	record_info(record, &info, tags);
	ck_assert_uint_gt(info.left.ttl_ms, 0);
	ck_assert_uint_le(info.left.ttl_ms, 3600000);
	/* A backup of all is as it was. */
	ck_assert_int_eq(store_with(&root, staging("web/long", 3600001), 1)->code, 0);
	ck_assert_int_eq(commit(&root, 1), 0);
}
END_TEST

/* -- by time ------------------------------------------------------------------------------- */

#define MAY "[namespace web]\nallow = * ** uid:1000\n"
#define MAY_NOT "[namespace web]\ndeny = * ** uid:1000\n"
#define MAY_NOT_FREEZE MAY "deny = freeze ** uid:1000\n"

/* Refused as soon as it may not be: whether it appears or not. */
START_TEST(a_get_that_waits_is_asked_again)
{
	struct request request = getting("web/x");

	request.wait_ms = 60000;
	policy_says(MAY);
	ck_assert_int_eq(serve(&user, &request), 0);
	ck_assert_int_eq(waiters_look(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 0);
	policy_says(MAY_NOT);
	ck_assert_int_eq(waiters_look(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_DENIED);
	ck_assert_ptr_null(transfers.waiters);
}
END_TEST

START_TEST(who_waits_for_a_stream_is_asked_again)
{
	struct request read = {
		.verb = VERB_STREAM_READ, .name = span_text("web/s"), .wait_ms = 60000, .id = 500
	};

	policy_says(MAY);
	ck_assert_int_eq(serve(&user, &read), 0);
	ck_assert_int_eq(flows_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 0);
	policy_says(MAY_NOT);
	ck_assert_int_eq(flows_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 1);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_DENIED);
	ck_assert_ptr_null(transfers.flows);
}
END_TEST

START_TEST(a_write_that_waits_for_room_is_asked_again)
{
	struct request write = {
		.verb = VERB_STREAM_WRITE, .numbered = true, .name = span_text("web/s"), .key = key
	};

	policy_says(MAY);
	seal(VALUE_MAX);
	house.max_value = ENCLAVE_CHUNK_SIZE;
	for (uint64_t first = 0; first < 8; first += 4)
		(void)ask(&user, with_chunks(write, VALUE_MAX, first, 4));
	ck_assert_uint_eq(book.count, 1);
	policy_says(MAY_NOT);
	house.max_value = VALUE_MAX;
	ck_assert_int_eq(flows_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_uint_eq(book.count, 2);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_DENIED);
	ck_assert_ptr_null(transfers.flows);
}
END_TEST

/* The chunks from the second frame on, when the policy has changed meanwhile. */
static int store_across(struct request request, size_t size)
{
	policy_says(MAY);
	seal(size);
	ck_assert_ptr_null(ask(&user, with_chunks(request, size, 0, FRAME_CHUNKS)));
	policy_says(MAY_NOT);
	return code_of(&user, with_chunks(going_on(request.id), size, FRAME_CHUNKS, 1));
}

START_TEST(a_set_that_took_its_time_is_asked_again)
{
	const size_t size = FRAME_CHUNKS * ENCLAVE_CHUNK_PLAIN + 10;
	struct request verify = setting("web/v", size);

	ck_assert_int_eq(store_across(setting("web/x", size), size), STATUS_DENIED);
	ck_assert_int_eq(stat_as(&root, "web/x"), STATUS_NOT_FOUND);
	store(&root, "web/v", size);
	verify.verb = VERB_VERIFY;
	verify.numbered = false;
	ck_assert_int_eq(store_across(verify, size), STATUS_DENIED);
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_comparison_that_waited_is_asked_again)
{
	struct request verify = setting("web/x", 5);

	policy_says(MAY);
	store(&root, "web/x", 5);
	verify.verb = VERB_VERIFY;
	verify.numbered = false;
	(void)store_with(&user, verify, 5);
	ck_assert_ptr_nonnull(transfers.trials);
	policy_says(MAY_NOT);
	while (transfers.trials)
		ck_assert_int_eq(trials_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(notebook_last(&book)->code, STATUS_DENIED);
}
END_TEST

START_TEST(what_is_staged_appears_only_where_it_may_still)
{
	policy_says(MAY);
	ck_assert_int_eq(store_with(&user, staging("~/x", 0), 1)->code, 0);
	ck_assert_int_eq(store_with(&user, staging("web/x", 0), 1)->code, 0);
	policy_says(MAY_NOT);
	ck_assert_int_eq(commit(&user, 2), STATUS_DENIED);
	ck_assert_str_eq(
		notebook_last(&book)->detail, "policy does not allow it; nothing is restored");
	ck_assert_uint_eq(vault_count(house.vault), 0);
}
END_TEST

START_TEST(what_is_staged_frozen_appears_only_where_one_may_still_freeze)
{
	struct request request = staging("web/x", 0);
	const char *const rules[] = { MAY_NOT_FREEZE, MAY };

	request.freeze = true;
	for (int i = 0; i < 2; i++) {
		policy_says(MAY);
		ck_assert_int_eq(store_with(&user, request, 1)->code, 0);
		policy_says(rules[i]);
		ck_assert_int_eq(commit(&user, 1), i == 0 ? STATUS_DENIED : 0);
		ck_assert_uint_eq(vault_count(house.vault), (uint64_t)i);
	}
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_rules");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, what_may_not_be_removed_is_not_moved_away);
	tcase_add_test(claims, a_purge_spares_what_may_not_be_removed);
	tcase_add_test(claims, where_a_reason_is_wanted_nobody_does_it_without);
	tcase_add_test(claims, where_all_names_want_a_reason_no_namespace_wants_less);
	tcase_add_test(claims, who_may_not_freeze_stores_nothing_frozen);
	tcase_add_test(claims, a_list_tells_no_more_than_names_where_a_stat_may_not);
	tcase_add_test(claims, a_restore_is_no_way_to_live_longer);
	tcase_add_test(claims, a_get_that_waits_is_asked_again);
	tcase_add_test(claims, who_waits_for_a_stream_is_asked_again);
	tcase_add_test(claims, a_write_that_waits_for_room_is_asked_again);
	tcase_add_test(claims, a_set_that_took_its_time_is_asked_again);
	tcase_add_test(claims, a_comparison_that_waited_is_asked_again);
	tcase_add_test(claims, what_is_staged_appears_only_where_it_may_still);
	tcase_add_test(claims, what_is_staged_frozen_appears_only_where_one_may_still_freeze);
	return claims_run(claims, "ways round a rule");
}
