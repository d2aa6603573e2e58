/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/walk.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "common/wire/name.h"

static size_t words_size(const struct request *request)
{
	size_t size = request->name.size + request->after.size + request->reason.size;

	for (size_t i = 0; i < request->tags.count; i++)
		size += request->tags.tag[i].key.size + request->tags.tag[i].value.size;
	return size;
}

static struct span keep(char **at, struct span text)
{
	struct span kept = span_of(*at, text.size);

	if (text.size > 0)
		memcpy(*at, text.data, text.size);
	*at += text.size;
	return kept;
}

static struct walk *walk_new(const struct request *request, walk_step *step, unsigned looks)
{
	struct walk *walk = calloc(1, sizeof(*walk) + words_size(request));
	char *at = walk ? walk->bytes : NULL;

	if (!walk)
		return NULL;
	walk->step = step;
	walk->looks = looks;
	walk->left = request->limit ? request->limit : UINT32_MAX;
	walk->request = *request;
	walk->request.name = keep(&at, request->name);
	walk->request.after = keep(&at, request->after);
	walk->request.reason = keep(&at, request->reason);
	for (size_t i = 0; i < request->tags.count; i++)
		walk->tag[i] = (struct tag){ .key = keep(&at, request->tags.tag[i].key),
			.value = keep(&at, request->tags.tag[i].value) };
	walk->request.tags.tag = walk->tag;
	return walk;
}

/* Where it is served, now and later. */
static struct desk desk_of(struct walk *walk, struct transfers *transfers, struct daemon *daemon,
	struct answers *answers)
{
	struct desk desk = { .daemon = daemon,
		.peer = transfers->peer,
		.transfers = transfers,
		.request = &walk->request,
		.answers = answers };

	desk.name = span_of(walk->filed,
		name_file(walk->filed, walk->request.name, (uint32_t)transfers->peer->uid));
	return desk;
}

static void park(struct transfers *transfers, struct walk *walk)
{
	struct walk **at = &transfers->walks;

	while (*at)
		at = &(*at)->next;
	*at = walk;
	transfers_begin(transfers);
}

int walk_begin(struct desk *asked, enum right right, walk_step *step, unsigned looks)
{
	struct transfers *transfers = asked->transfers;
	struct walk *walk = NULL;
	struct desk desk;
	int r;

	if (!transfers_full(transfers))
		walk = walk_new(asked->request, step, looks);
	if (!walk)
		return STATUS_LIMIT;
	desk = desk_of(walk, transfers, asked->daemon, asked->answers);
	walk->over = !scope_begin(&desk, right, &walk->scope);
	r = step(&desk, walk);
	if (r == WALK_ON) {
		park(transfers, walk);
		return 0;
	}
	free(walk);
	return r;
}

struct walk *walk_find(const struct transfers *transfers, uint64_t id)
{
	struct walk *walk = transfers->walks;

	while (walk && walk->request.id != id)
		walk = walk->next;
	return walk;
}

bool walk_may_look(const struct daemon *daemon, unsigned looks)
{
	return looks == 0 || (looks < WALK_LOOKS && daemon_has_time(daemon));
}

void walk_end(struct transfers *transfers, struct walk *walk)
{
	struct walk **at = &transfers->walks;

	while (*at != walk)
		at = &(*at)->next;
	*at = walk->next;
	transfers_end(transfers);
	free(walk);
}

static const char *words_for(int status)
{
	if (status == STATUS_INTEGRITY)
		return "the record is damaged";
	if (status == STATUS_DENIED)
		return TOKEN_USED_UP;
	return status == STATUS_LIMIT ? "memory is used up, or too much is under way" : NULL;
}

int walks_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	struct walk *walk = transfers->walks;
	struct desk desk;
	uint64_t id;
	int r;

	if (!walk)
		return 0;
	desk = desk_of(walk, transfers, daemon, answers);
	id = walk->request.id;
	/* Its own place is free for what it answers with. */
	transfers_end(transfers);
	r = walk->step(&desk, walk);
	transfers_begin(transfers);
	daemon_forget_in_time(daemon, daemon_now_ns());
	if (r == WALK_ON)
		return 0;
	walk_end(transfers, walk);
	return r > 0 ? answers_code(answers, id, r, words_for(r)) : r;
}
