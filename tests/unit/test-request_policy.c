/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/sweep.h"
#include "daemon/request/walk.h"
#include "tests/unit/policy_rig.h"
#include "tests/unit/request_rig.h"

/* Requests under a policy that was written down. */

static const struct peer other = { .uid = 1001, .pidfd = -1 };

static void policy_says(const char *text)
{
	policy_book_free(house.policy.book);
	house.policy.book = rig_book((const char *const[]){ text, NULL });
}

static int code_of(const struct peer *peer, enum verb verb, const char *name)
{
	return ask(peer, (struct request){ .verb = verb, .name = span_text(name) })->code;
}

/* Lists to the end, and holds the names against what is expected, each with a blank behind it. */
static void lists(const struct peer *peer, const char *prefix, uint32_t limit, const char *expected)
{
	struct request list = { .verb = VERB_LIST, .name = span_text(prefix), .limit = limit };
	char after[300] = "", names[1024] = "";

	do {
		book.count = 0;
		list.after = span_text(after);
		list.id = next_id++;
		ck_assert_int_eq(serve(peer, &list), 0);
		while (transfers.walks)
			ck_assert_int_eq(walks_go_on(&transfers, &house, &book.answers), 0);
		ck_assert_int_eq(notebook_last(&book)->code, 0);
		for (size_t i = 0; i + 1 < book.count; i++) {
			strcat(names, book.notes[i].name);
			strcat(names, " ");
		}
		snprintf(after, sizeof(after), "%s", notebook_last(&book)->next);
		/* Where it ended is no name that was not told. */
		ck_assert(after[0] == '\0' || strstr(names, after));
	} while (notebook_last(&book)->more);
	ck_assert_str_eq(names, expected);
}

START_TEST(what_a_rule_allows_is_served)
{
	policy_says("[namespace web]\nallow = get,stat db-* uid:1000\n");
	store(&root, "web/db-1", 10);
	store(&root, "web/other", 10);
	ck_assert_int_eq(code_of(&user, VERB_GET, "web/db-1"), 0);
	ck_assert_int_eq(code_of(&user, VERB_STAT, "web/db-1"), 0);
	ck_assert_int_eq(code_of(&user, VERB_GET, "web/db-2"), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_of(&user, VERB_GET, "web/other"), STATUS_DENIED);
	ck_assert_int_eq(code_of(&user, VERB_GET, "web/absent"), STATUS_DENIED);
	ck_assert_int_eq(code_of(&other, VERB_GET, "web/db-1"), STATUS_DENIED);
	ck_assert_int_eq(store(&user, "web/db-1", 10)->code, STATUS_DENIED);
}
END_TEST

START_TEST(what_a_rule_denies_is_not_even_for_root)
{
	policy_says("[namespace web]\ndeny = get,rm ** anybody\n[namespace ~1000]\n"
		    "deny = set ** uid:1000\n");
	store(&root, "web/x", 10);
	ck_assert_int_eq(code_of(&root, VERB_GET, "web/x"), STATUS_DENIED);
	ck_assert_int_eq(code_of(&root, VERB_STAT, "web/x"), 0);
	ck_assert_int_eq(store(&user, "~/x", 10)->code, STATUS_DENIED);
	ck_assert_int_eq(store(&other, "~/x", 10)->code, 0);
}
END_TEST

START_TEST(a_list_shows_what_may_be_listed_and_never_where_it_ended)
{
	policy_says("[namespace a]\nallow = ls */pub uid:1000\n[namespace b]\nowner = uid:1000\n"
		    "deny = ls secret anybody\n[namespace ~1001]\nallow = ls pub/* uid:1000\n");
	store(&root, "a/1/pub", 1);
	store(&root, "a/1/x", 1);
	store(&root, "a/2/pub", 1);
	store(&root, "aa/1/pub", 1);
	store(&root, "b/open", 1);
	store(&root, "b/secret", 1);
	store(&root, "c", 1);
	store(&user, "~/mine", 1);
	store(&other, "~/pub/x", 1);
	store(&other, "~/x", 1);
	for (uint32_t limit = 0; limit < 4; limit++) {
		lists(&user, "", limit, "a/1/pub a/2/pub b/open ~/mine ~1001/pub/x ");
		lists(&user, "a/", limit, "a/1/pub a/2/pub ");
		lists(&user, "b/", limit, "b/open ");
		lists(&user, "c", limit, "");
		lists(&user, "~", limit, "~/mine ");
		lists(&user, "~1001/", limit, "~1001/pub/x ");
		lists(&other, "", limit, "~/pub/x ~/x ");
		lists(&root, "", limit,
			"a/1/pub a/1/x a/2/pub aa/1/pub b/open c ~1000/mine ~1001/pub/x "
			"~1001/x ");
	}
}
END_TEST

