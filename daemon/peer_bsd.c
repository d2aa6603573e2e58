/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* FreeBSD, OpenBSD, NetBSD, macOS: getpeereid(3) tells uid and gid, and nothing holds the process.
 */

int peer_name(struct peer *peer, int socket)
{
	*peer = (struct peer){ .pidfd = -1 };
	return getpeereid(socket, &peer->uid, &peer->gid) < 0 ? -errno : 0;
}

int peer_take(struct peer *peer, int socket)
{
	(void)peer;
	(void)socket;
	return 0;
}

int peer_check(const struct peer *peer)
{
	(void)peer;
	return 0;
}

void peer_finish(struct peer *peer)
{
	free(peer->groups);
	peer->groups = NULL;
	peer->group_count = 0;
}

bool peer_checks(void)
{
	return false;
}
