/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/peer.h"

#include <errno.h>
#include <sys/socket.h>

int peer_uid(int socket, uid_t *uid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	*uid = peer.uid;
	return 0;
}
