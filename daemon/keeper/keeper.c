/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/keeper/keeper_inside.h"
#include "daemon/keeper/store.h"
#include "daemon/line.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/signals.h"

/* Each new worker gives whoever guesses addresses another try at the same ones. */
#define FAULTS_MS 60000

/* Milliseconds for a worker to leave everything for the next start. */
#define LEAVE_MS 3000

/* Milliseconds before the next one, for each that has died before it served; and at most. */
#define PAUSE_STEP_MS 10
#define PAUSE_MS 500

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void hang_up(int *line)
{
	if (*line >= 0)
		close(*line);
	*line = -1;
}

/* -- a worker ------------------------------------------------------------------------------ */

/*
 * The child. A session of its own, so that a Ctrl-C is one for the keeper alone, which passes it
 * on; and an end when the keeper ends, however that comes.
 */
static void be_worker(struct keeper *keeper, pid_t parent, int line)
{
	close(keeper->signals);
	hang_up(&keeper->upgrade.line);
	hang_up(&keeper->predecessor);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_INTERNAL);
	setsid();
	signals_block();
	notify_relay(line);
	exit(keeper->options->work(
		keeper->options->context, !keeper->served, line, keeper->settings));
}

/* Returns 0 or a negative errno. */
static int start_worker(struct keeper *keeper)
{
	pid_t self = getpid();
	int ends[2];
	int r = line_open(ends);
	pid_t child;

	if (r < 0)
		return r;
	child = fork();
	if (child == 0) {
		close(ends[0]);
		be_worker(keeper, self, ends[1]);
	}
	r = -errno;
	close(ends[1]);
	if (child < 0) {
		close(ends[0]);
		return r;
	}
	keeper->worker = child;
	keeper->line = ends[0];
	keeper->left = false;
	/* Until it says that it serves. */
	keeper->unserved++;
	return 0;
}

static void on_state(struct keeper *keeper, enum notify_state state)
{
	if (state >= NOTIFY_STATES)
		return;
	notify_send(state);
	if (state != NOTIFY_READY)
		return;
	keeper->unserved = 0;
	if (!keeper->served)
		keeper->options->on_ready(keeper->options->context);
	keeper->served = true;
}

/* Whatever files say later, the next worker begins with what was in force last. */
static void on_settings(struct keeper *keeper, struct line_packet *packet)
{
	keeper->reloading = false;
	if (packet->count == 0)
		return;
	hang_up(&keeper->settings);
	keeper->settings = packet->fds[0];
	packet->fds[0] = -1;
}

/* What the worker has said. Whether there may be more. */
static bool hear(struct keeper *keeper)
{
	struct line_packet packet;
	int r = keeper->line < 0 ? -EPIPE : line_look(keeper->line, &packet);

	if (r < 0)
		return r == -EBADMSG;
	if (packet.word == LINE_SETTINGS)
		on_settings(keeper, &packet);
	line_drop(&packet);
	if (packet.word == LINE_STATE)
		on_state(keeper, (enum notify_state)packet.number);
	else if (packet.word == LINE_LEFT)
		keeper->left = true;
	else if (packet.word == LINE_UPGRADE)
		upgrade_begin(keeper);
	else if (packet.word == LINE_PURGED)
		keeper->purging = false;
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

/* Nothing is left to be adopted by anybody; but the one before us may go on with what it has. */
static void give_up(struct keeper *keeper, const char *why)
{
	keeper->status = EXIT_INTERNAL;
	if (keeper->predecessor >= 0) {
		log_error("nothing is taken over: %s", why);
		return;
	}
	log_error("everything is purged: %s", why);
	os_memory_unmap(&keeper->options->estate->keys);
}

/* Everything goes where the next start finds it; a purge that nobody has carried out yet, with it.
 */
static void store(struct keeper *keeper)
{
	keeper->status = 0;
	if (keeper->purging) {
		log_notice("nothing is left for the next start: it was to be purged");
		return;
	}
	if (store_push(keeper->options->estate, keeper->options->memory) == 0)
		keeper->fate = KEEPER_LEFT;
}

/* Whether an end of the worker is one of the daemon, by its own will or before it ever served. */
static bool is_end(const struct keeper *keeper, int status)
{
	return WIFEXITED(status) && !keeper->left && (WEXITSTATUS(status) == 0 || !keeper->served);
}

/*
 * The one before us is told why there is nothing to be taken over any more. It may have said
 * meanwhile that all is ours, and then so is the end.
 */
static void tell_end(struct keeper *keeper)
{
	struct line_packet packet;
	int r = line_say_word(keeper->predecessor, LINE_ENDED, 0);

	/* It answers or ends, whatever it is about. */
	if (r == 0)
		r = line_hear(keeper->predecessor, &packet);
	else
		r = line_look(keeper->predecessor, &packet);
	if (r < 0)
		return;
	line_drop(&packet);
	if (packet.word != LINE_COMMIT)
		return;
	hang_up(&keeper->predecessor);
	notify_relay(-1);
}

static void end_as(struct keeper *keeper, int status)
{
	keeper->status = status;
	if (status == 0 && keeper->predecessor >= 0)
		tell_end(keeper);
}

/* Whether what the first worker brings is not there yet, and nothing is to be kept without it. */
static bool is_unfurnished(const struct keeper *keeper)
{
	return keeper->options->once && !keeper->served;
}

static void on_fault(struct keeper *keeper, int status)
{
	bool exited = WIFEXITED(status);

	if (is_unfurnished(keeper)) {
		log_error("the worker died (%s) before it served", strsignal(WTERMSIG(status)));
		end_as(keeper, EXIT_INTERNAL);
		return;
	}
	if (exited)
		log_error("the worker ended with status %d; the next one goes on",
			WEXITSTATUS(status));
	else
		log_error(
			"the worker died (%s); the next one goes on", strsignal(WTERMSIG(status)));
	if ((exited || is_fault(WTERMSIG(status))) && too_many_faults(keeper))
		give_up(keeper, "too many workers have died within a minute");
}

static void on_death(struct keeper *keeper, int status)
{
	if (is_end(keeper, status))
		end_as(keeper, WEXITSTATUS(status));
	else if (keeper->storing)
		store(keeper);
	else if (keeper->ending)
		end_as(keeper, WIFEXITED(status) ? WEXITSTATUS(status) : 0);
	else if (!upgrade_worker_ended(keeper) && !keeper->left)
		on_fault(keeper, status);
}

/* Takes leave of a worker that has ended, if it has. */
static void reap(struct keeper *keeper)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != keeper->worker) {
			upgrade_reaped(keeper, pid, status);
			continue;
		}
		while (hear(keeper))
			;
		hang_up(&keeper->line);
		keeper->worker = 0;
		on_death(keeper, status);
	}
}

