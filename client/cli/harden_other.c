/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/harden.h"

#include <errno.h>
#include <sys/resource.h>

/* The core limit is what all of the others have. */
int harden_early(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) < 0)
		return -errno;
	limit.rlim_cur = 0;
	return setrlimit(RLIMIT_CORE, &limit) < 0 ? -errno : 0;
}
