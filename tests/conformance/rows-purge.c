/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/memory/enclave.h"
#include "client/lib/memory/strongroom.h"
#include "client/lib/mgclient.h"
#include "tests/conformance/conformance.h"
#include "tests/unit/process.h"

/* Rows 36 to 38: purge, panic, signals. */

#define PREFER MG_MEMORY_PREFER_LOCK

START_TEST(purge)
{
	struct mg_secret *secrets[3] = { NULL }, *opened = NULL;
	struct mg_enclave *old = NULL, *new = NULL;
	const uint8_t *seen[3];

	ck_assert_int_eq(mg_secret_new(&secrets[0], 32, PREFER), MG_OK);
	ck_assert_int_eq(mg_secret_scramble(secrets[0]), MG_OK);
	ck_assert_int_eq(mg_secret_random(&secrets[1], 32, PREFER), MG_OK);
	ck_assert_int_eq(mg_secret_random(&secrets[2], 5000, PREFER), MG_OK);
	ck_assert_int_eq(mg_enclave_random(&old, 32), MG_OK);
	for (size_t i = 0; i < 3; i++)
		seen[i] = mg_secret_data(secrets[i]);
	mg_purge_local();
	for (size_t i = 0; i < 3; i++) {
		ck_assert(!mg_secret_alive(secrets[i]));
		/* Its place is zero, not only out of reach. */
		ck_assert(all_are(seen[i], 32, 0));
		mg_secret_free(secrets[i]);
	}
	ck_assert_int_eq(mg_enclave_open(old, &opened, PREFER), MG_GONE);
	/* The key is another one: pretending to be new opens nothing either. */
	old->generation = strongroom_generation();
	ck_assert_int_eq(mg_enclave_open(old, &opened, PREFER), MG_INTEGRITY);
	ck_assert_int_eq(mg_enclave_random(&new, 32), MG_OK);
	ck_assert_int_eq(mg_enclave_open(new, &opened, PREFER), MG_OK);
	mg_secret_free(opened);
	mg_enclave_free(old);
	mg_enclave_free(new);
}
END_TEST

static const uint8_t *last_seen;

static void look(int number)
{
	(void)number;
	_exit(all_are(last_seen, 32, 0) ? 17 : 1);
}

START_TEST(panic)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_secret_new(&secret, 32, PREFER), MG_OK);
	ck_assert_int_eq(mg_secret_scramble(secret), MG_OK);
	last_seen = mg_secret_data(secret);
	signal(SIGABRT, look);
	mg_abort_local(NULL);
}
END_TEST

START_TEST(panic_status)
{
	mg_abort_local(NULL);
}
END_TEST

START_TEST(exit_status)
{
	mg_exit_local(3);
}
END_TEST

/* -- signals ------------------------------------------------------------------------------- */

static int listener, report;

static void on_first(int number)
{
	(void)number;
	(void)!write(report, "first", 5);
}

static void on_second(int number)
{
	(void)number;
	(void)!write(report, close(listener) == 0 ? "second" : "error", 6);
}

static void serve(void)
{
	const int set[] = { SIGINT, 0 };

	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (mg_catch_signals(set, on_first) != MG_OK || mg_catch_signals(set, on_second) != MG_OK)
		_exit(90);
	/* These end nobody. */
	raise(SIGWINCH);
	raise(SIGCHLD);
	(void)!write(report, "ready", 5);
	for (;;)
		pause();
}

START_TEST(signals)
{
	char text[16] = { 0 };
	int ends[2], status;
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	report = ends[1];
	child = fork();
	if (child == 0)
		serve();
	ck_assert_int_eq(read(ends[0], text, 5), 5);
	ck_assert_int_eq(kill(child, SIGINT), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGINT);
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], text, sizeof(text)), 6);
	ck_assert_str_eq(text, "second");
	close(ends[0]);
}
END_TEST

const struct row purge_rows[] = {
	{ 36, "a purge kills all there is, and what is made next lives", &purge, 0, 0 },
	{ 37, "a panic purges first", &panic, 0, 17 },
	{ 37, "a panic ends the process by SIGABRT", &panic_status, SIGABRT, 0 },
	{ 37, "an exit ends it with its status", &exit_status, 0, 3 },
	{ 38, "a caught signal calls the last handler given, then has its effect", &signals, 0, 0 },
	{ 0 },
};
