/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/harden.h"

#include <errno.h>
#include <sys/resource.h>

int harden_no_core(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) < 0)
		return -errno;
	limit.rlim_cur = 0;
	return setrlimit(RLIMIT_CORE, &limit) < 0 ? -errno : 0;
}

void harden_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

uint64_t harden_core_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_CORE, &limit) < 0 ? UINT64_MAX : limit.rlim_cur;
}
