/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/flow_inside.h"

#include "common/status.h"

static const char *words_for_read(int status)
{
	switch (status) {
	case STATUS_DENIED:
		return NOT_ALLOWED;
	case STATUS_NOT_FOUND:
		return "no such stream";
	case STATUS_TIMEOUT:
		return "nothing came in time";
	case STATUS_INTEGRITY:
		return "a chunk is not what was written";
	case STATUS_CONFLICT:
		return "another reader is there";
	case STATUS_GONE:
		return "the stream was removed or purged";
	case STATUS_INVALID:
		return "the name is a secret's";
	case STATUS_LIMIT:
		return "memory is used up, or too much is under way";
	default:
		return NULL;
	}
}

/* Becomes the reader of what there is under the name: 0, STATUS_NOT_FOUND, another status, ... */
static int attend(struct flow *flow, struct daemon *daemon)
{
	struct stream *stream = NULL;
	int r;

	if (flow->stream && stream_fate(flow->stream) == STREAM_LIVES)
		return 0;
	if (flow->stream && stream_fate(flow->stream) == STREAM_DESTROYED)
		return STATUS_GONE;
	flow_let_go(flow, false);
	r = stream_find(daemon->vault, flow_name(flow), &stream);
	if (r == 0)
		r = stream_attend(stream, flow);
	if (r == 0)
		flow->stream = stream_pin(stream);
	return r;
}

/* The segment's writer has not ended it, and will not. */
static int tell_broken(
	struct flow *flow, uint64_t id, const struct stream_part *part, struct answers *answers)
{
	struct reply reply = { .id = id,
		.code = STATUS_INTEGRITY,
		.detail = span_text("the stream is incomplete: its writer went before its end"),
		.body = BODY_PART,
		.stream = part->stream,
		.segment = part->segment };

	flow->sent = (struct stream_place){ .stream = part->stream, .segment = part->segment + 1 };
	flow->held = true;
	return answers_append(answers, &reply);
}

static int send_part(struct flow *flow, struct daemon *daemon, uint64_t id,
	const struct stream_part *part, struct answers *answers)
{
	size_t mark = workbench_mark(&daemon->bench);
	uint8_t *key = workbench_take(&daemon->bench, ENCLAVE_KEY_SIZE);
	struct reply reply = { .id = id,
		.chunked = true,
		.chunks = part->chunks,
		.body = BODY_PART,
		.stream = part->stream,
		.segment = part->segment,
		.key = key };
	int r = key ? stream_read_key(flow->stream, part->segment, key) : -ENOBUFS;

	if (r == 0)
		r = answers->append(answers, &reply, part->pieces, part->chunks.count);
	if (r == 0) {
		flow->sent = (struct stream_place){ .stream = part->stream,
			.segment = part->segment + part->chunks.final,
			.next = part->chunks.final ? 0 : part->chunks.first + part->chunks.count };
		flow->held = true;
	}
	workbench_release(&daemon->bench, mark);
	return workbench_is_broken(&daemon->bench) ? -EFAULT : r;
}

/* Returns 0 when the request has its answer, WAIT, a status, or a negative errno. */
int flow_try_read(struct flow *flow, struct daemon *daemon, uint64_t id, struct answers *answers)
{
	struct stream_part part;
	int r = attend(flow, daemon);

	flow->due = false;
	if (r == STATUS_NOT_FOUND)
		return WAIT;
	if (r == 0)
		r = stream_next(flow->stream, &flow->sent, &part);
	if (r == STATUS_NOT_FOUND)
		return WAIT;
	if (r == STATUS_GONE && flow->stream && stream_fate(flow->stream) == STREAM_LIVES)
		return tell_broken(flow, id, &part, answers);
	if (r != 0)
		return r;
	flow->due = !answers->ready(answers);
	return flow->due ? WAIT : send_part(flow, daemon, id, &part, answers);
}

/* What follows from an attempt to read; the flow may be gone then. */
int flow_conclude_read(struct transfers *transfers, struct flow *flow, uint64_t id, int outcome,
	struct answers *answers)
{
	if (outcome < 0)
		return outcome;
	if (outcome == STATUS_GONE)
		flow_let_go(flow, false);
	flow_end_if_idle(transfers, flow);
	return outcome > 0 ? answers_code(answers, id, outcome, words_for_read(outcome)) : 0;
}

/* Whoever reads again after the stream's end reads the next one of that name. */
static int acknowledge(struct flow *flow, struct daemon *daemon, const struct stream_place *read)
{
	int r;

	if (flow->stream && stream_fate(flow->stream) != STREAM_LIVES)
		flow_let_go(flow, false);
	r = attend(flow, daemon);
	if (r == 0 && flow->sent.stream == 0)
		flow->sent = *read;
	if (r == 0 && read->stream != 0)
		stream_acknowledge(flow->stream, read);
	return r == STATUS_NOT_FOUND ? 0 : r;
}

/* One that does not want to wait is told what is the matter. */
static int refuse_to_wait(const struct flow *flow)
{
	return flow->stream ? STATUS_TIMEOUT : STATUS_NOT_FOUND;
}

static int read_on(struct transfers *transfers, struct daemon *daemon, struct flow *flow,
	const struct request *request, struct answers *answers)
{
	struct ask ask = { .id = request->id };
	int r = flow->asks ? WAIT : flow_try_read(flow, daemon, request->id, answers);

	if (r == WAIT && request->wait_ms == 0 && !flow->due)
		r = refuse_to_wait(flow);
	if (r == WAIT) {
		ask.deadline_ms = daemon_now_ms() + request->wait_ms;
		r = flow_park(transfers, daemon, flow, &ask);
		if (r == 0)
			return 0;
	}
	return flow_conclude_read(transfers, flow, request->id, r, answers);
}

int flow_read(struct transfers *transfers, struct daemon *daemon, struct flow_request *asked,
	struct answers *answers)
{
	const struct request *request = asked->request;
	struct flow *flow = flow_find(transfers, asked->name, false);
	int r;

	if (!flow)
		flow = flow_new(transfers, asked, false);
	if (!flow)
		return STATUS_LIMIT;
	r = acknowledge(flow, daemon, &request->read);
	if (r == 0 && !request->acknowledge)
		return read_on(transfers, daemon, flow, request, answers);
	flow->held = false;
	flow_end_if_idle(transfers, flow);
	if (r == 0)
		return answers_code(answers, request->id, 0, NULL);
	if (r > 0)
		asked->words = words_for_read(r);
	return r;
}
