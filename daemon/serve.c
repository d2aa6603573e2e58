/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/serve.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "daemon/request/flow.h"
#include "daemon/request/petition.h"
#include "daemon/request/request.h"
#include "daemon/request/restore.h"
#include "daemon/request/showing.h"
#include "daemon/request/sweep.h"
#include "daemon/request/trial.h"
#include "daemon/request/unlock.h"
#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "daemon/request/walk.h"
#include "daemon/request/watch.h"

/* -- everything from here to the door runs on the locked stack ----------------------------- */

/* The server's half of the handshake. */
struct greeting {
	struct served *served;
	const struct hello *hello; /* the client's */
	uint8_t ours[HELLO_SIZE];
	int result;
};

/* The one that was drawn ahead, unless a purge of the masters took it along. */
static void bring_pair(struct served *served, struct channel_pair *pair)
{
	bool drawn = served->drawn;

	served->drawn = false;
	if (!drawn || channel_take_pair(&served->channel, pair, &served->daemon->coffer) < 0)
		channel_draw(pair);
}

static int agree(struct greeting *greeting, struct channel_pair *pair, struct channel_keys *keys)
{
	struct served *served = greeting->served;
	struct daemon *daemon = served->daemon;
	int r;

	bring_pair(served, pair);
	hello_write(greeting->ours, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CHACHA20_POLY1305,
		pair->open);
	r = channel_agree(keys, pair, true, greeting->hello->bytes,
		span_of(greeting->ours, sizeof(greeting->ours)));
	if (r < 0)
		return r;
	return channel_rest(&served->channel, daemon->next_channel++, keys, &daemon->coffer);
}

/*
 * The end of a visit: nothing stays on the bench. Where a canary was found broken, whatever was
 * made of what lay there is not to be trusted: the session ends, and the others go on.
 */
static int clear(struct workbench *bench, int result)
{
	workbench_wipe(bench);
	return workbench_mend(bench) ? -EFAULT : result;
}

static void greet(void *argument)
{
	struct greeting *greeting = argument;
	struct workbench *bench = &greeting->served->daemon->bench;
	struct channel_pair *pair = workbench_take(bench, sizeof(*pair));
	struct channel_keys *keys = workbench_take(bench, sizeof(*keys));

	greeting->result = pair && keys ? agree(greeting, pair, keys) : -ENOBUFS;
	greeting->result = clear(bench, greeting->result);
}

static void draw(void *argument)
{
	struct greeting *greeting = argument;
	struct served *served = greeting->served;
	struct daemon *daemon = served->daemon;
	struct channel_pair *pair = workbench_take(&daemon->bench, sizeof(*pair));

	greeting->result = -ENOBUFS;
	if (pair) {
		channel_draw(pair);
		greeting->result = channel_rest_pair(
			&served->channel, daemon->next_channel++, pair, &daemon->coffer);
	}
	greeting->result = clear(&daemon->bench, greeting->result);
	served->drawn = greeting->result == 0;
}

/* One visit of a connection. */
struct visit {
	struct served *served;
	struct span input;
	uint64_t until_ns; /* of daemon_now_ns */
	uint64_t now_ns;   /* when the last request was over */
	enum serve_end end;
	int result;
};

/* After each request; if the masters were joined long ago, their view ends here. */
static void look_at_clock(struct visit *visit)
{
	visit->now_ns = daemon_now_ns();
	daemon_forget_in_time(visit->served->daemon, visit->now_ns);
}

static bool has_time(const struct visit *visit)
{
	return visit->now_ns < visit->until_ns;
}

/*
 * The chunks of a value are served one by one while others wait for their turns: they might as well
 * have come in frames of their own. In how many parts a request can be served.
 */
static unsigned parts_of(const struct request *request)
{
	bool goes_on = request->verb == VERB_NONE || verb_goes_on(request->verb);

	return goes_on && !request->fault && request->chunked && request->chunks.count > 1
		? request->chunks.count
		: 1;
}

/* Makes it those of its parts: of `chunks` and `bytes`, which were its own. */
static void cut(struct request *request, const struct chunks *chunks, struct span bytes,
	unsigned from, unsigned to)
{
	size_t begin = from * ENCLAVE_CHUNK_SIZE;
	bool last = to == chunks->count;

	if (from > 0)
		request->verb = VERB_NONE;
	request->chunks = (struct chunks){ .first = chunks->first + from,
		.count = to - from,
		.last = last ? chunks->last : ENCLAVE_CHUNK_SIZE,
		.final = last && chunks->final,
		.abort = last && chunks->abort };
	request->ends = !last && (chunks->final || chunks->abort);
	request->bytes = span_of(
		bytes.data + begin, last ? bytes.size - begin : (to - from) * ENCLAVE_CHUNK_SIZE);
}