/* -- signals ------------------------------------------------------------------------------- */

static bool means_end(int number)
{
	return number != SIGHUP && number != SIGUSR2;
}

/*
 * The service manager ends us with SIGTERM, and may start us again: then all is to be there. A
 * second one means that it takes too long. Any other signal that ends us is somebody's wish that
 * nothing be left.
 */
static void on_end_signal(struct keeper *keeper, int number)
{
	bool second = keeper->ending;

	if (keeper->upgrade.stage != UPGRADE_NONE && keeper->upgrade.stage != UPGRADE_FAILED)
		upgrade_fail(keeper, "it was called off (%s)", strsignal(number));
	keeper->ending = true;
	keeper->storing = number == SIGTERM && !is_unfurnished(keeper) &&
		(keeper->storing || (!second && store_is_there()));
	if (keeper->worker == 0)
		return;
	if (!keeper->storing)
		kill(keeper->worker, number);
	else if (second)
		kill(keeper->worker, SIGKILL);
	else {
		log_notice("ending, on %s", strsignal(number));
		notify_send(NOTIFY_STOPPING);
		line_say_word(keeper->line, LINE_LEAVE, 0);
		keeper->kill_ms = now_ms() + LEAVE_MS;
	}
}

/* Whoever has the worker purges; one that dies before leaves it to the next one. */
static void on_purge_signal(struct keeper *keeper)
{
	keeper->purging = true;
	if (keeper->worker > 0)
		kill(keeper->worker, SIGUSR2);
	if (keeper->upgrade.stage == UPGRADE_HANDED && keeper->upgrade.pid > 0)
		kill(keeper->upgrade.pid, SIGUSR2);
}

/* Whoever serves next reloads where nobody does now. */
static void on_reload_signal(struct keeper *keeper)
{
	keeper->reloading = true;
	if (keeper->worker > 0)
		kill(keeper->worker, SIGHUP);
}

/* For when all is ours. That nothing be left is not taken back by a SIGTERM behind it. */
static void defer(struct keeper *keeper, int number)
{
	if (keeper->deferred == 0 || number != SIGTERM)
		keeper->deferred = number;
}

static void on_signal(struct keeper *keeper, int number)
{
	if (number == SIGCHLD)
		reap(keeper);
	else if (number == SIGUSR2)
		on_purge_signal(keeper);
	else if (means_end(number) && keeper->predecessor >= 0)
		defer(keeper, number);
	else if (means_end(number))
		on_end_signal(keeper, number);
	else
		on_reload_signal(keeper);
}

/* -- who was before us --------------------------------------------------------------------- */

