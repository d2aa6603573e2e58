/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/peer.h"

#include <errno.h>
#include <unistd.h>

int peer_uid(int socket, uid_t *uid)
{
	gid_t gid;

	return getpeereid(socket, uid, &gid) < 0 ? -errno : 0;
}
