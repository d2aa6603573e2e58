/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/listener_bound.h"

#define BACKLOG 1024

#define LOCK_SUFFIX ".lock"
#define LOCK_PATH_MAX (ENDPOINT_PATH_MAX + sizeof(LOCK_SUFFIX))

/* As often as a lock file may be replaced under us before we give up. */
#define LOCK_TRIES 16

__attribute__((format(printf, 3, 4))) static int fail(
	struct config_fault *fault, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fault->text, sizeof(fault->text), format, arguments);
	va_end(arguments);
	return error;
}

static int fail_errno(struct config_fault *fault, const char *what, const char *path)
{
	int error = -errno;

	return fail(fault, error, "%s: %s: %s", path, what, strerror(-error));
}

/* -- a listener that the service manager made ---------------------------------------------- */

static bool is_socket_option(int fd, int option, int wanted)
{
	socklen_t size = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

static bool is_listening(int fd)
{
	return is_socket_option(fd, SO_DOMAIN, AF_UNIX) &&
		is_socket_option(fd, SO_TYPE, SOCK_STREAM) &&
		is_socket_option(fd, SO_ACCEPTCONN, 1);
}

/* As sockets of our own are made. Returns 0 or -1 with errno. */
static int set_flags(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
			fcntl(fd, F_SETFD, FD_CLOEXEC) < 0
		? -1
		: 0;
}

/* Leaves `path` alone when the socket has none, or one that is too long. */
static void read_path(char path[ENDPOINT_PATH_MAX], int fd)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address) - 1;

	if (getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
		address.sun_path[0] == '/' && strlen(address.sun_path) < ENDPOINT_PATH_MAX)
		strcpy(path, address.sun_path);
}

static int inherit(struct listener *listener, int fd, struct config_fault *fault)
{
	struct stat status;

	if (!is_listening(fd))
		return fail(fault, -ENOTSOCK,
			"descriptor %d of the service manager is no listening Unix stream socket",
			fd);
	if (set_flags(fd) < 0)
		return fail_errno(fault, "cannot be set up", "the inherited socket");
	read_path(listener->endpoint.path, fd);
	listener->own_only = listener->endpoint.path[0] &&
		stat(listener->endpoint.path, &status) == 0 && (status.st_mode & 0777) == 0600;
	listener->fd = fd;
	listener->inherited = true;
	return 0;
}

/* -- a listener of our own ----------------------------------------------------------------- */

/* The folder that a path lies in. */
static void folder_of(char folder[ENDPOINT_PATH_MAX], const char *path)
{
	char *slash;

	strcpy(folder, path);
	slash = strrchr(folder, '/');
	slash[slash == folder] = '\0';
}

/* The default places may be missing their last folder: it is made, for its owner or for all. */
static int make_folder(const char *folder, const struct config *config, struct config_fault *fault)
{
	mode_t mode = config->socket_mode & 0077 ? 0755 : 0700;
	mode_t before;
	bool there;

	if (config->socket_given)
		return 0;
	/* A service's umask is often 0077: with it a folder for all would be for nobody else. */
	before = umask(0);
	there = mkdir(folder, mode) == 0 || errno == EEXIST;
	umask(before);
	return there ? 0 : fail_errno(fault, "the folder cannot be made", folder);
}

/*
 * Whoever may write to the folder may put a socket of his own in the place of ours; unless it is
 * sticky, where only the owner of a file may take it away.
 */
static int check_folder(const char *folder, struct config_fault *fault)
{
	struct stat status;

	if (stat(folder, &status) < 0)
		return fail_errno(fault, "the socket's folder", folder);
	if (!S_ISDIR(status.st_mode))
		return fail(fault, -ENOTDIR, "%s: is no folder", folder);
	if (status.st_uid != 0 && status.st_uid != geteuid())
		return fail(fault, -EPERM,
			"%s: belongs to uid %ld, who could replace the socket; use a folder of "
			"root's "
			"or of your own",
			folder, (long)status.st_uid);
	if ((status.st_mode & 0022) && !(status.st_mode & S_ISVTX))
		return fail(fault, -EPERM,
			"%s: others may write to it and replace the socket; chmod go-w it, or use "
			"another folder",
			folder);
	return 0;
}

/* Whether a descriptor leads to the file of that name. */
static bool is_at(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
		ours.st_dev == there.st_dev;
}

static int lock_now(int fd, const char *path, const char *socket, struct config_fault *fault)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return fail(fault, -EADDRINUSE, "another memguardd serves unix:%s", socket);
	return fail_errno(fault, "cannot be locked", path);
}

/* Opens and locks the file beside the socket. Returns 1 when it was replaced meanwhile. */
static int try_lock(int *fdp, const char *path, const char *socket, struct config_fault *fault)
{
	cleanup(closep) int fd =
		open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	int r;

	if (fd < 0)
		return fail_errno(fault, "the lock file cannot be opened", path);
	r = lock_now(fd, path, socket, fault);
	if (r < 0)
		return r;
	/* The one before us takes its lock file away: a lock on that one is worth nothing. */
	if (!is_at(fd, path))
		return 1;
	*fdp = fd;
	fd = -1;
	return 0;
}

