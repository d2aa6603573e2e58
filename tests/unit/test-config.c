/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/policy/policy_right.h"
#include "tests/unit/claims.h"

/* What a text means; where it comes from is told in test-config_load.c. */

#define MIB ((size_t)1 << 20)

static struct config_fault fault;

/* -- a text -------------------------------------------------------------------------------- */

static void set_defaults(struct config *config)
{
	memset(config, 0, sizeof(*config));
	config->socket_group = (gid_t)-1;
	config->max_value = MIB;
	config->rekey_ms = 500;
}

/* Reads a copy of exactly this size, so that a sanitizer sees a look behind its end. */
static int parse(struct config *config, const char *text, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);
	int r;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, text, size);
	memset(&fault, 0, sizeof(fault));
	r = config_parse(config, copy, size, "the.conf", &fault);
	free(copy);
	return r;
}

static void taken(struct config *config, const char *text)
{
	set_defaults(config);
	ck_assert_msg(parse(config, text, strlen(text)) == 0, "%s", fault.text);
	ck_assert_str_eq(fault.text, "");
}

/* The fault names file, line and `word`; nothing of the text has come into the configuration. */
static void refused_bytes(const char *text, size_t size, unsigned line, const char *word)
{
	struct config config, before;
	char place[64];

	set_defaults(&config);
	memcpy(&before, &config, sizeof(config));
	ck_assert_msg(parse(&config, text, size) == -EBADMSG, "taken: %s", text);
	ck_assert_mem_eq(&config, &before, sizeof(config));
	snprintf(place, sizeof(place), "the.conf:%u: ", line);
	ck_assert_msg(strncmp(fault.text, place, strlen(place)) == 0 && strstr(fault.text, word),
		"'%s' is not about line %u and '%s'", fault.text, line, word);
}

static void refused(const char *text, unsigned line, const char *word)
{
	refused_bytes(text, strlen(text), line, word);
}

/* "key = value" in its section. */
static const char *setting(const char *key, const char *value)
{
	static char text[1024];

	ck_assert_int_lt(
		snprintf(text, sizeof(text), "[daemon]\n%s = %s\n", key, value), sizeof(text));
	return text;
}

static void none_taken(const char *key, const char *const *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		refused(setting(key, values[i]), 2, key);
}

#define NONE_TAKEN(key, ...) \
	do { \
		static const char *const values[] = { __VA_ARGS__ }; \
\
		none_taken(key, values, sizeof(values) / sizeof(values[0])); \
	} while (0)

START_TEST(an_empty_text_changes_nothing)
{
	static const char *const texts[] = { "", "\n", "\n\n\n", "[daemon]", "[daemon]\n",
		"# words", "; words\n# words\n", " \t \n", "\xef\xbb\xbf",
		"[daemon]\n\n# socket = x\n" };
	struct config config, before;

	set_defaults(&before);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		taken(&config, texts[i]);
		ck_assert_mem_eq(&config, &before, sizeof(config));
	}
}
END_TEST

START_TEST(every_key_is_taken)
{
	struct config config;

	taken(&config,
		"[daemon]\n"
		"socket = unix:/run/x/socket\n"
		"socket-mode = 0660\n"
		"socket-group = adm\n"
		"memory = require-lock\n"
		"max-value = 64k\n"
		"rekey-interval = 2s\n");
	ck_assert_str_eq(config.socket.path, "/run/x/socket");
	ck_assert(config.socket_given);
	ck_assert_uint_eq(config.socket_mode, 0660);
	ck_assert(config.socket_mode_given);
	ck_assert_str_eq(config.socket_group_name, "adm");
	ck_assert_int_eq(config.memory, OS_MEMORY_REQUIRE_LOCK);
	ck_assert_uint_eq(config.max_value, 65536);
	ck_assert_uint_eq(config.rekey_ms, 2000);
}
END_TEST

START_TEST(a_key_changes_its_own_setting_alone)
{
	struct config config, before;

	set_defaults(&before);
	taken(&config, setting("max-value", "2m"));
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	config.max_value = before.max_value;
	memset(config.lines, 0, sizeof(config.lines));
	ck_assert_mem_eq(&config, &before, sizeof(config));
	taken(&config, setting("memory", "require-secretmem"));
	ck_assert_int_eq(config.memory, OS_MEMORY_REQUIRE_SECRET);
	config.memory = before.memory;
	memset(config.lines, 0, sizeof(config.lines));
	ck_assert_mem_eq(&config, &before, sizeof(config));
}
END_TEST

