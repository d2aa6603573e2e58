/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/owning.h"

#define PATTERN ".mgctl-XXXXXX"

/* Whatever may end us from outside; a warning on a closed stderr, too. */
static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGALRM, SIGXCPU, SIGUSR1,
	SIGUSR2 };

#define CAUGHT (sizeof(caught) / sizeof(caught[0]))

/* The one file. A handler sees `temporary` only while the file is there. */
static struct {
	const char *path;
	char *temporary;
	int fd;
	struct sigaction actions[CAUGHT];
} file = { .fd = -1 };

/* The default action follows: it was set back, and the signal waits until we return. */
static void on_signal(int number)
{
	int error = errno;

	unlink(file.temporary);
	raise(number);
	errno = error;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < CAUGHT; i++) {
		sigaction(caught[i], NULL, &file.actions[i]);
		if (file.actions[i].sa_handler != SIG_IGN)
			sigaction(caught[i], &action, NULL);
	}
}

static void release_signals(void)
{
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &file.actions[i], NULL);
}

static int check_place(const char *path)
{
	struct stat place;

	if (lstat(path, &place) < 0)
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(place.st_mode) ? 0 : -EINVAL;
}

/* The name of the file beside `path`; NULL without memory. */
static char *name_beside(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
	char *name = malloc(folder + sizeof(PATTERN));

	if (name) {
		memcpy(name, path, folder);
		memcpy(name + folder, PATTERN, sizeof(PATTERN));
	}
	return name;
}

/* Signals wait meanwhile, so that the file is never there without its handler. */
static int create(char *name)
{
	sigset_t held, before;
	int error;

	sigemptyset(&held);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaddset(&held, caught[i]);
	sigprocmask(SIG_BLOCK, &held, &before);
	file.fd = mkostemp(name, O_CLOEXEC);
	error = -errno;
	if (file.fd >= 0) {
		file.temporary = name;
		catch_signals();
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return file.fd < 0 ? error : 0;
}

int outfile_open(const char *path)
{
	owning(freep) char *name = name_beside(path);
	int r = name ? check_place(path) : -ENOMEM;

	if (r == 0)
		r = create(name);
	if (r < 0)
		return r;
	name = NULL;
	file.path = path;
	if (fchmod(file.fd, 0600) < 0) {
		r = -errno;
		outfile_drop();
		return r;
	}
	return file.fd;
}

/* The new name is on the disk when the folder is. Some file systems cannot say. */
static void sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	owning(freep) char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
	owning(closep) int fd = open(folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)fsync(fd);
}

static void forget(void)
{
	release_signals();
	if (file.fd >= 0)
		close(file.fd);
	free(file.temporary);
	file.temporary = NULL;
	file.fd = -1;
}

int outfile_keep(void)
{
	int r = 0;

	if (fsync(file.fd) < 0 || rename(file.temporary, file.path) < 0)
		r = -errno;
	if (r < 0) {
		outfile_drop();
		return r;
	}
	sync_folder(file.path);
	forget();
	return 0;
}

void outfile_drop(void)
{
	if (!file.temporary)
		return;
	unlink(file.temporary);
	forget();
}