static void lock_path(char path[LOCK_PATH_MAX], const char *socket)
{
	snprintf(path, LOCK_PATH_MAX, "%s%s", socket, LOCK_SUFFIX);
}

static int take_lock(struct listener *listener, struct config_fault *fault)
{
	char path[LOCK_PATH_MAX];
	int r = 1;

	lock_path(path, listener->endpoint.path);
	for (int i = 0; i < LOCK_TRIES && r == 1; i++)
		r = try_lock(&listener->lock, path, listener->endpoint.path, fault);
	return r == 1 ? fail(fault, -EAGAIN, "%s: cannot be locked", path) : r;
}

static struct sockaddr_un address_of(const struct listener *listener)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, listener->endpoint.path);
	return address;
}

/* We hold the lock: a socket file that nobody serves was left behind, and is replaced. */
static int clear_place(const struct listener *listener, struct config_fault *fault)
{
	const char *path = listener->endpoint.path;
	struct sockaddr_un address = address_of(listener);
	cleanup(closep) int probe = -1;
	struct stat status;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0 : fail_errno(fault, "the socket's place", path);
	if (!S_ISSOCK(status.st_mode))
		return fail(fault, -EEXIST, "%s: is there already and is no socket", path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return fail_errno(fault, "no socket to be had", path);
	/* A full queue and another type of socket are signs of life, too. */
	if (connect(probe, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN ||
		errno == EPROTOTYPE)
		return fail(fault, -EADDRINUSE, "another server listens at unix:%s", path);
	if (unlink(path) < 0)
		return fail_errno(fault, "the stale socket cannot be removed", path);
	return 0;
}

/* The file is never there with wider rights than asked for: first narrow, then opened. */
static int bind_narrow(struct listener *listener)
{
	struct sockaddr_un address = address_of(listener);
	mode_t before = umask(0177);
	int r = bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;

	umask(before);
	return r;
}

static int open_to(const struct config *config, const char *path)
{
	if (config->socket_group != (gid_t)-1 && lchown(path, (uid_t)-1, config->socket_group) < 0)
		return -errno;
	return chmod(path, config->socket_mode) < 0 ? -errno : 0;
}

static int bind_own(
	struct listener *listener, const struct config *config, struct config_fault *fault)
{
	const char *path = listener->endpoint.path;
	struct stat status;

	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return fail_errno(fault, "no socket to be had", path);
	errno = -bind_narrow(listener);
	if (errno != 0)
		return fail_errno(fault, "cannot listen here", path);
	if (lstat(path, &status) == 0) {
		listener->device = status.st_dev;
		listener->inode = status.st_ino;
	}
	if (listen(listener->fd, BACKLOG) < 0)
		return fail_errno(fault, "cannot listen here", path);
	errno = -open_to(config, path);
	return errno != 0 ? fail_errno(fault, "the socket's rights cannot be set", path) : 0;
}

static int make_own(
	struct listener *listener, const struct config *config, struct config_fault *fault)
{
	char folder[ENDPOINT_PATH_MAX];
	int r;

	if (config->socket.path[0] == '\0')
		return fail(fault, -ENOENT,
			"no place for a socket: neither XDG_RUNTIME_DIR nor HOME is a usable path; "
			"use --socket");
	listener->endpoint = config->socket;
	listener->own_only = config->socket_mode == 0600;
	folder_of(folder, listener->endpoint.path);
	r = make_folder(folder, config, fault);
	if (r == 0)
		r = check_folder(folder, fault);
	if (r == 0)
		r = take_lock(listener, fault);
	if (r == 0)
		r = clear_place(listener, fault);
	return r == 0 ? bind_own(listener, config, fault) : r;
}

/* With a socket of the service manager's, or without (a negative number). */
static int open_with(
	struct listener *listener, int fd, const struct config *config, struct config_fault *fault)
{
	int r;

	*listener = (struct listener){ .fd = -1, .lock = -1 };
	r = fd >= 0 ? inherit(listener, fd, fault) : make_own(listener, config, fault);
	if (r < 0)
		listener_close(listener);
	return r;
}

int listener_open(struct listener *listener, const struct config *config,
	struct inherited *inherited, struct config_fault *fault)
{
	return open_with(listener, inherited_take_socket(inherited), config, fault);
}

int listeners_open(struct listeners *listeners, const struct config *config,
	struct inherited *inherited, struct config_fault *fault)
{
	int r = 0;

	listeners->count = 0;
	for (size_t i = 0; i < config->listeners.count && r == 0; i++) {
		struct listener *listener = &listeners->all[i];
		struct config as_own = config_of_listener(config, i);

		r = open_with(
			listener, inherited_take_at(inherited, as_own.socket.path), &as_own, fault);
		if (r < 0)
			break;
		strcpy(listener->name, config->listeners.all[i].name);
		listeners->count++;
	}
	if (r < 0)
		listeners_close(listeners);
	return r;
}

uid_t listener_owner(const struct listener *listener)
{
	struct ucred owner;
	socklen_t size = sizeof(owner);

	return getsockopt(listener->fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 ? owner.uid
										     : geteuid();
}

/* -- a listener that a process before us made ---------------------------------------------- */

/* Its name may have been given to another file since, or to none: no client would find us. */
static int check_place(struct stat *status, int fd, const char *path, struct config_fault *fault)
{
	if (lstat(path, status) < 0)
		return fail_errno(fault, "the place of the socket that was left to us", path);
	if (!S_ISSOCK(status->st_mode) || listener_bound_to(fd, status) == 0)
		return fail(
			fault, -ESTALE, "%s: is no longer the socket that was left to us", path);
	return 0;
}

/* A lock goes with its open file, whoever has that; and it is still the one that others try. */
static int check_lock(int lock, const char *socket, struct config_fault *fault)
{
	char path[LOCK_PATH_MAX];
	int r;

	lock_path(path, socket);
	r = lock_now(lock, path, socket, fault);
	if (r < 0)
		return r;
	if (!is_at(lock, path))
		return fail(fault, -ESTALE, "%s: is not the lock that was left to us", path);
	return fcntl(lock, F_SETFD, FD_CLOEXEC) < 0 ? fail_errno(fault, "cannot be set up", path)
						    : 0;
}

/* Made by the service manager for one before us: its place is not ours to choose. */
static int adopt_inherited(struct listener *listener, int fd, struct config_fault *fault)
{
	struct stat status;
	int r = inherit(listener, fd, fault);

	if (r < 0 || !listener->endpoint.path[0])
		return r;
	return check_place(&status, fd, listener->endpoint.path, fault);
}

static int check_own(
	struct listener *listener, const struct config *config, struct config_fault *fault)
{
	const char *path = listener->endpoint.path;
	char folder[ENDPOINT_PATH_MAX];
	struct stat status;
	int r;

	folder_of(folder, path);
	r = check_folder(folder, fault);
	if (r == 0)
		r = check_lock(listener->lock, path, fault);
	if (r == 0)
		r = check_place(&status, listener->fd, path, fault);
	if (r < 0)
		return r;
	listener->device = status.st_dev;
	listener->inode = status.st_ino;
	errno = -open_to(config, path);
	return errno != 0 ? fail_errno(fault, "the socket's rights cannot be set", path) : 0;
}

static int adopt_own(
	struct listener *listener, const struct config *config, struct config_fault *fault)
{
	const char *path = listener->endpoint.path;

	if (!is_listening(listener->fd))
		return fail(fault, -ENOTSOCK,
			"the socket that was left to us is no listening Unix stream socket");
	read_path(listener->endpoint.path, listener->fd);
	if (!path[0] || strcmp(path, config->socket.path) != 0)
		return fail(fault, -EADDRNOTAVAIL,
			"the socket that was left to us is at %s%s; configured is %s%s",
			path[0] ? "unix:" : "no path", path,
			config->socket.path[0] ? "unix:" : "none", config->socket.path);
	if (set_flags(listener->fd) < 0)
		return fail_errno(fault, "cannot be set up", path);
	listener->own_only = config->socket_mode == 0600;
	return check_own(listener, config, fault);
}

int listener_adopt(struct listener *listener, int fd, int lock, const struct config *config,
	struct config_fault *fault)
{
	struct listener adopted = { .fd = fd, .lock = lock };
	int r = lock < 0 ? adopt_inherited(&adopted, fd, fault)
			 : adopt_own(&adopted, config, fault);

	*listener = r == 0 ? adopted : (struct listener){ .fd = -1, .lock = -1 };
	return r;
}

/* -- its end ------------------------------------------------------------------------------- */

static void unlink_file(const char *path, dev_t device, ino_t inode)
{
	struct stat status;

	if (lstat(path, &status) == 0 && status.st_dev == device && status.st_ino == inode)
		unlink(path);
}

/* Only what we made ourselves: somebody may have put another file there. */
static void unlink_own(const struct listener *listener)
{
	char path[LOCK_PATH_MAX];
	struct stat status;

	if (listener->inode != 0)
		unlink_file(listener->endpoint.path, listener->device, listener->inode);
	if (listener->lock >= 0 && fstat(listener->lock, &status) == 0) {
		lock_path(path, listener->endpoint.path);
		unlink_file(path, status.st_dev, status.st_ino);
	}
}

void listener_close(struct listener *listener)
{
	if (!listener->inherited)
		unlink_own(listener);
	listener_leave(listener);
}

void listener_leave(struct listener *listener)
{
	if (listener->fd >= 0)
		close(listener->fd);
	if (listener->lock >= 0)
		close(listener->lock);
	listener->fd = listener->lock = -1;
	listener->inode = 0;
}

void listeners_close(struct listeners *listeners)
{
	while (listeners->count > 0)
		listener_close(&listeners->all[--listeners->count]);
}

void listeners_leave(struct listeners *listeners)
{
	while (listeners->count > 0)
		listener_leave(&listeners->all[--listeners->count]);
}
