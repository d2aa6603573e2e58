/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/policy/policy_right.h"
#include "tests/unit/claims.h"

/* The command line, the file that it names, and what hangs on the user. */

/* Whom root becomes where root would be let through. */
#define NOBODY 65534

#define MIB ((size_t)1 << 20)

static char folder[256];
static char file[512];
static struct config_fault fault;

static void set_up(void)
{
	const char *parent = getenv("TMPDIR");

	umask(0022);
	snprintf(folder, sizeof(folder), "%s/memguardd-config-XXXXXX", parent ? parent : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0755), 0);
	snprintf(file, sizeof(file), "%s/memguardd.conf", folder);
	memset(&fault, 0, sizeof(fault));
}

static void tear_down(void)
{
	if (getuid() == 0)
		ck_assert_int_eq(seteuid(0), 0);
	if (unlink(file) < 0)
		rmdir(file);
	ck_assert_int_eq(rmdir(folder), 0);
}

static void become_ordinary(void)
{
	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(NOBODY), 0);
}

/* -- the command line ---------------------------------------------------------------------- */

/* Loads with these words; a failure leaves the configuration as it was. */
static int load_words(struct config *config, const char *const *words, size_t count)
{
	static char *argv[32];
	static char name[] = "memguardd";
	struct config before;
	int r;

	ck_assert_uint_lt(count + 1, sizeof(argv) / sizeof(argv[0]));
	argv[0] = name;
	for (size_t i = 0; i < count; i++)
		argv[i + 1] = (char *)words[i];
	argv[count + 1] = NULL;
	memset(config, 0x5a, sizeof(*config));
	memcpy(&before, config, sizeof(before));
	memset(&fault, 0, sizeof(fault));
	r = config_load(config, (int)count + 1, argv, &fault);
	if (r < 0) {
		ck_assert_mem_eq(config, &before, sizeof(before));
		ck_assert_str_ne(fault.text, "");
	}
	return r;
}

#define LOAD(config, ...) \
	load_words(config, (const char *const[]){ __VA_ARGS__ }, \
		sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

#define MUST_LOAD(config, ...) \
	ck_assert_msg(LOAD(config, __VA_ARGS__) == 0, "refused: %s", fault.text)

/* `error`, and words that say what it is about. */
#define MUST_FAIL(error, word, ...) \
	do { \
		struct config unused; \
\
		ck_assert_int_eq(LOAD(&unused, __VA_ARGS__), error); \
		ck_assert_msg( \
			strstr(fault.text, word) != NULL, "'%s' without '%s'", fault.text, word); \
	} while (0)

static void write_file(const char *text, size_t size)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
	ck_assert_int_eq(close(fd), 0);
}

static void file_says(const char *text)
{
	write_file(text, strlen(text));
}

START_TEST(defaults_are_those_of_the_manual)
{
	struct config config;

	file_says("");
	MUST_LOAD(&config, "--config", file, "--socket", "/a");
	ck_assert_int_eq(config.memory, OS_MEMORY_PREFER_LOCK);
	ck_assert_uint_eq(config.max_value, MIB);
	ck_assert_uint_eq(config.rekey_ms, 500);
	ck_assert_uint_eq(config.socket_mode, 0600);
	ck_assert_uint_eq(config.socket_group, (gid_t)-1);
	ck_assert_ptr_null(config.command);
	ck_assert_str_eq(config.file, file);
	ck_assert(!config.help && !config.version);
}
END_TEST

START_TEST(every_key_is_an_option_too)
{
	struct config config;

	file_says("");
	MUST_LOAD(&config, "--config", file, "--socket", "unix:/a/b", "--socket-mode=0640",
		"--socket-group", "7", "--memory=require-lock", "--max-value", "3m",
		"--rekey-interval=20ms", "--require-reason=get");
	ck_assert_uint_eq(config.reasons, RIGHT_BIT(RIGHT_GET));
	ck_assert_str_eq(config.socket.path, "/a/b");
	ck_assert_uint_eq(config.socket_mode, 0640);
	ck_assert_uint_eq(config.socket_group, 7);
	ck_assert_int_eq(config.memory, OS_MEMORY_REQUIRE_LOCK);
	ck_assert_uint_eq(config.max_value, 3 * MIB);
	ck_assert_uint_eq(config.rekey_ms, 20);
}
END_TEST

