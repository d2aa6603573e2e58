/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/unit/claims.h"

/* What comes from files and callers stands in a line of the log, and steers nothing there. */

static void is_told(const char *words, const char *wanted)
{
	char line[2048], text[2048];
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t size;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	log_warning("%s", words);
	ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
	close(saved);
	close(ends[1]);
	size = read(ends[0], line, sizeof(line) - 1);
	close(ends[0]);
	ck_assert_int_gt(size, 0);
	line[size] = '\0';
	snprintf(text, sizeof(text), "memguardd: %s\n", wanted);
	ck_assert_str_eq(line, text);
}

START_TEST(a_line_is_one_line_of_text)
{
	is_told("the.conf:1: 'plain'", "the.conf:1: 'plain'");
	is_told("\xc3\xbc, \xe2\x9c\x93 and \xf0\x9f\x98\x80",
		"\xc3\xbc, \xe2\x9c\x93 and \xf0\x9f\x98\x80");
	is_told("two\nlines\tand \x1b[2J \x7f", "two?lines?and ?[2J ?");
	/* CSI as one byte, and as one character. */
	is_told("'\x9b"
		"2J'",
		"'?2J'");
	is_told("'\xc2\x9b"
		"2J'",
		"'??2J'");
	is_told("\xff\xfe", "??");
	is_told("\xed\xa0\x80", "???");
}
END_TEST

/* A line that is too long is cut, in the middle of a character for one. */
START_TEST(a_cut_character_is_none)
{
	char words[2048] = "", wanted[1024];

	for (size_t i = 0; i < 1000; i += 2)
		memcpy(words + i, "\xc3\xbc", 3);
	is_told(words, words);
	for (size_t i = 1000; i < 1800; i += 2)
		memcpy(words + i, "\xc3\xbc", 3);
	memset(wanted, '?', sizeof(wanted));
	wanted[1023] = '\0';
	is_told(words, wanted);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("log");

	tcase_add_test(claims, a_line_is_one_line_of_text);
	tcase_add_test(claims, a_cut_character_is_none);
	return claims_run(claims, "log");
}
