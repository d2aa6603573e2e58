/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"

/* A service that asked for its secrets to be wiped when a signal comes: a real process each. */

static int ends[2];             /* what the service tells */
static struct mg_secret *value; /* the service's secret */

static void tell(char what)
{
	(void)!write(ends[1], &what, 1);
}

/* What the service told so far, or '-' when it has ended. */
static char told(void)
{
	char what = '-';

	(void)!read(ends[0], &what, 1);
	return what;
}

/* Letters: the secret is dead when the handler is called, or it is still there. */
static void on_caught(int number)
{
	(void)number;
	tell(mg_secret_alive(value) ? 'A' : 'D');
}

static void on_second(int number)
{
	(void)number;
	tell('2');
}

static void on_exit_seven(int number)
{
	(void)number;
	_exit(7);
}

static void catch_one(int number, void (*handler)(int))
{
	if (mg_catch_signals((const int[]){ number, 0 }, handler) != MG_OK)
		_exit(90);
}

/* A service: sets up, says that it is ready, waits. */
static pid_t serve(void (*set_up)(int number), int number)
{
	pid_t service;

	ck_assert_int_eq(pipe(ends), 0);
	service = fork();
	ck_assert_int_ge(service, 0);
	if (service == 0) {
		close(ends[0]);
		if (mg_secret_random(&value, 32, MG_MEMORY_PREFER_LOCK) != MG_OK)
			_exit(91);
		set_up(number);
		tell('r');
		for (;;)
			pause();
	}
	close(ends[1]);
	ck_assert_int_eq(told(), 'r');
	return service;
}

static int ending(pid_t service)
{
	int status;

	ck_assert_int_eq(waitpid(service, &status, 0), service);
	return status;
}

static void with_handler(int number)
{
	catch_one(number, on_caught);
}

/* Which signals the kernel ends a process with is told here once more, from signal(7). */
static bool goes_on(int number)
{
	return number == SIGCHLD || number == SIGCONT || number == SIGURG || number == SIGWINCH;
}

static bool stops(int number)
{
	return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

static bool is_refused(int number)
{
	return number == SIGKILL || number == SIGSTOP || number == SIGABRT || number == SIGBUS ||
		number == SIGFPE || number == SIGILL || number == SIGSEGV || number == SIGSYS ||
		number == SIGTRAP;
}

static void is_stopped_and_goes_on(pid_t service, int number)
{
	int status;

	ck_assert_int_eq(waitpid(service, &status, WUNTRACED), service);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(WSTOPSIG(status), number);
	ck_assert_int_eq(kill(service, SIGCONT), 0);
}

static void is_caught_again(pid_t service, int number)
{
	struct pollfd news = { .fd = ends[0], .events = POLLIN };

	for (int i = 0; i < 1000 && poll(&news, 1, 10) == 0; i++)
		ck_assert_int_eq(kill(service, number), 0);
	ck_assert_int_eq(told(), 'D');
}

START_TEST(every_signal_wipes_then_calls_then_has_its_own_effect)
{
	int number = _i;
	pid_t service;
	int status;

	if (is_refused(number))
		return;
	service = serve(with_handler, number);
	ck_assert_int_eq(kill(service, number), 0);
	ck_assert_int_eq(told(), 'D');
	if (goes_on(number) || stops(number)) {
		if (stops(number))
			is_stopped_and_goes_on(service, number);
		/* It is caught the second time, too, once the first time is over. */
		is_caught_again(service, number);
		ck_assert_int_eq(kill(service, SIGKILL), 0);
		number = SIGKILL;
	}
	status = ending(service);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), number);
}
END_TEST

START_TEST(what_cannot_wait_is_refused_and_nothing_is_caught)
{
	struct sigaction before, after;
	const int set[] = { SIGINT, _i, 0 };

	if (!is_refused(_i))
		return;
	ck_assert_int_eq(sigaction(SIGINT, NULL, &before), 0);
	ck_assert_int_eq(mg_catch_signals(set, on_caught), MG_INVALID);
	ck_assert_int_eq(sigaction(SIGINT, NULL, &after), 0);
	ck_assert(before.sa_handler == after.sa_handler);
}
END_TEST

/* -- handlers ------------------------------------------------------------------------------ */

static int listener;

static void on_close_listener(int number)
{
	(void)number;
	tell(close(listener) == 0 ? 'c' : 'e');
}

static void with_listener(int number)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
		listen(listener, 1) < 0)
		_exit(92);
	catch_one(number, on_close_listener);
}

