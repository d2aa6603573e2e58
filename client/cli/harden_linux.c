/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/harden.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int harden_early(void)
{
	struct rlimit limit;

	/* This stops core files that go to a pipe, too; the limit stops only files. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || getrlimit(RLIMIT_CORE, &limit) < 0)
		return -errno;
	limit.rlim_cur = 0;
	return setrlimit(RLIMIT_CORE, &limit) < 0 ? -errno : 0;
}
