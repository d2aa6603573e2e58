/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/enclave.h"
#include "common/wire/frame.h"
#include "common/wire/message.h"
#include "common/wire/name.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/rig.h"

static struct rig rig;

/* What exists is well-formed: what the rest of the house relies on. */
static void check_request(const struct request *request)
{
	MUST(request->id != 0 && request->verb < VERBS);
	if (request->chunked)
		MUST(request->bytes.size == chunks_size(&request->chunks));
	if (request->fault || request->verb < VERB_PING)
		return;
	switch (request->verb) {
	case VERB_SET:
		MUST(request->key && request->numbered && !name_fault(request->name));
		break;
	case VERB_STREAM_WRITE:
		MUST(request->chunked && request->numbered && !name_fault(request->name));
		break;
	case VERB_VERIFY:
		MUST(request->key && !name_fault(request->name));
		break;
	case VERB_REMOVE:
	case VERB_GENERATE:
	case VERB_TOUCH:
	case VERB_FREEZE:
	case VERB_MELT:
		MUST(request->numbered && !name_fault(request->name));
		break;
	case VERB_LOCK:
		MUST(request->key && request->numbered && request->salt.size == MESSAGE_SALT_SIZE);
		MUST(request->opslimit >= MESSAGE_LOCK_OPSLIMIT_MIN &&
			request->opslimit <= MESSAGE_LOCK_OPSLIMIT_MAX);
		MUST(request->memlimit >= MESSAGE_LOCK_MEMLIMIT_MIN &&
			request->memlimit <= MESSAGE_LOCK_MEMLIMIT_MAX);
		break;
	case VERB_UNLOCK:
		MUST(request->key && request->numbered);
		break;
	case VERB_EXPLAIN:
		MUST(request->as_count <= MESSAGE_AS_MAX && !name_fault(request->name));
		break;
	case VERB_ISSUE_TOKEN:
		MUST(request->grants.count > 0 && request->grants.count <= MESSAGE_GRANTS_MAX &&
			!name_fault(request->name));
		break;
	case VERB_UNWRAP:
		MUST(request->token);
		break;
	case VERB_GET:
	case VERB_REVOKE_TOKEN:
	case VERB_WRAP:
	case VERB_STAT:
	case VERB_STREAM_READ:
		MUST(!name_fault(request->name));
		break;
	case VERB_WATCH:
		MUST(!name_prefix_fault(request->name));
		break;
	default:
		break;
	}
	MUST(request->lifetime.ttl_ms <= MESSAGE_SPAN_MAX &&
		request->lifetime.idle_ms <= MESSAGE_SPAN_MAX);
	MUST(request->tags.count <= MESSAGE_TAGS_MAX && request->charset < CHARSETS);
	for (size_t i = 0; i < request->tags.count; i++)
		MUST(!tag_fault(&request->tags.tag[i]));
}

static void read_requests(struct messages messages)
{
	static uint8_t out[FRAME_PLAIN_MAX];
	struct request request;
	size_t used;

	while (message_next_request(&request, &messages, &rig.bench) > 0) {
		check_request(&request);
		used = 0;
		if (!request.fault && request.verb != VERB_UNKNOWN)
			MUST(message_append_request(out, &used, sizeof(out), &request) == 0);
		workbench_release(&rig.bench, 0);
	}
	workbench_wipe(&rig.bench);
}

static void read_replies(struct messages messages)
{
	struct reply reply;

	while (message_next_reply(&reply, &messages, &rig.bench) > 0) {
		MUST(reply.id != 0 && reply.code >= 0);
		MUST((reply.body != BODY_VALUE && reply.body != BODY_ISSUED) || reply.key);
		MUST(reply.body != BODY_PART ||
			(reply.stream != 0 && !reply.key == !reply.chunked));
		MUST(reply.body != BODY_INFO || !name_fault(reply.info.name));
		if (reply.chunked)
			MUST(reply.bytes.size == chunks_size(&reply.chunks));
		workbench_release(&rig.bench, 0);
	}
	workbench_wipe(&rig.bench);
}

/*
 * The first two bytes say how many chunk bytes the frame has; the rest is an opened sealed part,
 * read as requests and as replies.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t chunks[FRAME_CHUNKS_MAX];
	struct messages messages = { 0 };

	if (!rig.guard.canary[0] && !rig.bench.base)
		rig_init(&rig);
	if (size < 2 || size > 2 + FRAME_PLAIN_MAX)
		return 0;
	messages.chunks = span_of(chunks, (size_t)(data[0] | data[1] << 8));
	messages.plain = span_of(data + 2, size - 2);
	read_requests(messages);
	read_replies(messages);
	return 0;
}
