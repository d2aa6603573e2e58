/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/overflow_uid.h"

/* Newer than many a C library; the numbers are the kernel's, the same on all its machines. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* The first version of the kernel's answer to PIDFD_GET_INFO (linux/pidfd.h, Linux 6.13). */
struct process_info {
	uint64_t mask;
	uint64_t cgroup;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};

_Static_assert(sizeof(struct process_info) == 64, "the size is part of the request's number");

#define PROCESS_GET_INFO _IOWR(0xff, 11, struct process_info)
#define PROCESS_HAS_CREDENTIALS (UINT64_C(1) << 1)

static int ask_process(int pidfd, struct process_info *info)
{
	*info = (struct process_info){ .mask = PROCESS_HAS_CREDENTIALS };
	if (ioctl(pidfd, PROCESS_GET_INFO, info) < 0)
		return -errno;
	return info->mask & PROCESS_HAS_CREDENTIALS ? 0 : -ESRCH;
}

/* Only what says that the kernel has no such thing is an answer for good; a full table is none. */
static bool is_missing(int error)
{
	return error == -ENOSYS || error == -ENOTTY || error == -EINVAL || error == -EPERM ||
		error == -ESRCH;
}

bool peer_checks(void)
{
	static int known = -1;
	struct process_info info;
	int self, r;

	if (known >= 0)
		return known;
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	r = self < 0 ? -errno : ask_process(self, &info);
	if (self >= 0)
		close(self);
	if (r == 0 || is_missing(r))
		known = r == 0;
	return r == 0;
}

static int take_credentials(struct peer *peer, int socket)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -errno;
	peer->uid = credentials.uid;
	peer->gid = credentials.gid;
	peer->pid = credentials.pid;
	return overflow_uid(peer->uid) ? -EOVERFLOW : 0;
}

static int compare_groups(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The kernel says how much room it wants when there is too little. */
static int take_groups(struct peer *peer, int socket)
{
	socklen_t size = 0;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0)
		return 0;
	if (errno == ENOPROTOOPT)
		return 0;
	if (errno != ERANGE)
		return -errno;
	if (size / sizeof(gid_t) > PEER_GROUPS_MAX)
		return -E2BIG;
	peer->groups = malloc(size);
	if (!peer->groups)
		return -ENOMEM;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &size) < 0)
		return -errno;
	peer->group_count = size / sizeof(gid_t);
	/* A user namespace may turn the order round that the kernel has them in. */
	qsort(peer->groups, peer->group_count, sizeof(peer->groups[0]), compare_groups);
	return 0;
}

/* A label that does not fit is no label that a rule could name: an error, never a cut one. */
static int take_label(struct peer *peer, int socket)
{
	socklen_t size = sizeof(peer->label) - 1;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERSEC, peer->label, &size) == 0) {
		peer->label[size] = '\0';
		return 0;
	}
	peer->label[0] = '\0';
	return errno == ENOPROTOOPT || errno == EOPNOTSUPP ? 0 : -errno;
}

/* Kept only where it can be asked: else it is a descriptor for nothing. */
static int take_pidfd(struct peer *peer, int socket)
{
	socklen_t size = sizeof(peer->pidfd);
	int pidfd = -1;

	/* Of a process outside our pid namespace (pid 0) the kernel would answer nothing. */
	if (!peer_checks() || peer->pid == 0)
		return 0;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
		return errno == ENOPROTOOPT ? 0 : -errno;
	peer->pidfd = pidfd;
	return 0;
}

int peer_take(struct peer *peer, int socket)
{
	static int (*const steps[])(
		struct peer *, int) = { take_credentials, take_groups, take_label, take_pidfd };
	int r = 0;

	*peer = (struct peer){ .pidfd = -1 };
	for (size_t i = 0; r == 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
		r = steps[i](peer, socket);
	if (r < 0)
		peer_finish(peer);
	return r;
}

/* One that is not waited for keeps its credentials, for ever if its parent likes. */
static bool has_ended(int pidfd)
{
	struct pollfd process = { .fd = pidfd, .events = POLLIN };

	return poll(&process, 1, 0) != 0;
}

int peer_check(const struct peer *peer)
{
	struct process_info info;
	int r;

	if (peer->pidfd < 0)
		return 0;
	r = ask_process(peer->pidfd, &info);
	if (r < 0 || has_ended(peer->pidfd))
		return -ESRCH;
	return info.euid == peer->uid ? 0 : -EACCES;
}

void peer_finish(struct peer *peer)
{
	free(peer->groups);
	peer->groups = NULL;
	peer->group_count = 0;
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	peer->pidfd = -1;
}
