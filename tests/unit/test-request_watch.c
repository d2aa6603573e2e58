/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer_place.h"
#include "daemon/request/showing.h"
#include "daemon/request/watch.h"
#include "daemon/vault/vault_event.h"
#include "tests/unit/policy_rig.h"
#include "tests/unit/request_rig.h"

/* Who is told what of changes. Whoever watches sits apart from whoever makes them. */

static struct transfers seat;
static struct notebook heard;

static void set_up_watch(void)
{
	set_up();
	notebook_init(&heard);
}

static void tear_down_watch(void)
{
	transfers_finish(&seat, &house);
	tear_down();
}

static void policy_says(const char *text)
{
	policy_book_free(house.policy.book);
	house.policy.book = rig_book((const char *const[]){ text, NULL });
}

static struct note_of_reply *watch(const struct peer *peer, const char *prefix, uint64_t since)
{
	struct request request = {
		.id = next_id++, .verb = VERB_WATCH, .name = span_text(prefix), .since = since
	};

	ck_assert_int_eq(request_serve(&house, peer, &seat, &request, &heard.answers), 0);
	workbench_wipe(&house.bench);
	return notebook_last(&heard);
}

/* One turn of whoever watches. */
static void go_on(void)
{
	ck_assert_int_eq(watches_go_on(&seat, &house, &heard.answers), 0);
}

/* What was told since the first mark, as a text. */
static const char *told(void)
{
	static const char *const words[] = { "none", "set", "rm", "expire", "purge" };
	static char text[4096];
	size_t used = 0;

	go_on();
	text[0] = '\0';
	for (size_t i = 1; i < heard.count; i++) {
		const struct note_of_reply *note = &heard.notes[i];

		if (note->body == BODY_MARK)
			used += (size_t)snprintf(
				text + used, sizeof(text) - used, note->lost ? "lost, " : "mark, ");
		else
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %s %d, ",
				words[note->change], note->name, (int)note->version);
	}
	return text;
}

static void make(const struct peer *peer, const char *name)
{
	book.count = 0;
	ck_assert_int_eq(store(peer, name, 10)->code, 0);
}

static void take(const struct peer *peer, const char *name)
{
	book.count = 0;
	ck_assert_int_eq(ask(peer, changing(VERB_REMOVE, name))->code, 0);
}

/* -- what is told -------------------------------------------------------------------------- */

START_TEST(a_watch_begins_with_a_mark_and_tells_what_comes)
{
	make(&root, "a");
	ck_assert_int_eq(watch(&root, "", 0)->body, BODY_MARK);
	ck_assert(!heard.notes[0].lost);
	ck_assert_str_eq(told(), "");
	make(&root, "a");
	make(&root, "b");
	take(&root, "a");
	ck_assert_str_eq(told(), "set a 2, set b 1, rm a 2, ");
	for (size_t i = 1; i < heard.count; i++)
		ck_assert_uint_gt(heard.notes[i].number, heard.notes[i - 1].number);
}
END_TEST

START_TEST(only_names_with_the_prefix_are_told)
{
	(void)watch(&root, "web/", 0);
	make(&root, "web/a");
	make(&root, "webs");
	make(&root, "~/web/b");
	make(&root, "web/c");
	ck_assert_str_eq(told(), "set web/a 1, set web/c 1, ");
}
END_TEST

START_TEST(a_purge_of_everything_is_told_to_everybody)
{
	struct request purge = changing(VERB_PURGE, "");

	(void)watch(&user, "~/none", 0);
	make(&root, "a");
	purge.all = true;
	book.count = 0;
	ck_assert_int_eq(ask(&root, purge)->code, 0);
	ck_assert_str_eq(told(), "purge  0, ");
}
END_TEST

START_TEST(who_comes_back_is_told_what_was_missed)
{
	uint64_t number;

	(void)watch(&root, "", 0);
	make(&root, "a");
	make(&root, "b");
	go_on();
	number = heard.notes[1].number;
	transfers_finish(&seat, &house);
	ck_assert_uint_eq(seat.count, 0);
	make(&root, "c");
	heard.count = 0;
	ck_assert_uint_eq(watch(&root, "", number)->number, number);
	ck_assert(!heard.notes[0].lost);
	ck_assert_str_eq(told(), "set b 1, set c 1, ");
}
END_TEST