START_TEST(a_handler_may_close_a_listener)
{
	pid_t service = serve(with_listener, SIGINT);
	int status;

	ck_assert_int_eq(kill(service, SIGINT), 0);
	ck_assert_int_eq(told(), 'c');
	ck_assert_int_eq(told(), '-');
	status = ending(service);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGINT);
}
END_TEST

static void with_two_calls(int number)
{
	catch_one(number, on_caught);
	catch_one(number, on_second);
}

START_TEST(the_last_call_wins)
{
	pid_t service = serve(with_two_calls, SIGTERM);

	ck_assert_int_eq(kill(service, SIGTERM), 0);
	ck_assert_int_eq(told(), '2');
	ck_assert_int_eq(told(), '-');
	ck_assert_int_eq(WTERMSIG(ending(service)), SIGTERM);
}
END_TEST

static void with_exit(int number)
{
	catch_one(number, on_exit_seven);
}

START_TEST(a_handler_may_end_the_process_itself)
{
	pid_t service = serve(with_exit, SIGTERM);
	int status;

	ck_assert_int_eq(kill(service, SIGTERM), 0);
	status = ending(service);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
}
END_TEST

static void without_handler(int number)
{
	catch_one(number, NULL);
}

START_TEST(without_a_handler_the_signal_has_its_effect)
{
	pid_t service = serve(without_handler, SIGHUP);

	ck_assert_int_eq(kill(service, SIGHUP), 0);
	ck_assert_int_eq(WTERMSIG(ending(service)), SIGHUP);
}
END_TEST

/* -- what the host had --------------------------------------------------------------------- */

START_TEST(what_is_no_signal_is_refused)
{
	struct sigaction before;
	struct sigaction after;

	catch_one(SIGUSR2, on_caught);
	ck_assert_int_eq(sigaction(SIGUSR2, NULL, &before), 0);
	ck_assert_int_eq(mg_catch_signals((const int[]){ -1, 0 }, on_caught), MG_INVALID);
	ck_assert_int_eq(mg_catch_signals((const int[]){ 65, 0 }, on_caught), MG_INVALID);
	/* The C library keeps this one for itself. */
	ck_assert_int_eq(mg_catch_signals((const int[]){ 32, 0 }, on_caught), MG_INVALID);
	ck_assert_int_eq(mg_catch_signals((const int[]){ SIGKILL, 0 }, on_caught), MG_INVALID);
	ck_assert_int_eq(mg_catch_signals((const int[]){ SIGSTOP, 0 }, on_caught), MG_INVALID);
	/* What was caught before is still. */
	ck_assert_int_eq(sigaction(SIGUSR2, NULL, &after), 0);
	ck_assert(after.sa_handler == before.sa_handler);
	ck_assert_int_eq(mg_catch_signals((const int[]){ SIGUSR1, SIGUSR1, 0 }, on_caught), MG_OK);
	ck_assert_int_eq(mg_catch_signals((const int[]){ 0 }, on_caught), MG_OK);
}
END_TEST

START_TEST(what_was_there_before_comes_back)
{
	struct sigaction now;

	signal(SIGUSR1, on_second);
	signal(SIGUSR2, SIG_IGN);
	catch_one(SIGUSR1, on_caught);
	catch_one(SIGUSR2, on_caught);
	ck_assert_int_eq(sigaction(SIGUSR1, NULL, &now), 0);
	ck_assert(now.sa_handler == on_second);
	ck_assert_int_eq(mg_catch_signals(NULL, NULL), MG_OK);
	ck_assert_int_eq(sigaction(SIGUSR2, NULL, &now), 0);
	ck_assert(now.sa_handler == SIG_IGN);
}
END_TEST

START_TEST(a_signal_that_is_not_caught_is_the_hosts)
{
	pid_t service = serve(with_handler, SIGINT);

	/* SIGWINCH and SIGCHLD end nobody. */
	ck_assert_int_eq(kill(service, SIGWINCH), 0);
	ck_assert_int_eq(kill(service, SIGCHLD), 0);
	ck_assert_int_eq(kill(service, SIGINT), 0);
	ck_assert_int_eq(told(), 'D');
	ck_assert_int_eq(WTERMSIG(ending(service)), SIGINT);
}
END_TEST

static void with_child(int number)
{
	int status;
	pid_t child;

	catch_one(number, on_caught);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	kill(child, number);
	waitpid(child, &status, 0);
	tell(WIFSIGNALED(status) && WTERMSIG(status) == number ? 's' : 'x');
}