START_TEST(the_command_line_wins_over_the_file)
{
	struct config config;

	file_says("[daemon]\nmax-value = 2m\nsocket = /file\nsocket-mode = 0660\n"
		  "require-reason = *\n");
	MUST_LOAD(&config, "--config", file);
	ck_assert_uint_eq(config.lines[CONFIG_REQUIRE_REASON], 5);
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	ck_assert_str_eq(config.socket.path, "/file");
	ck_assert_uint_eq(config.socket_mode, 0660);
	MUST_LOAD(&config, "--max-value=3m", "--config", file, "--socket=/option",
		"--require-reason=no");
	ck_assert_uint_eq(config.reasons, 0);
	ck_assert_uint_eq(config.lines[CONFIG_REQUIRE_REASON], 0);
	ck_assert_uint_eq(config.lines[CONFIG_MEMORY], 0);
	ck_assert_uint_eq(config.max_value, 3 * MIB);
	ck_assert_str_eq(config.socket.path, "/option");
	ck_assert_uint_eq(config.socket_mode, 0660);
}
END_TEST

START_TEST(an_option_does_not_mend_a_bad_file)
{
	file_says("[daemon]\nmax-value = 0\n");
	MUST_FAIL(-EBADMSG, "memguardd.conf:2: ", "--config", file, "--max-value=3m");
}
END_TEST

START_TEST(an_unknown_option_is_refused)
{
	MUST_FAIL(-EINVAL, "'--nonsense'", "--nonsense");
	MUST_FAIL(-EINVAL, "'--nonsense=1'", "--nonsense=1");
	MUST_FAIL(-EINVAL, "'--max'", "--max", "1m");
	MUST_FAIL(-EINVAL, "'--=1m'", "--=1m");
	MUST_FAIL(-EINVAL, "'--help=1'", "--help=1");
	MUST_FAIL(-EINVAL, "'-h'", "-h");
	MUST_FAIL(-EINVAL, "'-'", "-");
	MUST_FAIL(-EINVAL, "''", "");
	MUST_FAIL(-EINVAL, "'words'", "words");
	MUST_FAIL(-EINVAL, "'words'", "--max-value=1m", "words");
}
END_TEST

START_TEST(an_option_without_its_value_is_refused)
{
	MUST_FAIL(-EINVAL, "--socket needs a value", "--socket");
	MUST_FAIL(-EINVAL, "--config needs a value", "--config");
	MUST_FAIL(-EINVAL, "--max-value needs a value", "--socket", "/a", "--max-value");
}
END_TEST

START_TEST(a_bad_value_names_its_option)
{
	file_says("");
	MUST_FAIL(-EINVAL, "--max-value: '0'", "--config", file, "--max-value=0");
	MUST_FAIL(-EINVAL, "--socket: 'a'", "--config", file, "--socket", "a");
	MUST_FAIL(-EINVAL, "--socket: ''", "--config", file, "--socket=");
	MUST_FAIL(-EINVAL, "--socket-mode: '9'", "--config", file, "--socket-mode=9");
	MUST_FAIL(-EINVAL, "--memory: '--help'", "--config", file, "--memory", "--help");
	MUST_FAIL(-EINVAL, "--rekey-interval: '1'", "--config", file, "--rekey-interval", "1");
}
END_TEST

START_TEST(a_command_follows_two_dashes)
{
	struct config config;

	file_says("");
	MUST_LOAD(&config, "--config", file, "--max-value=2m", "--", "sh", "--socket", "--");
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	ck_assert_str_eq(config.command[0], "sh");
	ck_assert_str_eq(config.command[1], "--socket");
	ck_assert_str_eq(config.command[2], "--");
	ck_assert_ptr_null(config.command[3]);
	ck_assert(!config.socket_given);
	/* What the file says of the system's daemon is not said of a command's. */
	file_says("[daemon]\nrequire-reason = get\n");
	MUST_LOAD(&config, "--config", file, "--", "sh");
	ck_assert_uint_eq(config.reasons, 0);
	MUST_LOAD(&config, "--config", file, "--require-reason=rm", "--", "sh");
	ck_assert_uint_eq(config.reasons, RIGHT_BIT(RIGHT_REMOVE));
	MUST_FAIL(-EINVAL, "no command", "--");
	MUST_FAIL(-EINVAL, "no command", "--max-value=2m", "--");
}
END_TEST

START_TEST(help_and_version_need_no_file)
{
	struct config config;

	MUST_LOAD(&config, "--help", "--config", "/nowhere/at/all");
	ck_assert(config.help && !config.version);
	MUST_LOAD(&config, "--config=/nowhere/at/all", "--version");
	ck_assert(config.version && !config.help);
}
END_TEST

