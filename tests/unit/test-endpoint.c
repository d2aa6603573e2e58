/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/wire/endpoint.h"
#include "tests/unit/claims.h"

#define USER_TAIL "/memguardd/socket"
#define HOME_TAIL "/.memguardd/socket"

/* An absolute path of `size` bytes. */
static const char *path_of(size_t size)
{
	static char text[4096];

	ck_assert_uint_lt(size, sizeof(text));
	memset(text, 'p', size);
	text[0] = '/';
	text[size] = '\0';
	return text;
}

/* -- what is written down ------------------------------------------------------------------ */

static void reads_as(const char *text, const char *path)
{
	struct endpoint endpoint;
	const char *fault;

	memset(&endpoint, 0x5a, sizeof(endpoint));
	fault = endpoint_parse(&endpoint, text);
	ck_assert_msg(!fault, "'%s' %s", text, fault ? fault : "");
	ck_assert_str_eq(endpoint.path, path);
}

/* A fault says `word`, and the endpoint is what it was. */
static void is_refused(const char *text, const char *word)
{
	struct endpoint endpoint, before;
	const char *fault;

	memset(&endpoint, 0x5a, sizeof(endpoint));
	before = endpoint;
	fault = endpoint_parse(&endpoint, text);
	ck_assert_msg(fault != NULL, "'%s' is taken", text);
	ck_assert_msg(strstr(fault, word) != NULL, "'%s' %s", text, fault);
	ck_assert_mem_eq(&endpoint, &before, sizeof(endpoint));
}

START_TEST(a_unix_uri_and_an_absolute_path_are_the_same)
{
	reads_as("unix:/run/memguardd/socket", "/run/memguardd/socket");
	reads_as("/run/memguardd/socket", "/run/memguardd/socket");
	reads_as(ENDPOINT_SYSTEM, ENDPOINT_SYSTEM);
	reads_as("unix:/a", "/a");
	reads_as("/unix:/a", "/unix:/a");
	reads_as("/npipe:a", "/npipe:a");
	reads_as("/a b/\xc3\xa9", "/a b/\xc3\xa9");
}
END_TEST

START_TEST(an_empty_place_is_none)
{
	is_refused("", "absolute path");
	is_refused("unix:", "absolute path");
}
END_TEST