START_TEST(a_forked_childs_signal_has_its_effect_at_once)
{
	pid_t service;

	ck_assert_int_eq(pipe(ends), 0);
	service = fork();
	if (service == 0) {
		with_child(SIGTERM);
		_exit(0);
	}
	ck_assert_int_eq(told(), 's');
	ck_assert_int_eq(WEXITSTATUS(ending(service)), 0);
}
END_TEST

static volatile pid_t grandchild;

static void pass_on(int number)
{
	(void)number;
	kill(grandchild, SIGTERM);
}

/* The child is what is ready; its parent lives on, and passes a signal on when it is told to. */
static void in_a_child(int number)
{
	sigset_t set;

	catch_one(number, on_second);
	signal(SIGUSR1, pass_on);
	/* Not before it is known whom to pass it on to. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	grandchild = fork();
	if (grandchild > 0)
		for (sigprocmask(SIG_UNBLOCK, &set, NULL);;)
			pause();
	if (mg_secret_random(&value, 32, MG_MEMORY_PREFER_LOCK) != MG_OK)
		_exit(93);
	catch_one(number, on_caught);
}

START_TEST(a_forked_child_may_catch_its_own)
{
	pid_t service = serve(in_a_child, SIGTERM);

	ck_assert_int_eq(kill(service, SIGUSR1), 0);
	ck_assert_int_eq(told(), 'D');
	ck_assert_int_eq(kill(service, SIGKILL), 0);
	ending(service);
}
END_TEST

static void hold(void)
{
	struct mg_secret *secret = NULL;

	for (int i = 0; i < 50; i++) {
		(void)mg_secret_random(&secret, 32, MG_MEMORY_PREFER_LOCK);
		mg_secret_cleanup(&secret);
	}
}

static void *hold_for_ever(void *unused)
{
	for (;;)
		hold();
	return unused;
}

static void with_busy_threads(int number)
{
	pthread_t thread;

	catch_one(number, on_caught);
	for (int i = 0; i < 4; i++)
		if (pthread_create(&thread, NULL, hold_for_ever, NULL) != 0)
			_exit(94);
}

START_TEST(threads_in_the_midst_of_it_stop_nothing)
{
	for (int i = 0; i < 10; i++) {
		pid_t service = serve(with_busy_threads, SIGTERM);

		usleep(2000);
		ck_assert_int_eq(kill(service, SIGTERM), 0);
		ck_assert_int_eq(told(), 'D');
		ck_assert_int_eq(WTERMSIG(ending(service)), SIGTERM);
		close(ends[0]);
	}
}
END_TEST

/* The kernel spares the first process of a container: it ends all the same, as a shell says it. */
START_TEST(the_first_process_of_a_container_ends)
{
	pid_t service;
	int status;

	if (unshare(CLONE_NEWPID) < 0) {
		printf("SKIP: %s: no container can be made here: %s\n", tcase_name(),
			strerror(errno));
		fflush(stdout);
		_exit(0);
	}
	service = serve(with_handler, SIGTERM);
	ck_assert_int_eq(kill(service, SIGTERM), 0);
	ck_assert_int_eq(told(), 'D');
	status = ending(service);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 128 + SIGTERM);
	/* The sanitizer's own end needs a process more, which that container cannot have. */
	_exit(0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("signals");

	tcase_set_timeout(claims, 60);
	tcase_add_loop_test(
		claims, every_signal_wipes_then_calls_then_has_its_own_effect, 1, SIGSYS + 1);
	tcase_add_loop_test(
		claims, what_cannot_wait_is_refused_and_nothing_is_caught, 1, SIGSYS + 1);
	tcase_add_test(claims, a_handler_may_close_a_listener);
	tcase_add_test(claims, the_last_call_wins);
	tcase_add_test(claims, a_handler_may_end_the_process_itself);
	tcase_add_test(claims, without_a_handler_the_signal_has_its_effect);
	tcase_add_test(claims, what_is_no_signal_is_refused);
	tcase_add_test(claims, what_was_there_before_comes_back);
	tcase_add_test(claims, a_signal_that_is_not_caught_is_the_hosts);
	tcase_add_test(claims, a_forked_childs_signal_has_its_effect_at_once);
	tcase_add_test(claims, a_forked_child_may_catch_its_own);
	tcase_add_test(claims, threads_in_the_midst_of_it_stop_nothing);
	tcase_add_exit_test(claims, the_first_process_of_a_container_ends, 0);
	return claims_run(claims, "signals that are caught");
}
