/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"

#include <memguard.pb-c.h>

/* What the readers of requests and of replies share: taking messages apart. */

/* The generated names, shortened for reading. */
#define PB(name) Memguard__V1__##name

static inline struct span span_from(ProtobufCBinaryData data)
{
	return span_of(data.data, data.len);
}

/* Takes the next length-prefixed message off the frame: 1, 0 at the end, -EPROTO. */
int message_next_bytes(struct messages *messages, struct span *bytes);

/*
 * Unpacks onto the bench. Returns 0; -EPROTO when the bytes are no such message; -ENOBUFS when the
 * bench is full or the message takes more than any sender has to say.
 */
int message_unpack(ProtobufCMessage **message, const ProtobufCMessageDescriptor *descriptor,
	struct span bytes, struct workbench *bench);

/* Reads an announcement and claims its bytes of the frame. Returns 0 or -EPROTO. */
int message_claim_chunks(struct chunks *chunks, struct span *bytes, struct messages *messages,
	const PB(Chunks) * raw);

/* Returns 0, or -ENOBUFS; what is wrong with the tags goes to *fault. */
int message_read_tags(struct tags *tags, const char **fault, PB(Tag) * *raw, size_t count,
	struct workbench *bench);

/* A secret's outside, and a bundled secret; what is wrong goes to *fault. 0 or -ENOBUFS. */
int message_read_info(
	struct info *info, const char **fault, const PB(Info) * raw, struct workbench *bench);
int message_read_record(struct bundled *bundled, const char **fault, const PB(Record) * raw,
	struct workbench *bench);

/* Grants of a token, onto the bench. Returns 0 or -ENOBUFS; what is wrong goes to *fault. */
int message_read_grants(struct grants *grants, const char **fault, PB(Grant) * *raw, size_t count,
	struct workbench *bench);

/* All 0 for NULL. */
struct lifetime message_read_lifetime(const PB(Lifetime) * raw);
