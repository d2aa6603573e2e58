/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/tracee.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/security/vectors.h"

#define THREADS_MAX 64

/* How often registers are looked at, and for how long the process goes on in between. */
#define STOPS 100
#define PAUSE_NS 200000

/* Of all register sets, the vector registers with their 512 bits included. */
#define REGISTERS_MAX 16384

static void closedirp(DIR **folder)
{
	if (*folder)
		closedir(*folder);
}

/* -- registers ----------------------------------------------------------------------------- */

/* What the kernel knows of a stopped thread; a machine has only some of them. */
static const struct register_set {
	int note;
	const char *name;
} register_sets[] = {
	{ NT_PRSTATUS, "general registers" },
	{ NT_PRFPREG, "floating point registers" },
	{ NT_X86_XSTATE, "extended state" },
};

static int add_registers(
	struct sources *sources, const char *name, const uint8_t *bytes, size_t size)
{
	struct source *source = sources_add(sources, 0, size, name);

	if (!source)
		return -ENOMEM;
	memcpy(source->bytes, bytes, size);
	source->registers = true;
	return 0;
}

/*
 * The kernel's layout has a register in up to three places; put together, a key of 32 bytes that
 * lies in one of them is in one piece again.
 */
static int add_vectors(struct sources *sources, const uint8_t *state, size_t size)
{
	uint8_t vectors[VECTORS_SIZE];
	size_t used = vectors_join(vectors, state, size);

	return used > 0 ? add_registers(sources, "vector registers", vectors, used) : 0;
}

static int read_set(struct sources *sources, pid_t thread, const struct register_set *set)
{
	uint8_t bytes[REGISTERS_MAX];
	struct iovec vector = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	int r;

	if (ptrace(PTRACE_GETREGSET, thread, set->note, &vector) < 0)
		return errno == EINVAL || errno == ENODEV ? 0 : -errno;
	r = add_registers(sources, set->name, bytes, vector.iov_len);
	if (r == 0 && set->note == NT_X86_XSTATE)
		r = add_vectors(sources, bytes, vector.iov_len);
	return r;
}

static int read_registers(struct sources *sources, pid_t thread)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(register_sets) / sizeof(register_sets[0]); i++)
		r = read_set(sources, thread, &register_sets[i]);
	return r;
}

/* -- a process that runs ------------------------------------------------------------------- */

/* Threads that are stopped, and the signal that each of them was about to get. */
struct threads {
	struct {
		pid_t id;
		int signal;
	} items[THREADS_MAX];
	size_t count;
};

static bool has(const struct threads *threads, pid_t id)
{
	for (size_t i = 0; i < threads->count; i++)
		if (threads->items[i].id == id)
			return true;
	return false;
}

static int stop_thread(struct threads *threads, pid_t id)
{
	int status;

	if (threads->count == THREADS_MAX)
		return -E2BIG;
	/* A thread that has just ended is no thread. */
	if (ptrace(PTRACE_SEIZE, id, 0, 0) < 0)
		return errno == ESRCH ? 0 : -errno;
	if (ptrace(PTRACE_INTERRUPT, id, 0, 0) < 0 || waitpid(id, &status, __WALL) < 0)
		return -errno;
	if (!WIFSTOPPED(status))
		return 0;
	threads->items[threads->count].id = id;
	threads->items[threads->count].signal =
		status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
	threads->count++;
	return 0;
}

/* Stops those that are in the folder now; returns how many were new, or a negative errno. */
static int stop_some(struct threads *threads, const char *path)
{
	cleanup(closedirp) DIR *folder = opendir(path);
	size_t before = threads->count;
	struct dirent *entry;
	int r = 0;

	if (!folder)
		return -errno;
	while (r == 0 && (entry = readdir(folder))) {
		pid_t id = (pid_t)strtol(entry->d_name, NULL, 10);

		if (id > 0 && !has(threads, id))
			r = stop_thread(threads, id);
	}
	return r < 0 ? r : (int)(threads->count - before);
}

