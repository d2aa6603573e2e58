/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"

/*
 * libmgclient against a real daemon: new versions of what is there, and other names for it. What
 * becomes of the two when the connection breaks: test-client-trouble.c.
 */

#define HOUR_MS UINT64_C(3600000)
#define LARGE 200000 /* bytes: several frames */

static struct bare_daemon house;
static struct mg_client *client;

static void set_up(void)
{
	struct mg_options options = { .endpoint = house.path };

	bare_start(&house, NULL);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
}

static void tear_down(void)
{
	mg_close(client);
	ck_assert_int_eq(bare_stop(&house), 0);
}

static void must(int status)
{
	if (status != MG_OK)
		ck_abort_msg("%s: %s", mg_status_name(status), mg_last_error());
}

static void put(const char *name, const char *value, const struct mg_set_options *options)
{
	must(mg_set(client, name, value, strlen(value), options, NULL));
}

/* What a fetch of the version says; 0: the current one. The value has to be right then. */
static int fetch(const char *name, uint64_t version, const void *value, size_t size)
{
	const struct mg_get_options options = { .version = version };
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	int status = mg_get(client, name, &options, &secret);

	if (status == MG_OK)
		ck_assert(mg_secret_equal(secret, value, size));
	return status;
}

static void holds(const char *name, uint64_t version, const char *value)
{
	must(fetch(name, version, value, strlen(value)));
}

static void says(const char *words)
{
	if (!strstr(mg_last_error(), words))
		ck_abort_msg("'%s' does not say '%s'", mg_last_error(), words);
}

/* One secret's outside, with its first tag. */
struct outside {
	struct mg_info info;
	char tag[64];
};

static int look(void *context, const struct mg_info *info)
{
	struct outside *outside = context;

	outside->info = *info;
	outside->tag[0] = '\0';
	if (info->tag_count > 0)
		strncat(outside->tag, info->tags[0].value, sizeof(outside->tag) - 1);
	return 0;
}

static struct outside outside_of(const char *name)
{
	struct outside outside;

	must(mg_stat(client, name, look, &outside));
	return outside;
}

static ssize_t pour(void *context, void *buffer, size_t capacity)
{
	size_t *left = context;
	size_t size = *left < capacity ? *left : capacity;

	memset(buffer, 's', size);
	*left -= size;
	return (ssize_t)size;
}

/* -- rotations ----------------------------------------------------------------------------- */

START_TEST(a_rotation_keeps_tags_and_what_is_left_of_the_lifetime)
{
	const struct mg_tag tag = { "team", "web" };
	const struct mg_set_options first = { .tags = &tag,
		.tag_count = 1,
		.lifetime = { .ttl_ms = HOUR_MS, .idle_ms = 2 * HOUR_MS, .max_reads = 5 } };
	const struct mg_set_options rotation = { .rotate = true };
	struct outside before, after;
	uint64_t version = 0;

	put("r", "1", &first);
	holds("r", 0, "1");
	before = outside_of("r");
	must(mg_set(client, "r", "22", 2, &rotation, &version));
	ck_assert_uint_eq(version, 2);
	after = outside_of("r");
	ck_assert_uint_eq(after.info.version, 2);
	ck_assert_uint_eq(after.info.size, 2);
	ck_assert_int_eq(after.info.created_ms, before.info.created_ms);
	ck_assert_str_eq(after.tag, "web");
	ck_assert_uint_le(after.info.left.ttl_ms, before.info.left.ttl_ms);
	ck_assert_uint_gt(after.info.left.ttl_ms, 0);
	ck_assert_uint_eq(after.info.left.idle_ms, 2 * HOUR_MS);
	ck_assert_uint_eq(after.info.left.max_reads, 4);
	holds("r", 2, "22");
}
END_TEST

/* By mg_set, by mg_set_from and by mg_generate. */
static void rotate_in_every_way(const char *name, const struct mg_set_options *rotation)
{
	uint64_t versions[3] = { 0 };
	size_t left = LARGE;

	must(mg_set(client, name, "2", 1, rotation, &versions[0]));
	must(mg_set_from(client, name, pour, &left, rotation, &versions[1]));
	must(mg_generate(client, name, 32, MG_HEX, rotation, &versions[2]));
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(versions[i], i + 2);
}

START_TEST(the_versions_before_are_fetched_while_their_grace_lasts)
{
	const struct mg_set_options rotation = { .rotate = true, .grace_ms = HOUR_MS };
	static uint8_t large[LARGE];

	memset(large, 's', sizeof(large));
	put("r", "1", NULL);
	rotate_in_every_way("r", &rotation);
	holds("r", 1, "1");
	holds("r", 2, "2");
	must(fetch("r", 3, large, sizeof(large)));
	ck_assert_int_eq(fetch("r", 5, "", 0), MG_NOT_FOUND);
	ck_assert_uint_eq(outside_of("r").info.size, 32);
	/* They end with it. */
	must(mg_remove(client, "r", NULL));
	ck_assert_int_eq(fetch("r", 1, "", 0), MG_NOT_FOUND);
}
END_TEST