static int serve_part(struct visit *visit, const struct request *request, struct outgoing *outgoing)
{
	struct served *served = visit->served;
	struct workbench *bench = &served->daemon->bench;
	size_t mark = workbench_mark(bench);
	int r = request_serve(
		served->daemon, &served->peer, &served->transfers, request, &outgoing->answers);

	workbench_release(bench, mark);
	return r;
}

/*
 * The parts of a request from the one on that is `number` of its frame's, or those of them that
 * were not served in an earlier turn. Returns 0; 1 when time was up before all of them, or before
 * `more`; or a negative errno.
 */
static int serve_parts(struct visit *visit, struct request *request, unsigned number, bool more,
	struct outgoing *outgoing)
{
	const struct chunks chunks = request->chunks;
	const struct span bytes = request->bytes;
	bool begins = request->verb != VERB_NONE;
	struct served *served = visit->served;
	unsigned parts = parts_of(request);
	unsigned end = number + parts;
	int r = 0;

	while (served->begun < end) {
		unsigned from = served->begun - number;
		unsigned to = served->daemon->users.count > 1 ? from + 1 : parts;

		if (parts > 1)
			cut(request, &chunks, bytes, from, to);
		/* Of a set that was refused at its beginning nothing is left. */
		if (from == 0 || !begins || upload_find(&served->transfers, request->id))
			r = serve_part(visit, request, outgoing);
		if (r < 0)
			return r;
		look_at_clock(visit);
		served->begun = number + to;
		if (!has_time(visit) && (to < parts || more))
			return 1;
	}
	return 0;
}

/*
 * Of a frame whose first requests were served in an earlier turn, the others. Returns 0; 1 when
 * time was up before all of them; or a negative errno.
 */
static int serve_messages(struct visit *visit, struct messages *messages, struct outgoing *outgoing)
{
	struct served *served = visit->served;
	struct workbench *bench = &served->daemon->bench;
	size_t mark = workbench_mark(bench);
	struct request request;
	unsigned number = 0;
	int r;

	while ((r = message_next_request(&request, messages, bench)) > 0) {
		unsigned parts = parts_of(&request);

		r = serve_parts(visit, &request, number, messages->plain.size > 0, outgoing);
		number += parts;
		workbench_release(bench, mark);
		if (r != 0)
			return r;
	}
	served->begun = 0;
	return r;
}

static int serve_frame(struct visit *visit, const struct frame *frame,
	const struct channel_keys *keys, struct outgoing *outgoing)
{
	struct served *served = visit->served;
	struct workbench *bench = &served->daemon->bench;
	size_t mark = workbench_mark(bench);
	uint8_t *plain = workbench_take(bench, FRAME_PLAIN_MAX);
	struct messages messages = { .chunks = frame->chunks };
	int r = plain ? channel_open(&served->channel, keys, frame, plain) : -ENOBUFS;

	if (r > 0) {
		messages.plain = span_of(plain, (size_t)r);
		r = serve_messages(visit, &messages, outgoing);
	}
	/* It is opened once more, as it is. */
	if (r > 0)
		served->channel.received--;
	workbench_release(bench, mark);
	return r;
}

static int serve_input(
	struct visit *visit, const struct channel_keys *keys, struct outgoing *outgoing)
{
	struct span rest = visit->input;
	struct frame frame;
	int r;

	while ((r = frame_next(&frame, &rest)) > 0) {
		r = serve_frame(visit, &frame, keys, outgoing);
		if (r > 0) {
			visit->end = SERVE_OVERTIME;
			return 0;
		}
		visit->input = rest;
		if (!outbox_has_room(visit->served->outbox))
			visit->end = SERVE_FULL;
		else if (visit->now_ns >= visit->until_ns)
			visit->end = SERVE_OVERTIME;
		if (r < 0 || visit->end != SERVE_DONE)
			break;
	}
	return r;
}

/*
 * What does not hang on new input: what waits, sets that do not go on, chunks that leave; and where
 * each lies among what a session has under way.
 */
struct kind {
	size_t list;
	int (*go_on)(struct transfers *, struct daemon *, struct answers *);
};

