/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

/* The uid that listens at the other end of a connected Unix socket. Returns 0 or -errno. */
int peer_uid(int socket, uid_t *uid);
