/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_sources.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

/* A text, or who is called what. The name has its NUL, the text behind it has none. */
enum source_kind { SOURCE_TEXT, SOURCE_USER, SOURCE_GROUP };

struct source_record {
	enum source_kind kind;
	uint32_t id; /* of a user or group */
	struct span name;
	struct span text;
};

/* Kind, id, and the sizes of name and text. */
#define HEAD_SIZE 16

/* -- writing ------------------------------------------------------------------------------- */

void policy_sources_finish(struct policy_sources *sources)
{
	free(sources->bytes);
	*sources = (struct policy_sources){ 0 };
}

/* Room for so many bytes more, or NULL. */
static uint8_t *extend(struct policy_sources *sources, size_t size)
{
	size_t room = sources->room ? sources->room : 1024;
	uint8_t *bytes;

	while (room - sources->size < size)
		room *= 2;
	if (room > sources->room) {
		bytes = realloc(sources->bytes, room);
		if (!bytes)
			return NULL;
		sources->bytes = bytes;
		sources->room = room;
	}
	bytes = sources->bytes + sources->size;
	sources->size += size;
	return bytes;
}

static int add(struct policy_sources *sources, const struct source_record *record)
{
	uint8_t *out = extend(sources, HEAD_SIZE + record->name.size + record->text.size);

	if (!out)
		return -ENOMEM;
	bytes_put32(out, (uint32_t)record->kind);
	bytes_put32(out + 4, record->id);
	bytes_put32(out + 8, (uint32_t)record->name.size);
	bytes_put32(out + 12, (uint32_t)record->text.size);
	memcpy(out + HEAD_SIZE, record->name.data, record->name.size);
	if (record->text.size > 0)
		memcpy(out + HEAD_SIZE + record->name.size, record->text.data, record->text.size);
	return 0;
}

static struct span with_end(const char *text)
{
	return span_of(text, strlen(text) + 1);
}

int policy_sources_add(
	struct policy_sources *sources, const char *path, const char *text, size_t size)
{
	const struct source_record record = {
		.kind = SOURCE_TEXT, .name = with_end(path), .text = span_of(text, size)
	};

	return add(sources, &record);
}

/* -- reading ------------------------------------------------------------------------------- */

/* Cuts the next record off. Returns 1, 0 at the end, or -EBADMSG. */
static int next_record(struct span *left, struct source_record *record)
{
	uint64_t name, text;

	if (left->size == 0)
		return 0;
	if (left->size < HEAD_SIZE)
		return -EBADMSG;
	record->kind = (enum source_kind)bytes_get32(left->data);
	record->id = bytes_get32(left->data + 4);
	name = bytes_get32(left->data + 8);
	text = bytes_get32(left->data + 12);
	if (name + text > left->size - HEAD_SIZE || name == 0 ||
		left->data[HEAD_SIZE + name - 1] != '\0')
		return -EBADMSG;
	record->name = span_of(left->data + HEAD_SIZE, (size_t)name);
	record->text = span_of(left->data + HEAD_SIZE + name, (size_t)text);
	*left = span_of(record->text.data + text, left->size - HEAD_SIZE - (size_t)(name + text));
	return 1;
}

static bool find(struct span sources, enum source_kind kind, const char *name, uint32_t *idp)
{
	struct source_record record;

	while (next_record(&sources, &record) > 0) {
		if (record.kind != kind || !span_equal(record.name, with_end(name)))
			continue;
		*idp = record.id;
		return true;
	}
	return false;
}

/* -- names --------------------------------------------------------------------------------- */

/* Whoever was found once is the same for all of the texts. */
static bool recall(
	struct policy_sources *sources, enum source_kind kind, const char *name, uint32_t *idp)
{
	return find(span_of(sources->bytes, sources->size), kind, name, idp);
}

/* Without memory for it nobody is found, rather than somebody who is not found again. */
static bool keep(
	struct policy_sources *sources, enum source_kind kind, const char *name, uint32_t id)
{
	const struct source_record record = { .kind = kind, .id = id, .name = with_end(name) };

	return add(sources, &record) == 0;
}

static bool look_up_user(void *context, const char *name, uid_t *uidp)
{
	uint32_t id;
	struct passwd *user;

	if (!recall(context, SOURCE_USER, name, &id)) {
		user = getpwnam(name);
		if (!user || !keep(context, SOURCE_USER, name, (uint32_t)user->pw_uid))
			return false;
		id = (uint32_t)user->pw_uid;
	}
	*uidp = (uid_t)id;
	return true;
}

static bool look_up_group(void *context, const char *name, gid_t *gidp)
{
	uint32_t id;
	struct group *group;

	if (!recall(context, SOURCE_GROUP, name, &id)) {
		group = getgrnam(name);
		if (!group || !keep(context, SOURCE_GROUP, name, (uint32_t)group->gr_gid))
			return false;
		id = (uint32_t)group->gr_gid;
	}
	*gidp = (gid_t)id;
	return true;
}

struct policy_names policy_sources_names(struct policy_sources *sources)
{
	return (struct policy_names){
		.user = look_up_user, .group = look_up_group, .context = sources
	};
}

static bool find_user(void *context, const char *name, uid_t *uidp)
{
	uint32_t id;
	bool found = find(*(const struct span *)context, SOURCE_USER, name, &id);

	if (found)
		*uidp = (uid_t)id;
	return found;
}

static bool find_group(void *context, const char *name, gid_t *gidp)
{
	uint32_t id;
	bool found = find(*(const struct span *)context, SOURCE_GROUP, name, &id);

	if (found)
		*gidp = (gid_t)id;
	return found;
}

/* -- once more ----------------------------------------------------------------------------- */

static int read_all(struct policy_book *book, struct span sources, struct config_fault *fault)
{
	const struct policy_names names = {
		.user = find_user, .group = find_group, .context = &sources
	};
	struct span left = sources;
	struct source_record record;
	int r;

	while ((r = next_record(&left, &record)) > 0) {
		if (record.kind != SOURCE_TEXT)
			continue;
		r = policy_book_read(book, (const char *)record.text.data, record.text.size,
			(const char *)record.name.data, &names, fault);
		if (r < 0)
			return r;
	}
	if (r < 0)
		config_fault_say(fault, "policy: what was kept of it is not whole");
	return r < 0 ? r : policy_book_seal(book, fault);
}

int policy_sources_book(struct span sources, struct policy_book **bookp, struct config_fault *fault)
{
	struct policy_book *book = policy_book_new();
	int r = book ? read_all(book, sources, fault) : -ENOMEM;

	if (r == 0)
		*bookp = book;
	else
		policy_book_free(book);
	return r;
}
