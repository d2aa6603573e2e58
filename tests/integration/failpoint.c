/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/failpoint.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * $FAILPOINT names places and a signal for each: "accepted:9" dies there, "shared:19,handed:19"
 * stands still at both. The programs that follow have it, too, unless the place is one of the old
 * program's alone.
 */
void failpoint(const char *name)
{
	const char *at = getenv("FAILPOINT");
	size_t size = strlen(name);

	for (; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, name, size) == 0 && at[size] == ':')
			kill(getpid(), atoi(at + size + 1));
}
