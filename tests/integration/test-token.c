/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <mgclient-token.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bare.h"
#include "tests/unit/claims.h"

/* Tokens through the library: what a handle shows, and shows again. */

static struct bare_daemon house;
static struct mg_client *client;
static struct mg_client *bearer;

static void must(int status)
{
	ck_assert_msg(status == MG_OK, "%d: %s", status, mg_last_error());
}

static struct mg_client *open_handle(void)
{
	const struct mg_options options = { .endpoint = house.path, .timeout_ms = 30000 };
	struct mg_client *handle;

	must(mg_open(&handle, &options));
	return handle;
}

static void set_up(void)
{
	static const char *const arguments[] = { "--keep", NULL };

	bare_start(&house, arguments);
	client = open_handle();
	bearer = open_handle();
}

static void tear_down(void)
{
	mg_close(client);
	mg_close(bearer);
	bare_stop(&house);
}

static struct mg_secret *issue(const char *name, uint32_t uses)
{
	const struct mg_grant grants[] = { { "get,stat", "~/ci/*" }, { "*", "~/**" } };
	const struct mg_token_options options = { .grants = grants,
		.grant_count = 2,
		.ttl_ms = 600000,
		.uses = uses,
		.bind_uid = true,
		.uid = (uint32_t)geteuid() };
	struct mg_secret *token;

	must(mg_issue_token(client, name, &options, &token));
	ck_assert_uint_eq(mg_secret_size(token), MG_TOKEN_SIZE);
	ck_assert(!mg_secret_mutable(token));
	return token;
}

static int show(const struct mg_secret *token)
{
	return mg_show_token(bearer, mg_secret_data(token), mg_secret_size(token));
}

static const char *shown(void)
{
	static struct mg_caller caller;

	must(mg_whoami(bearer, &caller));
	return caller.token;
}

/* The process that serves dies, and the next one serves. */
static void next_worker(void)
{
	struct mg_state state;
	uint32_t before;

	must(mg_status_of(client, &state));
	before = state.pid;
	ck_assert_int_eq(kill((pid_t)before, SIGKILL), 0);
	do {
		usleep(2000);
	} while (mg_status_of(client, &state) != MG_OK || state.pid == before);
}

START_TEST(a_handle_shows_it_again)
{
	struct mg_secret *token = issue("~/a", 0);

	ck_assert_str_eq(shown(), "");
	must(show(token));
	ck_assert_str_eq(shown(), "~/a");
	for (int i = 0; i < 3; i++) {
		next_worker();
		ck_assert_str_eq(shown(), "~/a");
	}
	must(mg_show_token(bearer, NULL, 0));
	ck_assert_str_eq(shown(), "");
	next_worker();
	ck_assert_str_eq(shown(), "");
	mg_secret_free(token);
}
END_TEST

/* What a handle showed when it connected last may be over when it connects anew. */
START_TEST(one_that_was_revoked_is_told_when_it_is_shown_again)
{
	struct mg_secret *token = issue("~/a", 0);
	struct mg_secret *other = issue("~/b", 0);
	struct mg_caller caller;

	must(show(token));
	must(mg_revoke_token(client, "~/a"));
	must(mg_whoami(bearer, &caller));
	ck_assert_str_eq(caller.token, "~/a");
	ck_assert_int_eq(caller.token_fault, MG_TOKEN_REVOKED);
	next_worker();
	ck_assert_int_eq(mg_ping(bearer), MG_GONE);
	ck_assert_int_eq(mg_ping(bearer), MG_GONE);
	must(show(other));
	ck_assert_str_eq(shown(), "~/b");
	mg_secret_free(token);
	mg_secret_free(other);
}
END_TEST

