/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/overflow_uid.h"
#include "daemon/peer_process.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* Only what says that the kernel has no such thing is an answer for good; a full table is none. */
static bool is_missing(int error)
{
	return error == -ENOSYS || error == -ENOTTY || error == -EINVAL || error == -EPERM ||
		error == -ESRCH;
}

bool peer_checks(void)
{
	static int known = -1;
	struct peer_process process;
	int self, r;

	if (known >= 0)
		return known;
	self = peer_process_open(getpid());
	r = self < 0 ? self : peer_process_ask(self, &process);
	if (self >= 0)
		close(self);
	if (r == 0 || is_missing(r))
		known = r == 0;
	return r == 0;
}

/* Four files are not read anew for each connection where every number is one user's or group's. */
static bool some_are_shared(void)
{
	static bool none;

	if (!none)
		none = !overflow_is_possible();
	return !none;
}

int peer_name(struct peer *peer, int socket)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	*peer = (struct peer){ .pidfd = -1 };
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -errno;
	peer->uid = credentials.uid;
	peer->gid = credentials.gid;
	peer->pid = credentials.pid;
	return some_are_shared() && overflow_uid(peer->uid) ? -EOVERFLOW : 0;
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

/*
 * What our user namespace does not map has one number there, whichever group it is, and a group
 * that is mapped may have it as well: it is one of the peer's only where there is doubt.
 */
static int drop_shared_groups(struct peer *peer, int socket)
{
	size_t kept = 0;
	gid_t shared;

	(void)socket;
	if (!some_are_shared() || !overflow_gid(&shared))
		return 0;
	peer->shared_group = shared;
	peer->shares_group = peer->gid == shared;
	if (peer->gid == shared)
		peer->gid = (gid_t)-1;
	for (size_t i = 0; i < peer->group_count; i++)
		if (peer->groups[i] != shared)
			peer->groups[kept++] = peer->groups[i];
	peer->shares_group = peer->shares_group || kept < peer->group_count;
	peer->group_count = kept;
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
	int pidfd;

	/* Of a process outside our pid namespace (pid 0) the kernel would answer nothing. */
	if (!peer_checks() || peer->pid == 0)
		return 0;
	pidfd = peer_process_connected(socket);
	if (pidfd < 0)
		return pidfd == -ENOPROTOOPT ? 0 : pidfd;
	peer->pidfd = pidfd;
	return 0;
}

/* Nothing is known of it before somebody asks. */
static int make_place(struct peer *peer, int socket)
{
	peer->socket = socket;
	peer->place = calloc(1, sizeof(*peer->place));
	return peer->place ? 0 : -ENOMEM;
}

int peer_take(struct peer *peer, int socket)
{
	static int (*const steps[])(struct peer *, int) = { take_groups, drop_shared_groups,
		take_label, take_pidfd, make_place };
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
		r = steps[i](peer, socket);
	if (r < 0)
		peer_finish(peer);
	return r;
}

/* Where it was found before it is no longer, unless this is known to be the same cgroup. */
static void note_cgroup(struct peer_place *place, uint64_t now)
{
	if (place && place->known && (now == 0 || place->cgroup != now))
		*place = (struct peer_place){ .pinned = place->pinned };
	if (place)
		place->now = now;
}

int peer_check(const struct peer *peer)
{
	struct peer_process process;
	int r;

	if (peer->pidfd < 0) {
		note_cgroup(peer->place, 0);
		return 0;
	}
	r = peer_process_ask(peer->pidfd, &process);
	if (r < 0 || peer_process_has_ended(peer->pidfd))
		return -ESRCH;
	note_cgroup(peer->place, process.cgroup);
	return process.euid == peer->uid ? 0 : -EACCES;
}

void peer_finish(struct peer *peer)
{
	free(peer->groups);
	peer->groups = NULL;
	peer->group_count = 0;
	free(peer->place);
	peer->place = NULL;
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	peer->pidfd = -1;
}