START_TEST(help_names_every_key)
{
	static const char *const options[] = { "--socket ", "--socket-mode ", "--socket-group ",
		"--memory ", "--max-value ", "--rekey-interval ", "--bundle ", "--policy-dir ",
		"--require-reason ", "--config ", "--help ", "--version ", CONFIG_FILE };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		ck_assert_msg(strstr(config_help(), options[i]) != NULL, "%s", options[i]);
	ck_assert_int_eq(config_help()[strlen(config_help()) - 1], '\n');
	ck_assert_str_eq(config_help(), config_help());
}
END_TEST

/* -- the file ------------------------------------------------------------------------------ */

START_TEST(a_missing_file_that_was_named_is_an_error)
{
	MUST_FAIL(-EBADMSG, "memguardd.conf: No such file", "--config", file);
	MUST_FAIL(-EBADMSG, "No such file", "--config=");
	file_says("");
	ck_assert_uint_lt(strlen(file) + 2, sizeof(file));
	strcat(file, "/x");
	MUST_FAIL(-EBADMSG, "Not a directory", "--config", file);
	file[strlen(file) - 2] = '\0';
}
END_TEST

START_TEST(a_long_name_leaves_room_for_what_is_wrong)
{
	char name[1024] = "";

	while (strlen(name) < 600)
		strcat(name, "/a-folder-that-is-not-there");
	strcat(name, "/the.conf");
	MUST_FAIL(-EBADMSG, "-there/the.conf: No such file", "--config", name);
	ck_assert_uint_lt(strlen(fault.text), 256);
}
END_TEST

START_TEST(a_folder_is_no_file)
{
	ck_assert_int_eq(mkdir(file, 0755), 0);
	MUST_FAIL(-EBADMSG, "no regular file", "--config", file);
}
END_TEST

START_TEST(nobody_waits_for_a_pipe)
{
	ck_assert_int_eq(mkfifo(file, 0644), 0);
	MUST_FAIL(-EBADMSG, "no regular file", "--config", file);
	MUST_FAIL(-EBADMSG, "no regular file", "--config", "/dev/null");
}
END_TEST

START_TEST(a_file_that_may_not_be_read_is_an_error)
{
	file_says("[daemon]\nmax-value = 2m\n");
	ck_assert_int_eq(chmod(file, 0), 0);
	become_ordinary();
	MUST_FAIL(-EBADMSG, "memguardd.conf: Permission denied", "--config", file, "--socket=/a");
}
END_TEST

START_TEST(a_file_that_others_may_write_is_refused)
{
	static const mode_t modes[] = { 0666, 0664, 0646, 0622, 0602, 0620 };
	struct config config;

	file_says("[daemon]\nmax-value = 2m\n");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		ck_assert_int_eq(chmod(file, modes[i]), 0);
		MUST_FAIL(-EBADMSG, "others may write", "--config", file, "--socket=/a");
	}
	ck_assert_int_eq(chmod(file, 0755), 0);
	MUST_LOAD(&config, "--config", file, "--socket=/a");
	ck_assert_uint_eq(config.max_value, 2 * MIB);
}
END_TEST

START_TEST(a_file_of_another_user_is_refused)
{
	if (geteuid() != 0) {
		puts("SKIP: a_file_of_another_user_is_refused: only root can give a file away");
		return;
	}
	file_says("[daemon]\nmax-value = 2m\n");
	ck_assert_int_eq(chown(file, 1000, 0), 0);
	MUST_FAIL(-EBADMSG, "others may write", "--config", file, "--socket=/a");
	become_ordinary();
	MUST_FAIL(-EBADMSG, "others may write", "--config", file, "--socket=/a");
}
END_TEST

START_TEST(a_file_of_roots_is_good_for_everybody)
{
	struct config config;

	if (geteuid() != 0) {
		puts("SKIP: a_file_of_roots_is_good_for_everybody: only root can make one");
		return;
	}
	file_says("[daemon]\nmax-value = 2m\n");
	become_ordinary();
	MUST_LOAD(&config, "--config", file, "--socket=/a");
	ck_assert_uint_eq(config.max_value, 2 * MIB);
}
END_TEST

