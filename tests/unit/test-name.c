/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/name.h"
#include "common/wire/text.h"
#include "tests/unit/claims.h"

#define EMPTY "is empty"
#define LONG "is longer than 255 bytes"
#define NOT_UTF8 "is not UTF-8"
#define CONTROL "has a control character"
#define SPACE "begins with '~' but is neither ~/... nor ~UID/..."
#define NOTHING "names nothing inside the space"
#define HOLE "has an empty segment"
#define DOTS "has a segment \".\" or \"..\""

/* The uid with the longest space, and one that is an ordinary user's. */
#define LARGEST UINT32_C(4294967294)
#define USER UINT32_C(1000)

typedef const char *judge_fn(struct span name);

/* Judges a copy of exactly this size, so that a sanitizer sees a look behind its end. */
static const char *judge(judge_fn *fault, const void *bytes, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	const char *found;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, bytes, size);
	found = fault(span_of(copy, size));
	free(copy);
	return found;
}

static void must_be(judge_fn *fault, const void *bytes, size_t size, const char *expected)
{
	const char *found = judge(fault, bytes, size);

	ck_assert_msg(
		(found == NULL) == (expected == NULL) && (!found || strcmp(found, expected) == 0),
		"'%.*s' (%zu bytes): %s, not %s", (int)size, (const char *)bytes, size,
		found ? found : "good", expected ? expected : "good");
}

static void name_is(const char *name, const char *expected)
{
	must_be(name_fault, name, strlen(name), expected);
}

static void prefix_is(const char *prefix, const char *expected)
{
	must_be(name_prefix_fault, prefix, strlen(prefix), expected);
}

/* The beginning `start` made up to `size` bytes with the letter n. */
static const char *padded(const char *start, size_t size)
{
	static char text[1024];

	ck_assert_uint_lt(size, sizeof(text));
	ck_assert_uint_le(strlen(start), size);
	memset(text, 'n', size);
	memcpy(text, start, strlen(start));
	text[size] = '\0';
	return text;
}

/* -- the rules ----------------------------------------------------------------------------- */

