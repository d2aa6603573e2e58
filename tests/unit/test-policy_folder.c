/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_folder.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/policy/policy.h"
#include "daemon/reload_kept.h"
#include "tests/unit/claims.h"

/* Files of policies, and what is kept of them for when they are others. */

static char folder[256];
static char file[512];
static struct config_fault fault;
static struct policy_sources sources;

static void set_up(void)
{
	const char *parent = getenv("TMPDIR");

	umask(0022);
	snprintf(folder, sizeof(folder), "%s/memguardd-policy-XXXXXX", parent ? parent : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/a.conf", folder);
}

static void tear_down(void)
{
	policy_sources_finish(&sources);
	unlink(file);
	ck_assert_int_eq(rmdir(folder), 0);
}

static void file_says(const char *text)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(close(fd), 0);
}

static struct policy_book *read_folder(const char *path, bool optional, int expected)
{
	struct policy_book *book;

	memset(&fault, 0, sizeof(fault));
	ck_assert_int_eq(policy_folder_read(&book, &sources, path, optional, &fault), expected);
	ck_assert_int_eq(fault.text[0] != '\0', expected != 0);
	return book;
}

static bool denies(struct policy_book *book, const char *name)
{
	const struct policy policy = { .own = 0, .book = book };
	const struct policy_subject root = { 0 };
	struct policy_verdict verdict =
		policy_decide(&policy, &root, RIGHT_GET, span_text(name), 0);

	ck_assert(verdict.allowed || strcmp(verdict.file, file) == 0);
	return !verdict.allowed;
}

START_TEST(only_a_folder_that_is_not_there_at_all_is_optional)
{
	char link[600];

	snprintf(link, sizeof(link), "%s/link", folder);
	ck_assert_ptr_null(read_folder(link, true, 0));
	read_folder(link, false, -EBADMSG);
	ck_assert_int_eq(symlink("nowhere", link), 0);
	read_folder(link, true, -EBADMSG);
	ck_assert_ptr_nonnull(strstr(fault.text, "No such file"));
	ck_assert_int_eq(unlink(link), 0);
	ck_assert_int_eq(symlink(folder, link), 0);
	policy_book_free(read_folder(link, true, 0));
	ck_assert_int_eq(unlink(link), 0);
	file_says("");
	read_folder(file, true, -EBADMSG);
	ck_assert_ptr_nonnull(strstr(fault.text, "is no folder"));
}
END_TEST

/* None of them may keep us waiting, or be passed over. */
START_TEST(what_is_no_file_is_refused)
{
	ck_assert_int_eq(mkfifo(file, 0644), 0);
	read_folder(folder, false, -EBADMSG);
	ck_assert_ptr_nonnull(strstr(fault.text, "a.conf: is no regular file"));
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(symlink("nowhere", file), 0);
	read_folder(folder, false, -EBADMSG);
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(mkdir(file, 0755), 0);
	read_folder(folder, false, -EBADMSG);
	ck_assert_int_eq(rmdir(file), 0);
}
END_TEST

/* As it is when somebody has removed the user since: nobody is asked again. */
START_TEST(what_is_kept_says_the_same_without_the_files_and_the_users)
{
	struct passwd *self = getpwuid(0);
	struct policy_book *book;
	char text[256], *named;

	ck_assert_ptr_nonnull(self);
	snprintf(text, sizeof(text), "[namespace web]\ndeny = get ** user:%s\n", self->pw_name);
	file_says(text);
	policy_book_free(read_folder(folder, false, 0));
	/* A name that nobody has, in the text and in what was found. */
	for (size_t i = 0, size = strlen(self->pw_name); i + size <= sources.size; i++) {
		named = (char *)sources.bytes + i;
		if (memcmp(named, self->pw_name, size) == 0)
			memset(named, 'Q', size);
	}
	ck_assert_int_eq(
		policy_sources_book(span_of(sources.bytes, sources.size), &book, &fault), 0);
	ck_assert(denies(book, "web/x"));
	ck_assert(!denies(book, "x"));
	policy_book_free(book);
}
END_TEST

START_TEST(what_is_kept_is_whole_or_nothing)
{
	struct policy_book *book;
	size_t whole = 0;

	file_says("[namespace web]\ndeny = get ** user:root\n");
	policy_book_free(read_folder(folder, false, 0));
	for (size_t size = 0; size <= sources.size; size++) {
		int r = policy_sources_book(span_of(sources.bytes, size), &book, &fault);

		ck_assert(r == 0 || r == -EBADMSG);
		if (r != 0)
			continue;
		whole++;
		ck_assert(size == 0 || size == sources.size);
		policy_book_free(book);
	}
	ck_assert_uint_eq(whole, 2);
}
END_TEST

START_TEST(settings_and_policy_come_back_from_a_file_that_nobody_changes)
{
	struct config config = { .max_value = 12345 }, back = { 0 };
	struct policy_book *book;
	int fd;

	file_says("[namespace web]\ndeny = get ** uid:0\n");
	policy_book_free(read_folder(folder, false, 0));
	fd = reload_kept_write(&config, &sources);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "x", 1), -1);
	ck_assert_int_eq(ftruncate(fd, 1), -1);
	ck_assert_int_eq(reload_kept_read(fd, &back, &book, &fault), 0);
	ck_assert_uint_eq(back.max_value, 12345);
	ck_assert(denies(book, "web/x"));
	policy_book_free(book);
	close(fd);
	fd = reload_kept_write(&config, NULL);
	ck_assert_int_eq(reload_kept_read(fd, &back, &book, &fault), 0);
	ck_assert_ptr_null(book);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("policy_folder");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, only_a_folder_that_is_not_there_at_all_is_optional);
	tcase_add_test(claims, what_is_no_file_is_refused);
	tcase_add_test(claims, what_is_kept_says_the_same_without_the_files_and_the_users);
	tcase_add_test(claims, what_is_kept_is_whole_or_nothing);
	tcase_add_test(claims, settings_and_policy_come_back_from_a_file_that_nobody_changes);
	return claims_run(claims, "policy_folder");
}