START_TEST(who_asks_for_what_is_forgotten_is_told_so)
{
	uint64_t number = watch(&root, "", 0)->number;

	transfers_finish(&seat, &house);
	heard.count = 0;
	ck_assert(watch(&root, "", number - 3600000000)->lost);
	transfers_finish(&seat, &house);
	ck_assert(watch(&root, "", number + 3600000000)->lost);
	ck_assert_uint_ge(notebook_last(&heard)->number, number);
	heard.notes[0] = *notebook_last(&heard);
	heard.count = 1;
	make(&root, "a");
	ck_assert_str_eq(told(), "set a 1, ");
}
END_TEST

START_TEST(who_does_not_listen_is_told_that_there_was_more)
{
	(void)watch(&root, "", 0);
	(void)watch(&root, "none", 0);
	heard.count = 1;
	for (unsigned i = 0; i <= VAULT_EVENTS; i++)
		make(&root, "a");
	go_on();
	/* Both of them, and nothing else. */
	ck_assert_uint_eq(heard.count, 3);
	ck_assert(heard.notes[1].lost && heard.notes[2].lost);
	ck_assert_uint_ne(heard.notes[1].id, heard.notes[2].id);
	heard.count = 1;
	make(&root, "b");
	ck_assert_str_eq(told(), "set b 1, ");
}
END_TEST

START_TEST(who_is_told_nothing_has_a_number_to_come_back_with)
{
	uint64_t number = watch(&root, "none", 0)->number;

	for (unsigned i = 0; i < VAULT_EVENTS / 2 - 1; i++)
		make(&root, "a");
	daemon_tell_watches(&house);
	ck_assert(!wait_queue_has_called(&house.waits));
	make(&root, "a");
	daemon_tell_watches(&house);
	ck_assert_ptr_eq(wait_queue_next(&house.waits), &seat.party);
	go_on();
	ck_assert_uint_eq(heard.count, 2);
	ck_assert(heard.notes[1].body == BODY_MARK && !heard.notes[1].lost);
	ck_assert_uint_gt(heard.notes[1].number, number);
}
END_TEST

START_TEST(a_step_is_short_and_goes_on)
{
	(void)watch(&root, "", 0);
	for (unsigned i = 0; i < 100; i++)
		make(&root, i % 2 ? "a" : "b");
	go_on();
	ck_assert_uint_lt(heard.count, 100);
	ck_assert(watches_due(&seat));
	while (watches_due(&seat))
		go_on();
	ck_assert_uint_eq(heard.count, 101);
	/* Where no room is left it waits. */
	heard.count = NOTEBOOK_MAX - 4;
	make(&root, "a");
	go_on();
	ck_assert_uint_eq(heard.count, NOTEBOOK_MAX - 4);
	ck_assert(watches_due(&seat));
}
END_TEST

/* However many watches a session has, and whoever they are for. */
START_TEST(a_turn_of_many_watches_is_as_short)
{
	unsigned turns = 0;

	for (unsigned i = 0; i < TRANSFERS_MAX; i++)
		(void)watch(&root, "none", 0);
	do
		go_on();
	while (watches_due(&seat));
	for (unsigned i = 0; i < 10; i++)
		make(&root, "a");
	do {
		go_on();
		turns++;
	} while (watches_due(&seat));
	ck_assert_uint_ge(turns, 10);
	ck_assert_uint_le(turns, 12);
	heard.count = 0;
	for (unsigned i = 0; i < VAULT_EVENTS / 2; i++)
		make(&root, "a");
	do
		go_on();
	while (watches_due(&seat));
	/* Each of them has come to the end. */
	ck_assert_uint_eq(heard.count, TRANSFERS_MAX);
}
END_TEST