static const struct kind kinds[] = {
	{ offsetof(struct transfers, unlocks), unlocks_go_on },
	{ offsetof(struct transfers, waiters), waiters_look },
	{ offsetof(struct transfers, petitions), petitions_look },
	{ offsetof(struct transfers, showings), showings_look },
	{ offsetof(struct transfers, uploads), uploads_look },
	{ offsetof(struct transfers, sweeps), sweeps_go_on },
	{ offsetof(struct transfers, walks), walks_go_on },
	{ offsetof(struct transfers, restore), restore_go_on },
	{ offsetof(struct transfers, trials), trials_go_on },
	{ offsetof(struct transfers, flows), flows_go_on },
	{ offsetof(struct transfers, watches), watches_go_on },
	{ offsetof(struct transfers, downloads), downloads_go_on },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static bool is_there(const struct transfers *transfers, const struct kind *kind)
{
	void *list;

	memcpy(&list, (const char *)transfers + kind->list, sizeof(list));
	return list != NULL;
}

/*
 * A step of each kind that is there. Where time is up, of one at least, and those behind it are
 * owed theirs, before the others have another one.
 */
static int step_on(struct visit *visit, struct outgoing *outgoing)
{
	struct served *served = visit->served;
	unsigned i = served->next;
	bool begun = false;
	int r = 0;

	for (; i < KINDS && r == 0; i++) {
		if (!is_there(&served->transfers, &kinds[i]))
			continue;
		served->owed = begun && !has_time(visit);
		if (served->owed)
			break;
		begun = true;
		r = kinds[i].go_on(&served->transfers, served->daemon, &outgoing->answers);
		look_at_clock(visit);
	}
	served->next = i % KINDS;
	return r;
}

static bool is_under_way(const struct transfers *transfers)
{
	return transfers->count > 0 || transfers->restore;
}

static int go_on(struct visit *visit, struct outgoing *outgoing)
{
	struct served *served = visit->served;
	struct transfers *transfers = &served->transfers;
	int r = 0;

	served->owed = false;
	if (transfers->count > 0 && vault_is_locked(served->daemon->vault))
		r = transfers_refuse(transfers, served->daemon, &outgoing->answers);
	if (r == 0 && is_under_way(transfers))
		r = step_on(visit, outgoing);
	return r;
}

/* What did not get its time in the last turn goes first. */
static int take_turn(
	struct visit *visit, const struct channel_keys *keys, struct outgoing *outgoing)
{
	struct served *served = visit->served;
	int r = 0;

	served->again = false;
	if (served->owed) {
		r = go_on(visit, outgoing);
		if (r < 0 || !has_time(visit)) {
			visit->end = SERVE_OVERTIME;
			served->again = is_under_way(&served->transfers);
			return r;
		}
	}
	r = serve_input(visit, keys, outgoing);
	if (r < 0)
		return r;
	if (has_time(visit))
		return go_on(visit, outgoing);
	served->owed = is_under_way(&served->transfers);
	return 0;
}

static void receive(void *argument)
{
	struct visit *visit = argument;
	struct served *served = visit->served;
	struct workbench *bench = &served->daemon->bench;
	struct channel_keys *keys = workbench_take(bench, sizeof(*keys));
	struct outgoing outgoing;
	int r;

	look_at_clock(visit);
	served->daemon->turn_ns = visit->until_ns;
	r = keys ? channel_take(&served->channel, keys, &served->daemon->coffer) : -ENOBUFS;

	if (r == 0)
		r = outgoing_begin(&outgoing, served->outbox, &served->channel, keys, bench);
	if (r == 0)
		r = take_turn(visit, keys, &outgoing);
	if (r == 0)
		r = outgoing_flush(&outgoing);
	visit->result = clear(bench, r);
}

/* -- the door ------------------------------------------------------------------------------ */

int serve_draw(struct served *served)
{
	struct greeting greeting = { .served = served };

	locked_stack_call(&served->daemon->stack, draw, &greeting);
	return greeting.result;
}

int serve_hello(struct served *served, const struct hello *hello)
{
	struct greeting greeting = { .served = served, .hello = hello };
	struct outbox *outbox = served->outbox;

	locked_stack_call(&served->daemon->stack, greet, &greeting);
	if (greeting.result < 0)
		return greeting.result;
	memcpy(outbox->bytes + outbox->used, greeting.ours, sizeof(greeting.ours));
	outbox->used += sizeof(greeting.ours);
	return 0;
}

int serve_frames(struct served *served, struct span *input, uint64_t until_ns, enum serve_end *endp)
{
	struct visit visit = { .served = served, .input = *input, .until_ns = until_ns };
	size_t begin = served->outbox->used;

	locked_stack_call(&served->daemon->stack, receive, &visit);
	if (visit.result < 0)
		served->outbox->used = begin;
	*input = visit.input;
	*endp = visit.end;
	return visit.result;
}

const char *serve_words(int error)
{
	switch (error) {
	case -EPROTO:
		return "it does not speak the protocol";
	case -EBADMSG:
		return "a frame was forged, changed, replayed or out of order";
	case -ENOBUFS:
		return "a message is too large to take apart";
	case -ENOSPC:
		return "an answer does not fit";
	case -ENOMEM:
		return "out of memory";
	case -EFAULT:
		return "a canary on the workbench was overwritten; all that lay there is wiped";
	default:
		return "it cannot go on";
	}
}
