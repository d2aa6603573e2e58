/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/message_pack.h"

#include <errno.h>

#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/wire/frame.h"

int message_pack(uint8_t *out, size_t *used, size_t room, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);

	if (*used > room || size > UINT16_MAX || size + FRAME_PREFIX_SIZE > room - *used)
		return -ENOSPC;
	bytes_put16(out + *used, (uint16_t)size);
	protobuf_c_message_pack(message, out + *used + FRAME_PREFIX_SIZE);
	*used += FRAME_PREFIX_SIZE + size;
	return 0;
}

void message_pack_chunks(PB(Chunks) * raw, const struct chunks *chunks)
{
	memguard__v1__chunks__init(raw);
	raw->first = chunks->first;
	raw->count = chunks->count;
	raw->last = chunks->last;
	raw->final = chunks->final;
	raw->abort = chunks->abort;
}

int message_pack_tags(struct raw_tags *raw, const struct tags *tags)
{
	if (tags->count > MESSAGE_TAGS_MAX)
		return -EINVAL;
	raw->count = tags->count;
	for (size_t i = 0; i < tags->count; i++) {
		memguard__v1__tag__init(&raw->tag[i]);
		raw->tag[i].key = data_from(tags->tag[i].key);
		raw->tag[i].value = data_from(tags->tag[i].value);
		raw->pointer[i] = &raw->tag[i];
	}
	return 0;
}

PB(Lifetime) * message_pack_lifetime(PB(Lifetime) * raw, const struct lifetime *lifetime)
{
	if (!lifetime_is_limited(lifetime))
		return NULL;
	memguard__v1__lifetime__init(raw);
	raw->ttl_ms = lifetime->ttl_ms;
	raw->idle_ms = lifetime->idle_ms;
	raw->reads = lifetime->reads;
	raw->session = lifetime->session;
	raw->pid = lifetime->pid;
	return raw;
}

void message_pack_info(
	PB(Info) * out, PB(Lifetime) * left, struct raw_tags *tags, const struct info *info)
{
	memguard__v1__info__init(out);
	out->name = data_from(info->name);
	out->version = info->version;
	out->size = info->size;
	out->created_ms = info->created_ms;
	out->changed_ms = info->changed_ms;
	out->tags = tags->pointer;
	out->n_tags = tags->count;
	out->left = message_pack_lifetime(left, &info->left);
	out->idle_left_ms = info->idle_left_ms;
	out->frozen = info->frozen;
	out->stream = info->stream;
}

void message_pack_record(
	struct raw_record *raw, struct raw_tags *tags, const struct bundled *bundled)
{
	memguard__v1__record__init(&raw->record);
	message_pack_info(&raw->info, &raw->left, tags, &bundled->info);
	raw->record.info = &raw->info;
	raw->record.owner = bundled->owner;
	raw->record.data_key = data_from(span_of(bundled->key, ENCLAVE_KEY_SIZE));
}

void message_pack_caller(PB(Caller) * raw, const struct caller *caller)
{
	memguard__v1__caller__init(raw);
	raw->uid = caller->uid;
	raw->gid = caller->gid;
	raw->pid = caller->pid;
	raw->groups = (uint32_t *)(uintptr_t)caller->groups;
	raw->n_groups = caller->group_count;
	raw->label = data_from(caller->label);
	raw->pidfd = caller->pidfd;
	raw->privileged = caller->privileged;
	raw->unit = data_from(caller->unit);
	raw->slice = data_from(caller->slice);
	raw->userunit = data_from(caller->userunit);
	raw->placed = caller->placed;
	raw->listener = data_from(caller->listener);
	raw->token = data_from(caller->token);
	raw->token_fault = caller->token_fault;
	raw->counts = caller->counts;
	raw->secrets = caller->secrets;
	raw->bytes = caller->bytes;
	raw->quota_count = caller->quota_count;
	raw->quota_bytes = caller->quota_bytes;
	raw->quota_sessions = caller->quota_sessions;
	raw->quota_inflight = caller->quota_inflight;
	raw->quota_handshakes = caller->quota_handshakes;
}

void message_pack_staged(
	struct raw_record *raw, struct raw_tags *tags, const struct request *request)
{
	struct bundled bundled = { .info = { .name = request->name,
					   .version = request->version,
					   .size = request->size,
					   .created_ms = request->created_ms,
					   .changed_ms = request->changed_ms,
					   .left = request->lifetime,
					   .frozen = request->freeze },
		.owner = request->owner,
		.key = request->key };

	message_pack_record(raw, tags, &bundled);
}

void message_pack_explain(PB(Explain) * raw, ProtobufCBinaryData as[static MESSAGE_AS_MAX],
	const struct request *request)
{
	size_t count = request->as_count < MESSAGE_AS_MAX ? request->as_count : MESSAGE_AS_MAX;

	memguard__v1__explain__init(raw);
	raw->operation = data_from(request->operation);
	raw->name = data_from(request->name);
	for (size_t i = 0; i < count; i++)
		as[i] = data_from(request->as[i]);
	raw->as = as;
	raw->n_as = count;
}

void message_pack_lock(PB(Lock) * raw, const struct request *request)
{
	memguard__v1__lock__init(raw);
	raw->key = data_from(span_of(request->key, ENCLAVE_KEY_SIZE));
	raw->salt = data_from(request->salt);
	raw->opslimit = request->opslimit;
	raw->memlimit = request->memlimit;
}

void message_pack_unlock(PB(Unlock) * raw, const struct request *request)
{
	memguard__v1__unlock__init(raw);
	raw->key = data_from(span_of(request->key, ENCLAVE_KEY_SIZE));
}

void message_pack_watch(PB(Watch) * raw, const struct request *request)
{
	memguard__v1__watch__init(raw);
	raw->prefix = data_from(request->name);
	raw->since = request->since;
}

void message_pack_event(PB(Event) * raw, const struct reply *reply)
{
	memguard__v1__event__init(raw);
	raw->number = reply->number;
	raw->change = (Memguard__V1__Change)reply->change;
	raw->name = data_from(reply->name);
	raw->version = reply->version;
}

void message_pack_mark(PB(Mark) * raw, const struct reply *reply)
{
	memguard__v1__mark__init(raw);
	raw->number = reply->number;
	raw->lost = reply->lost;
}

/* -- bundles ------------------------------------------------------------------------------- */

int message_write_bundled(uint8_t *out, size_t room, const struct bundled *bundled)
{
	struct raw_record raw;
	struct raw_tags tags;
	size_t size;

	if (message_pack_tags(&tags, &bundled->info.tags) < 0)
		return -EINVAL;
	message_pack_record(&raw, &tags, bundled);
	size = protobuf_c_message_get_packed_size(&raw.record.base);
	if (size > room || size > MESSAGE_BUNDLED_MAX)
		return -ENOSPC;
	return (int)protobuf_c_message_pack(&raw.record.base, out);
}

void message_pack_grants(struct raw_grants *raw, const struct grants *grants)
{
	raw->count = grants->count < MESSAGE_GRANTS_MAX ? grants->count : MESSAGE_GRANTS_MAX;
	for (size_t i = 0; i < raw->count; i++) {
		memguard__v1__grant__init(&raw->grant[i]);
		raw->grant[i].operations = data_from(grants->grant[i].operations);
		raw->grant[i].glob = data_from(grants->grant[i].glob);
		raw->pointer[i] = &raw->grant[i];
	}
}
