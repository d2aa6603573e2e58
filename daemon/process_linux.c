/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/process.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/status.h"

/* A descriptor each; never more than a quarter of those that the daemon may have. */
#define PROCESSES_MAX 4096

/* Ends that are looked at in one go. */
#define LOOK_ROUND 64

struct process {
	struct process *next;
	struct processes *processes;
	struct holder *holder; /* NULL: it has ended */
	size_t references;
	pid_t pid;
	int fd;
	uint64_t started; /* clock ticks since the machine was */
};

struct processes {
	struct process *first;
	size_t count;
	int epoll;
};

static const char words_of_shortage[] = "no memory or descriptor is left to watch another process";

static const char *words_for(int error)
{
	if (error == ENOSYS || error == EPERM)
		return "this kernel does not let the daemon watch processes";
	return "no such process";
}

/* -- what the kernel knows ----------------------------------------------------------------- */

/* A file of /proc about a process; NULL when it cannot be read. */
static FILE *open_about(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, file);
	return fopen(path, "re");
}

/* Want of memory or descriptors is ours: it tells nothing about a process. */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/*
 * The first line that begins with `word`; the caller frees it. NULL when there is none, and errno
 * tells whether that is a shortage.
 */
static char *line_about(pid_t pid, const char *file, const char *word)
{
	FILE *stream = open_about(pid, file);
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	int error;

	if (!stream)
		return NULL;
	errno = 0;
	while (!found && getline(&line, &room, stream) > 0)
		found = strncmp(line, word, strlen(word)) == 0;
	error = errno;
	fclose(stream);
	if (found)
		return line;
	free(line);
	errno = error;
	return NULL;
}

/* What it is that a file about a process could not be read, of which errno tells more. */
static int say_unread(const char **wordsp, const char *otherwise)
{
	bool shortage = is_shortage(errno);

	*wordsp = shortage ? words_of_shortage : otherwise;
	return shortage ? STATUS_LIMIT : STATUS_INVALID;
}

/*
 * Whether a process numbers others as we do: it has one number, the one that we know. One in a pid
 * namespace below ours has another one there, behind it.
 */
static int check_numbers(pid_t peer, const char **wordsp)
{
	static const char elsewhere[] =
		"the caller is in another pid namespace: its numbers mean nothing here";
	char *line = line_about(peer, "status", "NSpid:");
	long number;
	int used = 0;
	bool same;

	if (!line)
		return say_unread(wordsp, elsewhere);
	same = sscanf(line, "NSpid: %ld%n", &number, &used) == 1 && number == peer &&
		line[used] == '\n';
	free(line);
	*wordsp = elsewhere;
	return same ? 0 : STATUS_INVALID;
}

/* The 22nd field of /proc/PID/stat; the second one may hold anything but ends with the last ')'. */
static int read_started(pid_t pid, uint64_t *startedp, const char **wordsp)
{
	char *line = line_about(pid, "stat", "");
	const char *at = line ? strrchr(line, ')') : NULL;
	unsigned long long started = 0;
	bool read;

	if (!line)
		return say_unread(wordsp, words_for(ESRCH));
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	read = at && sscanf(at, " %llu", &started) == 1;
	free(line);
	*startedp = started;
	*wordsp = words_for(ESRCH);
	return read ? 0 : STATUS_INVALID;
}

static bool has_ended(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };

	return poll(&poller, 1, 0) != 0;
}

/* -- one process --------------------------------------------------------------------------- */

static void discard(struct process *process)
{
	struct process **at = &process->processes->first;

	while (*at != process)
		at = &(*at)->next;
	*at = process->next;
	process->processes->count--;
	if (process->fd >= 0)
		close(process->fd);
	holder_free(process->holder);
	free(process);
}

static void discard_unused(struct process *process)
{
	if (process->references == 0 && (!process->holder || holder_count(process->holder) == 0))
		discard(process);
}

static void on_emptied(void *context)
{
	discard_unused(context);
}

static size_t most(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 4 >= PROCESSES_MAX)
		return PROCESSES_MAX;
	return (size_t)limit.rlim_cur / 4;
}

/* Held by `fd`, which is the process's from now on; NULL without memory. */
static struct process *hold(struct processes *processes, pid_t pid, int fd, uint64_t started)
{
	struct process *process = calloc(1, sizeof(*process));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = process };

	if (!process)
		return NULL;
	process->holder = holder_new(on_emptied, process);
	if (!process->holder || epoll_ctl(processes->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		holder_free(process->holder);
		free(process);
		return NULL;
	}
	process->processes = processes;
	process->pid = pid;
	process->fd = fd;
	process->started = started;
	process->next = processes->first;
	processes->first = process;
	processes->count++;
	return process;
}

/* A descriptor for a process that lives, and when it was started. */
static int look_up(pid_t pid, int *fdp, uint64_t *startedp, const char **wordsp)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int r;

	if (fd < 0)
		return say_unread(wordsp, words_for(errno));
	r = read_started(pid, startedp, wordsp);
	/* The time was that process's if it lives on. */
	if (r == 0 && has_ended(fd)) {
		*wordsp = words_for(ESRCH);
		r = STATUS_INVALID;
	}
	if (r == 0)
		*fdp = fd;
	else
		close(fd);
	return r;
}

static int open_process(
	struct processes *processes, pid_t pid, struct process **processp, const char **wordsp)
{
	uint64_t started = 0;
	int fd;
	int r;

	*wordsp = "too many processes are watched already";
	if (processes->count >= most())
		return STATUS_LIMIT;
	r = look_up(pid, &fd, &started, wordsp);
	if (r != 0)
		return r;
	*processp = hold(processes, pid, fd, started);
	if (*processp)
		return 0;
	close(fd);
	*wordsp = words_of_shortage;
	return STATUS_LIMIT;
}

int process_take(struct processes *processes, pid_t peer, pid_t pid, struct process **processp,
	const char **wordsp)
{
	struct process *process = processes->first;
	int r = check_numbers(peer, wordsp);

	if (r != 0)
		return r;
	while (process && (process->pid != pid || !process->holder || has_ended(process->fd)))
		process = process->next;
	if (!process)
		r = open_process(processes, pid, &process, wordsp);
	if (r != 0)
		return r;
	process->references++;
	*processp = process;
	return 0;
}

void process_release(struct processes *processes, struct process *process)
{
	(void)processes;
	if (!process)
		return;
	process->references--;
	discard_unused(process);
}

struct holder *process_holder(const struct process *process)
{
	return process->holder;
}

uint64_t process_started(const struct process *process)
{
	return process->started;
}

/* -- all of them --------------------------------------------------------------------------- */

void processes_look(struct processes *processes, void (*end)(void *context, struct holder *holder),
	void *context)
{
	struct epoll_event events[LOOK_ROUND];
	int count = epoll_wait(processes->epoll, events, LOOK_ROUND, 0);

	for (int i = 0; i < count; i++) {
		struct process *process = events[i].data.ptr;

		close(process->fd);
		process->fd = -1;
		end(context, process->holder);
		process->holder = NULL;
		discard_unused(process);
	}
}

int processes_fd(const struct processes *processes)
{
	return processes->epoll;
}

int processes_new(struct processes **processesp)
{
	struct processes *processes = calloc(1, sizeof(*processes));

	if (!processes)
		return -ENOMEM;
	processes->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (processes->epoll < 0) {
		int r = -errno;

		free(processes);
		return r;
	}
	*processesp = processes;
	return 0;
}

void processes_free(struct processes *processes)
{
	if (!processes)
		return;
	while (processes->first)
		discard(processes->first);
	close(processes->epoll);
	free(processes);
}