/* More than one list looks at, and still no name of them is told. */
START_TEST(what_is_hidden_is_passed_over_however_much_it_is)
{
	char name[32];

	policy_says("[namespace a]\nallow = ls *-pub uid:1000\n[namespace z]\n"
		    "allow = ls ** uid:1000\n");
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "%c/%03d", i % 2 ? 'a' : 'b', i);
		store(&root, name, 1);
		book.count = 0;
	}
	store(&root, "a/999-pub", 1);
	store(&root, "z/last", 1);
	store(&user, "~/mine", 1);
	lists(&user, "", 0, "a/999-pub z/last ~/mine ");
	lists(&user, "", 1, "a/999-pub z/last ~/mine ");
}
END_TEST

#define HIDDEN 5000

/* A secret of somebody's behind many that the user may not see. */
static void hide_many(void)
{
	char name[32];

	policy_says("[namespace a]\nallow = ls,get *-pub uid:1000\n");
	for (int i = 0; i < HIDDEN; i++) {
		snprintf(name, sizeof(name), "a/%04d", i);
		store(&root, name, 1);
		book.count = 0;
	}
	store(&root, "a/x-pub", 1);
	book.count = 0;
}

START_TEST(a_walk_past_what_is_hidden_leaves_others_their_turns)
{
	struct request list = { .verb = VERB_LIST, .id = 9000 };
	unsigned turns = 0;

	hide_many();
	list.verb = _i ? VERB_EXPORT : VERB_LIST;
	ck_assert_int_eq(serve(&user, &list), 0);
	for (; transfers.walks; turns++) {
		ck_assert_uint_eq(book.count, 0);
		ck_assert(transfers_has(&transfers, 9000));
		ck_assert_uint_eq(transfers.count, 1);
		ck_assert_int_eq(walks_go_on(&transfers, &house, &book.answers), 0);
	}
	ck_assert_uint_ge(turns, HIDDEN / WALK_LOOKS - 1);
	ck_assert_uint_le(turns, HIDDEN / WALK_LOOKS + 1);
	ck_assert_int_eq(book.notes[0].code, 0);
	ck_assert_str_eq(book.notes[0].name, "a/x-pub");
	ck_assert_uint_eq(transfers.count, 0);
}
END_TEST

START_TEST(a_walk_that_is_cancelled_is_over)
{
	struct request cancel = { .verb = VERB_CANCEL, .target = 9000, .id = 9001 };
	struct request list = { .verb = VERB_LIST, .id = 9000 };

	hide_many();
	ck_assert_int_eq(serve(&user, &list), 0);
	ck_assert_ptr_nonnull(transfers.walks);
	ck_assert_int_eq(serve(&user, &cancel), 0);
	ck_assert_ptr_null(transfers.walks);
	ck_assert_int_eq(book.notes[0].code, STATUS_TIMEOUT);
	ck_assert_uint_eq(transfers.count, 0);
	/* One that is under way when the session ends goes with it. */
	ck_assert_int_eq(serve(&user, &list), 0);
	ck_assert_ptr_nonnull(transfers.walks);
}
END_TEST

static int move_as(const struct peer *peer, const char *name, const char *to)
{
	struct request request = changing(VERB_MOVE, name);

	request.to = span_text(to);
	return ask(peer, request)->code;
}

static int rotate_as(const struct peer *peer, const char *name)
{
	struct request request = setting(name, 5);

	request.rotation.asked = true;
	return store_with(peer, request, 5)->code;
}

START_TEST(a_move_needs_what_it_could_be_made_of)
{
	policy_says("[namespace a]\nallow = mv,get whole uid:1000\nallow = mv blind uid:1000\n"
		    "allow = get,rm fixed uid:1000\n[namespace b]\nallow = set x uid:1000\n");
	store(&root, "a/whole", 1);
	store(&root, "a/blind", 1);
	store(&root, "a/fixed", 1);
	ck_assert_int_eq(move_as(&user, "a/blind", "b/x"), STATUS_DENIED);
	ck_assert_int_eq(move_as(&user, "a/fixed", "b/x"), STATUS_DENIED);
	ck_assert_int_eq(move_as(&user, "a/whole", "b/y"), STATUS_DENIED);
	ck_assert_int_eq(move_as(&user, "a/whole", "b/x"), 0);
	ck_assert_int_eq(move_as(&user, "b/x", "~/x"), STATUS_DENIED);
}
END_TEST

START_TEST(who_may_rotate_may_not_set)
{
	policy_says("[namespace a]\nallow = rotate ** uid:1000\nallow = set ** uid:1001\n");
	store(&root, "a/x", 1);
	ck_assert_int_eq(rotate_as(&user, "a/x"), 0);
	ck_assert_int_eq(rotate_as(&user, "a/absent"), STATUS_NOT_FOUND);
	ck_assert_int_eq(store(&user, "a/x", 1)->code, STATUS_DENIED);
	ck_assert_int_eq(rotate_as(&other, "a/x"), STATUS_DENIED);
	ck_assert_int_eq(rotate_as(&other, "a/absent"), STATUS_DENIED);
	ck_assert_int_eq(store(&other, "a/x", 1)->code, 0);
}
END_TEST

