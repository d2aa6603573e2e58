/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/status.h"
#include "daemon/request/desk.h"
#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "daemon/request/walk.h"

/* Secrets that one list looks at before it answers, whatever its filter: bounds its time. */
#define LIST_LOOKS 256

int serve_get(struct desk *desk)
{
	const struct request *request = desk->request;
	struct wanted wanted = {
		.id = request->id, .name = desk->name, .version = request->version
	};
	struct record *record;

	if (request->wait_ms > 0 &&
		vault_find(desk->daemon->vault, desk->name, &record) == STATUS_NOT_FOUND)
		return waiter_park(desk->transfers, desk->daemon, &wanted, request->wait_ms);
	return download_begin(desk->transfers, desk->daemon, &wanted, desk->answers);
}

/* The candidate is taken in as a set's value is; what is not there has none to be held against. */
int serve_verify(struct desk *desk)
{
	struct daemon *daemon = desk->daemon;
	const struct request *request = desk->request;
	struct upload *upload = NULL;
	struct record *record;
	int r = vault_find(daemon->vault, desk->name, &record);

	if (r == 0 && record_is_stream(record))
		r = STATUS_INVALID;
	if (r == 0)
		r = upload_begin(desk->transfers, daemon, request, desk->name, NULL, &upload);
	if (r != 0)
		return r;
	return upload_take(desk->transfers, daemon, (uint32_t)desk->peer->uid, upload, request,
		request->key, desk->answers);
}

/* A record's outside, with its name as the caller says it. */
static void show(const struct desk *desk, const struct record *record, struct info *info,
	struct tag tags[MESSAGE_TAGS_MAX], char shown[NAME_FILED_MAX])
{
	record_info(record, info, tags);
	info->name = span_of(shown, name_show(shown, info->name, (uint32_t)desk->peer->uid));
}

int serve_stat(struct desk *desk)
{
	struct reply reply = { .body = BODY_INFO };
	struct tag tags[MESSAGE_TAGS_MAX];
	char shown[NAME_FILED_MAX];
	struct record *record;
	int r = vault_find(desk->daemon->vault, desk->name, &record);

	if (r != 0)
		return r;
	show(desk, record, &reply.info, tags, shown);
	return desk_answer(desk, &reply);
}

static bool carries(const struct tags *tags, const struct tag *wanted)
{
	for (size_t i = 0; i < tags->count; i++)
		if (span_equal(tags->tag[i].key, wanted->key))
			return span_equal(tags->tag[i].value, wanted->value);
	return false;
}

static bool carries_all(const struct tags *tags, const struct tags *wanted)
{
	for (size_t i = 0; i < wanted->count; i++)
		if (!carries(tags, &wanted->tag[i]))
			return false;
	return true;
}

/* -- lists --------------------------------------------------------------------------------- */

/* Whoever is allowed nothing outside its own space has no look at what lies there. */
static bool clamp_prefix(const struct desk *desk, enum right right, struct scope *scope)
{
	uint32_t uid = (uint32_t)desk->peer->uid;
	struct span space = span_of(scope->own, name_file(scope->own, span_text("~/"), uid));

	scope->prefix = desk->name;
	if (policy_reaches(&desk->daemon->policy, desk->peer, right, desk->name))
		return true;
	if (span_starts_with(desk->name, space))
		return true;
	scope->prefix = space;
	return span_starts_with(space, desk->name);
}

/*
 * Behind the prefix there is nothing to tell, before it nothing was passed over: no look is taken
 * at what others have there, whose cost would tell of it. Returns whether there may be anything.
 */
static bool clamp_after(struct scope *scope)
{
	size_t least =
		scope->after.size < scope->prefix.size ? scope->after.size : scope->prefix.size;
	int order = least > 0 ? memcmp(scope->after.data, scope->prefix.data, least) : 0;

	if (order < 0 || (order == 0 && scope->after.size < scope->prefix.size))
		scope->after = span_of(NULL, 0);
	return order <= 0;
}

bool scope_begin(const struct desk *desk, enum right right, struct scope *scope)
{
	const struct request *request = desk->request;

	scope->after = span_of(NULL, 0);
	if (request->after.size > 0)
		scope->after = span_of(scope->buffer,
			name_file(scope->buffer, request->after, (uint32_t)desk->peer->uid));
	return clamp_prefix(desk, right, scope) && clamp_after(scope);
}

void scope_pass(struct scope *scope, const struct record *record)
{
	struct span name = record_filed_name(record);

	memcpy(scope->buffer, name.data, name.size);
	scope->after = span_of(scope->buffer, name.size);
}

/*
 * Passes over what the caller may not see, and over all behind it up to where something begins that
 * it may. Returns whether there may be anything.
 */
