/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/stat.h>

/* Files that an administrator leaves for the daemon, and the end of their names. */

/* NULL when it is regular and nobody but root and the daemon's user may write to it, else what is
 * wrong, as a sentence part. */
const char *admin_file_fault(const struct stat *status);

/* The end of a long path: beside it, the line and what is wrong there have room in a message. */
const char *admin_file_shown(const char *path);
