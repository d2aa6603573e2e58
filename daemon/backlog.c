/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/backlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int backlog_keep(struct backlog *backlog, struct span rest)
{
	uint8_t *kept = NULL;

	if (rest.data == backlog->bytes && rest.size == backlog->size)
		return 0;
	if (rest.size > 0) {
		kept = malloc(rest.size);
		if (!kept)
			return -ENOMEM;
		memcpy(kept, rest.data, rest.size);
	}
	free(backlog->bytes);
	*backlog = (struct backlog){ .bytes = kept, .size = rest.size };
	return 0;
}

int backlog_join(struct backlog *backlog, struct span *bytes)
{
	uint8_t *joined;

	if (backlog->size == 0)
		return 0;
	joined = realloc(backlog->bytes, backlog->size + bytes->size);
	if (!joined)
		return -ENOMEM;
	memcpy(joined + backlog->size, bytes->data, bytes->size);
	backlog->bytes = joined;
	backlog->size += bytes->size;
	*bytes = backlog_span(backlog);
	return 0;
}

void backlog_finish(struct backlog *backlog)
{
	free(backlog->bytes);
	*backlog = (struct backlog){ 0 };
}