START_TEST(a_file_is_at_most_a_mebibyte)
{
	char *text = malloc(MIB + 1);
	struct config config;

	ck_assert_ptr_nonnull(text);
	memset(text, '#', MIB + 1);
	for (size_t i = 63; i < MIB; i += 64)
		text[i] = '\n';
	memcpy(text + MIB - 64, "[daemon]\nmax-value = 2m\n", 24);
	write_file(text, MIB);
	MUST_LOAD(&config, "--config", file, "--socket=/a");
	ck_assert_uint_eq(config.max_value, 2 * MIB);
	write_file(text, MIB + 1);
	MUST_FAIL(-EBADMSG, "larger than 1 MiB", "--config", file, "--socket=/a");
	free(text);
}
END_TEST

/* -- what hangs on the user ---------------------------------------------------------------- */

START_TEST(roots_daemon_listens_for_all_at_the_systems_place)
{
	struct config config;

	if (geteuid() != 0) {
		puts("SKIP: roots_daemon_listens_for_all_at_the_systems_place: needs root");
		return;
	}
	file_says("");
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/user/0", 1), 0);
	MUST_LOAD(&config, "--config", file);
	ck_assert_str_eq(config.socket.path, ENDPOINT_SYSTEM);
	ck_assert_uint_eq(config.socket_mode, 0666);
	ck_assert(!config.socket_given);
}
END_TEST

START_TEST(a_users_daemon_listens_at_a_place_of_its_own)
{
	struct config config;

	file_says("");
	become_ordinary();
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/user/7", 1), 0);
	MUST_LOAD(&config, "--config", file);
	ck_assert_str_eq(config.socket.path, "/run/user/7/memguardd/socket");
	ck_assert_uint_eq(config.socket_mode, 0600);
	ck_assert(!config.socket_given);
}
END_TEST

START_TEST(a_user_without_any_place_has_none_and_may_be_handed_one)
{
	char folder_name[200] = "/";
	struct config config;

	file_says("");
	become_ordinary();
	ck_assert_int_eq(unsetenv("XDG_RUNTIME_DIR"), 0);
	ck_assert_int_eq(unsetenv("HOME"), 0);
	MUST_LOAD(&config, "--config", file);
	ck_assert_str_eq(config.socket.path, "");
	ck_assert_uint_eq(config.socket_mode, 0600);
	MUST_LOAD(&config, "--config", file, "--socket=/a");
	ck_assert_str_eq(config.socket.path, "/a");
	/* A place that is too long for a socket is none: never a cut one. */
	memset(folder_name + 1, 'h', sizeof(folder_name) - 2);
	ck_assert_int_eq(setenv("HOME", folder_name, 1), 0);
	MUST_LOAD(&config, "--config", file);
	ck_assert_str_eq(config.socket.path, "");
}
END_TEST

START_TEST(a_folder_of_policies_is_the_systems_daemons_or_one_that_is_named)
{
	static const char *const none[] = { NULL };
	struct config config;

	/* A machine may have settings of its own. */
	if (geteuid() == 0 && access(CONFIG_FILE, F_OK) < 0) {
		ck_assert_int_eq(load_words(&config, none, 0), 0);
		ck_assert_str_eq(config.policy_dir, CONFIG_POLICY_DIR);
		ck_assert(!config.policy_dir_given);
	}
	file_says("[daemon]\npolicy-dir = /p\n");
	MUST_LOAD(&config, "--config", file, "--socket", "/a");
	ck_assert_str_eq(config.policy_dir, "/p");
	ck_assert(config.policy_dir_given);
	MUST_LOAD(&config, "--config", file, "--socket", "/a", "--policy-dir=no");
	ck_assert_str_eq(config.policy_dir, "");
	/* The daemon of a command has what its own line says. */
	MUST_LOAD(&config, "--config", file, "--", "true");
	ck_assert_str_eq(config.policy_dir, "");
	MUST_LOAD(&config, "--config", file, "--policy-dir=/q", "--", "true");
	ck_assert_str_eq(config.policy_dir, "/q");
	file_says("");
	MUST_LOAD(&config, "--config", file, "--socket", "/a");
	ck_assert_str_eq(config.policy_dir, "");
	become_ordinary();
	MUST_LOAD(&config, "--config", file, "--socket", "/a");
	ck_assert_str_eq(config.policy_dir, "");
	MUST_FAIL(-EINVAL, "--policy-dir: 'p'", "--config", file, "--policy-dir=p");
}
END_TEST

