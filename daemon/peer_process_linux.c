/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer_process.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than many a C library; the numbers are the kernel's, the same on all its machines. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
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
#define PROCESS_GET_MOUNTS _IO(0xff, 3) /* PIDFD_GET_MNT_NAMESPACE, Linux 6.11 */
#define PROCESS_HAS_CREDENTIALS (UINT64_C(1) << 1)
#define PROCESS_HAS_CGROUP (UINT64_C(1) << 2)

int peer_process_connected(int socket)
{
	int pidfd = -1;
	socklen_t size = sizeof(pidfd);

	return getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0 ? -errno : pidfd;
}

int peer_process_open(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	return pidfd < 0 ? -errno : pidfd;
}

int peer_process_ask(int pidfd, struct peer_process *process)
{
	struct process_info info = { .mask = PROCESS_HAS_CREDENTIALS | PROCESS_HAS_CGROUP };

	if (ioctl(pidfd, PROCESS_GET_INFO, &info) < 0)
		return -errno;
	*process = (struct peer_process){ .euid = info.euid,
		.cgroup = info.mask & PROCESS_HAS_CGROUP ? info.cgroup : 0 };
	return info.mask & PROCESS_HAS_CREDENTIALS ? 0 : -ESRCH;
}

/* One that is not waited for keeps its credentials, for ever if its parent likes. */
bool peer_process_has_ended(int pidfd)
{
	struct pollfd process = { .fd = pidfd, .events = POLLIN };

	return poll(&process, 1, 0) != 0;
}

/* A thread that has ended has no namespaces any more; whose one lives is let in, or is not. */
bool peer_process_is_led(int pidfd)
{
	int mounts = ioctl(pidfd, PROCESS_GET_MOUNTS, 0);

	if (mounts >= 0)
		close(mounts);
	return mounts >= 0 || errno == EACCES;
}