START_TEST(spaces_comments_and_colons_are_as_in_any_ini_file)
{
	static const char *const texts[] = { "[daemon]\nmax-value=2m",
		"[daemon]\nmax-value\t=\t2m\n", "[daemon]\n  max-value = 2m  \n",
		"[daemon]\nmax-value : 2m\n", "[daemon]\nmax-value = 2m ; large\n",
		"[daemon] ; ours\nmax-value = 2m\n", "[daemon] # ours\nmax-value = 2m\n",
		"  [daemon]  \t\nmax-value = 2m\n",
		"# a\n; b\n\n[daemon]\n# c\nmax-value = 2m\n# d",
		"[daemon]\n[daemon]\nmax-value = 2m\n[daemon]\n" };
	struct config config;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		taken(&config, texts[i]);
		ck_assert_uint_eq(config.max_value, 2 * MIB);
	}
}
END_TEST

START_TEST(a_file_from_windows_is_read)
{
	struct config config;

	taken(&config, "\xef\xbb\xbf[daemon]\r\nsocket = /a b\r\n\r\nmax-value = 2m\r\n");
	ck_assert_str_eq(config.socket.path, "/a b");
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	refused("\xef\xbb\xbf[daemon]\r\n\r\nnonsense = 1\r\n", 3, "nonsense");
	/* A byte order mark is one at the beginning alone. */
	refused("[daemon]\n\xef\xbb\xbfmax-value = 2m\n", 2, "unknown key");
	refused("\xef\xbb\xbf\xef\xbb\xbf[daemon]\n", 1, "neither");
	/* UTF-16, as that system's own editor may write it. */
	refused_bytes("\xff\xfe[\0d\0", 6, 1, "NUL");
}
END_TEST

START_TEST(an_unknown_key_is_an_error_with_file_and_line)
{
	refused("[daemon]\nnonsense = 1\n", 2, "unknown key 'nonsense'");
	refused("# words\n\n[daemon]\n\n\nmax-value = 2m\nnonsense = 1\n", 7, "'nonsense'");
	refused("[daemon]\nnonsense = 1", 2, "'nonsense'");
	refused("[daemon]\nMax-Value = 2m\n", 2, "'Max-Value'");
	refused("[daemon]\nmax_value = 2m\n", 2, "'max_value'");
	refused("[daemon]\nmax-valu = 2m\n", 2, "'max-valu'");
	refused("[daemon]\nmax-value2 = 2m\n", 2, "'max-value2'");
	refused("[daemon]\n= 2m\n", 2, "unknown key");
	refused("[daemon]\n--max-value = 2m\n", 2, "'--max-value'");
	/* Options of the command line that are no settings. */
	refused("[daemon]\nconfig = /a\n", 2, "unknown key 'config'");
	refused("[daemon]\nhelp = 1\n", 2, "unknown key 'help'");
}
END_TEST

START_TEST(an_unknown_section_is_an_error_with_file_and_line)
{
	refused("[demon]\nmax-value = 2m\n", 1, "unknown section [demon]");
	refused("[Daemon]\nmax-value = 2m\n", 1, "[Daemon]");
	refused("[ daemon ]\nmax-value = 2m\n", 1, "[ daemon ]");
	refused("[daemon2]\nmax-value = 2m\n", 1, "[daemon2]");
	refused("[daemon\nmax-value = 2m\n", 1, "unknown section [daemon");
	refused("[[daemon]\nmax-value = 2m\n", 1, "[[daemon]");
	refused("[]\nmax-value = 2m\n", 1, "unknown section []");
	refused("[daemon]\nmax-value = 2m\n\n[listeners tcp]\npath = /a\n", 4, "[listeners tcp]");
	refused("\xef\xbb\xbf[demon]\n", 1, "unknown section [demon]");
	/* An empty one, too: what stood in it may have been forgotten. */
	refused("[daemon]\n\n[namespace web]", 3, "[namespace web]");
	refused("[daemon]\n  [namespace web]  \n", 2, "[namespace web]");
}
END_TEST

