/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/signals.h"

#define EXIT_INTERNAL 70

/* Each new worker gives whoever guesses addresses another try at the same ones. */
#define FAULTS_MS 60000

/* Milliseconds before the next one, for each that has died before it served; and at most. */
#define PAUSE_STEP_MS 10
#define PAUSE_MS 500

struct keeper {
	const struct keeper_options *options;
	int signals;   /* descriptor that tells of them, and of dead children */
	int worker_fd; /* what the worker says */
	pid_t worker;  /* 0: none */
	bool served;   /* some worker has */
	int unserved;  /* workers in a row that died before they served */
	bool ending;   /* it was asked to */
	bool purging;  /* asked for while no worker was there */
	uint64_t faults_ms[KEEPER_FAULTS_MAX]; /* when the last ones were; a ring */
	size_t faults;
	int status; /* -1: goes on */
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* -- a worker ------------------------------------------------------------------------------ */

/*
 * The child. A session of its own, so that a Ctrl-C is one for the keeper alone, which passes it
 * on; and an end when the keeper ends, however that comes.
 */
static void be_worker(const struct keeper *keeper, pid_t parent, int fd)
{
	close(keeper->signals);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_INTERNAL);
	setsid();
	signals_block();
	notify_relay(fd);
	exit(keeper->options->work(keeper->options->context, !keeper->served));
}

/* Returns 0 or a negative errno. */
static int start_worker(struct keeper *keeper)
{
	pid_t self = getpid();
	int ends[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		close(ends[0]);
		be_worker(keeper, self, ends[1]);
	}
	close(ends[1]);
	if (child < 0) {
		int r = -errno;

		close(ends[0]);
		return r;
	}
	keeper->worker = child;
	keeper->worker_fd = ends[0];
	/* Until it says that it serves. */
	keeper->unserved++;
	return 0;
}

/* What the worker has said. Whether there may be more. */
static bool hear(struct keeper *keeper)
{
	int state = keeper->worker_fd < 0 ? -EPIPE : notify_take(keeper->worker_fd);

	if (state < 0)
		return false;
	notify_send((enum notify_state)state);
	if (state != NOTIFY_READY)
		return true;
	keeper->unserved = 0;
	if (!keeper->served)
		keeper->options->on_ready(keeper->options->context);
	keeper->served = true;
	return true;
}

/* -- its end ------------------------------------------------------------------------------- */

static bool is_fault(int number)
{
	return number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGABRT ||
		number == SIGSYS || number == SIGFPE || number == SIGTRAP;
}

/* Whether this one was the last that is borne. */
static bool too_many_faults(struct keeper *keeper)
{
	uint64_t now = now_ms();
	uint64_t *oldest = &keeper->faults_ms[keeper->faults % KEEPER_FAULTS_MAX];
	bool full = keeper->faults + 1 >= KEEPER_FAULTS_MAX;

	*oldest = now;
	keeper->faults++;
	oldest = &keeper->faults_ms[keeper->faults % KEEPER_FAULTS_MAX];
	return full && now - *oldest <= FAULTS_MS;
}

/* Nothing is left to be adopted by anybody. */
static void give_up(struct keeper *keeper, const char *why)
{
	log_error("everything is purged: %s", why);
	os_memory_unmap(keeper->options->keys);
	keeper->status = EXIT_INTERNAL;
}

static void on_death(struct keeper *keeper, int status)
{
	bool exited = WIFEXITED(status);
	int number = exited ? 0 : WTERMSIG(status);

	if (keeper->ending || (exited && (WEXITSTATUS(status) == 0 || !keeper->served))) {
		keeper->status = exited ? WEXITSTATUS(status) : 0;
		return;
	}
	if (exited)
		log_error("the worker ended with status %d; the next one goes on",
			WEXITSTATUS(status));
	else
		log_error("the worker died (%s); the next one goes on", strsignal(number));
	if ((exited || is_fault(number)) && too_many_faults(keeper))
		give_up(keeper, "too many workers have died within a minute");
}

/* Takes leave of a worker that has ended, if it has. */
static void reap(struct keeper *keeper)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != keeper->worker)
			continue;
		while (hear(keeper))
			;
		close(keeper->worker_fd);
		keeper->worker_fd = -1;
		keeper->worker = 0;
		on_death(keeper, status);
	}
}

/* -- the loop ------------------------------------------------------------------------------ */

static bool is_end(int number)
{
	return number != SIGHUP && number != SIGUSR2;
}

/* What is for the worker is passed on; between two workers an end is an end, and a purge one. */
static void on_signal(struct keeper *keeper, int number)
{
	if (number == SIGCHLD) {
		reap(keeper);
		return;
	}
	keeper->ending = keeper->ending || is_end(number);
	if (keeper->worker > 0)
		kill(keeper->worker, number);
	else if (number == SIGUSR2)
		keeper->purging = true;
	else if (is_end(number))
		keeper->status = 0;
}

static void look(struct keeper *keeper, int timeout_ms)
{
	struct pollfd polls[] = { { .fd = keeper->signals, .events = POLLIN },
		{ .fd = keeper->worker_fd, .events = POLLIN } };
	int number;

	if (poll(polls, 2, timeout_ms) <= 0)
		return;
	if (polls[1].revents && !hear(keeper) && polls[1].revents & POLLHUP) {
		/* It will be told of as a child, too. */
		close(keeper->worker_fd);
		keeper->worker_fd = -1;
	}
	while (keeper->status < 0 && (number = signals_read(keeper->signals)) > 0)
		on_signal(keeper, number);
}

static void next_worker(struct keeper *keeper)
{
	int r;

	if (keeper->unserved > 1)
		look(keeper,
			keeper->unserved * PAUSE_STEP_MS < PAUSE_MS
				? keeper->unserved * PAUSE_STEP_MS
				: PAUSE_MS);
	if (keeper->status >= 0)
		return;
	r = start_worker(keeper);
	if (r < 0) {
		log_error("no process can be made: %s", strerror(-r));
		keeper->unserved++;
		if (!keeper->served)
			keeper->status = EXIT_INTERNAL;
	} else if (keeper->purging) {
		/* It reads that before anybody is served. */
		kill(keeper->worker, SIGUSR2);
		keeper->purging = false;
	}
}

int keeper_run(const struct keeper_options *options)
{
	struct keeper keeper = { .options = options, .worker_fd = -1, .status = -1 };

	keeper.signals = signals_open_with_children();
	if (keeper.signals < 0) {
		log_error("signals cannot be read: %s", strerror(-keeper.signals));
		return EXIT_INTERNAL;
	}
	while (keeper.status < 0)
		if (keeper.worker == 0)
			next_worker(&keeper);
		else
			look(&keeper, -1);
	close(keeper.signals);
	return keeper.status;
}