START_TEST(one_watch_that_is_told_much_holds_up_no_other)
{
	uint64_t id;

	(void)watch(&root, "a", 0);
	id = watch(&root, "b", 0)->id;
	make(&root, "b");
	for (unsigned turn = 0;; turn++) {
		ck_assert_uint_lt(turn, 2);
		for (unsigned i = 0; i < 100; i++)
			make(&root, "a");
		heard.count = 0;
		go_on();
		if (notebook_last(&heard)->id == id)
			break;
	}
	ck_assert_str_eq(notebook_last(&heard)->name, "b");
}
END_TEST

/* -- to whom ------------------------------------------------------------------------------- */

START_TEST(a_stranger_is_told_of_its_own_space_alone)
{
	(void)watch(&user, "", 0);
	make(&root, "a");
	make(&root, "~/a");
	make(&user, "~/mine");
	make(&root, "~1000/theirs");
	take(&root, "a");
	ck_assert_str_eq(told(), "set ~/mine 1, set ~/theirs 1, ");
}
END_TEST

START_TEST(the_number_of_a_mark_tells_nothing_of_others)
{
	uint64_t number = watch(&user, "", 0)->number;

	make(&root, "a");
	transfers_finish(&seat, &house);
	/* It is the time, and no event's. */
	ck_assert_uint_gt(watch(&user, "", 0)->number, number);
	transfers_finish(&seat, &house);
	ck_assert_uint_gt(watch(&user, "", 0)->number, notebook_last(&heard)[-1].number);
}
END_TEST

START_TEST(a_rule_lets_somebody_watch)
{
	policy_says("[namespace web]\nallow = watch db-* uid:1000\ndeny = watch db-2 anybody\n");
	(void)watch(&user, "web/", 0);
	make(&root, "web/db-1");
	make(&root, "web/db-2");
	make(&root, "web/other");
	ck_assert_str_eq(told(), "set web/db-1 1, ");
}
END_TEST

START_TEST(what_may_be_told_is_decided_when_it_is_told)
{
	policy_says("[namespace web]\nallow = watch ** uid:1000\n");
	(void)watch(&user, "web/", 0);
	make(&root, "web/a");
	go_on();
	make(&root, "web/b");
	policy_says("[namespace web]\nallow = get ** uid:1000\n");
	ck_assert_str_eq(told(), "set web/a 1, ");
	/* And what was passed over is not told later. */
	policy_says("[namespace web]\nallow = watch ** uid:1000\n");
	make(&root, "web/c");
	ck_assert_str_eq(told(), "set web/a 1, set web/c 1, ");
}
END_TEST

/* -- who is called at all ------------------------------------------------------------------ */

static bool is_called(void)
{
	bool called;

	daemon_tell_watches(&house);
	called = wait_queue_next(&house.waits) != NULL;
	ck_assert(!wait_queue_has_called(&house.waits));
	return called;
}

static bool is_called_for(const char *name)
{
	make(&root, name);
	return is_called();
}

/* No time that the daemon spends tells a stranger that there is such a name. */
START_TEST(nobody_is_called_for_what_it_may_not_be_told)
{
	policy_says("[namespace web]\nallow = watch a/* uid:1000\nallow = get b/* uid:1000\n");
	(void)watch(&user, "web/b/key", 0);
	go_on();
	ck_assert(!is_called_for("web/b/key"));
	(void)watch(&user, "web/a/key", 0);
	go_on();
	ck_assert(!is_called_for("web/b/key"));
	ck_assert(is_called_for("web/a/key"));
	(void)watch(&user, "web/", 0);
	go_on();
	ck_assert(is_called_for("web/b/other"));
}
END_TEST

START_TEST(a_stranger_is_called_for_its_own_space_alone)
{
	(void)watch(&user, "", 0);
	(void)watch(&user, "~", 0);
	(void)watch(&user, "~/a", 0);
	(void)watch(&user, "~1001/a", 0);
	go_on();
	heard.count = 1;
	ck_assert(!is_called_for("a"));
	ck_assert(!is_called_for("~1001/a"));
	ck_assert(!is_called_for("~10000/a"));
	ck_assert(is_called_for("~1000/a"));
	ck_assert_str_eq(told(), "set ~/a 1, set ~/a 1, set ~/a 1, ");
	/* Everything is everybody's. */
	vault_purge(house.vault);
	ck_assert(is_called());
}
END_TEST

