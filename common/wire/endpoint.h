/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * Where a daemon listens: "unix:/path" on Unix. The path's length is bounded by the kernel's
 * sockaddr_un, with its final NUL.
 */
#define ENDPOINT_PATH_MAX 108

struct endpoint {
	char path[ENDPOINT_PATH_MAX];
};

#define ENDPOINT_SYSTEM "/run/memguardd/socket"

/* NULL when `text` ("unix:/path" or an absolute path) was read, else what is wrong with it. */
const char *endpoint_parse(struct endpoint *endpoint, const char *text);

/*
 * The user's own: $XDG_RUNTIME_DIR/memguardd/socket, else ~/.memguardd/socket. Returns 0, or
 * -ENOENT where neither is known, or -ENAMETOOLONG.
 */
int endpoint_user(struct endpoint *endpoint);
