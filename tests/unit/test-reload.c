/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/claims.h"

/* A file that changes under a daemon: all of it is taken, or nothing. */

#define MIB ((uint64_t)1 << 20)

static char folder[256];
static char file[512];
static struct config_fault fault;
static struct reload reload;
static struct daemon house; /* its settings alone */

static void set_up(void)
{
	const char *parent = getenv("TMPDIR");

	umask(0022);
	snprintf(folder, sizeof(folder), "%s/memguardd-reload-XXXXXX", parent ? parent : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/memguardd.conf", folder);
}

static void tear_down(void)
{
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

/* Starts with a file and further options. */
static void start(const char *text, const char *first, const char *second)
{
	static char *argv[8];
	static char name[] = "memguardd", option[] = "--config";
	struct config config;
	int argc = 0;

	argv[argc++] = name;
	argv[argc++] = option;
	argv[argc++] = file;
	if (first)
		argv[argc++] = (char *)(uintptr_t)first;
	if (second)
		argv[argc++] = (char *)(uintptr_t)second;
	argv[argc] = NULL;
	file_says(text);
	ck_assert_msg(config_load(&config, argc, argv, &fault) == 0, "%s", fault.text);
	house.max_value = config.max_value;
	house.rekey_ms = config.rekey_ms;
	reload_init(&reload, argc, argv, &config);
}

static void is_taken(uint64_t max_value, uint32_t rekey_ms)
{
	memset(&fault, 0, sizeof(fault));
	ck_assert_msg(reload_settings(&reload, &house, &fault) == 0, "%s", fault.text);
	ck_assert_str_eq(fault.text, "");
	ck_assert_uint_eq(house.max_value, max_value);
	ck_assert_uint_eq(house.rekey_ms, rekey_ms);
}

/* Refused with these words, and all is as it was. */
static void is_refused(int error, const char *word)
{
	struct reload before = reload;
	uint64_t max_value = house.max_value;
	uint32_t rekey_ms = house.rekey_ms;

	memset(&fault, 0, sizeof(fault));
	ck_assert_int_eq(reload_settings(&reload, &house, &fault), error);
	ck_assert_msg(strstr(fault.text, word) != NULL, "'%s' without '%s'", fault.text, word);
	ck_assert_msg(strstr(fault.text, "memguardd.conf") != NULL, "'%s'", fault.text);
	ck_assert_mem_eq(&reload, &before, sizeof(before));
	ck_assert_uint_eq(house.max_value, max_value);
	ck_assert_uint_eq(house.rekey_ms, rekey_ms);
}

START_TEST(what_can_change_is_taken)
{
	start("[daemon]\nmax-value = 2m\n", NULL, NULL);
	is_taken(2 * MIB, 500);
	file_says("[daemon]\nmax-value = 3m\nrekey-interval = 20ms\n");
	is_taken(3 * MIB, 20);
	file_says("[daemon]\nrekey-interval = 20ms\n");
	is_taken(MIB, 20);
	file_says("");
	is_taken(MIB, 500);
}
END_TEST

START_TEST(what_takes_a_reason_is_taken_with_its_place)
{
	struct policy_verdict verdict;
	const struct span name = span_text("any/name");

	start("[daemon]\n", NULL, NULL);
	is_taken(MIB, 500);
	ck_assert(!policy_wants_reason(&house.policy, RIGHT_GET, name, &verdict));
	file_says("[daemon]\n\nrequire-reason = get\n");
	is_taken(MIB, 500);
	ck_assert(policy_wants_reason(&house.policy, RIGHT_GET, name, &verdict));
	ck_assert_str_eq(verdict.file, file);
	ck_assert_uint_eq(verdict.line, 3);
	ck_assert(!verdict.allowed && verdict.cause == POLICY_BY_SILENCE);
	ck_assert(!policy_wants_reason(&house.policy, RIGHT_SET, name, &verdict));
	file_says("[daemon]\n\nrequire-reason = steal\n");
	is_refused(-EBADMSG, ":3: require-reason: 'steal' is neither no nor operations");
	ck_assert(policy_wants_reason(&house.policy, RIGHT_GET, name, &verdict));
	file_says("[daemon]\n");
	is_taken(MIB, 500);
	ck_assert(!policy_wants_reason(&house.policy, RIGHT_GET, name, &verdict));
	/* What an option says is in no line. */
	start("[daemon]\nrequire-reason = get\n", "--require-reason=set", NULL);
	is_taken(MIB, 500);
	ck_assert(!policy_wants_reason(&house.policy, RIGHT_GET, name, &verdict));
	ck_assert(policy_wants_reason(&house.policy, RIGHT_SET, name, &verdict));
	ck_assert_ptr_null(verdict.file);
}
END_TEST

START_TEST(a_broken_file_changes_nothing)
{
	start("[daemon]\nmax-value = 2m\n", NULL, NULL);
	file_says("[daemon]\nmax-value = 3m\ncolour = blue\n");
	is_refused(-EBADMSG, "memguardd.conf:3: unknown key 'colour'");
	file_says("[daemon]\nrekey-interval = 20ms\nmax-value = 0\n");
	is_refused(-EBADMSG, "memguardd.conf:3: max-value: '0'");
	file_says("[demon]\n");
	is_refused(-EBADMSG, "memguardd.conf:1: unknown section");
	file_says("[daemon]\nsocket-group = no-such-group\n");
	is_refused(-EBADMSG, "memguardd.conf:2: socket-group");
	file_says("[daemon]\nmax-value = 3m\n");
	is_taken(3 * MIB, 500);
}
END_TEST

START_TEST(a_file_that_is_gone_changes_nothing)
{
	start("[daemon]\nmax-value = 2m\n", NULL, NULL);
	ck_assert_int_eq(unlink(file), 0);
	is_refused(-EBADMSG, "memguardd.conf: No such file");
	file_says("[daemon]\nmax-value = 3m\n");
	ck_assert_int_eq(chmod(file, 0666), 0);
	is_refused(-EBADMSG, "others may write");
	ck_assert_int_eq(chmod(file, 0644), 0);
	is_taken(3 * MIB, 500);
}
END_TEST

/* A line each for what a restart takes, in the file's third line. */
static const char *const fixed[CONFIG_KEYS] = {
	[CONFIG_SOCKET] = "socket = /b",
	[CONFIG_SOCKET_MODE] = "socket-mode = 0660",
	[CONFIG_SOCKET_GROUP] = "socket-group = 7",
	[CONFIG_MEMORY] = "memory = require-lock",
	[CONFIG_BUNDLE] = "bundle = /b fd:3",
};

START_TEST(what_takes_a_restart_is_named_and_nothing_is_taken)
{
	enum config_key key = (enum config_key)_i;
	char text[256], place[64];

	if (!fixed[key])
		return;
	start("[daemon]\nmax-value = 2m\nsocket = /a\n", NULL, NULL);
	snprintf(text, sizeof(text), "[daemon]\nmax-value = 3m\n%s\n%s", fixed[key],
		key == CONFIG_SOCKET ? "" : "socket = /a\n");
	file_says(text);
	snprintf(place, sizeof(place), "memguardd.conf:3: another value of '%s' takes a restart",
		config_key_name(key));
	is_refused(-EBUSY, place);
	/* Nor may it fall back to its default. */
	snprintf(text, sizeof(text), "[daemon]\n%s\n%s", fixed[key],
		key == CONFIG_SOCKET ? "" : "socket = /a\n");
	start(text, NULL, NULL);
	is_taken(MIB, 500);
	file_says(key == CONFIG_SOCKET ? "" : "[daemon]\nsocket = /a\n");
	snprintf(place, sizeof(place), "memguardd.conf: another value of '%s'",
		config_key_name(key));
	is_refused(-EBUSY, place);
}
END_TEST

START_TEST(the_command_line_wins_over_the_file)
{
	start("[daemon]\nmax-value = 2m\n", "--max-value=4m", "--socket=/a");
	is_taken(4 * MIB, 500);
	file_says("[daemon]\nmax-value = 3m\nrekey-interval = 20ms\nsocket = /b\n");
	is_taken(4 * MIB, 20);
	file_says("[daemon]\nmax-value = 0\n");
	is_refused(-EBADMSG, "memguardd.conf:2: max-value");
}
END_TEST

START_TEST(the_same_said_otherwise_is_the_same)
{
	start("[daemon]\nsocket = /a\nmemory = prefer-lock\nsocket-group = 0\n", NULL, NULL);
	file_says("[daemon]\nsocket-group = root\nsocket = unix:/a\nsocket-mode = 600\n");
	is_taken(MIB, 500);
}
END_TEST

START_TEST(a_new_daemon_gets_what_is_in_force)
{
	start("[daemon]\nmax-value = 2m\n", NULL, NULL);
	file_says("[daemon]\nmax-value = 3m\n");
	is_taken(3 * MIB, 500);
	house.max_value = 2 * MIB;
	is_taken(3 * MIB, 500);
}
END_TEST

START_TEST(all_quotas_are_taken)
{
	start("[daemon]\nquota-count = 7\n", NULL, NULL);
	file_says("[daemon]\nquota-bytes = 5\nquota-inflight = 6\n");
	is_taken(MIB, 500);
	ck_assert_uint_eq(house.users.quotas.count, 0);
	ck_assert_uint_eq(house.users.quotas.bytes, 5);
	ck_assert_uint_eq(house.users.quotas.sessions, 256);
	ck_assert_uint_eq(house.users.quotas.inflight, 6);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("reload");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, what_can_change_is_taken);
	tcase_add_test(claims, all_quotas_are_taken);
	tcase_add_test(claims, what_takes_a_reason_is_taken_with_its_place);
	tcase_add_test(claims, a_broken_file_changes_nothing);
	tcase_add_test(claims, a_file_that_is_gone_changes_nothing);
	tcase_add_loop_test(
		claims, what_takes_a_restart_is_named_and_nothing_is_taken, 0, CONFIG_KEYS);
	tcase_add_test(claims, the_command_line_wins_over_the_file);
	tcase_add_test(claims, the_same_said_otherwise_is_the_same);
	tcase_add_test(claims, a_new_daemon_gets_what_is_in_force);
	return claims_run(claims, "reload");
}
