/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper/keeper_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/memory/coffer.h"
#include "daemon/failpoint.h"
#include "daemon/keeper/handover.h"
#include "daemon/ledger/ledger.h"
#include "daemon/line.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/signals.h"

/* Seconds for the new program to take the offer: our worker serves meanwhile. */
#define OFFER_S 5

/*
 * From then on nobody serves, and callers wait, five seconds when they say nothing else: whatever
 * comes of it, somebody is to serve again before these are over. Our worker has the second that
 * answers on their way may take, and one more; the new program has as long.
 */
#define LEAVE_S 2
#define SERVE_S 2

/*
 * Or a second for each so many bytes of ledger, where that is longer: every record is checked
 * before anybody is served. A quick machine does seven times as much in a second (bench-ledger).
 * With few of these the five seconds hold though the new program does not serve and our next worker
 * has to adopt, too. With more they cannot be kept, and it has longer: one that is slow, or on a
 * machine with much to do, is not to be taken for one that never will. Who does well takes no
 * longer for it.
 */
#define SERVE_STEP (UINT64_C(32) << 20)
#define SERVE_STEPS_FEW 3
#define SERVE_MORE_S 5

/* Packets heard in one round: whoever talks without end keeps us from nothing else. */
#define ROUND 16

/* Milliseconds for the service manager to learn whom it is to watch. */
#define BARRIER_MS 2000

/* -- the new program ----------------------------------------------------------------------- */

/* Nobody but root and we ourselves may have had a hand in it. */
static const char *fault_of(int fd)
{
	struct stat file;

	if (fstat(fd, &file) < 0)
		return strerror(errno);
	if (!S_ISREG(file.st_mode))
		return "it is no regular file";
	if (file.st_uid != 0 && file.st_uid != geteuid())
		return "it belongs to neither root nor us";
	if (file.st_mode & (S_IWGRP | S_IWOTH))
		return "its group or others may write to it";
	return NULL;
}

/* The child. What was taken out of the environment is put back: it is the same service. */
static void become(const struct keeper_options *options, int program, int line)
{
	char text[16];
	int end = fcntl(line, F_DUPFD, 3);

	snprintf(text, sizeof(text), "%d", end);
	if (end < 0 || setenv(HANDOVER_VARIABLE, text, 1) < 0 ||
		(notify_socket() && setenv("NOTIFY_SOCKET", notify_socket(), 1) < 0))
		_exit(EXIT_INTERNAL);
	syscall(SYS_execveat, program, "", options->arguments, environ, AT_EMPTY_PATH);
	line_say_text(line, LINE_REFUSE, strerror(errno));
	_exit(EXIT_INTERNAL);
}

/* Until all that come from it have ended, whoever their parent was. Returns its wait status. */
static int wait_for_all(pid_t child)
{
	int status = 0;
	int ended;
	pid_t pid;

	while ((pid = waitpid(-1, &ended, 0)) > 0)
		if (pid == child)
			status = ended;
	return status;
}

/* As a shell tells of a death by a signal: whoever dies of one itself was killed by somebody. */
#define DIED 128

