/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/flow_inside.h"

#include <string.h>

#include "common/status.h"
#include "daemon/request/quota.h"
#include "daemon/request/upload.h"

static const char *words_for_write(struct daemon *daemon, uint32_t uid, int status)
{
	const char *words = status == STATUS_LIMIT ? quota_words(daemon, uid) : NULL;

	if (words)
		return words;
	switch (status) {
	case STATUS_DENIED:
		return NOT_ALLOWED;
	case STATUS_INTEGRITY:
		return "a chunk is not what was sealed, or not the one that is due";
	case STATUS_LIMIT:
		return "memory is used up, or too much is under way";
	case STATUS_GONE:
		return "the stream was removed or purged, or its writer was away for too long";
	case STATUS_TIMEOUT:
		return "given up by the sender";
	default:
		return NULL;
	}
}

/* Takes the chunks that are new. Those before the one that is due came before. */
static int take_chunks(struct flow *flow, const struct ask *ask, const uint8_t *key)
{
	const struct chunks *chunks = &ask->chunks;
	struct span left = ask->bytes;
	int r = 0;

	for (uint32_t i = 0; i < chunks->count && r == 0; i++) {
		bool last = i + 1 == chunks->count;
		size_t size = last ? chunks->last : ENCLAVE_CHUNK_SIZE;
		uint64_t due = stream_due(flow->stream);

		if (chunks->first + i > due)
			return STATUS_INTEGRITY;
		if (chunks->first + i == due)
			r = stream_append(
				flow->stream, span_of(left.data, size), last && chunks->final, key);
		left = span_of(left.data + size, left.size - size);
	}
	return r;
}

static int take_new(struct flow *flow, struct daemon *daemon, const struct ask *ask)
{
	size_t mark = workbench_mark(&daemon->bench);
	uint8_t *key = workbench_take(&daemon->bench, ENCLAVE_KEY_SIZE);
	int r = key ? stream_write_key(flow->stream, key) : -ENOBUFS;

	vault_promise(daemon->vault, flow->uid, flow->number, flow->digest);
	if (r == 0)
		r = take_chunks(flow, ask, key);
	flow->answer = vault_promise_end(daemon->vault, r == 0);
	workbench_release(&daemon->bench, mark);
	return workbench_is_broken(&daemon->bench) ? -EFAULT : r;
}

/* Bytes of plaintext that come with the request and are new. */
static uint64_t new_bytes(const struct flow *flow, const struct chunks *chunks)
{
	uint64_t due = stream_due(flow->stream);
	uint64_t size = 0;

	for (uint32_t i = 0; i < chunks->count; i++)
		if (chunks->first + i >= due)
			size += (i + 1 == chunks->count ? chunks->last : ENCLAVE_CHUNK_SIZE) -
				ENCLAVE_TAG_SIZE;
	return size;
}

/* What is read makes room; where nothing is, there will be none. */
static int check_quotas(const struct flow *flow, struct daemon *daemon, const struct chunks *chunks)
{
	int r = flow->limited ? stream_may_take(flow->stream, new_bytes(flow, chunks)) : 0;

	if (r == 0 || stream_is_empty(flow->stream))
		return r;
	(void)vault_refusal(daemon->vault);
	return WAIT;
}

/* Returns 0 when the chunks are in the stream, WAIT, a status, or a negative errno. */
int flow_try_write(struct flow *flow, struct daemon *daemon, const struct ask *ask)
{
	int r;

	const struct chunks *chunks = &ask->chunks;

	if (!stream_is_writer(flow->stream, flow))
		return STATUS_GONE;
	if (chunks->abort)
		return STATUS_TIMEOUT;
	if (chunks->first > stream_due(flow->stream))
		return STATUS_INTEGRITY;
	if (chunks->first + chunks->count <= stream_due(flow->stream))
		return 0;
	if (!stream_has_room(flow->stream, daemon->max_value))
		return WAIT;
	r = check_quotas(flow, daemon, chunks);
	return r == 0 ? take_new(flow, daemon, ask) : r;
}

static int answer_taken(struct answers *answers, uint64_t id, uint64_t due)
{
	struct reply reply = { .id = id, .body = BODY_TAKEN, .due = due };

	return answers_append(answers, &reply);
}

/* A segment is over before its end: so are all requests that were to write it. */
static int refuse_all(struct transfers *transfers, struct flow *flow, int status, const char *words,
	struct answers *answers)
{
	int r = 0;

	while (r == 0 && flow->asks) {
		r = answers_code(answers, flow->asks->id, status, words);
		flow_forget(transfers, flow, flow->asks);
	}
	flow_end(transfers, flow, true);
	return r;
}

/* What follows from an attempt to write; the flow may be gone then. */
int flow_conclude_write(struct transfers *transfers, struct daemon *daemon, struct flow *flow,
	uint64_t id, int outcome, struct answers *answers)
{
	struct repeat_answer first = { 0 };
	uint64_t due = stream_due(flow->stream);
	const char *words;
	int r;

	if (outcome < 0)
		return outcome;
	if (outcome > 0) {
		words = words_for_write(daemon, flow->uid, outcome);
		r = answers_code(answers, id, outcome, words);
		return r < 0 ? r : refuse_all(transfers, flow, outcome, words, answers);
	}
	if (!stream_is_writer(flow->stream, flow)) {
		first.version = due;
		first.place = flow->answer;
		(void)repeats_keep(daemon->repeats, flow->uid, flow->number, flow->digest, &first);
		flow_end_if_idle(transfers, flow);
	}
	return answer_taken(answers, id, due);
}

