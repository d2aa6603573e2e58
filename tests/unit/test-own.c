/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/own.h"

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/claims.h"

static struct own own = OWN_INIT;
static int renewed;

static void renew(void)
{
	renewed++;
}

static void visit(void)
{
	own_enter(&own, getpid(), renew);
	own_leave(&own);
}

/* What a child makes of it: how often it renewed, 9 when it hangs. */
static int child_renews(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		renewed = 0;
		alarm(10);
		visit();
		visit();
		_exit(renewed);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 9;
}

#ifdef SYS_clone
/* The kernel's own call: no library hears of this child. */
static pid_t fork_past_the_library(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}
#else
#define fork_past_the_library fork
#endif

/* Whether a child that had its number from us, and its own child, know who they are. */
static bool lineage_knows_itself(pid_t (*make)(void), int depth)
{
	pid_t child;
	int status;

	if (own_self() != getpid())
		return false;
	if (depth == 0)
		return true;
	child = make();
	if (child == 0)
		_exit(lineage_knows_itself(make, depth - 1) ? 0 : 1);
	return waitpid(child, &status, 0) == child && status == 0;
}

START_TEST(every_child_knows_its_own_number)
{
	ck_assert(lineage_knows_itself(fork, 3));
	ck_assert(lineage_knows_itself(fork_past_the_library, 3));
	ck_assert_int_eq(own_self(), getpid());
}
END_TEST

START_TEST(the_first_to_come_has_nothing_to_renew)
{
	visit();
	visit();
	ck_assert_int_eq(renewed, 0);
}
END_TEST

START_TEST(a_child_renews_once)
{
	visit();
	ck_assert_int_eq(child_renews(), 1);
	visit();
	ck_assert_int_eq(renewed, 0);
}
END_TEST

START_TEST(a_child_needs_nobody_to_give_the_lock_back)
{
	own_enter(&own, getpid(), renew);
	ck_assert_int_eq(child_renews(), 1);
	own_leave(&own);
}
END_TEST

START_TEST(a_child_that_is_forked_in_the_midst_of_a_renewal_does_not_wait_for_it)
{
	visit();
	atomic_store(&own.owner, -getpid());
	ck_assert_int_eq(child_renews(), 1);
}
END_TEST

/* Threads of one child come together: one of them renews, the others wait for that. */
static void *visit_often(void *unused)
{
	for (int i = 0; i < 1000; i++)
		visit();
	return unused;
}

START_TEST(one_thread_of_a_child_renews_for_all)
{
	pthread_t threads[8];
	int status;
	pid_t child;

	visit();
	child = fork();
	if (child == 0) {
		alarm(30);
		for (int i = 0; i < 8; i++)
			if (pthread_create(&threads[i], NULL, visit_often, NULL) != 0)
				_exit(8);
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
		_exit(renewed);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("own");

	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, the_first_to_come_has_nothing_to_renew);
	tcase_add_test(claims, every_child_knows_its_own_number);
	tcase_add_test(claims, a_child_renews_once);
	tcase_add_test(claims, a_child_needs_nobody_to_give_the_lock_back);
	tcase_add_test(
		claims, a_child_that_is_forked_in_the_midst_of_a_renewal_does_not_wait_for_it);
	tcase_add_test(claims, one_thread_of_a_child_renews_for_all);
	return claims_run(claims, "what a process has one of");
}
