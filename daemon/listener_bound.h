/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/stat.h>

/*
 * Whether a file (as lstat(2) tells it) is the one that a Unix socket is bound to: its name may
 * have been given to another since. fstat(2) of the socket knows nothing of it. Returns 1, 0, or a
 * negative errno where the kernel does not tell.
 */
int listener_bound_to(int fd, const struct stat *file);