static int tell_of(int status)
{
	return WIFSIGNALED(status) ? DIED + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * The child between us and the new keeper. A service manager waits for the end of none but its own
 * children: another process it would ask to end, and kill in the same breath. When this one is
 * ended the new keeper becomes a child of the manager, while we are still there to tell of it.
 * Until then it ends once the new keeper and all that came from it have ended, and tells how.
 */
static void stand_between(
	struct keeper *keeper, pid_t parent, int program, const int ends[2], int tell)
{
	pid_t child;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_INTERNAL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	child = fork();
	if (child == 0)
		become(keeper->options, program, ends[1]);
	if (child < 0)
		child = -errno;
	if (write(tell, &child, sizeof(child)) != sizeof(child) || child < 0)
		_exit(EXIT_INTERNAL);
	close(tell);
	close(ends[0]);
	close(ends[1]);
	close(keeper->line);
	close(keeper->signals);
	if (keeper->settings >= 0)
		close(keeper->settings);
	estate_release(keeper->options->estate);
	_exit(tell_of(wait_for_all(child)));
}

/* Fills in both processes. Returns 0 or a negative errno. */
static int fork_both(struct keeper *keeper, int program, const int ends[2])
{
	struct upgrade *upgrade = &keeper->upgrade;
	pid_t self = getpid();
	pid_t child = -ECHILD;
	int told[2];

	if (pipe2(told, O_CLOEXEC) < 0)
		return -errno;
	upgrade->between = fork();
	if (upgrade->between == 0)
		stand_between(keeper, self, program, ends, told[1]);
	if (upgrade->between < 0)
		child = -errno;
	close(told[1]);
	/* Nothing comes from one that was not made, or that was killed. */
	if (read(told[0], &upgrade->pid, sizeof(upgrade->pid)) == sizeof(upgrade->pid))
		child = upgrade->pid;
	close(told[0]);
	return child > 0 ? 0 : (int)child;
}

/* Returns 0 or a negative errno. */
static int start(struct keeper *keeper, int program)
{
	int ends[2];
	int r = line_open(ends);

	if (r < 0)
		return r;
	/* Should the one between be killed, all are our children: then we see when they end. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	keeper->upgrade = (struct upgrade){ .line = ends[0] };
	r = fork_both(keeper, program, ends);
	close(ends[1]);
	if (r < 0) {
		close(ends[0]);
		keeper->upgrade = (struct upgrade){ .line = -1 };
	}
	return r;
}

/* The new keeper becomes a child of whoever is our parent, or takes in orphans. */
static void step_aside(struct upgrade *upgrade)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	kill(upgrade->between, SIGKILL);
	waitpid(upgrade->between, NULL, 0);
	upgrade->between = 0;
}

static void go_on(struct upgrade *upgrade, enum upgrade_stage stage, unsigned seconds)
{
	upgrade->stage = stage;
	upgrade->wait_s = seconds;
	upgrade->deadline_ms = now_ms() + seconds * UINT64_C(1000);
}

/* What it would take over; whether it wants that is its own to say. */
static int offer(const struct keeper *keeper)
{
	const struct estate *estate = keeper->options->estate;
	struct line_packet packet = { .word = LINE_OFFER, .number = HANDOVER_VERSION };

	snprintf(packet.text, sizeof(packet.text), HANDOVER_OFFER, COFFER_FORMAT, LEDGER_FORMAT,
		(unsigned)estate->keys.backend, estate->listener.inherited ? 0u : 1u,
		estate->listener.endpoint.path);
	return line_say(keeper->upgrade.line, &packet);
}

void upgrade_begin(struct keeper *keeper)
{
	const char *path = keeper->options->program;
	cleanup(closep) int program = -1;
	const char *words;
	int r;

	if (keeper->ending || keeper->options->news->under_way)
		return;
	if (!path) {
		upgrade_fail(keeper, "a daemon that runs for a command ends with it");
		return;
	}
	/* Whoever has just been told that we serve may ask: it is begun once all is ours. */
	if (keeper->predecessor >= 0) {
		keeper->wanted = true;
		return;
	}
	if (keeper->upgrade.stage == UPGRADE_FAILED) {
		upgrade_fail(keeper, "the one before has not ended yet");
		return;
	}
	if (getpid() == 1) {
		upgrade_fail(keeper,
			"the first process of a container takes all others along when it ends");
		return;
	}
	program = open(path, O_PATH | O_CLOEXEC);
	words = program < 0 ? strerror(errno) : fault_of(program);
	if (words) {
		upgrade_fail(keeper, "%s: %s", path, words);
		return;
	}
	r = start(keeper, program);
	if (r < 0) {
		upgrade_fail(keeper, "no process can be made: %s", strerror(-r));
		return;
	}
	log_notice("an upgrade begins, to %s as process %ld", path, (long)keeper->upgrade.pid);
	go_on(&keeper->upgrade, UPGRADE_OFFERED, OFFER_S);
	keeper->options->news->under_way = true;
	r = offer(keeper);
	/* One that has ended already has left its reason on the line; its end is told of as a
	 * child's. */
	if (r < 0 && r != -EPIPE)
		upgrade_fail(keeper, "nothing can be said to it: %s", strerror(-r));
	failpoint("offered");
}

/* -- its end ------------------------------------------------------------------------------- */

static void hang_up(struct upgrade *upgrade)
{
	if (upgrade->line >= 0)
		close(upgrade->line);
	upgrade->line = -1;
}

/* Whether the one who was killed, and who wrote for it, have ended. */
static bool is_over(const struct keeper *keeper)
{
	siginfo_t info = { 0 };

	if (keeper->upgrade.between != 0)
		return false;
	/*
	 * Where the one between was killed they are our children now. Our own worker, if there is
	 * one, has nothing to fear from them; without one no child at all may be left.
	 */
	return keeper->upgrade.whole || keeper->worker > 0 ||
		waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0;
}

static void look_over(struct keeper *keeper)
{
	if (keeper->upgrade.stage == UPGRADE_FAILED && is_over(keeper))
		keeper->upgrade.stage = UPGRADE_NONE;
}

void upgrade_fail(struct keeper *keeper, const char *format, ...)
{
	struct keeper_news *news = keeper->options->news;
	struct upgrade *upgrade = &keeper->upgrade;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(news->fault.text, sizeof(news->fault.text), format, arguments);
	va_end(arguments);
	news->failed++;
	news->under_way = false;
	log_error("the upgrade came to nothing: %s", news->fault.text);
	if (upgrade->pid > 0)
		kill(upgrade->pid, SIGKILL);
	hang_up(upgrade);
	if (keeper->worker > 0)
		line_say_text(keeper->line, LINE_FAILED, news->fault.text);
	if (upgrade->stage != UPGRADE_NONE)
		upgrade->stage = UPGRADE_FAILED;
	look_over(keeper);
}

/* In its own words, or in those of its end. */
static void fail_by_end(struct keeper *keeper, int status)
{
	const char *reason = keeper->upgrade.reason;

	if (reason[0])
		upgrade_fail(keeper, "%s", reason);
	else if (status > DIED)
		upgrade_fail(keeper, "the new program died (%s)", strsignal(status - DIED));
	else
		upgrade_fail(keeper, "the new program ended with status %d", status);
}

void upgrade_reaped(struct keeper *keeper, pid_t pid, int status)
{
	struct upgrade *upgrade = &keeper->upgrade;

	if (pid == upgrade->between) {
		/* Its last words may still lie on the line. */
		upgrade_hear(keeper);
		upgrade->between = 0;
		upgrade->whole = WIFEXITED(status);
		if (upgrade->stage != UPGRADE_NONE && upgrade->stage != UPGRADE_FAILED)
			fail_by_end(keeper, tell_of(status));
		upgrade->pid = 0;
	}
	look_over(keeper);
}

/* -- step by step -------------------------------------------------------------------------- */

/* Bytes that the ledger takes. */
static uint64_t ledger_size(const struct estate *estate)
{
	struct stat file;

	return fstat(estate->ledger, &file) < 0 ? 0 : (uint64_t)file.st_blocks * 512;
}

static unsigned serve_s(const struct estate *estate)
{
	unsigned steps = (unsigned)(ledger_size(estate) / SERVE_STEP);

	if (steps > SERVE_STEPS_FEW)
		return steps + SERVE_MORE_S;
	return steps > SERVE_S ? steps : SERVE_S;
}

_Static_assert(LINE_FDS_MAX >= 4 + 2 * CONFIG_LISTENERS_MAX, "all of them fit into a packet");
_Static_assert(
	LINE_TEXT_MAX > CONFIG_LISTENERS_MAX * (1 + CONFIG_LISTENER_NAME_MAX), "and their names");

static void add_listener(struct line_packet *packet, const struct listener *listener)
{
	size_t used = strlen(packet->text);

	packet->fds[packet->count++] = listener->fd;
	if (listener->lock >= 0)
		packet->fds[packet->count++] = listener->lock;
	if (listener->name[0])
		snprintf(packet->text + used, sizeof(packet->text) - used, " %s%s", listener->name,
			listener->lock >= 0 ? "" : HANDOVER_WITHOUT_LOCK);
}

/* Nobody of ours writes any more. The descriptor of the keys is open for this one moment. */
static int hand_over(struct keeper *keeper)
{
	struct estate *estate = keeper->options->estate;
	struct line_packet packet = { .word = LINE_ESTATE, .number = keeper->purging };
	int keys = -1;
	int r = estate_share(estate, &keys);

	if (r < 0)
		return r;
	failpoint("shared");
	packet.fds[packet.count++] = keys;
	packet.fds[packet.count++] = estate->ledger;
	add_listener(&packet, &estate->listener);
	for (size_t i = 0; i < estate->listeners.count; i++)
		add_listener(&packet, &estate->listeners.all[i]);
	r = line_say(keeper->upgrade.line, &packet);
	close(keys);
	failpoint("handed");
	return r;
}

bool upgrade_worker_ended(struct keeper *keeper)
{
	struct upgrade *upgrade = &keeper->upgrade;
	int r;

	if (upgrade->stage != UPGRADE_LEAVING)
		return false;
	r = hand_over(keeper);
	if (r < 0)
		upgrade_fail(keeper, "the keys cannot be handed over: %s", strerror(-r));
	else
		go_on(upgrade, UPGRADE_HANDED, serve_s(keeper->options->estate));
	return true;
}

/* What has come to us since is meant for whoever goes on. */
static void pass_signals(const struct keeper *keeper)
{
	int number;

	while ((number = signals_read(keeper->signals)) > 0)
		if (number != SIGCHLD)
			kill(keeper->upgrade.pid, number);
}

/* It serves: the service manager is to watch it, and we are done. */
static void commit(struct keeper *keeper)
{
	failpoint("serving");
	step_aside(&keeper->upgrade);
	notify_main(keeper->upgrade.pid);
	(void)notify_barrier(BARRIER_MS);
	failpoint("told");
	/*
	 * It has ended meanwhile. Whose children its own are is not ours to see any more: we go on
	 * when its time is over.
	 */
	if (line_say_word(keeper->upgrade.line, LINE_COMMIT, 0) < 0) {
		notify_main(getpid());
		keeper->upgrade.pid = 0;
		return;
	}
	log_notice("process %ld goes on in our place", (long)keeper->upgrade.pid);
	pass_signals(keeper);
	if (keeper->reloading)
		kill(keeper->upgrade.pid, SIGHUP);
	keeper->upgrade.stage = UPGRADE_NONE;
	hang_up(&keeper->upgrade);
	keeper->fate = KEEPER_LEFT;
	keeper->status = 0;
	failpoint("committed");
}

static void on_word(struct keeper *keeper, const struct line_packet *packet)
{
	struct upgrade *upgrade = &keeper->upgrade;

	if (packet->word == LINE_REFUSE) {
		snprintf(upgrade->reason, sizeof(upgrade->reason), "%s", packet->text);
	} else if (packet->word == LINE_ACCEPT && upgrade->stage == UPGRADE_OFFERED) {
		failpoint("accepted");
		go_on(upgrade, UPGRADE_LEAVING, LEAVE_S);
		if (keeper->worker > 0)
			line_say_word(keeper->line, LINE_LEAVE, 0);
		else
			upgrade_worker_ended(keeper);
	} else if (packet->word == LINE_STATE && packet->number == NOTIFY_READY &&
		upgrade->stage == UPGRADE_HANDED) {
		commit(keeper);
	} else if (packet->word == LINE_ENDED && upgrade->stage == UPGRADE_HANDED) {
		/* Whoever may has asked its worker for the end: that is ours, too. */
		upgrade->stage = UPGRADE_NONE;
		keeper->status = 0;
	}
}

void upgrade_hear(struct keeper *keeper)
{
	struct upgrade *upgrade = &keeper->upgrade;
	struct line_packet packet;
	int r = 0;

	for (int i = 0; i < ROUND && upgrade->line >= 0 && keeper->status < 0; i++) {
		r = line_look(upgrade->line, &packet);
		if (r < 0)
			break;
		on_word(keeper, &packet);
		line_drop(&packet);
	}
	/* Its death is told of as a child's, too, and what came of it is said then. */
	if (r < 0 && r != -EAGAIN)
		hang_up(upgrade);
}

/* -- time ---------------------------------------------------------------------------------- */

int upgrade_timeout(const struct keeper *keeper)
{
	const struct upgrade *upgrade = &keeper->upgrade;
	uint64_t now = now_ms();

	if (upgrade->stage == UPGRADE_NONE || upgrade->stage == UPGRADE_FAILED)
		return -1;
	return upgrade->deadline_ms > now ? (int)(upgrade->deadline_ms - now) : 0;
}

void upgrade_look(struct keeper *keeper)
{
	struct upgrade *upgrade = &keeper->upgrade;

	if (upgrade_timeout(keeper) != 0)
		return;
	/* Somebody may have stopped us meanwhile: what has come is no less in time for that. */
	upgrade_hear(keeper);
	if (upgrade_timeout(keeper) != 0)
		return;
	if (upgrade->stage == UPGRADE_OFFERED)
		upgrade_fail(keeper, "the new program did not answer within %u s", upgrade->wait_s);
	else if (upgrade->stage == UPGRADE_HANDED)
		upgrade_fail(keeper, "the new program did not serve within %u s", upgrade->wait_s);
	else if (keeper->worker > 0) {
		/* What it has acknowledged is in the ledger. */
		kill(keeper->worker, SIGKILL);
		upgrade->deadline_ms += UINT64_C(1000) * LEAVE_S;
	}
}

bool upgrade_holds(const struct keeper *keeper)
{
	return keeper->upgrade.stage == UPGRADE_HANDED || keeper->upgrade.stage == UPGRADE_FAILED;
}
