/* SPDX-License-Identifier: Apache-2.0 */
#include "common/overflow_uid.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the kernel takes where nobody has set it (DEFAULT_OVERFLOWUID, DEFAULT_OVERFLOWGID). */
#define OVERFLOW_DEFAULT 65534

/* As many as there are: every number but the largest, which is no uid and no gid. */
#define IDS_ALL 4294967295

/* Room for the first line of either file. */
#define LINE_SIZE 64

/* The beginning of a file as text; "" when it cannot be read. */
static const char *read_line(const char *path, char line[LINE_SIZE])
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = file < 0 ? -1 : read(file, line, LINE_SIZE - 1);

	if (file >= 0)
		close(file);
	line[size > 0 ? size : 0] = '\0';
	return line;
}

static unsigned number_in_force(const char *path)
{
	char line[LINE_SIZE];
	unsigned number;

	return sscanf(read_line(path, line), "%u", &number) == 1 ? number : OVERFLOW_DEFAULT;
}

static bool maps_all(const char *path)
{
	char line[LINE_SIZE];
	unsigned long inside, outside, count;

	return sscanf(read_line(path, line), "%lu %lu %lu", &inside, &outside, &count) == 3 &&
		count == IDS_ALL;
}

bool overflow_uid(uid_t uid)
{
	return uid == number_in_force("/proc/sys/kernel/overflowuid") &&
		!maps_all("/proc/self/uid_map");
}

bool overflow_gid(gid_t *gidp)
{
	if (maps_all("/proc/self/gid_map"))
		return false;
	*gidp = number_in_force("/proc/sys/kernel/overflowgid");
	return true;
}

bool overflow_is_possible(void)
{
	return !maps_all("/proc/self/uid_map") || !maps_all("/proc/self/gid_map");
}
