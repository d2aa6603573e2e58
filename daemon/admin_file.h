/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config_fault.h"

#include <stddef.h>
#include <sys/stat.h>

/* Files that an administrator leaves for the daemon, and the end of their names. */

/* NULL when it is regular and nobody but root and the daemon's user may write to it, else what is
 * wrong, as a sentence part. */
const char *admin_file_fault(const struct stat *status);

/* The end of a long path: beside it, the line and what is wrong there have room in a message. */
const char *admin_file_shown(const char *path);

/*
 * Reads one whole: `*textp` is the caller's to free, with a NUL behind its `*sizep` bytes. Returns
 * 0; -ENOENT when there is none, or -EBADMSG when it is not as admin_file_fault wants it, is larger
 * than 1 MiB, changes meanwhile or cannot be read. Then the fault is said.
 */
int admin_file_read(const char *path, char **textp, size_t *sizep, struct config_fault *fault);

/* The same of a file in an open folder, where it is called what `path` ends with. */
int admin_file_read_in(
	int folder, const char *path, char **textp, size_t *sizep, struct config_fault *fault);