START_TEST(a_setting_before_any_section_is_refused)
{
	refused("max-value = 2m\n", 1, "before any section");
	refused("\n# words\nmax-value = 2m\n[daemon]\n", 3, "before any section");
}
END_TEST

START_TEST(a_setting_behind_the_section_is_never_lost)
{
	refused("[daemon] memory = require-secretmem\n", 1, "[daemon]");
	refused("[daemon]memory = require-secretmem\n", 1, "[daemon]");
	refused("[daemon]\nmax-value = 2m\n [daemon] memory = require-lock\n", 3, "[daemon]");
	refused("[daemon]]\nmax-value = 2m\n", 1, "[daemon]");
	refused("[daemon] words\n", 1, "[daemon]");
	/* The ends of lines of a system that is no more: the whole file is one line. */
	refused("[daemon]\rmemory = require-secretmem\r", 1, "[daemon]");
	refused("\xef\xbb\xbf[daemon] words\n", 1, "[daemon]");
}
END_TEST

START_TEST(a_line_that_is_nothing_is_refused)
{
	refused("[daemon]\nmax-value\n", 2, "neither");
	refused("[daemon]\nwords and words\n", 2, "neither");
	refused("words", 1, "neither");
	refused("[daemon]\nmax-value = 2m\n\nmax-value 2m\n", 4, "neither");
}
END_TEST

START_TEST(a_key_stands_once)
{
	refused("[daemon]\nmax-value = 2m\nmax-value = 2m\n", 3, "first in line 2");
	refused("[daemon]\nmax-value = 2m\n\nmemory = require-lock\n[daemon]\n\nmax-value = 3m\n",
		7, "'max-value' is set a second time (first in line 2)");
	refused("[daemon]\nsocket = /a\nsocket = /b\n", 3, "'socket'");
}
END_TEST

START_TEST(an_indented_line_is_never_part_of_the_one_above)
{
	refused("[daemon]\nmax-value = 2m\n  3m\n", 3, "max-value");
	refused("[daemon]\nsocket = /a\n\tmemory = require-lock\n", 3, "socket");
}
END_TEST

START_TEST(one_fault_takes_nothing_of_the_file)
{
	refused("[daemon]\nsocket = /a\nmemory = require-lock\nrekey-interval = 2s\nx = 1\n", 5,
		"x");
	refused("[daemon]\nmax-value = 0\nsocket = /a\n", 2, "max-value");
	refused("[daemon]\nsocket = /a\nsocket-mode = 0600\nwords\n", 4, "neither");
}
END_TEST

/* -- values -------------------------------------------------------------------------------- */

START_TEST(a_socket_is_an_absolute_path)
{
	char text[256] = "/";
	struct config config;

	taken(&config, setting("socket", "/run/a:b=c"));
	ck_assert_str_eq(config.socket.path, "/run/a:b=c");
	memset(text + 1, 's', 107);
	NONE_TAKEN(
		"socket", "", "socket", "unix:", "unix:socket", "npipe:x", "\"/a\"", "@a", "~/a");
	refused(setting("socket", text), 2, "107 bytes");
	text[107] = '\0';
	taken(&config, setting("socket", text));
	ck_assert_str_eq(config.socket.path, text);
}
END_TEST

START_TEST(a_mode_is_three_or_four_octal_digits)
{
	static const struct {
		const char *text;
		mode_t mode;
	} good[] = { { "0600", 0600 }, { "600", 0600 }, { "0666", 0666 }, { "660", 0660 },
		{ "0777", 0777 }, { "0000", 0 } };
	struct config config;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		taken(&config, setting("socket-mode", good[i].text));
		ck_assert_uint_eq(config.socket_mode, good[i].mode);
	}
	NONE_TAKEN("socket-mode", "", "6", "66", "06000", "1777", "4755", "7777", "0800", "668",
		"0x180", "0o600", "-600", "+600", "rw-", "u=rw", "60 0", "0600,0660");
}
END_TEST

START_TEST(a_memory_is_one_of_three_words)
{
	struct config config;

	taken(&config, setting("memory", "prefer-lock"));
	ck_assert_int_eq(config.memory, OS_MEMORY_PREFER_LOCK);
	taken(&config, setting("memory", "require-lock"));
	ck_assert_int_eq(config.memory, OS_MEMORY_REQUIRE_LOCK);
	taken(&config, setting("memory", "require-secretmem"));
	ck_assert_int_eq(config.memory, OS_MEMORY_REQUIRE_SECRET);
	NONE_TAKEN("memory", "", "lock", "require", "require_lock", "Require-Lock", "require-lockx",
		"require-secret", "1", "yes", "require-lock prefer-lock");
}
END_TEST

