/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"

/* libmgclient against a real daemon that is locked, and unlocked. */

static struct bare_daemon house;
static struct mg_client *client;
static struct mg_secret *right, *wrong;

static struct mg_secret *passphrase_of(const char *text)
{
	struct mg_secret *secret = NULL;
	char bytes[64];

	strcpy(bytes, text);
	ck_assert_int_eq(
		mg_secret_from_bytes(&secret, bytes, strlen(text), MG_MEMORY_PREFER_LOCK), MG_OK);
	return secret;
}

static void set_up(void)
{
	struct mg_options options = { .endpoint = house.path, .timeout_ms = 30000 };

	bare_start(&house, NULL);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
	right = passphrase_of("correct horse");
	wrong = passphrase_of("battery staple");
}

static void tear_down(void)
{
	mg_secret_free(right);
	mg_secret_free(wrong);
	mg_close(client);
	ck_assert_int_eq(bare_stop(&house), 0);
}

static void must(int status)
{
	if (status != MG_OK)
		ck_abort_msg("%s: %s", mg_status_name(status), mg_last_error());
}

static bool is_locked(void)
{
	struct mg_state state;

	must(mg_status_of(client, &state));
	return state.vault_locked;
}

static int fetch(const char *name, const char *value)
{
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	int status = mg_get(client, name, NULL, &secret);

	if (status == MG_OK)
		ck_assert(mg_secret_equal(secret, value, strlen(value)));
	return status;
}

static int each_name(void *context, const struct mg_info *info)
{
	(void)context;
	(void)info;
	return 0;
}

START_TEST(all_calls_say_so_and_then_everything_is_there)
{
	struct mg_caller caller;
	uint64_t count;

	must(mg_set(client, "a", "value", 5, NULL, NULL));
	ck_assert(!is_locked());
	must(mg_lock(client, right));
	ck_assert(is_locked());
	ck_assert_int_eq(fetch("a", ""), MG_LOCKED);
	ck_assert_str_eq(mg_last_error(), "locked: mgctl unlock");
	ck_assert_int_eq(mg_set(client, "a", "another", 7, NULL, NULL), MG_LOCKED);
	ck_assert_int_eq(mg_generate(client, "b", 9, MG_HEX, NULL, NULL), MG_LOCKED);
	ck_assert_int_eq(mg_verify(client, "a", "value", 5), MG_LOCKED);
	ck_assert_int_eq(mg_send(client, "s", "value", 5), MG_LOCKED);
	ck_assert_int_eq(mg_remove(client, "a", NULL), MG_LOCKED);
	ck_assert_int_eq(mg_list(client, "", NULL, each_name, NULL), MG_LOCKED);
	ck_assert_int_eq(mg_stat(client, "a", each_name, NULL), MG_LOCKED);
	ck_assert_int_eq(mg_purge(client, MG_PURGE_MINE, &count), MG_LOCKED);
	ck_assert_int_eq(mg_whoami(client, &caller), MG_LOCKED);
	ck_assert_int_eq(mg_lock(client, wrong), MG_LOCKED);
	must(mg_ping(client));
	must(mg_reload(client));
	must(mg_unlock(client, right));
	ck_assert(!is_locked());
	must(fetch("a", "value"));
}
END_TEST

START_TEST(another_passphrase_does_not_unlock)
{
	must(mg_set(client, "a", "value", 5, NULL, NULL));
	must(mg_lock(client, right));
	ck_assert_int_eq(mg_unlock(client, wrong), MG_INTEGRITY);
	ck_assert_str_eq(mg_last_error(), "the passphrase is another one");
	ck_assert(is_locked());
	must(mg_unlock(client, right));
	must(fetch("a", "value"));
	/* It is not locked: there is nothing that could be wrong. */
	must(mg_unlock(client, wrong));
}
END_TEST

START_TEST(a_purge_of_everything_is_the_other_way_out)
{
	uint64_t count;

	must(mg_set(client, "a", "value", 5, NULL, NULL));
	must(mg_lock(client, right));
	must(mg_purge(client, MG_PURGE_ALL, &count));
	ck_assert(!is_locked());
	ck_assert_int_eq(fetch("a", ""), MG_NOT_FOUND);
	must(mg_set(client, "a", "new", 3, NULL, NULL));
	must(fetch("a", "new"));
}
END_TEST

START_TEST(without_handle_or_passphrase_nothing_is_done)
{
	ck_assert_int_eq(mg_lock(NULL, right), MG_INVALID);
	ck_assert_int_eq(mg_unlock(NULL, right), MG_INVALID);
	ck_assert_int_eq(mg_lock(client, NULL), MG_INVALID);
	ck_assert_int_eq(mg_unlock(client, NULL), MG_INVALID);
	mg_secret_destroy(wrong);
	ck_assert_int_eq(mg_lock(client, wrong), MG_GONE);
	ck_assert(!is_locked());
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, all_calls_say_so_and_then_everything_is_there);
	tcase_add_test(claims, another_passphrase_does_not_unlock);
	tcase_add_test(claims, a_purge_of_everything_is_the_other_way_out);
	tcase_add_test(claims, without_handle_or_passphrase_nothing_is_done);
	return claims_run(claims, "lock");
}
