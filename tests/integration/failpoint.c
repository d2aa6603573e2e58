/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper/failpoint.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * $FAILPOINT names a place and a signal: "accepted:9" dies there, "accepted:19" stands still. The
 * programs that follow have it, too, unless the place is one of the old program's alone.
 */
void failpoint(const char *name)
{
	const char *text = getenv("FAILPOINT");
	size_t size = strlen(name);

	if (text && strncmp(text, name, size) == 0 && text[size] == ':')
		kill(getpid(), atoi(text + size + 1));
}