START_TEST(a_size_is_a_number_with_a_unit_up_to_a_gibibyte)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = { { "1", 1 }, { "4096", 4096 }, { "1k", 1024 }, { "64k", 65536 }, { "1m", MIB },
		{ "64m", 64 * MIB }, { "1g", 1024 * MIB }, { "1024m", 1024 * MIB },
		{ "1073741824", 1024 * MIB }, { "007", 7 } };
	struct config config;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		taken(&config, setting("max-value", good[i].text));
		ck_assert_uint_eq(config.max_value, good[i].size);
	}
	NONE_TAKEN("max-value", "", "0", "0k", "-1", "+1", "k", "1 k", "1kb", "1K", "1M", "1.5m",
		"1e3", "0x10", "1t", "ten", "2g", "1025m", "1073741825", "18446744073709551615",
		"18446744073709551616", "18446744073709551617", "99999999999999999999999k",
		/* These are small once cut to 64 bits. */
		"18014398509481985k", "17592186044417m", "17179869185g");
}
END_TEST

START_TEST(a_quota_is_a_number_or_a_size_or_none)
{
	struct config config;

	taken(&config, setting("quota-count", "10k"));
	ck_assert_uint_eq(config.quotas.count, 10000);
	taken(&config, setting("quota-count", "1000m"));
	ck_assert_uint_eq(config.quotas.count, 1000000000);
	taken(&config, setting("quota-bytes", "64m"));
	ck_assert_uint_eq(config.quotas.bytes, 64 * MIB);
	taken(&config, setting("quota-bytes", "1024g"));
	ck_assert_uint_eq(config.quotas.bytes, MIB * MIB);
	taken(&config, "[daemon]\nquota-count = no\nquota-bytes = 0\nquota-sessions = no\n");
	ck_assert_uint_eq(config.quotas.count, 0);
	ck_assert_uint_eq(config.quotas.bytes, 0);
	ck_assert_uint_eq(config.quotas.sessions, 0);
	NONE_TAKEN("quota-count", "", "-1", "1.5", "1g", "1001m", "00", "0k", "none", "NO",
		"18446744073709551617", "18446744073709552k");
	NONE_TAKEN("quota-bytes", "", "-1", "1.5", "1t", "1025g", "00", "0k", "none",
		"18446744073709551617", "17179869185g");
	NONE_TAKEN("quota-sessions", "", "0", "-1", "1001m", "1g");
}
END_TEST

START_TEST(a_reason_is_asked_for_by_operations)
{
	struct config config;

	taken(&config, setting("require-reason", "get,rm"));
	ck_assert_uint_eq(config.reasons, RIGHT_BIT(RIGHT_GET) | RIGHT_BIT(RIGHT_REMOVE));
	ck_assert_uint_eq(config.lines[CONFIG_REQUIRE_REASON], 2);
	taken(&config, setting("require-reason", "*"));
	ck_assert_uint_eq(config.reasons,
		RIGHTS_OF_NAMES & ~(RIGHT_BIT(RIGHT_LIST) | RIGHT_BIT(RIGHT_WATCH)));
	taken(&config, setting("require-reason", "no"));
	ck_assert_uint_eq(config.reasons, 0);
	NONE_TAKEN("require-reason", "", "steal", "get,", ",get", "get,get", "get rm", "get, rm",
		"GET", "no,get", "ls", "get,watch", "*,get");
}
END_TEST

START_TEST(a_time_is_a_number_with_a_unit_from_10_ms_to_a_minute)
{
	static const struct {
		const char *text;
		uint32_t ms;
	} good[] = { { "10ms", 10 }, { "500ms", 500 }, { "60000ms", 60000 }, { "1s", 1000 },
		{ "60s", 60000 }, { "1m", 60000 } };
	struct config config;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		taken(&config, setting("rekey-interval", good[i].text));
		ck_assert_uint_eq(config.rekey_ms, good[i].ms);
	}
	NONE_TAKEN("rekey-interval", "", "0", "0s", "500", "9ms", "60001ms", "61s", "2m", "1h",
		"0.5s", "-1s", "1 s", "1S", "s", "4294967796ms", "18446744073709551626ms",
		/* This is 16 ms once cut to 64 bits. */
		"2305843009213693952500ms", "18446744073709552s");
}
END_TEST