START_TEST(without_a_grace_the_version_before_is_destroyed_at_once)
{
	const struct mg_set_options rotation = { .rotate = true };

	put("r", "1", NULL);
	rotate_in_every_way("r", &rotation);
	for (uint64_t version = 1; version < 4; version++)
		ck_assert_int_eq(fetch("r", version, "", 0), MG_NOT_FOUND);
}
END_TEST

START_TEST(a_grace_comes_to_its_end)
{
	const struct mg_set_options rotation = { .rotate = true, .grace_ms = 100 };
	const struct timespec pause = { .tv_nsec = 20000000 };
	int status;

	put("r", "1", NULL);
	must(mg_set(client, "r", "2", 1, &rotation, NULL));
	while ((status = fetch("r", 1, "1", 1)) == MG_OK)
		nanosleep(&pause, NULL);
	ck_assert_int_eq(status, MG_NOT_FOUND);
	holds("r", 0, "2");
}
END_TEST

START_TEST(what_cannot_be_rotated_stays_as_it_is)
{
	const struct mg_set_options once = { .lifetime = { .max_reads = 1 } };
	const struct mg_set_options frozen = { .freeze = true };
	const struct mg_set_options rotation = { .rotate = true, .grace_ms = HOUR_MS };
	const struct mg_set_options other = { .rotate = true, .compare = true, .version = 7 };
	size_t left = LARGE;

	ck_assert_int_eq(mg_set(client, "absent", "v", 1, &rotation, NULL), MG_NOT_FOUND);
	ck_assert_int_eq(mg_set_from(client, "absent", pour, &left, &rotation, NULL), MG_NOT_FOUND);
	ck_assert_int_eq(mg_generate(client, "absent", 9, MG_HEX, &rotation, NULL), MG_NOT_FOUND);
	ck_assert_int_eq(mg_stat(client, "absent", look, NULL), MG_NOT_FOUND);
	put("once", "1", &once);
	holds("once", 0, "1");
	ck_assert_int_eq(mg_set(client, "once", "v", 1, &rotation, NULL), MG_GONE);
	put("frozen", "1", &frozen);
	ck_assert_int_eq(mg_set(client, "frozen", "v", 1, &rotation, NULL), MG_FROZEN);
	put("r", "1", NULL);
	ck_assert_int_eq(mg_set(client, "r", "v", 1, &other, NULL), MG_CONFLICT);
	says("version 1");
	must(mg_send(client, "stream", "v", 1));
	ck_assert_int_eq(mg_set(client, "stream", "v", 1, &rotation, NULL), MG_INVALID);
	holds("frozen", 1, "1");
	holds("r", 1, "1");
}
END_TEST

START_TEST(what_a_rotation_cannot_have_is_named_before_anything_is_sent)
{
	const struct mg_tag tag = { "team", "web" };
	const struct {
		struct mg_set_options options;
		const char *words;
	} faults[] = {
		{ { .rotate = true, .tags = &tag, .tag_count = 1 }, "tags" },
		{ { .rotate = true, .lifetime = { .ttl_ms = 1 } }, "lifetime" },
		{ { .rotate = true, .lifetime = { .idle_ms = 1 } }, "lifetime" },
		{ { .rotate = true, .lifetime = { .max_reads = 1 } }, "lifetime" },
		{ { .rotate = true, .lifetime = { .bind_pid = 1 } }, "lifetime" },
		{ { .rotate = true, .lifetime = { .session = true } }, "lifetime" },
		{ { .rotate = true, .freeze = true }, "freeze" },
		{ { .rotate = true, .create_only = true }, "create_only" },
		{ { .rotate = true, .grace_ms = UINT64_MAX }, "a hundred years" },
		{ { .grace_ms = 1 }, "grace_ms" },
	};
	const struct mg_set_options good = { .rotate = true };
	size_t left = LARGE;

	put("r", "1", NULL);
	(void)bare_stop(&house);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		const struct mg_set_options *options = &faults[i].options;

		ck_assert_int_eq(mg_set(client, "r", "v", 1, options, NULL), MG_INVALID);
		says(faults[i].words);
		ck_assert_int_eq(mg_set_from(client, "r", pour, &left, options, NULL), MG_INVALID);
		ck_assert_uint_eq(left, LARGE);
		ck_assert_int_eq(mg_generate(client, "r", 9, MG_HEX, options, NULL), MG_INVALID);
		says(faults[i].words);
	}
	ck_assert_int_eq(mg_set(client, "r", "v", 1, &good, NULL), MG_UNREACHABLE);
	bare_start(&house, NULL);
}
END_TEST

/* -- other names --------------------------------------------------------------------------- */

