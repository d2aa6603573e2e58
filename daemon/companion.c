/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/companion.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define EXIT_INTERNAL 70

/* What a shell answers for a command that is there but cannot run, and for one that is not. */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

/* A private folder for the socket, unless the user named a place. */
static int make_folder(
	struct companion *companion, struct config *config, struct config_fault *fault)
{
	const char *parent = getenv("XDG_RUNTIME_DIR");
	int size;

	if (config->socket_given)
		return 0;
	if (!parent || parent[0] != '/')
		parent = "/tmp";
	size = snprintf(
		companion->folder, sizeof(companion->folder), "%s/memguardd-XXXXXX", parent);
	if (size < 0 || (size_t)size + sizeof("/socket") > sizeof(companion->folder)) {
		companion->folder[0] = '\0';
		snprintf(fault->text, sizeof(fault->text), "%s: the path is too long", parent);
		return -ENAMETOOLONG;
	}
	if (!mkdtemp(companion->folder)) {
		int r = -errno;

		companion->folder[0] = '\0';
		snprintf(fault->text, sizeof(fault->text), "%s: no folder for the socket: %s",
			parent, strerror(-r));
		return r;
	}
	memcpy(config->socket.path, companion->folder, (size_t)size);
	memcpy(config->socket.path + size, "/socket", sizeof("/socket"));
	config->socket_mode = 0600;
	return 0;
}

/* Whatever a daemon that was killed has left in the folder that was made for it. */
static void clear_folder(const struct companion *companion, const struct config *config)
{
	if (!companion->folder[0])
		return;
	unlink(config->socket.path);
	rmdir(companion->folder);
}

/* It has said itself why it did not come up, unless it could not. */
static void give_up(const struct companion *companion, const struct config *config, pid_t daemon)
{
	int status = 0;

	while (waitpid(daemon, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
	clear_folder(companion, config);
	fprintf(stderr, "memguardd: the daemon ended before it served: %s\n",
		WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it was asked to");
	_exit(EXIT_INTERNAL);
}

/* Waits for the daemon's word; what it says is where it listens. */
static void become(
	const struct companion *companion, const struct config *config, int ready, pid_t daemon)
{
	char **command = config->command;
	char socket[sizeof("unix:") + ENDPOINT_PATH_MAX] = "unix:";
	size_t used = strlen(socket);
	ssize_t size;
	int status;

	do {
		size = read(ready, socket + used, sizeof(socket) - 1 - used);
		used += size > 0 ? (size_t)size : 0;
	} while (size > 0 || (size < 0 && errno == EINTR));
	if (used == strlen("unix:"))
		give_up(companion, config, daemon);
	close(ready);
	if (setenv("MEMGUARD_SOCKET", socket, 1) < 0) {
		fprintf(stderr, "memguardd: %s: %s\n", command[0], strerror(errno));
		_exit(EXIT_INTERNAL);
	}
	execvp(command[0], command);
	status = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
	fprintf(stderr, "memguardd: %s: %s\n", command[0], strerror(errno));
	_exit(status);
}

/* Where the kernel has no pidfd, its parent's death signal has to do. */
static void watch_parent(struct companion *companion, pid_t parent)
{
	companion->parent = (int)syscall(SYS_pidfd_open, parent, 0);
	if (companion->parent < 0)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(0);
}

/*
 * A session of its own, so that a Ctrl-C for the command is not one for the daemon; and neither
 * input nor output of the command, so that a pipe behind it ends when the command does.
 */
static void step_aside(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

int companion_start(struct companion *companion, struct config *config, struct config_fault *fault)
{
	pid_t parent = getpid();
	int ends[2];
	pid_t child;
	int r;

	*companion = (struct companion){ .ready = -1, .parent = -1 };
	if (!config->command)
		return 0;
	r = make_folder(companion, config, fault);
	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		goto failed;
	child = fork();
	if (child < 0) {
		close(ends[0]);
		close(ends[1]);
		goto failed;
	}
	if (child > 0) {
		close(ends[1]);
		become(companion, config, ends[0], child);
	}
	close(ends[0]);
	companion->ready = ends[1];
	watch_parent(companion, parent);
	step_aside();
	return 0;
failed:
	r = -errno;
	snprintf(fault->text, sizeof(fault->text), "cannot start a second process: %s",
		strerror(-r));
	companion_finish(companion);
	return r;
}

void companion_ready(struct companion *companion, const struct endpoint *endpoint)
{
	size_t size = strlen(endpoint->path);

	if (companion->ready < 0)
		return;
	/* Less than a pipe takes in one piece; if the reader has gone, so will we. */
	if (write(companion->ready, endpoint->path, size) < 0)
		raise(SIGTERM);
	close(companion->ready);
	companion->ready = -1;
}

void companion_keep_silent(struct companion *companion)
{
	if (companion->ready >= 0)
		close(companion->ready);
	companion->ready = -1;
}

void companion_finish(struct companion *companion)
{
	if (companion->folder[0])
		rmdir(companion->folder);
	companion->folder[0] = '\0';
	if (companion->ready >= 0)
		close(companion->ready);
	if (companion->parent >= 0)
		close(companion->parent);
	companion->ready = companion->parent = -1;
}