/* It is ours, and the service manager's word is with us; or whoever gave it has gone. */
static void hear_predecessor(struct keeper *keeper)
{
	struct line_packet packet;
	int r = line_look(keeper->predecessor, &packet);

	if (r == -EAGAIN)
		return;
	if (r == 0)
		line_drop(&packet);
	hang_up(&keeper->predecessor);
	if (r == 0 && packet.word == LINE_COMMIT) {
		notify_relay(-1);
		notify_send(NOTIFY_READY);
		if (keeper->deferred != 0)
			on_end_signal(keeper, keeper->deferred);
		if (keeper->wanted)
			upgrade_begin(keeper);
		return;
	}
	/* What it had is gone with it, and the service manager knows nothing of us. */
	log_error("the keeper before us has gone without a word");
	keeper->fate = KEEPER_LEFT;
	keeper->status = EXIT_INTERNAL;
	if (keeper->worker > 0)
		kill(keeper->worker, SIGKILL);
}

/* -- time ---------------------------------------------------------------------------------- */

/* Milliseconds until the worker must have left; -1: it need not. */
static int leave_timeout(const struct keeper *keeper)
{
	uint64_t now = now_ms();

	if (keeper->kill_ms == 0 || keeper->worker == 0)
		return -1;
	return keeper->kill_ms > now ? (int)(keeper->kill_ms - now) : 0;
}

/* What it has acknowledged is in the ledger. */
static void look_at_leaving(struct keeper *keeper)
{
	if (leave_timeout(keeper) != 0)
		return;
	log_warning("the worker did not leave in time");
	kill(keeper->worker, SIGKILL);
	keeper->kill_ms = 0;
}

/* -- the loop ------------------------------------------------------------------------------ */

static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void look(struct keeper *keeper, int timeout_ms)
{
	struct pollfd polls[] = { { .fd = keeper->signals, .events = POLLIN },
		{ .fd = keeper->line, .events = POLLIN },
		{ .fd = keeper->upgrade.line, .events = POLLIN },
		{ .fd = keeper->predecessor, .events = POLLIN } };
	int number;

	timeout_ms = sooner(timeout_ms, sooner(leave_timeout(keeper), upgrade_timeout(keeper)));
	if (poll(polls, 4, timeout_ms) < 0)
		return;
	if (polls[1].revents && !hear(keeper) && polls[1].revents & POLLHUP)
		/* It will be told of as a child, too. */
		hang_up(&keeper->line);
	if (polls[2].revents)
		upgrade_hear(keeper);
	if (polls[3].revents)
		hear_predecessor(keeper);
	while (keeper->status < 0 && (number = signals_read(keeper->signals)) > 0)
		on_signal(keeper, number);
	if (keeper->status >= 0)
		return;
	upgrade_look(keeper);
	look_at_leaving(keeper);
}

/* No worker is there, and none is to be any more. */
static void end_between(struct keeper *keeper)
{
	if (keeper->storing)
		store(keeper);
	else
		end_as(keeper, 0);
}

static void next_worker(struct keeper *keeper)
{
	int pause_ms = keeper->unserved * PAUSE_STEP_MS;
	int r;

	if (keeper->unserved > 1)
		look(keeper, pause_ms < PAUSE_MS ? pause_ms : PAUSE_MS);
	if (keeper->status >= 0 || upgrade_holds(keeper))
		return;
	if (keeper->ending) {
		end_between(keeper);
		return;
	}
	r = start_worker(keeper);
	if (r < 0) {
		log_error("no process can be made: %s", strerror(-r));
		keeper->unserved++;
		if (!keeper->served)
			keeper->status = EXIT_INTERNAL;
		return;
	}
	/* It reads that before anybody is served. */
	if (keeper->purging)
		kill(keeper->worker, SIGUSR2);
	if (keeper->reloading)
		kill(keeper->worker, SIGHUP);
}

int keeper_run(const struct keeper_options *options, enum keeper_fate *fatep)
{
	struct keeper keeper = { .options = options,
		.line = -1,
		.predecessor = options->predecessor,
		.purging = options->purge,
		.settings = -1,
		.upgrade = { .line = -1 },
		.status = -1 };

	*fatep = options->predecessor >= 0 ? KEEPER_LEFT : KEEPER_ENDED;
	keeper.signals = signals_open_with_children();
	if (keeper.signals < 0) {
		log_error("signals cannot be read: %s", strerror(-keeper.signals));
		return EXIT_INTERNAL;
	}
	if (options->predecessor >= 0)
		notify_relay(options->predecessor);
	while (keeper.status < 0)
		if (keeper.worker == 0 && !upgrade_holds(&keeper))
			next_worker(&keeper);
		else
			look(&keeper, -1);
	/* Until all is ours somebody else can go on with it. */
	*fatep = keeper.predecessor >= 0 ? KEEPER_LEFT : keeper.fate;
	hang_up(&keeper.predecessor);
	hang_up(&keeper.settings);
	close(keeper.signals);
	return keeper.status;
}