START_TEST(a_wrong_one_is_not_kept)
{
	struct mg_secret *token = issue("~/a", 0);
	char text[MG_TOKEN_SIZE + 2];

	memcpy(text, mg_secret_data(token), MG_TOKEN_SIZE);
	text[20] = text[20] == 'A' ? 'B' : 'A';
	ck_assert_int_eq(mg_show_token(bearer, text, MG_TOKEN_SIZE), MG_DENIED);
	ck_assert_str_eq(shown(), "");
	next_worker();
	ck_assert_str_eq(shown(), "");
	ck_assert_int_eq(mg_show_token(bearer, text, MG_TOKEN_SIZE - 1), MG_INVALID);
	text[20] = '+';
	ck_assert_int_eq(mg_show_token(bearer, text, MG_TOKEN_SIZE), MG_INVALID);
	memcpy(text, mg_secret_data(token), MG_TOKEN_SIZE);
	text[MG_TOKEN_SIZE] = '\n';
	must(mg_show_token(bearer, text, MG_TOKEN_SIZE + 1));
	ck_assert_str_eq(shown(), "~/a");
	/* One instead of another, which is none: nothing is shown then. */
	ck_assert_int_eq(mg_show_token(bearer, "mgt_", 4), MG_INVALID);
	ck_assert_str_eq(shown(), "~/a");
	mg_secret_free(token);
}
END_TEST

struct told {
	unsigned count;
	char names[200];
};

static int on_token(void *context, const struct mg_token *token)
{
	struct told *told = context;

	told->count++;
	strncat(told->names, token->name, sizeof(told->names) - strlen(told->names) - 1);
	ck_assert_uint_eq(token->issuer, geteuid());
	ck_assert_uint_eq(token->grant_count, 2);
	ck_assert_str_eq(token->grants[0].operations, "get,stat");
	ck_assert(token->bind_uid && token->uid == geteuid());
	ck_assert_uint_eq(token->uses, 3);
	ck_assert_uint_eq(token->left, 3);
	ck_assert_uint_le(token->ttl_ms, 600000);
	ck_assert_str_eq(token->unit, "");
	return told->count == 3 ? MG_NO : 0;
}

START_TEST(a_list_tells_all_but_the_token)
{
	static const char *const names[] = { "~/c", "~/a", "~/b" };
	struct told told = { 0 };

	for (size_t i = 0; i < 3; i++)
		mg_secret_free(issue(names[i], 3));
	ck_assert_int_eq(mg_list_tokens(client, on_token, &told), MG_NO);
	ck_assert_str_eq(told.names, "~/a~/b~/c");
	told = (struct told){ 0 };
	must(mg_revoke_token(client, "~/b"));
	must(mg_list_tokens(client, on_token, &told));
	ck_assert_str_eq(told.names, "~/a~/c");
	ck_assert_int_eq(mg_revoke_token(client, "~/b"), MG_NOT_FOUND);
}
END_TEST

static int count(void *context, const struct mg_token *token)
{
	ck_assert_uint_eq(token->grant_count, MG_GRANTS_MAX);
	++*(unsigned *)context;
	return 0;
}

/* More of them than frames hold, each as large as one can be. */
START_TEST(a_long_list_is_whole)
{
	static char glob[232], name[256];
	struct mg_grant grants[MG_GRANTS_MAX];
	const struct mg_token_options options = { .grants = grants, .grant_count = MG_GRANTS_MAX };
	struct mg_secret *token;
	unsigned counted = 0;

	memset(glob, 'g', sizeof(glob) - 1);
	memcpy(glob, "~/", 2);
	for (size_t i = 0; i < MG_GRANTS_MAX; i++)
		grants[i] = (struct mg_grant){ "get", glob };
	memset(name, 'n', sizeof(name) - 1);
	memcpy(name, "~/", 2);
	for (int i = 0; i < 20; i++) {
		name[100] = (char)('a' + i);
		must(mg_issue_token(client, name, &options, &token));
		mg_secret_free(token);
	}
	must(mg_list_tokens(client, count, &counted));
	ck_assert_uint_eq(counted, 20);
}
END_TEST

START_TEST(what_cannot_be_issued_is_refused)
{
	const struct mg_grant grant = { "get", "a" };
	struct mg_token_options options = { .grants = &grant, .grant_count = 1 };
	struct mg_secret *token;

	ck_assert_int_eq(mg_issue_token(client, "a//b", &options, &token), MG_INVALID);
	ck_assert_int_eq(mg_issue_token(client, "~/a", NULL, &token), MG_INVALID);
	ck_assert_int_eq(mg_issue_token(NULL, "~/a", &options, &token), MG_INVALID);
	options.grant_count = 0;
	ck_assert_int_eq(mg_issue_token(client, "~/a", &options, &token), MG_INVALID);
	options.grant_count = MG_GRANTS_MAX + 1;
	ck_assert_int_eq(mg_issue_token(client, "~/a", &options, &token), MG_INVALID);
	options.grant_count = 1;
	options.ttl_ms = UINT64_MAX;
	ck_assert_int_eq(mg_issue_token(client, "~/a", &options, &token), MG_INVALID);
	options.ttl_ms = 0;
	must(mg_issue_token(client, "~/a", &options, &token));
	mg_secret_free(token);
	ck_assert_int_eq(mg_issue_token(client, "~/a", &options, &token), MG_CONFLICT);
	ck_assert_ptr_null(token);
}
END_TEST

