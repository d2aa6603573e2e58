/* SPDX-License-Identifier: Apache-2.0 */
#include "common/overflow_uid.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the kernel takes where nobody has set it (DEFAULT_OVERFLOWUID). */
#define OVERFLOW_UID_DEFAULT 65534

/* As many as there are: every number but (uid_t)-1, which is no uid. */
#define UIDS_ALL 4294967295

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

static uid_t number_in_force(void)
{
	char line[LINE_SIZE];
	unsigned uid;

	if (sscanf(read_line("/proc/sys/kernel/overflowuid", line), "%u", &uid) == 1)
		return uid;
	return OVERFLOW_UID_DEFAULT;
}

static bool maps_every_uid(void)
{
	char line[LINE_SIZE];
	unsigned long inside, outside, count;

	return sscanf(read_line("/proc/self/uid_map", line), "%lu %lu %lu", &inside, &outside,
		       &count) == 3 &&
		count == UIDS_ALL;
}

bool overflow_uid(uid_t uid)
{
	return uid == number_in_force() && !maps_every_uid();
}