START_TEST(only_the_systems_place_is_open_to_all)
{
	struct config config;

	file_says("");
	MUST_LOAD(&config, "--config", file, "--socket", ENDPOINT_SYSTEM);
	ck_assert_uint_eq(config.socket_mode, 0666);
	MUST_LOAD(&config, "--config", file, "--socket", ENDPOINT_SYSTEM "2");
	ck_assert_uint_eq(config.socket_mode, 0600);
	MUST_LOAD(&config, "--config", file, "--socket", ENDPOINT_SYSTEM, "--socket-mode=0600");
	ck_assert_uint_eq(config.socket_mode, 0600);
	MUST_LOAD(&config, "--config", file, "--socket=/a", "--socket-mode=0666");
	ck_assert_uint_eq(config.socket_mode, 0666);
}
END_TEST

START_TEST(a_group_is_found_by_name_or_number)
{
	const struct group *group = getgrgid(0);
	char name[64];
	struct config config;

	ck_assert_ptr_nonnull(group);
	ck_assert_int_lt(snprintf(name, sizeof(name), "%s", group->gr_name), sizeof(name));
	file_says("");
	MUST_LOAD(&config, "--config", file, "--socket=/a", "--socket-group", name);
	ck_assert_uint_eq(config.socket_group, 0);
	MUST_LOAD(&config, "--config", file, "--socket=/a", "--socket-group=0");
	ck_assert_uint_eq(config.socket_group, 0);
	MUST_LOAD(&config, "--config", file, "--socket=/a", "--socket-group=4294967294");
	ck_assert_uint_eq(config.socket_group, 4294967294);
}
END_TEST

START_TEST(a_group_that_is_none_is_an_error)
{
	/* The last ones are -1, 0 and 1000 once cut to 32 bits, or as far as a number goes. */
	static const char *const groups[] = { "no-such-group", "1000x", "-1", "+0", " 0", "0x0",
		"1.0", "4294967295", "4294967296", "4294968296", "18446744073709551616",
		"99999999999999999999999999" };
	char text[256];

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		file_says("");
		MUST_FAIL(-EINVAL, "--socket-group", "--config", file, "--socket=/a",
			"--socket-group", groups[i]);
		if (groups[i][0] == ' ')
			continue;
		snprintf(text, sizeof(text), "[daemon]\nsocket-group = %s\n", groups[i]);
		file_says(text);
		MUST_FAIL(-EBADMSG, "memguardd.conf:2: socket-group", "--config", file,
			"--socket=/a");
	}
}
END_TEST

static void add_command_line(TCase *claims)
{
	tcase_add_test(claims, defaults_are_those_of_the_manual);
	tcase_add_test(claims, every_key_is_an_option_too);
	tcase_add_test(claims, the_command_line_wins_over_the_file);
	tcase_add_test(claims, an_option_does_not_mend_a_bad_file);
	tcase_add_test(claims, an_unknown_option_is_refused);
	tcase_add_test(claims, an_option_without_its_value_is_refused);
	tcase_add_test(claims, a_bad_value_names_its_option);
	tcase_add_test(claims, a_command_follows_two_dashes);
	tcase_add_test(claims, help_and_version_need_no_file);
	tcase_add_test(claims, help_names_every_key);
}

static void add_files(TCase *claims)
{
	tcase_add_test(claims, a_missing_file_that_was_named_is_an_error);
	tcase_add_test(claims, a_long_name_leaves_room_for_what_is_wrong);
	tcase_add_test(claims, a_folder_is_no_file);
	tcase_add_test(claims, nobody_waits_for_a_pipe);
	tcase_add_test(claims, a_file_that_may_not_be_read_is_an_error);
	tcase_add_test(claims, a_file_that_others_may_write_is_refused);
	tcase_add_test(claims, a_file_of_another_user_is_refused);
	tcase_add_test(claims, a_file_of_roots_is_good_for_everybody);
	tcase_add_test(claims, a_file_is_at_most_a_mebibyte);
	tcase_add_test(claims, roots_daemon_listens_for_all_at_the_systems_place);
	tcase_add_test(claims, a_users_daemon_listens_at_a_place_of_its_own);
	tcase_add_test(claims, a_user_without_any_place_has_none_and_may_be_handed_one);
	tcase_add_test(claims, a_folder_of_policies_is_the_systems_daemons_or_one_that_is_named);
	tcase_add_test(claims, only_the_systems_place_is_open_to_all);
	tcase_add_test(claims, a_group_is_found_by_name_or_number);
	tcase_add_test(claims, a_group_that_is_none_is_an_error);
}

int main(void)
{
	TCase *claims = tcase_create("config_load");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	add_command_line(claims);
	add_files(claims);
	return claims_run(claims, "config_load");
}