START_TEST(a_relative_place_is_refused)
{
	static const char *const places[] = { "socket", "./socket", "../socket", "unix:socket",
		"unix:./socket", "unix: /socket", " /socket", "~/socket", "unix:~/socket" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		is_refused(places[i], "absolute path");
}
END_TEST

START_TEST(an_abstract_name_is_refused)
{
	is_refused("@memguardd", "absolute path");
	is_refused("unix:@memguardd", "absolute path");
}
END_TEST

START_TEST(a_named_pipe_is_for_windows)
{
	is_refused("npipe:memguardd", "Windows");
	is_refused("npipe:", "Windows");
	is_refused("npipe:/memguardd", "Windows");
}
END_TEST

START_TEST(other_schemes_are_refused)
{
	static const char *const places[] = { "tcp:/a", "tcp://localhost:1", "UNIX:/a", "Unix:/a",
		"unix", "unix/a", "unix:unix:/a", "unix:npipe:a", "file:/a", "npipe", "NPIPE:a" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		is_refused(places[i], "absolute path");
}
END_TEST

START_TEST(a_path_has_at_most_107_bytes)
{
	char uri[4096] = "unix:";

	ck_assert_uint_eq(ENDPOINT_PATH_MAX, 108);
	ck_assert_uint_ge(sizeof(((struct sockaddr_un *)0)->sun_path), ENDPOINT_PATH_MAX);
	reads_as(path_of(107), path_of(107));
	is_refused(path_of(108), "107 bytes");
	is_refused(path_of(109), "107 bytes");
	is_refused(path_of(4000), "107 bytes");
	/* The scheme does not count. */
	strcpy(uri + 5, path_of(107));
	reads_as(uri, path_of(107));
	strcpy(uri + 5, path_of(108));
	is_refused(uri, "107 bytes");
}
END_TEST

/* -- the user's own place ------------------------------------------------------------------ */

static void set_or_unset(const char *name, const char *value)
{
	if (value)
		ck_assert_int_eq(setenv(name, value, 1), 0);
	else
		ck_assert_int_eq(unsetenv(name), 0);
}

static int find_own(struct endpoint *endpoint, const char *runtime, const char *home)
{
	set_or_unset("XDG_RUNTIME_DIR", runtime);
	set_or_unset("HOME", home);
	memset(endpoint, 0x5a, sizeof(*endpoint));
	return endpoint_user(endpoint);
}

static void own_is(const char *runtime, const char *home, const char *path)
{
	struct endpoint endpoint;

	ck_assert_int_eq(find_own(&endpoint, runtime, home), 0);
	ck_assert_str_eq(endpoint.path, path);
}

static void own_fails(const char *runtime, const char *home, int error)
{
	struct endpoint endpoint;

	ck_assert_int_eq(find_own(&endpoint, runtime, home), error);
}

START_TEST(the_runtime_folder_comes_first)
{
	own_is("/run/user/1000", "/home/user", "/run/user/1000" USER_TAIL);
	own_is("/run/user/1000", NULL, "/run/user/1000" USER_TAIL);
	own_is("/run/user/1000", "relative", "/run/user/1000" USER_TAIL);
}
END_TEST

START_TEST(without_a_runtime_folder_it_is_the_home_folder)
{
	own_is(NULL, "/home/user", "/home/user" HOME_TAIL);
	own_is("", "/home/user", "/home/user" HOME_TAIL);
}
END_TEST

START_TEST(a_relative_runtime_folder_is_none)
{
	own_is("run/user/1000", "/home/user", "/home/user" HOME_TAIL);
	own_is("./run", "/home/user", "/home/user" HOME_TAIL);
	own_is("~/run", "/home/user", "/home/user" HOME_TAIL);
}
END_TEST

START_TEST(without_either_there_is_no_place)
{
	static const char *const none[] = { NULL, "", "relative", "./relative", "~" };

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		for (size_t j = 0; j < sizeof(none) / sizeof(none[0]); j++)
			own_fails(none[i], none[j], -ENOENT);
}
END_TEST

START_TEST(a_folder_that_is_too_long_is_an_error_and_never_cut)
{
	char folder[4096], whole[4096];

	for (size_t size = 107 - strlen(USER_TAIL); size < 200; size++) {
		strcpy(folder, path_of(size));
		strcpy(whole, folder);
		strcat(whole, USER_TAIL);
		if (strlen(whole) <= 107)
			own_is(folder, NULL, whole);
		else
			own_fails(folder, NULL, -ENAMETOOLONG);
	}
	own_fails(path_of(4000), NULL, -ENAMETOOLONG);
	/* The user said where; another place would be a surprise. */
	own_fails(path_of(4000), "/home/user", -ENAMETOOLONG);
}
END_TEST

START_TEST(a_home_that_is_too_long_is_an_error_and_never_cut)
{
	char folder[4096], whole[4096];

	strcpy(folder, path_of(107 - strlen(HOME_TAIL)));
	strcpy(whole, folder);
	strcat(whole, HOME_TAIL);
	own_is(NULL, folder, whole);
	own_fails(NULL, path_of(108 - strlen(HOME_TAIL)), -ENAMETOOLONG);
	own_fails(NULL, path_of(4000), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("endpoint");

	tcase_add_test(claims, a_unix_uri_and_an_absolute_path_are_the_same);
	tcase_add_test(claims, an_empty_place_is_none);
	tcase_add_test(claims, a_relative_place_is_refused);
	tcase_add_test(claims, an_abstract_name_is_refused);
	tcase_add_test(claims, a_named_pipe_is_for_windows);
	tcase_add_test(claims, other_schemes_are_refused);
	tcase_add_test(claims, a_path_has_at_most_107_bytes);
	tcase_add_test(claims, the_runtime_folder_comes_first);
	tcase_add_test(claims, without_a_runtime_folder_it_is_the_home_folder);
	tcase_add_test(claims, a_relative_runtime_folder_is_none);
	tcase_add_test(claims, without_either_there_is_no_place);
	tcase_add_test(claims, a_folder_that_is_too_long_is_an_error_and_never_cut);
	tcase_add_test(claims, a_home_that_is_too_long_is_an_error_and_never_cut);
	return claims_run(claims, "endpoint");
}