/* A segment for whoever brings the beginning of one. */
static int begin_segment(
	struct daemon *daemon, struct flow *flow, struct flow_request *asked, struct stream *stream)
{
	const struct request *request = asked->request;
	int r = 0;

	if (request->chunks.abort)
		return STATUS_TIMEOUT;
	if (request->chunks.first > 0)
		return STATUS_GONE;
	if (!request->key) {
		asked->words = "a segment begins with its data key";
		return STATUS_INVALID;
	}
	if (flow->limited)
		r = stream_may_begin(daemon->vault, stream, asked->name, asked->uid);
	if (r == 0 && !stream)
		r = stream_make(daemon->vault, asked->name, asked->uid, &stream);
	if (r == 0)
		r = stream_begin(stream, request->number, request->key, flow);
	if (r == 0)
		flow->stream = stream_pin(stream);
	else if (stream)
		/* Whoever looks for an empty one ends it. */
		(void)stream_find(daemon->vault, asked->name, &stream);
	return r;
}

/* Finds the segment that the request's number began, or begins it. */
static int join(struct daemon *daemon, struct flow *flow, struct flow_request *asked)
{
	struct stream *stream = NULL;
	int r = stream_find(daemon->vault, asked->name, &stream);

	if (r == STATUS_INVALID)
		asked->words = "the name is a secret's";
	if (r != 0 && r != STATUS_NOT_FOUND)
		return r;
	if (r == 0)
		r = stream_resume(stream, asked->request->number, flow);
	if (r == 0)
		flow->stream = stream_pin(stream);
	else if (r == STATUS_CONFLICT)
		asked->words = "another writer is at it";
	else if (r == STATUS_NOT_FOUND)
		r = begin_segment(daemon, flow, asked, stream);
	return r;
}

/* A flow that writes under the request's number. Returns 0, a status, or a negative errno. */
static int begin_write(struct transfers *transfers, struct daemon *daemon,
	struct flow_request *asked, const uint8_t *digest, struct flow **flowp)
{
	struct flow *flow = flow_new(transfers, asked, true);
	int r;

	if (!flow)
		return STATUS_LIMIT;
	memcpy(flow->number, asked->request->number, sizeof(flow->number));
	memcpy(flow->digest, digest, sizeof(flow->digest));
	r = join(daemon, flow, asked);
	if (r != 0) {
		flow_end(transfers, flow, true);
		return r;
	}
	*flowp = flow;
	return 0;
}

/* The session's own flow under this number, if there is one that still writes. */
static struct flow *own_flow(struct transfers *transfers, const struct flow_request *asked)
{
	struct flow *flow = flow_find(transfers, asked->name, true);

	if (flow && !flow->asks && !stream_is_writer(flow->stream, flow)) {
		flow_end(transfers, flow, false);
		flow = NULL;
	}
	return flow;
}

/* A segment's end is answered once; whoever asks again gets the same answer. */
static int find_repeat(struct daemon *daemon, struct flow_request *asked,
	uint8_t digest[static REPEAT_DIGEST_SIZE], uint64_t *duep)
{
	struct request named = { .verb = asked->request->verb };
	struct repeat_answer first = { 0 };
	int r;

	request_digest(digest, &named, asked->name);
	r = repeats_find(daemon->repeats, asked->uid, asked->request->number, digest, &first);
	*duep = first.version;
	if (r == STATUS_CONFLICT)
		asked->words = NUMBER_REUSED;
	return r;
}

int flow_write(struct transfers *transfers, struct daemon *daemon, struct flow_request *asked,
	struct answers *answers)
{
	const struct request *request = asked->request;
	const struct ask ask = {
		.id = request->id, .chunks = request->chunks, .bytes = request->bytes
	};
	uint8_t digest[REPEAT_DIGEST_SIZE];
	struct flow *flow = own_flow(transfers, asked);
	uint64_t due;
	int r;

	if (flow && memcmp(flow->number, request->number, sizeof(flow->number)) != 0) {
		asked->words = "this connection writes to it already";
		return STATUS_CONFLICT;
	}
	if (!flow) {
		r = find_repeat(daemon, asked, digest, &due);
		if (r == 1)
			return answer_taken(answers, request->id, due);
		if (r == 0)
			r = begin_write(transfers, daemon, asked, digest, &flow);
		if (r > 0 && !asked->words)
			asked->words = words_for_write(daemon, asked->uid, r);
		if (r != 0)
			return r;
	}
	/* Giving up waits for nobody. */
	r = flow->asks && !ask.chunks.abort ? WAIT : flow_try_write(flow, daemon, &ask);
	if (r == WAIT)
		return flow_park(transfers, daemon, flow, &ask);
	return flow_conclude_write(transfers, daemon, flow, request->id, r, answers);
}