START_TEST(another_name_is_all_that_changes)
{
	const struct mg_tag tag = { "team", "web" };
	const struct mg_set_options first = {
		.tags = &tag, .tag_count = 1, .lifetime = { .ttl_ms = HOUR_MS, .max_reads = 5 }
	};
	const struct mg_set_options rotation = { .rotate = true, .grace_ms = HOUR_MS };
	struct outside before, after;
	uint64_t version = 0;

	put("a", "1", &first);
	put("a", "2", &rotation);
	before = outside_of("a");
	must(mg_move(client, "a", "~/b", NULL, &version));
	ck_assert_uint_eq(version, 2);
	after = outside_of("~/b");
	ck_assert_uint_eq(after.info.version, 2);
	ck_assert_int_eq(after.info.created_ms, before.info.created_ms);
	ck_assert_int_eq(after.info.changed_ms, before.info.changed_ms);
	ck_assert_str_eq(after.tag, "web");
	ck_assert_uint_le(after.info.left.ttl_ms, before.info.left.ttl_ms);
	ck_assert_uint_gt(after.info.left.ttl_ms, 0);
	ck_assert_uint_eq(after.info.left.max_reads, 5);
	holds("~/b", 0, "2");
	holds("~/b", 1, "1");
	ck_assert_int_eq(fetch("a", 0, "", 0), MG_NOT_FOUND);
	ck_assert_int_eq(fetch("a", 1, "", 0), MG_NOT_FOUND);
	/* Whoever is not interested need not be told. */
	must(mg_move(client, "~/b", "a", NULL, NULL));
	holds("a", 0, "2");
}
END_TEST

START_TEST(what_is_in_the_way_is_named_and_not_overwritten)
{
	struct mg_set_options condition = { .compare = true, .version = 2 };
	uint64_t version = 99;

	put("a", "1", NULL);
	put("b", "2", NULL);
	ck_assert_int_eq(mg_move(client, "a", "b", NULL, &version), MG_CONFLICT);
	says("'b' exists already");
	ck_assert_int_eq(mg_move(client, "a", "a", NULL, &version), MG_CONFLICT);
	ck_assert_int_eq(mg_move(client, "a", "c", &condition, &version), MG_CONFLICT);
	says("version 1");
	ck_assert_uint_eq(version, 99);
	must(mg_send(client, "stream", "v", 1));
	ck_assert_int_eq(mg_move(client, "a", "stream", NULL, NULL), MG_CONFLICT);
	holds("a", 1, "1");
	holds("b", 1, "2");
	condition.version = 1;
	must(mg_move(client, "a", "c", &condition, &version));
	ck_assert_uint_eq(version, 1);
}
END_TEST

START_TEST(what_cannot_be_moved_stays_where_it_is)
{
	const struct mg_set_options once = { .lifetime = { .max_reads = 1 } };
	const struct mg_set_options frozen = { .freeze = true };

	ck_assert_int_eq(mg_move(client, "absent", "b", NULL, NULL), MG_NOT_FOUND);
	put("once", "1", &once);
	holds("once", 0, "1");
	ck_assert_int_eq(mg_move(client, "once", "b", NULL, NULL), MG_GONE);
	put("frozen", "1", &frozen);
	ck_assert_int_eq(mg_move(client, "frozen", "b", NULL, NULL), MG_FROZEN);
	must(mg_send(client, "stream", "v", 1));
	ck_assert_int_eq(mg_move(client, "stream", "b", NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_stat(client, "b", look, NULL), MG_NOT_FOUND);
	holds("frozen", 0, "1");
}
END_TEST

START_TEST(bad_names_of_a_move_are_named_before_anything_is_sent)
{
	static const struct {
		const char *name, *to, *words;
	} faults[] = {
		{ "", "b", "the name is empty" },
		{ NULL, "b", "the name is missing" },
		{ "a//b", "b", "the name " },
		{ "a", "", "the new name is empty" },
		{ "a", NULL, "the new name is missing" },
		{ "a", "b/../c", "the new name " },
		{ "a", "b\x80", "the new name " },
	};

	put("a", "1", NULL);
	(void)bare_stop(&house);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		ck_assert_int_eq(
			mg_move(client, faults[i].name, faults[i].to, NULL, NULL), MG_INVALID);
		says(faults[i].words);
	}
	ck_assert_int_eq(mg_move(client, "a", "b", NULL, NULL), MG_UNREACHABLE);
	ck_assert_int_eq(mg_move(NULL, "a", "b", NULL, NULL), MG_INVALID);
	bare_start(&house, NULL);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("rotate");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_rotation_keeps_tags_and_what_is_left_of_the_lifetime);
	tcase_add_test(claims, the_versions_before_are_fetched_while_their_grace_lasts);
	tcase_add_test(claims, without_a_grace_the_version_before_is_destroyed_at_once);
	tcase_add_test(claims, a_grace_comes_to_its_end);
	tcase_add_test(claims, what_cannot_be_rotated_stays_as_it_is);
	tcase_add_test(claims, what_a_rotation_cannot_have_is_named_before_anything_is_sent);
	tcase_add_test(claims, another_name_is_all_that_changes);
	tcase_add_test(claims, what_is_in_the_way_is_named_and_not_overwritten);
	tcase_add_test(claims, what_cannot_be_moved_stays_where_it_is);
	tcase_add_test(claims, bad_names_of_a_move_are_named_before_anything_is_sent);
	return claims_run(claims, "rotate");
}
