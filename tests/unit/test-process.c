/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/process.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/status.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/* Processes that secrets hang on: what is said of those that cannot be watched, and why. */

#define FREE_MOST 8 /* descriptors, with which a process is watched for certain */

static struct processes *processes;

static void set_up(void)
{
	ck_assert_int_eq(processes_new(&processes), 0);
}

static void tear_down(void)
{
	processes_free(processes);
}

/* A child that waits for its end. */
static pid_t sleeper(void)
{
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	ck_assert_int_gt(child, 0);
	return child;
}

static void end(pid_t child)
{
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

static int take(pid_t pid, struct process **processp, const char **wordsp)
{
	*processp = NULL;
	*wordsp = NULL;
	return process_take(processes, getpid(), pid, processp, wordsp);
}

START_TEST(a_process_that_lives_is_held_once)
{
	pid_t child = sleeper();
	struct process *process, *again;
	const char *words;

	ck_assert_int_eq(take(child, &process, &words), 0);
	ck_assert_int_eq(take(child, &again, &words), 0);
	ck_assert_ptr_eq(process, again);
	ck_assert_uint_gt(process_started(process), 0);
	process_release(processes, again);
	process_release(processes, process);
	end(child);
	ck_assert_int_eq(take(child, &process, &words), STATUS_INVALID);
	ck_assert_str_eq(words, "no such process");
}
END_TEST

/* The same with no more than so many descriptors beside those that are open. */
static int take_with(rlim_t free, pid_t pid, struct process **processp, const char **wordsp)
{
	struct rlimit before, limit;
	int next = dup(STDERR_FILENO);
	int r;

	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)next + free;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	r = take(pid, processp, wordsp);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	return r;
}

START_TEST(want_of_descriptors_is_a_limit_and_no_word_about_the_process)
{
	static char before[4096], after[4096];
	pid_t child = sleeper();
	struct process *process;
	const char *words;
	rlim_t free = 0;

	list_descriptors(before, sizeof(before));
	while (free < FREE_MOST && take_with(free, child, &process, &words) != 0) {
		ck_assert_int_eq(take_with(free, child, &process, &words), STATUS_LIMIT);
		ck_assert_ptr_nonnull(strstr(words, "descriptor"));
		list_descriptors(after, sizeof(after));
		ck_assert_str_eq(after, before);
		free++;
	}
	/* One for the look at the caller; one to hold the process by and one for a look at it. */
	ck_assert_uint_eq(free, 2);
	process_release(processes, process);
	end(child);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("process");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_process_that_lives_is_held_once);
	tcase_add_test(claims, want_of_descriptors_is_a_limit_and_no_word_about_the_process);
	return claims_run(claims, "processes");
}