/* A thread that still ran may have made another one: until no new ones are seen. */
static int stop_all(struct threads *threads, pid_t pid)
{
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	do
		r = stop_some(threads, path);
	while (r > 0);
	return r == 0 && threads->count == 0 ? -ESRCH : r;
}

static void let_go(const struct threads *threads)
{
	for (size_t i = 0; i < threads->count; i++)
		ptrace(PTRACE_DETACH, threads->items[i].id, 0, threads->items[i].signal);
}

int sources_read_ptrace(struct sources *sources, pid_t pid)
{
	struct threads threads = { .count = 0 };
	int r = stop_all(&threads, pid);

	for (size_t i = 0; r == 0 && i < threads.count; i++)
		r = read_registers(sources, threads.items[i].id);
	if (r == 0)
		r = sources_read_peek(sources, pid);
	let_go(&threads);
	return r;
}

int sources_read_registers(struct sources *sources, pid_t pid)
{
	int r = 0;

	for (int stop = 0; r == 0 && stop < STOPS; stop++) {
		struct threads threads = { .count = 0 };

		r = stop_all(&threads, pid);
		for (size_t i = 0; r == 0 && i < threads.count; i++)
			r = read_registers(sources, threads.items[i].id);
		let_go(&threads);
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	return r;
}

int tracee_allowed(void)
{
	char *const argv[] = { (char[]){ "/proc/self/exe" }, NULL };
	struct tracee tracee;
	int r = tracee_start(&tracee, argv);

	if (r == 0)
		tracee_kill(&tracee);
	return r;
}

/* -- a process that is started ------------------------------------------------------------- */

#define EXIT_UNTRACED 126
#define EXIT_NO_PROGRAM 127

__attribute__((noreturn)) static void become(char *const argv[])
{
	if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
		_exit(EXIT_UNTRACED);
	execvp(argv[0], argv);
	_exit(EXIT_NO_PROGRAM);
}

static int await(struct tracee *tracee)
{
	pid_t got;

	do
		got = waitpid(tracee->pid, &tracee->status, __WALL);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : 0;
}

int tracee_start(struct tracee *tracee, char *const argv[])
{
	int r;

	fflush(NULL);
	*tracee = (struct tracee){ .pid = fork() };
	if (tracee->pid < 0)
		return -errno;
	if (tracee->pid == 0)
		become(argv);
	r = await(tracee);
	if (r < 0)
		return r;
	if (!WIFSTOPPED(tracee->status))
		return WEXITSTATUS(tracee->status) == EXIT_NO_PROGRAM ? -ENOENT : -EPERM;
	if (ptrace(PTRACE_SETOPTIONS, tracee->pid, 0,
		    PTRACE_O_EXITKILL | PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC) == 0)
		return 0;
	r = -errno;
	tracee_kill(tracee);
	return r;
}

enum tracee_stop tracee_next(struct tracee *tracee)
{
	int signal = 0;

	for (;;) {
		/* Somebody may have killed it meanwhile: then it has ended. */
		ptrace(PTRACE_CONT, tracee->pid, 0, signal);
		if (await(tracee) < 0 || !WIFSTOPPED(tracee->status))
			return TRACEE_ENDED;
		tracee->number = tracee->status >> 8;
		if (tracee->number == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			return TRACEE_LEAVE;
		if (tracee->number == SIGTRAP)
			return TRACEE_BREAK;
		/* A program that becomes another one goes on; a signal gets where it is sent. */
		signal = tracee->number >> 8 ? 0 : WSTOPSIG(tracee->status);
	}
}

void tracee_kill(struct tracee *tracee)
{
	kill(tracee->pid, SIGKILL);
	while (await(tracee) == 0 && WIFSTOPPED(tracee->status))
		ptrace(PTRACE_CONT, tracee->pid, 0, 0);
}

int tracee_read(struct sources *sources, const struct tracee *tracee)
{
	int r = read_registers(sources, tracee->pid);

	return r < 0 ? r : sources_read_mem(sources, tracee->pid);
}
