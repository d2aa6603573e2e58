/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/admin_file.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Bytes of the file's name in messages. */
#define NAME_SHOWN 200

const char *admin_file_fault(const struct stat *status)
{
	if (!S_ISREG(status->st_mode))
		return "is no regular file";
	if ((status->st_uid != 0 && status->st_uid != geteuid()) || (status->st_mode & 0022))
		return "others may write to it; let only root or the daemon's user";
	return NULL;
}

const char *admin_file_shown(const char *path)
{
	size_t size = strlen(path);

	return size > NAME_SHOWN ? path + size - NAME_SHOWN : path;
}