bool scope_skip(
	const struct desk *desk, enum right right, struct scope *scope, const struct record *record)
{
	struct span name = record_filed_name(record);
	char next[NAME_FILED_MAX];
	size_t size;

	scope_pass(scope, record);
	size = policy_next(&desk->daemon->policy, desk->peer, right, name, next);
	if (size == 0)
		return false;
	memcpy(scope->buffer, next, size);
	scope->after = span_of(scope->buffer, size);
	return clamp_after(scope);
}

/*
 * Whether the caller may: 0, or STATUS_NOT_FOUND. STATUS_DENIED when it might with a token that was
 * used as often as it may be; another status, or a negative errno.
 */
static int list_may(
	struct desk *desk, struct walk *walk, enum right right, const struct record *record)
{
	struct policy_verdict verdict =
		policy_ask(&desk->daemon->policy, desk->peer, right, record_filed_name(record));
	int r;

	if (!verdict.allowed)
		return STATUS_NOT_FOUND;
	desk->token_used = walk->token_used;
	r = desk_use_token(desk, &verdict);
	walk->token_used = desk->token_used;
	return r;
}

/* What an info takes in a frame at most, with the list's last answer behind it. */
static size_t info_size_max(const struct info *info)
{
	return 3 * NAME_FILED_MAX +
		info->tags.count * (MESSAGE_TAG_KEY_MAX + MESSAGE_TAG_VALUE_MAX + 16);
}

/*
 * Tells one secret, if it passes the filter. More than its name is told, and looked at, only where
 * the caller may stat it, too. Returns 1, 0 when the frame is full, or negative. */
static int list_one(struct desk *desk, struct walk *walk, const struct record *record)
{
	const struct request *request = desk->request;
	struct reply reply = { .body = BODY_INFO };
	struct tag tags[MESSAGE_TAGS_MAX];
	char shown[NAME_FILED_MAX];
	bool whole = false;
	int r;

	show(desk, record, &reply.info, tags, shown);
	if (request->details || request->tags.count > 0)
		whole = list_may(desk, walk, RIGHT_STAT, record) == 0;
	if (request->tags.count > 0 && !(whole && carries_all(&reply.info.tags, &request->tags)))
		return 1;
	if (!request->details || !whole)
		reply.info = (struct info){ .name = reply.info.name };
	if (walk->left == 0)
		return 0;
	/* One frame is enough for one answer, but the first secret always goes. */
	if (walk->told && desk->answers->room(desk->answers) < info_size_max(&reply.info))
		return 0;
	walk->told = true;
	r = desk_answer(desk, &reply);
	walk->left--;
	return r < 0 ? r : 1;
}

/* The last answer of all; where there is more, it names what the caller may list, not more. */
static int list_end(const struct desk *desk, const struct walk *walk, bool more)
{
	struct reply reply = { .body = BODY_LISTING, .more = more };
	char shown[NAME_FILED_MAX];

	if (more)
		reply.next = span_of(shown,
			name_show(shown, span_of(walk->seen, walk->seen_size),
				(uint32_t)desk->peer->uid));
	return desk_answer(desk, &reply);
}

/* One that the caller may list. Returns 0 when that is the answer's end, else WALK_ON. */
static int list_seen(struct desk *desk, struct walk *walk, const struct record *record)
{
	int r = walk->looks > 0 ? list_one(desk, walk, record) : 0;

	if (r == 0)
		return list_end(desk, walk, true);
	if (r < 0)
		return r;
	walk->looks--;
	scope_pass(&walk->scope, record);
	walk->seen_size = walk->scope.after.size;
	memcpy(walk->seen, walk->scope.after.data, walk->seen_size);
	return WALK_ON;
}

/* Goes through names in order until the frame, the limit or the patience is used up. */
static int list_step(struct desk *desk, struct walk *walk)
{
	const struct daemon *daemon = desk->daemon;
	struct record *record;
	int r = WALK_ON;
	int may = 0;

	for (unsigned i = 0; r == WALK_ON && !walk->over && walk_may_look(daemon, i); i++) {
		r = vault_next(daemon->vault, walk->scope.prefix, walk->scope.after, &record);
		if (r == STATUS_NOT_FOUND) {
			walk->over = true;
			r = WALK_ON;
			continue;
		}
		if (r == 0)
			may = list_may(desk, walk, RIGHT_LIST, record);
		if (r == 0 && may == 0) {
			r = list_seen(desk, walk, record);
		} else if (r == 0 && may == STATUS_NOT_FOUND) {
			walk->over = !scope_skip(desk, RIGHT_LIST, &walk->scope, record);
			r = WALK_ON;
		} else if (r == 0) {
			r = may;
		}
	}
	return r == WALK_ON && walk->over ? list_end(desk, walk, false) : r;
}

int serve_list(struct desk *desk)
{
	return walk_begin(desk, RIGHT_LIST, list_step, LIST_LOOKS);
}
