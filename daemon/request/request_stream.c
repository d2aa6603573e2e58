/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/desk.h"
#include "daemon/request/flow.h"

static struct flow_request asked_by(const struct desk *desk)
{
	return (struct flow_request){
		.request = desk->request, .name = desk->name, .uid = (uint32_t)desk->peer->uid
	};
}

int serve_stream_write(struct desk *desk)
{
	struct flow_request asked = asked_by(desk);
	int r = flow_write(desk->transfers, desk->daemon, &asked, desk->answers);

	desk->words = asked.words;
	return r;
}

int serve_stream_read(struct desk *desk)
{
	struct flow_request asked = asked_by(desk);
	int r = flow_read(desk->transfers, desk->daemon, &asked, desk->answers);

	desk->words = asked.words;
	return r;
}