START_TEST(what_a_reload_allows_is_told_from_then_on)
{
	(void)watch(&user, "web/", 0);
	go_on();
	ck_assert(!is_called_for("web/a"));
	policy_says("[namespace web]\nallow = watch ** uid:1000\n");
	daemon_reloaded(&house, NULL);
	make(&root, "web/b");
	ck_assert(is_called());
	ck_assert_str_eq(told(), "set web/b 1, ");
	ck_assert(is_called_for("web/c"));
	policy_says("[namespace web]\nallow = get ** uid:1000\n");
	daemon_reloaded(&house, NULL);
	ck_assert(is_called());
	ck_assert_str_eq(told(), "set web/b 1, ");
	ck_assert(!is_called_for("web/d"));
}
END_TEST

START_TEST(what_a_token_allows_is_told_from_when_it_is_shown)
{
	static char buffer[GLOB_MAX];
	struct policy_grant grant;
	struct token token = { .policy = { .name = "t", .grants = &grant, .grant_count = 1 },
		.kept = { .place = 1 } };
	struct token powerless = token;
	const struct peer bearer = { .uid = 1000, .pidfd = -1, .shown = &seat.shown };

	ck_assert_ptr_null(
		policy_grant_read(&grant, span_text("watch"), span_text("web/*"), buffer));
	powerless.policy.issuer.uid = 1001;
	(void)watch(&bearer, "web/", 0);
	go_on();
	ck_assert(!is_called_for("web/a"));
	session_shows(&seat, &house, &powerless);
	go_on();
	ck_assert(!is_called_for("web/a"));
	session_shows(&seat, &house, &token);
	go_on();
	ck_assert(is_called_for("web/a"));
	ck_assert(!is_called_for("other"));
	ck_assert_str_eq(told(), "set web/a 3, ");
	session_shows(&seat, &house, NULL);
	go_on();
	ck_assert(!is_called_for("web/a"));
}
END_TEST

START_TEST(what_another_place_allows_is_told_from_there)
{
	struct peer_place place = { .known = true, .pinned = true };
	const struct peer moved = { .uid = 1000, .pidfd = -1, .place = &place };

	policy_says("[namespace web]\nallow = watch ** unit:nginx.service\n");
	strcpy(place.unit, "x.service");
	(void)watch(&moved, "web/", 0);
	go_on();
	ck_assert(!is_called_for("web/a"));
	strcpy(place.unit, "nginx.service");
	go_on();
	ck_assert(is_called_for("web/a"));
	ck_assert_str_eq(told(), "set web/a 2, ");
	strcpy(place.unit, "x.service");
	go_on();
	ck_assert(!is_called_for("web/a"));
	/* It may be found out the next time. */
	place.known = false;
	go_on();
	ck_assert(is_called_for("web/a"));
	ck_assert_str_eq(told(), "set web/a 2, ");
}
END_TEST

/* -- as a request -------------------------------------------------------------------------- */

START_TEST(a_watch_is_under_way_until_it_is_cancelled)
{
	uint64_t id = watch(&root, "", 0)->id;
	struct request cancel = { .id = next_id++, .verb = VERB_CANCEL, .target = id };

	ck_assert_uint_eq(seat.count, 1);
	ck_assert(transfers_has(&seat, id));
	ck_assert_int_eq(request_serve(&house, &root, &seat, &cancel, &heard.answers), 0);
	ck_assert_uint_eq(heard.count, 3);
	ck_assert_uint_eq(heard.notes[1].id, id);
	ck_assert_int_eq(heard.notes[1].code, STATUS_TIMEOUT);
	ck_assert_uint_eq(seat.count, 0);
	make(&root, "a");
	go_on();
	ck_assert_uint_eq(heard.count, 3);
}
END_TEST

START_TEST(a_session_has_only_so_many)
{
	for (unsigned i = 0; i < TRANSFERS_MAX; i++)
		ck_assert_int_eq(watch(&root, "", 0)->code, 0);
	ck_assert_int_eq(watch(&root, "", 0)->code, STATUS_LIMIT);
}
END_TEST