START_TEST(nothing_is_moved_to_live_longer_than_it_may)
{
	struct request request = setting("short", 1);

	policy_says("[namespace a]\nmax-ttl = 1h\n");
	request.lifetime.ttl_ms = 3600000;
	ck_assert_int_eq(store_with(&root, request, 1)->code, 0);
	request = setting("long", 1);
	request.lifetime.ttl_ms = 7200000;
	ck_assert_int_eq(store_with(&root, request, 1)->code, 0);
	store(&root, "endless", 1);
	ck_assert_int_eq(move_as(&root, "long", "a/x"), STATUS_LIMIT);
	ck_assert_int_eq(move_as(&root, "endless", "a/x"), STATUS_LIMIT);
	ck_assert_int_eq(move_as(&root, "absent", "a/x"), STATUS_NOT_FOUND);
	ck_assert_int_eq(move_as(&root, "short", "a/x"), 0);
	ck_assert_int_eq(move_as(&root, "a/x", "b"), 0);
}
END_TEST

START_TEST(a_purge_of_ones_own_reaches_what_a_rule_let_one_store)
{
	struct request purge = { .verb = VERB_PURGE, .numbered = true, .id = 77 };

	policy_says("[namespace web]\nallow = set ** uid:1000\n");
	store(&user, "web/x", 1);
	store(&root, "web/y", 1);
	ck_assert_int_eq(serve(&user, &purge), 0);
	for (int i = 0; transfers.sweeps && i < 100; i++)
		ck_assert_int_ge(sweeps_go_on(&transfers, &house, &book.answers), 0);
	ck_assert_int_eq(code_of(&root, VERB_STAT, "web/x"), STATUS_NOT_FOUND);
	ck_assert_int_eq(code_of(&root, VERB_STAT, "web/y"), 0);
}
END_TEST

static uint64_t ttl_of(const char *name)
{
	struct tag tags[MESSAGE_TAGS_MAX];
	struct record *record;
	struct info info;

	ck_assert_int_eq(vault_find(house.vault, span_text(name), &record), 0);
	record_info(record, &info, tags);
	return info.left.ttl_ms;
}

static int store_for(const char *name, uint64_t ttl_ms)
{
	struct request request = setting(name, 1);

	request.lifetime.ttl_ms = ttl_ms;
	return store_with(&root, request, 1)->code;
}

static int touch(const char *name, uint64_t ttl_ms)
{
	struct request request = { .verb = VERB_TOUCH,
		.numbered = true,
		.name = span_text(name),
		.lifetime = { .ttl_ms = ttl_ms } };

	randombytes_buf(request.number, sizeof(request.number));
	return ask(&root, request)->code;
}

START_TEST(nothing_lives_longer_than_its_namespace_lets_it)
{
	struct request drawn = {
		.verb = VERB_GENERATE, .numbered = true, .name = span_text("web/drawn"), .size = 8
	};

	policy_says("[namespace web]\nmax-ttl = 1h\n");
	ck_assert_int_eq(store_for("web/x", 0), 0);
	ck_assert_uint_gt(ttl_of("web/x"), 3000000);
	ck_assert_uint_le(ttl_of("web/x"), 3600000);
	ck_assert_int_eq(store_for("web/x", 3600001), STATUS_LIMIT);
	ck_assert_int_eq(store_for("web/x", 60000), 0);
	ck_assert_uint_le(ttl_of("web/x"), 60000);
	ck_assert_int_eq(touch("web/x", 3600001), STATUS_LIMIT);
	ck_assert_int_eq(touch("web/x", 0), 0);
	ck_assert_uint_gt(ttl_of("web/x"), 3000000);
	ck_assert_int_eq(ask(&root, drawn)->code, 0);
	ck_assert_uint_gt(ttl_of("web/drawn"), 3000000);
	ck_assert_uint_le(ttl_of("web/drawn"), 3600000);
	ck_assert_int_eq(store_for("free", 0), 0);
	ck_assert_uint_eq(ttl_of("free"), 0);
	ck_assert_int_eq(store_for("free", 3600001), 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_policy");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, what_a_rule_allows_is_served);
	tcase_add_test(claims, what_a_rule_denies_is_not_even_for_root);
	tcase_add_test(claims, a_list_shows_what_may_be_listed_and_never_where_it_ended);
	tcase_add_test(claims, what_is_hidden_is_passed_over_however_much_it_is);
	tcase_add_loop_test(claims, a_walk_past_what_is_hidden_leaves_others_their_turns, 0, 2);
	tcase_add_test(claims, a_walk_that_is_cancelled_is_over);
	tcase_add_test(claims, a_move_needs_what_it_could_be_made_of);
	tcase_add_test(claims, who_may_rotate_may_not_set);
	tcase_add_test(claims, nothing_is_moved_to_live_longer_than_it_may);
	tcase_add_test(claims, a_purge_of_ones_own_reaches_what_a_rule_let_one_store);
	tcase_add_test(claims, nothing_lives_longer_than_its_namespace_lets_it);
	return claims_run(claims, "request_policy");
}