static int add_up(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	const uint8_t *piece = bytes;

	ck_assert_uint_eq(info->version, 1);
	ck_assert_uint_eq(info->size, 50000);
	for (size_t i = 0; i < size; i++)
		*(unsigned long *)context += piece[i];
	return 0;
}

START_TEST(a_wrap_is_unwrapped_whole_or_in_pieces)
{
	static uint8_t value[50000];
	const struct mg_wrap_options options = { .ttl_ms = 60000, .uses = 2 };
	struct mg_secret *token = issue("~/a", 0);
	struct mg_secret *wrap, *secret;
	struct mg_wrapped wrapped;
	unsigned long sum = 0;

	memset(value, 3, sizeof(value));
	must(mg_set(client, "~/x", value, sizeof(value), NULL, NULL));
	must(mg_wrap(client, "~/x", &options, &wrap));
	ck_assert_uint_eq(mg_secret_size(wrap), MG_TOKEN_SIZE);
	ck_assert_int_eq(memcmp(mg_secret_data(wrap), "mgw_", 4), 0);
	/* It is no token, and does not take the place of one. */
	must(show(token));
	ck_assert_int_eq(show(wrap), MG_INVALID);
	must(mg_look_up_wrap(bearer, mg_secret_data(wrap), MG_TOKEN_SIZE, &wrapped));
	ck_assert_str_eq(wrapped.name, "~/x");
	ck_assert_uint_eq(wrapped.uses, 2);
	ck_assert_uint_eq(wrapped.left, 2);
	ck_assert_uint_le(wrapped.ttl_ms, 60000);
	must(mg_unwrap(bearer, mg_secret_data(wrap), MG_TOKEN_SIZE, &secret));
	ck_assert(mg_secret_equal(secret, value, sizeof(value)));
	mg_secret_free(secret);
	next_worker();
	ck_assert_str_eq(shown(), "~/a");
	must(mg_unwrap_each(bearer, mg_secret_data(wrap), MG_TOKEN_SIZE, add_up, &sum));
	ck_assert_uint_eq(sum, 3 * sizeof(value));
	ck_assert_int_eq(mg_unwrap(bearer, mg_secret_data(wrap), MG_TOKEN_SIZE, &secret), MG_GONE);
	ck_assert_ptr_null(secret);
	ck_assert_int_eq(
		mg_look_up_wrap(bearer, mg_secret_data(wrap), MG_TOKEN_SIZE, &wrapped), MG_GONE);
	ck_assert_int_eq(mg_unwrap(bearer, "mgw_", 4, &secret), MG_INVALID);
	ck_assert_int_eq(mg_unwrap(bearer, NULL, 0, &secret), MG_INVALID);
	ck_assert_int_eq(
		mg_unwrap(bearer, mg_secret_data(token), MG_TOKEN_SIZE, &secret), MG_INVALID);
	ck_assert_int_eq(mg_wrap(client, "~/none", NULL, &secret), MG_NOT_FOUND);
	mg_secret_free(wrap);
	mg_secret_free(token);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_handle_shows_it_again);
	tcase_add_test(claims, one_that_was_revoked_is_told_when_it_is_shown_again);
	tcase_add_test(claims, a_wrong_one_is_not_kept);
	tcase_add_test(claims, a_list_tells_all_but_the_token);
	tcase_add_test(claims, a_long_list_is_whole);
	tcase_add_test(claims, what_cannot_be_issued_is_refused);
	tcase_add_test(claims, a_wrap_is_unwrapped_whole_or_in_pieces);
	return claims_run(claims, "tokens through the library");
}
