/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/desk.h"
#include "daemon/request/watch.h"

/* What may be told is decided when there is something to tell. */
int serve_watch(struct desk *desk)
{
	return watch_begin(desk->transfers, desk->daemon, desk->request, desk->name, desk->answers);
}
