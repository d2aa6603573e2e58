/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bare.h"
#include "tests/integration/visitors.h"
#include "tests/unit/claims.h"

/* A worker that is killed again and again while clients visit. */

#define KILLS 1000
#define KILLS_SANITIZED 100 /* each of those starts takes long */

/*
 * How long a worker lives: up to so many calls of all visitors, so that they come to something
 * however busy the machine is; and none for every fourth, which dies while it begins.
 */
#define LIFE_CALLS 60

/* Each kind of call is done once at least for so many kills; there are some twenty a life. */
#define OFTEN 8

/* Microseconds between two looks, and within which the one is that is meant. */
#define LOOK_US 500
#define MOMENT_US 4000

static struct bare_daemon house;
static int log_fd; /* what the daemon says */

/* The one child of the keeper, or 0 while there is none. */
static pid_t worker_of(pid_t keeper)
{
	char path[64];
	FILE *file;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper, (int)keeper);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

static int kills(void)
{
	const char *sanitized = getenv("SANITIZED");

	return sanitized && sanitized[0] != '\0' ? KILLS_SANITIZED : KILLS;
}

/* The one after `before` (0: the first one). The keeper has taken leave of that one then. */
static pid_t next_worker(pid_t before)
{
	pid_t worker;

	while ((worker = worker_of(house.pid)) == 0 || worker == before)
		usleep(LOOK_US);
	return worker;
}

static void live(void)
{
	if (randombytes_uniform(4) > 0)
		visitors_await(randombytes_uniform(LIFE_CALLS));
	usleep(randombytes_uniform(MOMENT_US));
}

static void kill_often(int times)
{
	pid_t worker = next_worker(0);

	for (int i = 0; i < times; i++) {
		live();
		ck_assert_int_eq(kill(worker, SIGKILL), 0);
		worker = next_worker(worker);
	}
}

/* -- what the keeper says of it ------------------------------------------------------------ */

/* Its log goes into memory. */
static void start_logged(void)
{
	static const char *const arguments[] = { "--keep", "--max-value", VISITORS_MAX_VALUE,
		NULL };
	int before = dup(STDERR_FILENO);

	log_fd = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_ge(log_fd, 0);
	ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
	bare_start(&house, arguments);
	ck_assert_int_ge(dup2(before, STDERR_FILENO), 0);
	close(before);
}

static int count_logged(const char *words)
{
	char line[512];
	int count = 0;
	FILE *log = fdopen(dup(log_fd), "r");

	ck_assert_ptr_nonnull(log);
	rewind(log);
	while (fgets(line, sizeof(line), log))
		count += strstr(line, words) != NULL;
	fclose(log);
	return count;
}

static void tell(const struct visits *visits)
{
	printf("# %lu calls, %lu failed meanwhile, %lu of %lu values for one reader vanished\n",
		visits->calls, visits->failed, visits->vanished,
		visits->vanished + visits->done[DEED_ONCE]);
	for (enum deed deed = 0; deed < DEEDS; deed++)
		printf("#   %lu times %s\n", visits->done[deed], deed_name(deed));
	printf("#   %lu of the values were large\n", visits->large);
}

START_TEST(killed_again_and_again_it_has_what_was_acknowledged)
{
	struct visits visits;
	int times = kills();

	start_logged();
	visitors_come(house.path);
	kill_often(times);
	visits = visitors_leave();
	tell(&visits);
	fflush(stdout);
	for (enum deed deed = 0; deed < DEEDS; deed++)
		ck_assert_msg(visits.done[deed] >= (unsigned long)times / OFTEN, "%s: only %lu",
			deed_name(deed), visits.done[deed]);
	ck_assert_uint_gt(visits.large, 0);
	ck_assert_int_eq(bare_stop(&house), 0);
	ck_assert_int_eq(count_logged("the worker died (Killed)"), times);
	ck_assert_int_eq(count_logged("the worker died"), times);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("keeper");

	tcase_set_timeout(claims, 280);
	tcase_add_test(claims, killed_again_and_again_it_has_what_was_acknowledged);
	return claims_run(claims, "a worker that is killed");
}
