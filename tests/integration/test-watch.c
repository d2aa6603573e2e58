/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"

/* libmgclient against a real daemon: what a watch hands over, and how it ends. What becomes of one
 * when the connection breaks: test_watch.py. */

static struct bare_daemon house;
static struct mg_client *client;
static struct mg_client *other; /* what changes is changed by this one */

static void set_up(void)
{
	struct mg_options options = { .endpoint = house.path };

	bare_start(&house, NULL);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
	ck_assert_int_eq(mg_open(&other, &options), MG_OK);
}

static void tear_down(void)
{
	mg_close(other);
	mg_close(client);
	ck_assert_int_eq(bare_stop(&house), 0);
}

static void must(int status)
{
	if (status != MG_OK)
		ck_abort_msg("%s: %s", mg_status_name(status), mg_last_error());
}

static void put(const char *name)
{
	must(mg_set(other, name, "v", 1, NULL, NULL));
}

/* What was handed over so far. */
static struct heard {
	char text[1024];
	uint64_t number; /* the last one */
	unsigned count;  /* without marks */
	unsigned marks;
} heard;

static void hear(const struct mg_event *event)
{
	static const char *const words[] = { "none", "set", "rm", "expire", "purge" };
	size_t used = strlen(heard.text);

	ck_assert_uint_gt(event->number, heard.number);
	heard.number = event->number;
	if (event->change == MG_CHANGE_NONE) {
		heard.marks++;
		return;
	}
	heard.count++;
	snprintf(heard.text + used, sizeof(heard.text) - used, "%s %s %d, ",
		event->change == MG_CHANGE_LOST ? "lost" : words[event->change], event->name,
		(int)event->version);
}

/* Changes what it hears of, and ends the watch with 42 when all of it has come. */
static int change_all(void *context, const struct mg_event *event)
{
	(void)context;
	hear(event);
	if (heard.marks == 1 && heard.count == 0) {
		put("w/a");
		put("x");
		put("w/a");
		must(mg_move(other, "w/a", "w/b", NULL, NULL));
		must(mg_remove(other, "w/b", NULL));
		put("~/w");
		must(mg_purge(other, MG_PURGE_ALL, NULL));
	}
	return heard.count == 6 ? 42 : 0;
}

START_TEST(what_changes_is_handed_over_in_order)
{
	memset(&heard, 0, sizeof(heard));
	ck_assert_int_eq(mg_watch(client, "w/", NULL, change_all, NULL), 42);
	ck_assert_str_eq(
		heard.text, "set w/a 1, set w/a 2, rm w/a 2, set w/b 2, rm w/b 2, purge  0, ");
	ck_assert_uint_eq(heard.marks, 1);
	/* What the daemon would have told is not taken for another answer. */
	must(mg_ping(client));
}
END_TEST

static int hear_and_end(void *context, const struct mg_event *event)
{
	const unsigned *count = context;

	hear(event);
	if (event->change == MG_CHANGE_NONE)
		put("a");
	return heard.count == *count ? MG_NO : 0;
}

START_TEST(a_later_watch_goes_on_after_a_number)
{
	struct mg_watch_options options = { 0 };
	unsigned count = 1;

	memset(&heard, 0, sizeof(heard));
	ck_assert_int_eq(mg_watch(client, NULL, NULL, hear_and_end, &count), MG_NO);
	options.since = heard.number;
	put("b");
	put("c");
	heard.number--;
	count = 4;
	ck_assert_int_eq(mg_watch(client, NULL, &options, hear_and_end, &count), MG_NO);
	ck_assert_str_eq(heard.text, "set a 1, set b 1, set c 1, set a 2, ");
}
END_TEST

START_TEST(what_is_not_known_any_more_is_told_to_be_lost)
{
	struct mg_watch_options options = { .since = 1 };
	unsigned count = 1;

	memset(&heard, 0, sizeof(heard));
	ck_assert_int_eq(mg_watch(client, NULL, &options, hear_and_end, &count), MG_NO);
	ck_assert_str_eq(heard.text, "lost  0, ");
	ck_assert_uint_eq(heard.marks, 0);
}
END_TEST

static int only_hear(void *context, const struct mg_event *event)
{
	(void)context;
	hear(event);
	return 0;
}

START_TEST(a_watch_to_which_nothing_is_told_ends_in_time)
{
	struct mg_watch_options options = { .wait_ms = 50 };

	memset(&heard, 0, sizeof(heard));
	ck_assert_int_eq(mg_watch(client, "none", &options, only_hear, NULL), MG_TIMEOUT);
	ck_assert_uint_eq(heard.marks, 1);
	ck_assert_uint_eq(heard.count, 0);
	must(mg_ping(client));
}
END_TEST

static int call_own_handle(void *context, const struct mg_event *event)
{
	(void)context;
	(void)event;
	ck_assert_int_eq(mg_ping(client), MG_INVALID);
	return -1;
}

START_TEST(who_is_told_cannot_use_the_handle)
{
	ck_assert_int_eq(mg_watch(client, "", NULL, call_own_handle, NULL), MG_INTERNAL);
	must(mg_ping(client));
}
END_TEST

START_TEST(a_prefix_that_is_none_is_refused)
{
	ck_assert_int_eq(mg_watch(client, "a//", NULL, only_hear, NULL), MG_INVALID);
	ck_assert_int_eq(mg_watch(NULL, "a", NULL, only_hear, NULL), MG_INVALID);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("watch");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 30);
	tcase_add_test(claims, what_changes_is_handed_over_in_order);
	tcase_add_test(claims, a_later_watch_goes_on_after_a_number);
	tcase_add_test(claims, what_is_not_known_any_more_is_told_to_be_lost);
	tcase_add_test(claims, a_watch_to_which_nothing_is_told_ends_in_time);
	tcase_add_test(claims, who_is_told_cannot_use_the_handle);
	tcase_add_test(claims, a_prefix_that_is_none_is_refused);
	return claims_run(claims, "being told what changes");
}
