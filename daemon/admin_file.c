/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/admin_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

/* Bytes of the file's name in messages. */
#define NAME_SHOWN 200

/* More than any settings need; they are read whole. */
#define FILE_SIZE_MAX ((size_t)1 << 20)

const char *admin_file_fault(const struct stat *status)
{
	if (!S_ISREG(status->st_mode))
		return "is no regular file";
	if ((status->st_uid != 0 && status->st_uid != geteuid()) || (status->st_mode & 0022))
		return "others may write to it; let only root or the daemon's user";
	return NULL;
}

const char *admin_file_shown(const char *path)
{
	size_t size = strlen(path);

	return size > NAME_SHOWN ? path + size - NAME_SHOWN : path;
}

/* Returns what is wrong, or NULL. */
static const char *read_whole(int fd, char **textp, size_t *sizep)
{
	struct stat status, after;
	const char *wrong;
	ssize_t got;

	if (fstat(fd, &status) < 0)
		return strerror(errno);
	wrong = admin_file_fault(&status);
	if (wrong)
		return wrong;
	if ((size_t)status.st_size > FILE_SIZE_MAX)
		return "is larger than 1 MiB";
	*sizep = (size_t)status.st_size;
	*textp = malloc(*sizep + 1);
	got = *textp ? read(fd, *textp, *sizep) : -1;
	if (got < 0 || (size_t)got != *sizep)
		return "cannot be read";
	/* Half of what somebody is about to write says another thing than all of it. */
	if (fstat(fd, &after) < 0 || after.st_size != status.st_size ||
		after.st_mtim.tv_sec != status.st_mtim.tv_sec ||
		after.st_mtim.tv_nsec != status.st_mtim.tv_nsec)
		return "changes while it is read";
	(*textp)[*sizep] = '\0';
	return NULL;
}

static int read_at(int folder, const char *name, const char *path, char **textp, size_t *sizep,
	struct config_fault *fault)
{
	cleanup(closep) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int error = fd < 0 ? errno : 0;
	const char *wrong;

	*textp = NULL;
	wrong = fd < 0 ? strerror(error) : read_whole(fd, textp, sizep);
	if (!wrong)
		return 0;
	free(*textp);
	*textp = NULL;
	config_fault_say(fault, "%s: %s", admin_file_shown(path), wrong);
	return error == ENOENT ? -ENOENT : -EBADMSG;
}

int admin_file_read(const char *path, char **textp, size_t *sizep, struct config_fault *fault)
{
	return read_at(AT_FDCWD, path, path, textp, sizep, fault);
}

int admin_file_read_in(
	int folder, const char *path, char **textp, size_t *sizep, struct config_fault *fault)
{
	const char *slash = strrchr(path, '/');

	return read_at(folder, slash ? slash + 1 : path, path, textp, sizep, fault);
}
