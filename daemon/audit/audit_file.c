/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/audit/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/cleanup.h"

static int fail(int error, const char *path, const char *words, struct config_fault *fault)
{
	config_fault_say(fault, "audit-file: %s: %s", path, words);
	return error;
}

/* Returns 0 or a negative errno; *stat is of `path` where there is something. */
static int look(
	const char *path, const struct audit_file *now, struct audit_file *file, struct stat *stat)
{
	if (fstatat(AT_FDCWD, path, stat, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	file->same = now->fd >= 0 && !now->stream && stat->st_dev == now->device &&
		stat->st_ino == now->inode;
	return 0;
}

/* Reads what is at the end. Returns its bytes, or a negative errno. */
static ssize_t read_end(int fd, off_t size, char bytes[static AUDIT_LINE_MAX])
{
	off_t begin = size > AUDIT_LINE_MAX ? size - AUDIT_LINE_MAX : 0;
	size_t used = 0;

	while ((off_t)used < size - begin) {
		ssize_t got =
			pread(fd, bytes + used, (size_t)(size - begin) - used, begin + (off_t)used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		used += (size_t)got;
	}
	return (ssize_t)used;
}

/* The last whole line; *overp tells how much lies behind it. Empty where there is none. */
static struct span last_line(const char *bytes, size_t size, size_t *overp)
{
	const char *end = memrchr(bytes, '\n', size);
	const char *begin = end ? memrchr(bytes, '\n', (size_t)(end - bytes)) : NULL;

	*overp = size - (end ? (size_t)(end - bytes) + 1 : 0);
	if (!end)
		return span_of(NULL, 0);
	begin = begin ? begin + 1 : bytes;
	return span_of(begin, (size_t)(end - begin));
}

/* What is there must be ours to go on with. */
static int find_tail(
	struct audit_file *file, off_t size, const char *path, struct config_fault *fault)
{
	cleanup(freep) char *bytes = malloc(AUDIT_LINE_MAX);
	ssize_t got = bytes ? read_end(file->fd, size, bytes) : -ENOMEM;
	struct audit_line line;
	struct span text;
	size_t over;

	if (got < 0)
		return fail((int)got, path, strerror((int)-got), fault);
	text = last_line(bytes, (size_t)got, &over);
	/* A line that was begun, and nothing else. */
	if (text.size == 0 && (size > got || (got > 0 && bytes[0] != '{')))
		return fail(-EINVAL, path, "is no audit log", fault);
	if (text.size > 0 && (audit_line_read(&line, text) < 0 || !line.intact))
		return fail(-EINVAL, path,
			"its last line is none of an audit log, or was changed: move it away",
			fault);
	if (over > 0 && ftruncate(file->fd, size - (off_t)over) < 0)
		return fail(-errno, path, strerror(errno), fault);
	file->has_tail = text.size > 0;
	if (file->has_tail) {
		file->tail.number = line.number;
		memcpy(file->tail.hash, line.hash, sizeof(line.hash));
	}
	return 0;
}

static int check(struct audit_file *file, const char *path, struct config_fault *fault)
{
	struct stat stat;

	if (fstat(file->fd, &stat) < 0)
		return fail(-errno, path, strerror(errno), fault);
	if (!S_ISREG(stat.st_mode))
		return fail(-EINVAL, path, "is no regular file", fault);
	if ((stat.st_uid != geteuid() && stat.st_uid != 0) || stat.st_mode & 022)
		return fail(-EPERM, path, "others may write to it", fault);
	if (flock(file->fd, LOCK_EX | LOCK_NB) < 0)
		return fail(-errno, path,
			errno == EWOULDBLOCK ? "another daemon writes to it" : strerror(errno),
			fault);
	file->device = stat.st_dev;
	file->inode = stat.st_ino;
	return find_tail(file, stat.st_size, path, fault);
}

int audit_file_open(struct audit_file *file, const char *path, const struct audit_file *now,
	struct config_fault *fault)
{
	struct stat stat;
	int r;

	*file = AUDIT_FILE_NONE;
	if (path[0] == '\0') {
		file->same = now->stream;
		file->stream = true;
		file->fd = file->same ? -1 : STDERR_FILENO;
		return 0;
	}
	r = look(path, now, file, &stat);
	if (r < 0)
		return fail(r, path, strerror(-r), fault);
	if (file->same)
		return 0;
	/* What is no file may keep us waiting. */
	file->fd = open(path,
		O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (file->fd < 0)
		return fail(-errno, path, strerror(errno), fault);
	r = check(file, path, fault);
	if (r < 0)
		audit_file_close(file);
	return r;
}

void audit_file_close(struct audit_file *file)
{
	if (file->fd >= 0 && !file->stream)
		close(file->fd);
	*file = AUDIT_FILE_NONE;
}

bool audit_file_is_deleted(const struct audit_file *file)
{
	struct stat stat;

	return file->fd >= 0 && !file->stream && fstat(file->fd, &stat) == 0 && stat.st_nlink == 0;
}

/*
 * What goes without waiting once poll says so, in whole lines: others may write to it, too. Less
 * than that only of a line that is longer.
 */
static size_t stream_piece(const char *bytes, size_t size)
{
	const char *end;

	if (size <= PIPE_BUF)
		return size;
	end = memrchr(bytes, '\n', PIPE_BUF);
	return end ? (size_t)(end - bytes) + 1 : PIPE_BUF;
}

ssize_t audit_file_write(const struct audit_file *file, const char *bytes, size_t size)
{
	struct pollfd out = { .fd = file->fd, .events = POLLOUT };
	ssize_t written;

	if (file->fd < 0)
		return -EBADF;
	/* Nobody is served while a line waits for its reader. */
	if (file->stream && poll(&out, 1, 0) <= 0)
		return -EAGAIN;
	if (file->stream)
		size = stream_piece(bytes, size);
	do
		written = write(file->fd, bytes, size);
	while (written < 0 && errno == EINTR);
	return written < 0 ? -errno : written;
}

int audit_file_cut(const struct audit_file *file, size_t size)
{
	struct stat stat;

	if (file->fd < 0 || file->stream)
		return -EBADF;
	if (fstat(file->fd, &stat) < 0)
		return -errno;
	if (stat.st_size < (off_t)size)
		return -EINVAL;
	return ftruncate(file->fd, stat.st_size - (off_t)size) < 0 ? -errno : 0;
}