START_TEST(a_bundle_is_a_file_and_who_hands_over_its_key)
{
	struct config config;

	taken(&config, setting("bundle", "/a credential:key"));
	ck_assert_str_eq(config.bundle.file, "/a");
	ck_assert_str_eq(config.bundle.credential, "key");
	ck_assert_int_eq(config.bundle.fd, -1);
	taken(&config, setting("bundle", "/a b  c   fd:3"));
	ck_assert_str_eq(config.bundle.file, "/a b  c");
	ck_assert_str_eq(config.bundle.credential, "");
	ck_assert_int_eq(config.bundle.fd, 3);
	taken(&config, setting("bundle", "/a fd:2147483647"));
	ck_assert_int_eq(config.bundle.fd, 2147483647);
	taken(&config, setting("bundle", "no"));
	ck_assert_str_eq(config.bundle.file, "");
	NONE_TAKEN("bundle", "", "yes", "/a", "/a ", "a fd:3", "fd:3", "credential:key",
		"/a credential:", "/a credential:.", "/a credential:..", "/a credential:b/c",
		"/a credential: key", "/a Credential:key", "/a fd:", "/a fd:0", "/a fd:2",
		"/a fd:-3", "/a fd:+3", "/a fd: 3", "/a fd:3a", "/a fd:0x3", "/a fd:2147483648",
		"/a fd:4294967299", "/a fd:18446744073709551619", "/a file:key", "/a fd:3 no");
}
END_TEST

START_TEST(a_folder_of_policies_is_an_absolute_path)
{
	char text[300] = "/";
	struct config config;

	taken(&config, setting("policy-dir", "/etc/a b/policy.d"));
	ck_assert_str_eq(config.policy_dir, "/etc/a b/policy.d");
	ck_assert(config.policy_dir_given);
	taken(&config, setting("policy-dir", "no"));
	ck_assert_str_eq(config.policy_dir, "");
	ck_assert(config.policy_dir_given);
	NONE_TAKEN("policy-dir", "", "yes", "policy.d", "./policy.d", "~/policy.d", "No");
	/* The longest line would not hold one that is too long: the command line does. */
	memset(text + 1, 'p', 170);
	taken(&config, setting("policy-dir", text));
	ck_assert_str_eq(config.policy_dir, text);
}
END_TEST

START_TEST(a_groups_name_fits_its_place)
{
	char text[128];
	struct config config;

	memset(text, 'g', sizeof(text));
	text[63] = '\0';
	taken(&config, setting("socket-group", text));
	ck_assert_str_eq(config.socket_group_name, text);
	text[63] = 'g';
	text[64] = '\0';
	refused(setting("socket-group", text), 2, "no group");
	refused("[daemon]\nsocket-group =\n", 2, "no group");
}
END_TEST

/* -- what the reader underneath would cut, or not see -------------------------------------- */

/* `head`, then `fill` up to `size` bytes, then `tail` in the last of them. */
static const char *line_of(const char *head, char fill, const char *tail, size_t size)
{
	static char text[1024];

	ck_assert_uint_lt(size, sizeof(text));
	memset(text, fill, size);
	memcpy(text, head, strlen(head));
	memcpy(text + size - strlen(tail), tail, strlen(tail));
	text[size] = '\0';
	return text;
}

START_TEST(the_longest_line_is_read_to_its_end)
{
	struct config config;
	char text[1024];

	snprintf(text, sizeof(text), "[daemon]\n%s\nrekey-interval = 2s\n",
		line_of("max-value =", ' ', "2m", 198));
	taken(&config, text);
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	ck_assert_uint_eq(config.rekey_ms, 2000);
	/* Without an end of line, and with the longest one. */
	snprintf(text, sizeof(text), "[daemon]\n%s", line_of("max-value =", ' ', "2m", 198));
	taken(&config, text);
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	snprintf(text, sizeof(text), "[daemon]\n%s\nrekey-interval = 2s\n",
		line_of("max-value =", ' ', "2m\r", 198));
	taken(&config, text);
	ck_assert_uint_eq(config.rekey_ms, 2000);
}
END_TEST