START_TEST(those_who_watch_are_called_once_for_all_that_has_changed)
{
	make(&root, "before");
	(void)watch(&root, "", 0);
	daemon_tell_watches(&house);
	while (wait_queue_next(&house.waits))
		;
	daemon_tell_watches(&house);
	ck_assert(!wait_queue_has_called(&house.waits));
	make(&root, "a");
	make(&root, "b");
	daemon_tell_watches(&house);
	ck_assert_ptr_eq(wait_queue_next(&house.waits), &seat.party);
	daemon_tell_watches(&house);
	ck_assert(!wait_queue_has_called(&house.waits));
}
END_TEST

START_TEST(who_watches_something_else_is_not_called_and_is_not_behind)
{
	(void)watch(&root, "web/", 0);
	for (unsigned i = 0; i < 100; i++) {
		make(&root, "a");
		daemon_tell_watches(&house);
		ck_assert(!wait_queue_has_called(&house.waits));
	}
	make(&root, "web/a");
	daemon_tell_watches(&house);
	ck_assert_ptr_eq(wait_queue_next(&house.waits), &seat.party);
	/* One step is enough for what there is to look at. */
	go_on();
	ck_assert_str_eq(told(), "set web/a 1, ");
	ck_assert(!watches_due(&seat));
}
END_TEST

START_TEST(everybody_is_called_when_what_happened_is_forgotten)
{
	(void)watch(&root, "web/", 0);
	daemon_tell_watches(&house);
	for (unsigned i = 0; i <= VAULT_EVENTS; i++)
		make(&root, "a");
	daemon_tell_watches(&house);
	ck_assert_ptr_eq(wait_queue_next(&house.waits), &seat.party);
	ck_assert_str_eq(told(), "lost, ");
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("request_watch");

	tcase_add_checked_fixture(claims, set_up_watch, tear_down_watch);
	tcase_set_timeout(claims, 30);
	tcase_add_test(claims, a_watch_begins_with_a_mark_and_tells_what_comes);
	tcase_add_test(claims, only_names_with_the_prefix_are_told);
	tcase_add_test(claims, a_purge_of_everything_is_told_to_everybody);
	tcase_add_test(claims, who_comes_back_is_told_what_was_missed);
	tcase_add_test(claims, who_asks_for_what_is_forgotten_is_told_so);
	tcase_add_test(claims, who_does_not_listen_is_told_that_there_was_more);
	tcase_add_test(claims, who_is_told_nothing_has_a_number_to_come_back_with);
	tcase_add_test(claims, a_step_is_short_and_goes_on);
	tcase_add_test(claims, a_turn_of_many_watches_is_as_short);
	tcase_add_test(claims, one_watch_that_is_told_much_holds_up_no_other);
	tcase_add_test(claims, a_stranger_is_told_of_its_own_space_alone);
	tcase_add_test(claims, the_number_of_a_mark_tells_nothing_of_others);
	tcase_add_test(claims, a_rule_lets_somebody_watch);
	tcase_add_test(claims, what_may_be_told_is_decided_when_it_is_told);
	tcase_add_test(claims, nobody_is_called_for_what_it_may_not_be_told);
	tcase_add_test(claims, a_stranger_is_called_for_its_own_space_alone);
	tcase_add_test(claims, what_a_reload_allows_is_told_from_then_on);
	tcase_add_test(claims, what_a_token_allows_is_told_from_when_it_is_shown);
	tcase_add_test(claims, what_another_place_allows_is_told_from_there);
	tcase_add_test(claims, a_watch_is_under_way_until_it_is_cancelled);
	tcase_add_test(claims, a_session_has_only_so_many);
	tcase_add_test(claims, those_who_watch_are_called_once_for_all_that_has_changed);
	tcase_add_test(claims, who_watches_something_else_is_not_called_and_is_not_behind);
	tcase_add_test(claims, everybody_is_called_when_what_happened_is_forgotten);
	return claims_run(claims, "who is told what of changes");
}
