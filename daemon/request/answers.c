/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/answers.h"

/* On its own: a reply takes a kilobyte, and whoever goes on from here has a small stack. */
int answers_code(struct answers *answers, uint64_t id, int code, const char *detail)
{
	struct reply reply = { .id = id, .code = code };

	if (detail)
		reply.detail = span_text(detail);
	return answers_append(answers, &reply);
}