START_TEST(names_of_ordinary_shape_are_good)
{
	static const char *const names[] = { "n", "web/prod/db-password", "a b", " ", "a.b", "...",
		"..a", "a..", ".a", "a/.../b", "a/.b", "mg:x", "\\", "%2f", "*", "[x]", "-n", "~/x",
		"~0/x", "~1000/x", "~4294967294/x", "\xc3\xa9t\xc3\xa9", "\xf0\x9f\x94\x91/key" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		name_is(names[i], NULL);
}
END_TEST

START_TEST(a_name_has_at_least_one_byte)
{
	name_is("", EMPTY);
	ck_assert_str_eq(name_fault(span_of(NULL, 0)), EMPTY);
}
END_TEST

START_TEST(a_name_has_at_most_255_bytes)
{
	name_is(padded("n", 255), NULL);
	name_is(padded("n", 256), LONG);
	name_is(padded("a/b/", 255), NULL);
	name_is(padded("a/b/", 256), LONG);
	name_is(padded("n", 1000), LONG);
}
END_TEST

START_TEST(the_limit_counts_bytes_not_characters)
{
	char text[256];

	for (size_t i = 0; i < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	must_be(name_fault, text, 254, NULL);
	must_be(name_fault, text, 256, LONG);
	text[254] = 'n';
	must_be(name_fault, text, 255, NULL);
}
END_TEST

START_TEST(a_name_in_a_users_space_counts_as_its_owner_says_it)
{
	name_is(padded("~/", 255), NULL);
	name_is(padded("~/", 256), LONG);
	name_is(padded("~0/", 256), NULL);
	name_is(padded("~0/", 257), LONG);
	name_is(padded("~1000/", 259), NULL);
	name_is(padded("~1000/", 260), LONG);
	name_is(padded("~4294967294/", 265), NULL);
	name_is(padded("~4294967294/", 266), LONG);
}
END_TEST

START_TEST(only_a_uid_in_the_first_segment_is_counted_so)
{
	name_is(padded("~01000/", 256), LONG);
	name_is(padded("~abc/", 256), LONG);
	name_is(padded("~4294967295/", 256), LONG);
	name_is(padded("a/~1000/", 256), LONG);
	name_is(padded("~/~1000/", 256), LONG);
	name_is(padded("1000/", 256), LONG);
}
END_TEST

START_TEST(no_segment_is_empty)
{
	static const char *const names[] = { "/", "//", "/a", "a/", "a//b", "a/b/", "//a", "a//",
		"mg://a", "~/", "~//a", "~/a/", "~1000/", "~1000//a" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		name_is(names[i], HOLE);
}
END_TEST

START_TEST(no_segment_is_a_dot_or_two)
{
	static const char *const names[] = { ".", "..", "./a", "../a", "a/.", "a/..", "a/./b",
		"a/../b", "~/.", "~/..", "~/../b", "~1000/..", "~1000/./a" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		name_is(names[i], DOTS);
}
END_TEST

/* Puts the bytes at the beginning, in the middle, at the end and alone: the answer is the same. */
static void everywhere(const void *bytes, size_t size, const char *expected)
{
	static const struct {
		const char *before, *behind;
	} places[] = { { "", "" }, { "", "n" }, { "n", "" }, { "n", "n" }, { "a/", "/b" },
		{ "~/", "" }, { "~1000/n", "n" } };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		size_t before = strlen(places[i].before);
		size_t behind = strlen(places[i].behind);
		char text[64];

		ck_assert_uint_le(before + size + behind, sizeof(text));
		memcpy(text, places[i].before, before);
		memcpy(text + before, bytes, size);
		memcpy(text + before + size, places[i].behind, behind);
		must_be(name_fault, text, before + size + behind, expected);
		must_be(name_prefix_fault, text, before + size + behind, expected);
	}
}

START_TEST(no_control_character_is_in_a_name)
{
	for (unsigned c = 0; c < 0x100; c++) {
		uint8_t byte = (uint8_t)c;
		uint8_t two[] = { 0xc2, byte };

		if (c < 0x20 || c == 0x7f)
			everywhere(&byte, 1, CONTROL);
		if (c >= 0x80 && c <= 0x9f)
			everywhere(two, 2, CONTROL);
		if (c >= 0xa0 && c <= 0xbf)
			everywhere(two, 2, NULL);
	}
	everywhere(" ", 1, NULL);
	/* A byte of C1 that is part of another character is no control character. */
	everywhere("\xc3\x9f", 2, NULL);
}
END_TEST

START_TEST(a_nul_ends_no_name_early)
{
	must_be(name_fault, "a\0b", 3, CONTROL);
	must_be(name_fault, "a\0", 2, CONTROL);
	must_be(name_fault, "\0", 1, CONTROL);
	must_be(name_fault, "a\0/..", 5, CONTROL);
	must_be(name_prefix_fault, "a\0", 2, CONTROL);
}
END_TEST

/* -- UTF-8 --------------------------------------------------------------------------------- */

struct bytes {
	const char *text;
	size_t size;
};

#define BYTES(text) \
	{ \
		text, sizeof(text) - 1 \
	}

static void all_are(const struct bytes *list, size_t count, const char *expected)
{
	for (size_t i = 0; i < count; i++)
		everywhere(list[i].text, list[i].size, expected);
}

START_TEST(the_outermost_characters_of_each_length_are_good)
{
	static const struct bytes good[] = { BYTES("\x21"), BYTES("\x7d"), BYTES("\xc2\xa0"),
		BYTES("\xdf\xbf"), BYTES("\xe0\xa0\x80"), BYTES("\xed\x9f\xbf"),
		BYTES("\xee\x80\x80"), BYTES("\xef\xbf\xbf"), BYTES("\xf0\x90\x80\x80"),
		BYTES("\xf4\x8f\xbf\xbf") };

	all_are(good, sizeof(good) / sizeof(good[0]), NULL);
}
END_TEST

START_TEST(overlong_forms_are_refused)
{
	/* Among them '/', '.', NUL and DEL in forms longer than their own. */
	static const struct bytes bad[] = { BYTES("\xc0\x80"), BYTES("\xc0\xae"), BYTES("\xc0\xaf"),
		BYTES("\xc1\xbf"), BYTES("\xe0\x80\x80"), BYTES("\xe0\x80\xaf"),
		BYTES("\xe0\x9f\xbf"), BYTES("\xf0\x80\x80\xaf"), BYTES("\xf0\x80\x81\xbf"),
		BYTES("\xf0\x8f\xbf\xbf"), BYTES("\xf8\x80\x80\x80\xaf"),
		BYTES("\xfc\x80\x80\x80\x80\xaf") };

	all_are(bad, sizeof(bad) / sizeof(bad[0]), NOT_UTF8);
}
END_TEST

START_TEST(surrogates_are_refused)
{
	static const struct bytes bad[] = { BYTES("\xed\xa0\x80"), BYTES("\xed\xad\xbf"),
		BYTES("\xed\xae\x80"), BYTES("\xed\xbf\xbf"), BYTES("\xed\xa0\xbd\xed\xb4\x91") };

	all_are(bad, sizeof(bad) / sizeof(bad[0]), NOT_UTF8);
}
END_TEST

START_TEST(what_lies_above_the_last_character_is_refused)
{
	static const struct bytes bad[] = { BYTES("\xf4\x90\x80\x80"), BYTES("\xf5\x80\x80\x80"),
		BYTES("\xf7\xbf\xbf\xbf"), BYTES("\xf8\x88\x80\x80\x80"),
		BYTES("\xfc\x84\x80\x80\x80\x80"), BYTES("\xfe"), BYTES("\xff") };

	all_are(bad, sizeof(bad) / sizeof(bad[0]), NOT_UTF8);
}
END_TEST

START_TEST(truncated_and_stray_bytes_are_refused)
{
	static const struct bytes bad[] = { BYTES("\xc3"), BYTES("\xe2"), BYTES("\xe2\x82"),
		BYTES("\xf0"), BYTES("\xf0\x9f"), BYTES("\xf0\x9f\x94"), BYTES("\x80"),
		BYTES("\xbf"), BYTES("\xc3\xa9\xa9"), BYTES("\xc3\x28"), BYTES("\xe2\x28\xa1"),
		BYTES("\xe2\x82\x28"), BYTES("\xf0\x28\x8c\xbc"), BYTES("\xf0\x9f\x28\xbc"),
		BYTES("\xf0\x9f\x94\x28"), BYTES("\xc3\xc3\xa9"), BYTES("\xe2\x82\xc3") };

	all_are(bad, sizeof(bad) / sizeof(bad[0]), NOT_UTF8);
}
END_TEST

/* The one form of a character. Source: RFC 3629. */
static size_t encode(uint8_t out[static 4], uint32_t c)
{
	static const uint8_t leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = size; i-- > 1; c >>= 6)
		out[i] = (uint8_t)(0x80 | (c & 0x3f));
	out[0] = (uint8_t)(leads[size] | c);
	return size;
}

START_TEST(every_character_is_good_but_for_controls_and_surrogates)
{
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		uint8_t form[4];
		size_t size = encode(form, c);
		const char *fault = text_fault(span_of(form, size));
		const char *expected = NULL;

		if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
			expected = CONTROL;
		if (c >= 0xd800 && c <= 0xdfff)
			expected = NOT_UTF8;
		if (fault != expected && (!fault || !expected || strcmp(fault, expected) != 0))
			ck_abort_msg("U+%04X: %s", c, fault ? fault : "good");
	}
}
END_TEST

/* How many strings of `size` bytes are good whose first is `lead` to `last` and no other is. */
static size_t count_good(size_t size, unsigned lead, unsigned last)
{
	size_t good = 0;

	for (unsigned first = lead; first <= last; first++)
		for (uint32_t rest = 0; rest < UINT32_C(1) << 6 * (size - 1); rest++) {
			uint8_t form[4] = { (uint8_t)first };

			for (size_t i = 1; i < size; i++)
				form[i] = (uint8_t)(0x80 | (rest >> 6 * (size - 1 - i) & 0x3f));
			good += text_fault(span_of(form, size)) == NULL;
		}
	return good;
}

/* Each character is good in its own form; as many forms are good as there are: so no other is. */
START_TEST(no_character_has_a_second_form)
{
	ck_assert_uint_eq(count_good(2, 0xc0, 0xdf), 0x800 - 0xa0);
	ck_assert_uint_eq(count_good(3, 0xe0, 0xef), 0x10000 - 0x800 - 0x800);
	ck_assert_uint_eq(count_good(4, 0xf0, 0xf7), 0x110000 - 0x10000);
	ck_assert_uint_eq(count_good(3, 0x80, 0xdf), 0);
	ck_assert_uint_eq(count_good(4, 0xf8, 0xff), 0);
}
END_TEST

/* -- spaces -------------------------------------------------------------------------------- */

START_TEST(a_first_segment_with_a_tilde_is_a_uid_or_nothing)
{
	static const char *const names[] = { "~a/x", "~root/x", "~~/x", "~1000x/y", "~x1000/y",
		"~-1/x", "~+1/x", "~ 1/x", "~1 /x", "~01000/x", "~00/x", "~0x10/y", "~1.0/x",
		"~4294967295/x", "~4294967296/x", "~9999999999/x", "~10000000000/x",
		"~18446744073709551617/x", "~\xd9\xa1/x", "~a", "~~" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		name_is(names[i], SPACE);
		prefix_is(names[i], SPACE);
	}
}
END_TEST

START_TEST(a_space_alone_is_no_name)
{
	name_is("~", NOTHING);
	name_is("~0", NOTHING);
	name_is("~1000", NOTHING);
	name_is("~4294967294", NOTHING);
}
END_TEST

START_TEST(other_segments_may_hold_any_tilde)
{
	static const char *const names[] = { "a/~", "a/~b", "a/~1000/b", "a/~01/b", "~/~",
		"~/~1000", "~/~x/y", "~1000/~", "a~", "a~b/c", "a/~~" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		name_is(names[i], NULL);
}
END_TEST

/* -- prefixes ------------------------------------------------------------------------------ */

START_TEST(a_prefix_may_be_empty_or_end_in_the_middle)
{
	static const char *const prefixes[] = { "", "w", "web", "web/", "web/.", "web/..", ".",
		"..", "~", "~/", "~/.", "~1", "~10", "~1000", "~1000/", "~4294967294/" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		prefix_is(prefixes[i], NULL);
	ck_assert_ptr_null(name_prefix_fault(span_of(NULL, 0)));
}
END_TEST

START_TEST(what_no_name_can_begin_with_is_no_prefix)
{
	static const char *const holes[] = { "/", "//", "/a", "a//", "a//b", "~//", "~1000//" };
	static const char *const dots[] = { "./", "../", "a/./", "a/../", "a/../b", "~/../" };

	for (size_t i = 0; i < sizeof(holes) / sizeof(holes[0]); i++)
		prefix_is(holes[i], HOLE);
	for (size_t i = 0; i < sizeof(dots) / sizeof(dots[0]); i++)
		prefix_is(dots[i], DOTS);
}
END_TEST

START_TEST(a_prefix_is_no_longer_than_a_name)
{
	prefix_is(padded("n", 255), NULL);
	prefix_is(padded("n", 256), LONG);
	prefix_is(padded("~4294967294/", 265), NULL);
	prefix_is(padded("~4294967294/", 266), LONG);
}
END_TEST

START_TEST(every_beginning_of_a_name_is_a_prefix)
{
	static const char *const names[] = { "web/prod/db", "..a/.b./...", "~/a/..b", "~1000/x",
		"~4294967294/\xf0\x9f\x94\x91/k\xc3\xa9y", "~0/~/~1" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t size = strlen(names[i]);

		name_is(names[i], NULL);
		for (size_t cut = 0; cut <= size; cut++) {
			bool inside = cut < size && ((uint8_t)names[i][cut] & 0xc0) == 0x80;

			must_be(name_prefix_fault, names[i], cut, inside ? NOT_UTF8 : NULL);
		}
	}
}
END_TEST

/* -- filing and showing -------------------------------------------------------------------- */

/* What is behind the end is not touched: the room is exactly what the header asks for. */
static void files_as(const char *name, uint32_t uid, const char *expected)
{
	char *out = malloc(NAME_FILED_MAX);
	size_t size;

	ck_assert_ptr_nonnull(out);
	size = name_file(out, span_text(name), uid);
	ck_assert_uint_eq(size, strlen(expected));
	ck_assert_mem_eq(out, expected, size);
	free(out);
}

static void shows_as(const char *filed, uint32_t uid, const char *expected)
{
	char *out = malloc(NAME_FILED_MAX);
	size_t size;

	ck_assert_ptr_nonnull(out);
	size = name_show(out, span_text(filed), uid);
	ck_assert_uint_eq(size, strlen(expected));
	ck_assert_mem_eq(out, expected, size);
	free(out);
}

START_TEST(the_callers_own_space_is_filed_under_its_uid)
{
	files_as("~/x", USER, "~1000/x");
	files_as("~/x/~/y", USER, "~1000/x/~/y");
	files_as("~/x", 0, "~0/x");
	files_as("~/x", LARGEST, "~4294967294/x");
	files_as("~", USER, "~1000");
	files_as("~/", USER, "~1000/");
}
END_TEST

START_TEST(everything_else_is_filed_as_it_is)
{
	files_as("web/db", USER, "web/db");
	files_as("~2000/x", USER, "~2000/x");
	files_as("~1000/x", USER, "~1000/x");
	files_as("~2", USER, "~2");
	files_as("a/~/x", USER, "a/~/x");
	files_as("", USER, "");
	ck_assert_uint_eq(name_file((char[NAME_FILED_MAX]){ 0 }, span_of(NULL, 0), USER), 0);
}
END_TEST

START_TEST(a_user_is_shown_its_own_space_as_its_own)
{
	shows_as("~1000/x", USER, "~/x");
	shows_as("~1000/", USER, "~/");
	shows_as("~1000/~1000/x", USER, "~/~1000/x");
	shows_as("~0/x", 0, "~/x");
	shows_as("~4294967294/x", LARGEST, "~/x");
}
END_TEST

START_TEST(another_users_space_is_shown_as_it_is)
{
	shows_as("~1000/x", 2000, "~1000/x");
	shows_as("~10000/x", USER, "~10000/x");
	shows_as("~100/x", USER, "~100/x");
	shows_as("~1000", USER, "~1000");
	shows_as("web/~1000/x", USER, "web/~1000/x");
	shows_as("web", USER, "web");
	shows_as("", USER, "");
}
END_TEST

START_TEST(the_longest_name_is_filed_and_shown_without_loss)
{
	char name[256], filed[NAME_FILED_MAX + 1];

	strcpy(name, padded("~/", 255));
	strcpy(filed, padded("~4294967294/", NAME_FILED_MAX));
	files_as(name, LARGEST, filed);
	shows_as(filed, LARGEST, name);
	/* Anybody else can say that name, too. */
	name_is(filed, NULL);
	files_as(filed, USER, filed);
	shows_as(filed, USER, filed);
}
END_TEST

START_TEST(a_name_lies_in_the_space_of_its_uid_and_in_no_other)
{
	ck_assert(name_is_of(span_text("~1000/x"), USER));
	ck_assert(name_is_of(span_text("~1000/"), USER));
	ck_assert(name_is_of(span_text("~0/x"), 0));
	ck_assert(name_is_of(span_text("~4294967294/x"), LARGEST));
	ck_assert(!name_is_of(span_text("~1000/x"), 100));
	ck_assert(!name_is_of(span_text("~1000/x"), 10000));
	ck_assert(!name_is_of(span_text("~100/x"), USER));
	ck_assert(!name_is_of(span_text("~1000"), USER));
	ck_assert(!name_is_of(span_text("~"), 0));
	ck_assert(!name_is_of(span_text("~/x"), 0));
	ck_assert(!name_is_of(span_text("1000/x"), USER));
	ck_assert(!name_is_of(span_text("a/~1000/x"), USER));
	ck_assert(!name_is_of(span_text("web"), USER));
	ck_assert(!name_is_of(span_of(NULL, 0), 0));
}
END_TEST

static void add_rules(TCase *claims)
{
	tcase_add_test(claims, names_of_ordinary_shape_are_good);
	tcase_add_test(claims, a_name_has_at_least_one_byte);
	tcase_add_test(claims, a_name_has_at_most_255_bytes);
	tcase_add_test(claims, the_limit_counts_bytes_not_characters);
	tcase_add_test(claims, a_name_in_a_users_space_counts_as_its_owner_says_it);
	tcase_add_test(claims, only_a_uid_in_the_first_segment_is_counted_so);
	tcase_add_test(claims, no_segment_is_empty);
	tcase_add_test(claims, no_segment_is_a_dot_or_two);
	tcase_add_test(claims, no_control_character_is_in_a_name);
	tcase_add_test(claims, a_nul_ends_no_name_early);
}

static void add_characters(TCase *claims)
{
	tcase_add_test(claims, the_outermost_characters_of_each_length_are_good);
	tcase_add_test(claims, overlong_forms_are_refused);
	tcase_add_test(claims, surrogates_are_refused);
	tcase_add_test(claims, what_lies_above_the_last_character_is_refused);
	tcase_add_test(claims, truncated_and_stray_bytes_are_refused);
	tcase_add_test(claims, every_character_is_good_but_for_controls_and_surrogates);
	tcase_add_test(claims, no_character_has_a_second_form);
}

static void add_spaces(TCase *claims)
{
	tcase_add_test(claims, a_first_segment_with_a_tilde_is_a_uid_or_nothing);
	tcase_add_test(claims, a_space_alone_is_no_name);
	tcase_add_test(claims, other_segments_may_hold_any_tilde);
	tcase_add_test(claims, a_prefix_may_be_empty_or_end_in_the_middle);
	tcase_add_test(claims, what_no_name_can_begin_with_is_no_prefix);
	tcase_add_test(claims, a_prefix_is_no_longer_than_a_name);
	tcase_add_test(claims, every_beginning_of_a_name_is_a_prefix);
	tcase_add_test(claims, the_callers_own_space_is_filed_under_its_uid);
	tcase_add_test(claims, everything_else_is_filed_as_it_is);
	tcase_add_test(claims, a_user_is_shown_its_own_space_as_its_own);
	tcase_add_test(claims, another_users_space_is_shown_as_it_is);
	tcase_add_test(claims, the_longest_name_is_filed_and_shown_without_loss);
	tcase_add_test(claims, a_name_lies_in_the_space_of_its_uid_and_in_no_other);
}

int main(void)
{
	TCase *claims = tcase_create("name");

	tcase_set_timeout(claims, 60);
	add_rules(claims);
	add_characters(claims);
	add_spaces(claims);
	return claims_run(claims, "name");
}
