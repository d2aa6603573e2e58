/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"

#include <memguard.pb-c.h>

/*
 * What the writers of requests, of replies and of bundles share: from our structs to the generated
 * ones, which point into ours and live as long. The generated structs do not know const; packing
 * only reads.
 */

/* The generated names, shortened for reading. */
#define PB(name) Memguard__V1__##name

static inline ProtobufCBinaryData data_from(struct span span)
{
	return (ProtobufCBinaryData){ .len = span.size, .data = (uint8_t *)(uintptr_t)span.data };
}

/* Tags as the generated code wants them: an array of pointers to structs. */
struct raw_tags {
	PB(Tag) tag[MESSAGE_TAGS_MAX];
	PB(Tag) * pointer[MESSAGE_TAGS_MAX];
	size_t count;
};

/* The same of grants. */
struct raw_grants {
	PB(Grant) grant[MESSAGE_GRANTS_MAX];
	PB(Grant) * pointer[MESSAGE_GRANTS_MAX];
	size_t count;
};

/* A bundled secret. */
struct raw_record {
	PB(Record) record;
	PB(Info) info;
	PB(Lifetime) left;
};

/* Packs a message behind its size, as message_append_request does. */
int message_pack(uint8_t *out, size_t *used, size_t room, const ProtobufCMessage *message);

void message_pack_chunks(PB(Chunks) * raw, const struct chunks *chunks);

/* Returns 0, or -EINVAL when there are too many. */
int message_pack_tags(struct raw_tags *raw, const struct tags *tags);

/* Of more than there may be those that do not fit are left out. */
void message_pack_grants(struct raw_grants *raw, const struct grants *grants);

/* NULL when there is nothing to say. */
PB(Lifetime) * message_pack_lifetime(PB(Lifetime) * raw, const struct lifetime *lifetime);

/* Their tags are packed already. */
void message_pack_info(
	PB(Info) * raw, PB(Lifetime) * left, struct raw_tags *tags, const struct info *info);
void message_pack_record(
	struct raw_record *raw, struct raw_tags *tags, const struct bundled *bundled);

void message_pack_caller(PB(Caller) * raw, const struct caller *caller);

/* What a stage brings; what policy is asked; the key of a lock. The tags are packed before. */
void message_pack_staged(
	struct raw_record *raw, struct raw_tags *tags, const struct request *request);
void message_pack_explain(PB(Explain) * raw, ProtobufCBinaryData as[static MESSAGE_AS_MAX],
	const struct request *request);
void message_pack_lock(PB(Lock) * raw, const struct request *request);
void message_pack_unlock(PB(Unlock) * raw, const struct request *request);

/* What is asked, and told, of changes. */
void message_pack_watch(PB(Watch) * raw, const struct request *request);
void message_pack_event(PB(Event) * raw, const struct reply *reply);
void message_pack_mark(PB(Mark) * raw, const struct reply *reply);
