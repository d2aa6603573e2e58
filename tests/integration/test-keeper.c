/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bare.h"
#include "tests/integration/visitors.h"
#include "tests/unit/claims.h"

/* A worker that is killed again and again while clients visit. */

#define KILLS 1000
#define KILLS_SANITIZED 100 /* each of those starts takes long */

static struct bare_daemon house;

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

static void kill_often(void)
{
	for (int killed = 0; killed < kills();) {
		pid_t worker;

		usleep(5000 + randombytes_uniform(40000));
		worker = worker_of(house.pid);
		killed += worker > 0 && kill(worker, SIGKILL) == 0;
	}
}

START_TEST(killed_again_and_again_it_has_what_was_acknowledged)
{
	static const char *const arguments[] = { "--keep", NULL };
	struct visits visits;

	bare_start(&house, arguments);
	visitors_come(house.path);
	kill_often();
	visits = visitors_leave();
	printf("# %lu calls, %lu in doubt, %lu read once\n", visits.calls, visits.unsure,
		visits.once_read);
	ck_assert_uint_gt(visits.calls, (unsigned long)kills());
	ck_assert_uint_gt(visits.once_read, 0);
	ck_assert_int_eq(bare_stop(&house), 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("keeper");

	tcase_set_timeout(claims, 200);
	tcase_add_test(claims, killed_again_and_again_it_has_what_was_acknowledged);
	return claims_run(claims, "a worker that is killed");
}
