/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/integration/visitors.h"
#include "tests/unit/claims.h"

/*
 * Newer programs that take over from older ones while clients visit: no call fails, whether the new
 * one comes up or not.
 */

#define UPGRADES 20

/* Calls of all visitors between two of them. */
#define BETWEEN_CALLS 200

static struct bare_daemon house;
static char place[48]; /* of the program that an upgrade starts */

/* -- the program --------------------------------------------------------------------------- */

static void copy(const char *from, const char *to)
{
	static char bytes[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	ssize_t size;

	ck_assert_msg(in >= 0 && out >= 0, "%s to %s: %s", from, to, strerror(errno));
	while ((size = read(in, bytes, sizeof(bytes))) > 0)
		ck_assert_int_eq(write(out, bytes, (size_t)size), size);
	ck_assert_int_eq(size, 0);
	close(in);
	close(out);
}

/* As a package manager does: beside the old file first, then over it. */
static void put_in_place(const char *program)
{
	char fresh[64];

	snprintf(fresh, sizeof(fresh), "%s.fresh", place);
	copy(program, fresh);
	ck_assert_int_eq(rename(fresh, place), 0);
}

static void begin(void)
{
	static const char *const arguments[] = { "--keep", "--max-value", VISITORS_MAX_VALUE,
		NULL };
	static char folder[32];
	const char *program = getenv("MEMGUARDD");

	strcpy(folder, "/tmp/memguardd-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(place, sizeof(place), "%s/memguardd", folder);
	put_in_place(program);
	ck_assert_int_eq(setenv("MEMGUARDD", place, 1), 0);
	/* A new keeper becomes our child when the old one ends. */
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	bare_start(&house, arguments);
	ck_assert_int_eq(setenv("MEMGUARDD", program, 1), 0);
}

static void end(void)
{
	ck_assert_int_eq(bare_stop(&house), 0);
	unlink(place);
	*strrchr(place, '/') = '\0';
	rmdir(place);
}

/* -- who asks for it ----------------------------------------------------------------------- */

static struct mg_client *ask_for(void)
{
	struct mg_options options = { .endpoint = house.path, .timeout_ms = 60000 };
	struct mg_client *client = NULL;

	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
	return client;
}

/* The one that was the main process has ended in order, and another one is. */
static void follow(struct mg_client *client)
{
	struct mg_state status;
	int wait_status;

	ck_assert_int_eq(mg_status_of(client, &status), MG_OK);
	ck_assert_int_ne((pid_t)status.keeper, house.pid);
	ck_assert_int_eq(waitpid(house.pid, &wait_status, 0), house.pid);
	ck_assert_int_eq(wait_status, 0);
	house.pid = (pid_t)status.keeper;
}

/*
 * How long the longest call took is told, not judged: on a busy machine that is somebody else's
 * doing. That it is under a second where nobody disturbs is for bench-upgrade to show.
 */
static void tell(const char *what, const struct visits *visits)
{
	printf("# %s: %lu calls, %lu failed, the longest took %lu ms\n", what, visits->calls,
		visits->failed, visits->longest_us / 1000);
}

/* Nobody was told that the daemon is away, and no answer was lost on its way. */
static void check_unnoticed(const struct visits *visits)
{
	ck_assert_uint_eq(visits->failed, 0);
	ck_assert_uint_eq(visits->vanished, 0);
}

START_TEST(no_call_fails_while_one_program_follows_another)
{
	struct mg_client *client;
	struct visits visits;

	begin();
	client = ask_for();
	visitors_come(house.path);
	for (int i = 0; i < UPGRADES; i++) {
		visitors_await(BETWEEN_CALLS);
		usleep(1000 * randombytes_uniform(20));
		put_in_place(getenv("MEMGUARDD"));
		ck_assert_msg(mg_upgrade(client) == MG_OK, "%s", mg_last_error());
		follow(client);
	}
	visits = visitors_leave();
	tell("upgrades", &visits);
	check_unnoticed(&visits);
	for (enum deed deed = 0; deed < DEEDS; deed++)
		ck_assert_msg(visits.done[deed] >= UPGRADES, "%s: only %lu", deed_name(deed),
			visits.done[deed]);
	mg_close(client);
	end();
}
END_TEST

/* -- programs that do not come up ---------------------------------------------------------- */

static const struct {
	const char *program; /* NULL: the one with failpoints */
	const char *place;   /* of its failpoint */
	const char *words;   /* what is said of it */
} bad[] = {
	{ "/bin/false", "", "ended with status 1" },
	{ NULL, "accepting:9", "died (Killed)" },
	{ NULL, "mapped:9", "died (Killed)" },
	{ NULL, "mapped:11", "died (Segmentation fault)" },
	{ NULL, "opening:9", "did not serve" },
	{ NULL, "opening:11", "ended with status 70" },
	{ NULL, "accepting:19", "did not answer within 5 s" },
	{ NULL, "mapped:19", "did not serve within 2 s" },
};

START_TEST(no_call_fails_when_a_program_does_not_come_up)
{
	const char *program = bad[_i].program ? bad[_i].program : getenv("FAILPOINTS");
	struct mg_client *client;
	struct mg_state status;
	struct visits visits;

	ck_assert_int_eq(setenv("FAILPOINT", bad[_i].place, 1), 0);
	begin();
	client = ask_for();
	visitors_come(house.path);
	visitors_await(BETWEEN_CALLS);
	put_in_place(program);
	ck_assert_int_eq(mg_upgrade(client), MG_NO);
	ck_assert_msg(strstr(mg_last_error(), bad[_i].words), "%s", mg_last_error());
	visitors_await(BETWEEN_CALLS);
	visits = visitors_leave();
	tell(bad[_i].place[0] ? bad[_i].place : program, &visits);
	check_unnoticed(&visits);
	ck_assert_int_eq(mg_status_of(client, &status), MG_OK);
	ck_assert_int_eq((pid_t)status.keeper, house.pid);
	/* And it can still be done well. */
	put_in_place(getenv("MEMGUARDD"));
	ck_assert_msg(mg_upgrade(client) == MG_OK, "%s", mg_last_error());
	follow(client);
	mg_close(client);
	end();
}
END_TEST

/* -- time ---------------------------------------------------------------------------------- */

static void fill(struct mg_client *client, unsigned mib)
{
	static uint8_t value[1 << 20];
	char name[32];

	for (unsigned i = 0; i < mib; i++) {
		snprintf(name, sizeof(name), "%u", i);
		ck_assert_int_eq(mg_set(client, name, value, sizeof(value), NULL, NULL), MG_OK);
	}
}

START_TEST(what_has_more_to_adopt_has_longer)
{
	struct mg_client *client;

	ck_assert_int_eq(setenv("FAILPOINT", "mapped:19", 1), 0);
	begin();
	client = ask_for();
	fill(client, 97);
	put_in_place(getenv("FAILPOINTS"));
	ck_assert_int_eq(mg_upgrade(client), MG_NO);
	ck_assert_msg(strstr(mg_last_error(), "within 3 s"), "%s", mg_last_error());
	mg_close(client);
	end();
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("upgrade");

	tcase_set_timeout(claims, 120);
	tcase_add_test(claims, no_call_fails_while_one_program_follows_another);
	tcase_add_loop_test(claims, no_call_fails_when_a_program_does_not_come_up, 0,
		sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(claims, what_has_more_to_adopt_has_longer);
	return claims_run(claims, "upgrades under load");
}
