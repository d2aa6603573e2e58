/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/line.h"

static struct sockaddr_un manager;
static socklen_t manager_size;
static char manager_text[sizeof(manager.sun_path)]; /* as it was told */
static int relay = -1;                              /* to who speaks with the manager; -1: we do */

void notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t size = path ? strlen(path) : 0;

	manager_size = 0;
	if (size > 1 && (path[0] == '/' || path[0] == '@') && size < sizeof(manager.sun_path)) {
		manager.sun_family = AF_UNIX;
		memcpy(manager.sun_path, path, size);
		memcpy(manager_text, path, size + 1);
		/* An abstract name is written with '@' and sent with a zero byte. */
		if (path[0] == '@')
			manager.sun_path[0] = '\0';
		manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
	}
	unsetenv("NOTIFY_SOCKET");
}

const char *notify_socket(void)
{
	return manager_size > 0 ? manager_text : NULL;
}

/* -- messages ------------------------------------------------------------------------------ */

/* Room for one descriptor beside a message, as cmsg(3) wants it aligned. */
union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static void attach(struct msghdr *message, union control *control, int fd)
{
	memset(control, 0, sizeof(*control));
	message->msg_control = control->room;
	message->msg_controllen = sizeof(control->room);
	control->header.cmsg_level = SOL_SOCKET;
	control->header.cmsg_type = SCM_RIGHTS;
	control->header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control->header), &fd, sizeof(fd));
}

/* One datagram, with a descriptor unless `attached` is -1. */
static int send_message(const char *text, int attached)
{
	cleanup(closep) int fd = -1;
	struct iovec part = { .iov_base = (char *)text, .iov_len = strlen(text) };
	struct msghdr message = {
		.msg_name = &manager, .msg_namelen = manager_size, .msg_iov = &part, .msg_iovlen = 1
	};
	union control control;

	if (manager_size == 0)
		return 0;
	if (attached >= 0)
		attach(&message, &control, attached);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_text(const char *text)
{
	return send_message(text, -1);
}

/* Type=notify-reload wants the time, to tell this reload from an earlier one. */
static int send_reloading(void)
{
	struct timespec now;
	char text[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		(uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	return send_text(text);
}

int notify_send(enum notify_state state)
{
	static const char *const texts[NOTIFY_STATES] = {
		[NOTIFY_READY] = "READY=1\nSTATUS=Serving",
		[NOTIFY_STOPPING] = "STOPPING=1",
		[NOTIFY_RELOADED] = "READY=1",
	};

	if (relay >= 0)
		return line_say_word(relay, LINE_STATE, (uint32_t)state);
	return state == NOTIFY_RELOADING ? send_reloading() : send_text(texts[state]);
}

void notify_relay(int fd)
{
	relay = fd;
}

/* -- the store ----------------------------------------------------------------------------- */

/* As sd_pid_notify_with_fds(3) has FDNAME=; an empty one could not be told from none. */
static bool is_name(const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < size; i++)
		if (name[i] < ' ' || name[i] > '~' || name[i] == ':')
			return false;
	return size > 0 && size <= NOTIFY_NAME_MAX;
}

int notify_push(const char *name, int fd)
{
	char text[NOTIFY_NAME_MAX + 64];

	if (manager_size == 0)
		return 0;
	if (!is_name(name))
		return -EINVAL;
	/* A number that is nobody's would be that of the socket itself. */
	if (fcntl(fd, F_GETFD) < 0)
		return -errno;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	return send_message(text, fd);
}

int notify_drop(const char *name)
{
	char text[NOTIFY_NAME_MAX + 64];

	if (manager_size == 0)
		return 0;
	if (!is_name(name))
		return -EINVAL;
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return send_text(text);
}

bool notify_store_is_private(void)
{
	struct stat status;

	return manager_size > 0 && manager_text[0] == '/' && stat(manager_text, &status) == 0 &&
		S_ISSOCK(status.st_mode) && status.st_uid == 0;
}

/* -- the main process, and the queue ------------------------------------------------------- */

int notify_main(pid_t pid)
{
	char text[64];

	if (manager_size == 0)
		return 0;
	if (pid <= 0)
		return -EINVAL;
	snprintf(text, sizeof(text), "MAINPID=%ld", (long)pid);
	return send_text(text);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until nobody holds the other end of a pipe. */
static int wait_for_end(int fd, int timeout_ms)
{
	struct pollfd end = { .fd = fd };
	int64_t until = now_ms() + timeout_ms;
	int r;

	do {
		int64_t left = until - now_ms();

		r = poll(&end, 1, left > 0 ? (int)left : 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 ? -ETIMEDOUT : 0;
}

/* The manager closes what it was given when the message's turn has come. */
int notify_barrier(int timeout_ms)
{
	cleanup(closep) int ours = -1;
	cleanup(closep) int theirs = -1;
	int ends[2];
	int r;

	if (manager_size == 0)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	ours = ends[0];
	theirs = ends[1];
	r = send_message("BARRIER=1", theirs);
	if (r < 0)
		return r;
	close(theirs);
	theirs = -1;
	return wait_for_end(ours, timeout_ms);
}
