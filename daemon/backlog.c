/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/backlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whether `rest` is the end of the backlog, and more than what lies unused before it. */
static bool is_most_of_it(const struct backlog *backlog, struct span rest)
{
	struct span all = backlog_span(backlog);

	return rest.size > 0 && rest.size <= all.size &&
		rest.data == all.data + (all.size - rest.size) &&
		rest.size >= backlog->served + (all.size - rest.size);
}

int backlog_keep(struct backlog *backlog, struct span rest)
{
	uint8_t *kept = NULL;

	if (is_most_of_it(backlog, rest)) {
		backlog->served += backlog->size - rest.size;
		backlog->size = rest.size;
		return 0;
	}
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
	joined = realloc(backlog->bytes, backlog->served + backlog->size + bytes->size);
	if (!joined)
		return -ENOMEM;
	backlog->bytes = joined;
	memcpy(joined + backlog->served + backlog->size, bytes->data, bytes->size);
	backlog->size += bytes->size;
	*bytes = backlog_span(backlog);
	return 0;
}

void backlog_finish(struct backlog *backlog)
{
	free(backlog->bytes);
	*backlog = (struct backlog){ 0 };
}
