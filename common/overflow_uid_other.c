/* SPDX-License-Identifier: Apache-2.0 */
#include "common/overflow_uid.h"

/* No user namespaces: a uid is one user everywhere. */
bool overflow_uid(uid_t uid)
{
	(void)uid;
	return false;
}

bool overflow_gid(gid_t *gidp)
{
	(void)gidp;
	return false;
}

bool overflow_is_possible(void)
{
	return false;
}
