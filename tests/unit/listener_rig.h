/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/listener.h"
#include "tests/unit/claims.h"

/* A folder for a listener, its configuration, and servers and clients beside it. */

static char home[40];   /* ours, 0700 */
static char folder[48]; /* in it, for the socket */
static char place[64];  /* of the socket */
static char lock[80];   /* of its lock */
static char beside[64]; /* another file in the folder */
static struct config config;
static struct config_fault fault;
static struct listener listener;

static inline void set_up(void)
{
	umask(0022);
	strcpy(home, "/tmp/memguardd-listener-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	snprintf(folder, sizeof(folder), "%s/room", home);
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	snprintf(place, sizeof(place), "%s/socket", folder);
	snprintf(lock, sizeof(lock), "%s.lock", place);
	snprintf(beside, sizeof(beside), "%s/beside", folder);
	config = (struct config){
		.socket_given = true, .socket_mode = 0600, .socket_group = (gid_t)-1
	};
	strcpy(config.socket.path, place);
	listener = (struct listener){ .fd = -1, .lock = -1 };
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static inline int remove_one(
	const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

static inline void tear_down(void)
{
	if (getuid() == 0)
		ck_assert_int_eq(seteuid(0), 0);
	listener_close(&listener);
	ck_assert_int_eq(nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* As the daemon does: what the service manager has handed over comes first. */
static inline int open_listener(struct listener *one)
{
	struct inherited inherited;
	int r = inherited_init(&inherited);

	if (r == 0)
		r = listener_open(one, &config, &inherited, &fault);
	inherited_close_rest(&inherited);
	return r;
}

static inline bool is_there(const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0;
}

static inline struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	return address;
}

/* 0, or the errno of a connection attempt, which is closed again. */
static inline int try_connect(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	ck_assert_int_ge(fd, 0);
	r = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
	close(fd);
	return r;
}

/* A socket of somebody else's at `path`; a stream socket listens. */
static inline int serve_at(const char *path, int type, int backlog)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (type != SOCK_DGRAM)
		ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

/* For processes that the test library does not watch: they end with a line. */
static inline void must(bool holds, int line)
{
	if (holds)
		return;
	fprintf(stderr, "line %d: %s\n", line, fault.text);
	_exit(1);
}

#define MUST(condition) must(condition, __LINE__)