START_TEST(an_over_long_line_is_refused_and_never_cut)
{
	static const size_t sizes[] = { 199, 200, 201, 399, 400, 800 };
	char text[2048];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(text, sizeof(text), "[daemon]\n\n%s\nrekey-interval = 2s\n",
			line_of("max-value = 2m", ' ', "", sizes[i]));
		refused(text, 3, "longer than 198 bytes");
		/* What stands behind the cut would be a setting of its own. */
		snprintf(text, sizeof(text), "[daemon]\n%s",
			line_of("# words", ' ', "max-value = 2m", sizes[i]));
		refused(text, 2, "longer than 198 bytes");
	}
}
END_TEST

START_TEST(a_nul_byte_is_refused)
{
	static const struct {
		const char *text;
		size_t size;
		unsigned line;
	} bad[] = { { "\0", 1, 1 }, { "[daemon]\0\n", 10, 1 },
		{ "[daemon]\nmax-value = 2m\0", 24, 2 }, { "[daemon]\nmax-value = 2m\0k\n", 26, 2 },
		{ "[daemon]\n\n# a\0\n", 15, 3 }, { "[daemon]\n\0max-value = 2m\n", 25, 2 } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused_bytes(bad[i].text, bad[i].size, bad[i].line, "NUL");
}
END_TEST

START_TEST(a_fault_is_words_of_bounded_length)
{
	static char path[8192];
	struct config config;

	memset(path, 'p', sizeof(path) - 1);
	set_defaults(&config);
	memset(&fault, 0x5a, sizeof(fault));
	ck_assert_int_eq(config_parse(&config, "x = 1", 5, path, &fault), -EBADMSG);
	ck_assert_ptr_nonnull(memchr(fault.text, '\0', sizeof(fault.text)));
	ck_assert_uint_eq(strlen(fault.text), CONFIG_FAULT_MAX - 1);
}
END_TEST

START_TEST(where_each_key_stands_is_known)
{
	struct config config;

	taken(&config, "[daemon]\n\nmax-value = 2m\n# a comment\nsocket = /a\n");
	ck_assert_uint_eq(config.lines[CONFIG_MAX_VALUE], 3);
	ck_assert_uint_eq(config.lines[CONFIG_SOCKET], 5);
	ck_assert_uint_eq(config.lines[CONFIG_MEMORY], 0);
	ck_assert_int_eq(parse(&config, "[daemon]\nmemory = prefer-lock\n", 30), 0);
	ck_assert_uint_eq(config.lines[CONFIG_MAX_VALUE], 0);
	ck_assert_uint_eq(config.lines[CONFIG_MEMORY], 2);
	ck_assert_str_eq(config_key_name(CONFIG_MAX_VALUE), "max-value");
}
END_TEST

static void add_texts(TCase *claims)
{
	tcase_add_test(claims, where_each_key_stands_is_known);
	tcase_add_test(claims, an_empty_text_changes_nothing);
	tcase_add_test(claims, every_key_is_taken);
	tcase_add_test(claims, a_key_changes_its_own_setting_alone);
	tcase_add_test(claims, spaces_comments_and_colons_are_as_in_any_ini_file);
	tcase_add_test(claims, a_file_from_windows_is_read);
	tcase_add_test(claims, an_unknown_key_is_an_error_with_file_and_line);
	tcase_add_test(claims, an_unknown_section_is_an_error_with_file_and_line);
	tcase_add_test(claims, a_setting_before_any_section_is_refused);
	tcase_add_test(claims, a_setting_behind_the_section_is_never_lost);
	tcase_add_test(claims, a_line_that_is_nothing_is_refused);
	tcase_add_test(claims, a_key_stands_once);
	tcase_add_test(claims, an_indented_line_is_never_part_of_the_one_above);
	tcase_add_test(claims, one_fault_takes_nothing_of_the_file);
	tcase_add_test(claims, the_longest_line_is_read_to_its_end);
	tcase_add_test(claims, an_over_long_line_is_refused_and_never_cut);
	tcase_add_test(claims, a_nul_byte_is_refused);
	tcase_add_test(claims, a_fault_is_words_of_bounded_length);
}

START_TEST(a_listener_has_a_name_a_path_and_rights)
{
	struct config config;

	taken(&config,
		"[listener ci]\npath = unix:/srv/ci\nmode = 0660\ngroup = ci\n[daemon]\n"
		"max-value = 2m\n[listener a.B-2_]\npath = /srv/two\n");
	ck_assert_uint_eq(config.listeners.count, 2);
	ck_assert_str_eq(config.listeners.all[0].name, "ci");
	ck_assert_str_eq(config.listeners.all[0].socket.path, "/srv/ci");
	ck_assert_uint_eq(config.listeners.all[0].mode, 0660);
	ck_assert_str_eq(config.listeners.all[0].group_name, "ci");
	ck_assert_str_eq(config.listeners.all[1].name, "a.B-2_");
	ck_assert_uint_eq(config.listeners.all[1].mode, 0600);
	ck_assert_uint_eq(config.listeners.all[1].group, (gid_t)-1);
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	/* What the file does not name any more is gone. */
	ck_assert_int_eq(parse(&config, "[daemon]\n", 9), 0);
	ck_assert_uint_eq(config.listeners.count, 0);
}
END_TEST

START_TEST(a_listener_that_makes_no_sense_is_refused)
{
	static char text[2048];

	refused("[listener ]\npath = /a\n", 1, "[listener ] has no name");
	refused("[listener a b]\npath = /a\n", 1, "has no name");
	refused("[listener a/b]\npath = /a\n", 1, "has no name");
	refused("[listener a!]\npath = /a\n", 1, "has no name");
	refused("[listener \xc3\xa4]\npath = /a\n", 1, "has no name");
	refused("[listener 12345678901234567890123456789012]\n", 1, "has no name");
	refused("[listener]\npath = /a\n", 1, "unknown section [listener]");
	refused("[listener a]\npath = /a\n[listener b]\npath = /b\n[listener a]\n", 5,
		"a second time");
	refused("[listener a]\npath = /a\n[listener b]\npath = unix:/a\n", 3,
		"[listener b] has the path of [listener] a");
	refused("[listener a]\n", 1, "has no path");
	refused("[listener a]\nmode = 0600\n[listener b]\npath = /b\n", 1, "has no path");
	refused("[listener a]\npath = a\n", 2, "path: 'a'");
	refused("[listener a]\npath = /a\npath = /b\n", 3, "path: '/b' is a second path");
	refused("[listener a]\nmode = 0600\nmode = 0600\n", 3, "a second mode");
	refused("[listener a]\ngroup = a\ngroup = a\n", 3, "a second group");
	refused("[listener a]\nmode = 1777\n", 2, "mode: '1777' is no mode");
	refused("[listener a]\ngroup =\n", 2, "is no group");
	refused("[listener a]\nmax-value = 1m\n", 2, "unknown key 'max-value' of a listener");
	refused("[daemon]\npath = /a\n", 2, "unknown key 'path'");
	for (int i = 0; i <= CONFIG_LISTENERS_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			"[listener l%d]\npath = /l%d\n", i, i);
	refused(text, 2 * CONFIG_LISTENERS_MAX + 1,
		"[listener l8] is one too many: there may be 8");
}
END_TEST

static void add_values(TCase *claims)
{
	tcase_add_test(claims, a_listener_has_a_name_a_path_and_rights);
	tcase_add_test(claims, a_listener_that_makes_no_sense_is_refused);
	tcase_add_test(claims, a_socket_is_an_absolute_path);
	tcase_add_test(claims, a_mode_is_three_or_four_octal_digits);
	tcase_add_test(claims, a_memory_is_one_of_three_words);
	tcase_add_test(claims, a_size_is_a_number_with_a_unit_up_to_a_gibibyte);
	tcase_add_test(claims, a_quota_is_a_number_or_a_size_or_none);
	tcase_add_test(claims, a_reason_is_asked_for_by_operations);
	tcase_add_test(claims, a_time_is_a_number_with_a_unit_from_10_ms_to_a_minute);
	tcase_add_test(claims, a_bundle_is_a_file_and_who_hands_over_its_key);
	tcase_add_test(claims, a_folder_of_policies_is_an_absolute_path);
	tcase_add_test(claims, a_groups_name_fits_its_place);
}

int main(void)
{
	TCase *claims = tcase_create("config");

	add_texts(claims);
	add_values(claims);
	return claims_run(claims, "config");
}
