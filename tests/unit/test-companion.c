/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/companion.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/claims.h"

/* A command and its daemon: what whoever started it sees when the daemon does not come up. */

static char parent[] = "/tmp/memguardd-test-XXXXXX"; /* where its folder is made */

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(parent));
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", parent, 1), 0);
}

static void tear_down(void)
{
	ck_assert_int_eq(rmdir(parent), 0);
}

/* -- the daemon's part --------------------------------------------------------------------- */

static struct companion companion;
static struct config config;

static void bind_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, config.socket.path, strlen(config.socket.path));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
}

static void be_killed(void)
{
	raise(SIGKILL);
}

static void be_killed_with_a_socket(void)
{
	bind_socket();
	raise(SIGKILL);
}

static void say_why_not(void)
{
	fputs("memguardd: not today\n", stderr);
	companion_finish(&companion);
	_exit(78);
}

static void end_in_order(void)
{
	companion_finish(&companion);
	_exit(0);
}

static void serve(void)
{
	companion_ready(&companion, &config.socket);
	companion_finish(&companion);
	_exit(0);
}

/* -- what comes of it ---------------------------------------------------------------------- */

static char said[1000];

static void start(void (*act)(void), int words)
{
	static char shell[] = "sh", option[] = "-c", script[] = "echo ran >&2; exit 7";
	static char *command[] = { shell, option, script, NULL };
	struct config_fault fault;

	dup2(words, STDERR_FILENO);
	config.command = command;
	if (companion_start(&companion, &config, &fault) < 0)
		_exit(99);
	act();
}

/* The status of a command whose daemon does that; what is said goes to `said`. */
static int status_with(void (*act)(void))
{
	size_t used = 0;
	ssize_t size;
	int ends[2];
	int status;
	pid_t child;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	if (child == 0)
		start(act, ends[1]);
	close(ends[1]);
	while ((size = read(ends[0], said + used, sizeof(said) - 1 - used)) > 0)
		used += (size_t)size;
	said[used] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const struct {
	void (*act)(void);
	int status;
	const char *said;
} rows[] = {
	{ be_killed, 70, "memguardd: the daemon ended before it served: Killed\n" },
	{ be_killed_with_a_socket, 70, "memguardd: the daemon ended before it served: Killed\n" },
	{ end_in_order, 70, "memguardd: the daemon ended before it served: it was asked to\n" },
	{ say_why_not, 78, "memguardd: not today\n" },
	{ serve, 7, "ran\n" },
};

#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

/* That nothing is left in the folder, tear_down sees. */
START_TEST(a_daemon_that_does_not_come_up_is_one_line_and_a_status_and_leaves_nothing)
{
	ck_assert_int_eq(status_with(rows[_i].act), rows[_i].status);
	ck_assert_str_eq(said, rows[_i].said);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("companion");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_loop_test(claims,
		a_daemon_that_does_not_come_up_is_one_line_and_a_status_and_leaves_nothing, 0,
		ROWS);
	return claims_run(claims, "a command's daemon");
}
