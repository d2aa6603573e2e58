/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/flow.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/request/flow_inside.h"
#include "daemon/request/quota.h"

/* -- its life ------------------------------------------------------------------------------ */

struct span flow_name(const struct flow *flow)
{
	return span_of(flow->name, flow->name_size);
}

struct flow *flow_find(const struct transfers *transfers, struct span name, bool writes)
{
	struct flow *flow = transfers->flows;

	while (flow && (flow->writes != writes || !span_equal(flow_name(flow), name)))
		flow = flow->next;
	return flow;
}

/* NULL without memory, or when too much is under way. */
struct flow *flow_new(struct transfers *transfers, const struct flow_request *asked, bool writes)
{
	struct flow *flow;

	if (transfers_full(transfers))
		return NULL;
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return NULL;
	flow->writes = writes;
	flow->uid = asked->uid;
	flow->limited = quota_holds(transfers);
	flow->name_size = asked->name.size;
	memcpy(flow->name, asked->name.data, asked->name.size);
	flow->next = transfers->flows;
	transfers->flows = flow;
	transfers_begin(transfers);
	return flow;
}

void flow_forget(struct transfers *transfers, struct flow *flow, struct ask *ask)
{
	struct ask **at = &flow->asks;

	while (*at != ask)
		at = &(*at)->next;
	*at = ask->next;
	transfers_end(transfers);
	free(ask);
	if (flow->asks)
		return;
	flow->due = false;
	wait_queue_leave(&flow->wait);
}

/* Lets go of the stream, if it has hold of one. */
void flow_let_go(struct flow *flow, bool for_good)
{
	if (!flow->stream)
		return;
	if (flow->writes)
		stream_leave(flow->stream, flow, for_good);
	else
		stream_depart(flow->stream, flow);
	stream_unpin(flow->stream);
	flow->stream = NULL;
	flow->sent = (struct stream_place){ 0 };
	flow->held = false;
}

void flow_end(struct transfers *transfers, struct flow *flow, bool for_good)
{
	struct flow **at = &transfers->flows;

	while (flow->asks)
		flow_forget(transfers, flow, flow->asks);
	flow_let_go(flow, for_good);
	while (*at != flow)
		at = &(*at)->next;
	*at = flow->next;
	transfers_end(transfers);
	free(flow);
}

/* Ends a flow that holds nothing and has nothing to answer. */
void flow_end_if_idle(struct transfers *transfers, struct flow *flow)
{
	bool holds =
		flow->writes ? flow->stream && stream_is_writer(flow->stream, flow) : flow->held;

	if (!flow->asks && !holds)
		flow_end(transfers, flow, false);
}

/* Puts a request behind those that wait already. Returns 0 or STATUS_LIMIT. */
int flow_park(struct transfers *transfers, struct daemon *daemon, struct flow *flow,
	const struct ask *like)
{
	struct ask **at = &flow->asks;
	struct ask *ask;

	if (transfers_full(transfers))
		return STATUS_LIMIT;
	ask = malloc(sizeof(*ask) + like->bytes.size);
	if (!ask)
		return STATUS_LIMIT;
	*ask = *like;
	if (like->bytes.size > 0)
		memcpy(ask->copy, like->bytes.data, like->bytes.size);
	ask->bytes = span_of(ask->copy, like->bytes.size);
	ask->next = NULL;
	if (!flow->asks)
		wait_queue_enter(&daemon->waits, &flow->wait, &transfers->party, flow_name(flow));
	while (*at)
		at = &(*at)->next;
	*at = ask;
	transfers_begin(transfers);
	return 0;
}

/* -- those that wait ----------------------------------------------------------------------- */

static struct ask *ask_find(const struct transfers *transfers, uint64_t id, struct flow **flowp)
{
	for (struct flow *flow = transfers->flows; flow; flow = flow->next)
		for (struct ask *ask = flow->asks; ask; ask = ask->next)
			if (ask->id == id) {
				*flowp = flow;
				return ask;
			}
	return NULL;
}

bool flows_have(const struct transfers *transfers, uint64_t id)
{
	struct flow *flow;

	return ask_find(transfers, id, &flow) != NULL;
}

uint64_t flows_first(const struct transfers *transfers)
{
	const struct flow *flow = transfers->flows;

	while (flow && !flow->asks)
		flow = flow->next;
	return flow ? flow->asks->id : 0;
}

void flows_forget(struct transfers *transfers, uint64_t id)
{
	struct flow *flow = NULL;
	struct ask *ask = ask_find(transfers, id, &flow);

	if (!ask)
		return;
	flow_forget(transfers, flow, ask);
	flow_end_if_idle(transfers, flow);
}

void flows_finish(struct transfers *transfers)
{
	while (transfers->flows)
		flow_end(transfers, transfers->flows, false);
}

/* Answers the oldest request of a flow if it can. Returns 0, WAIT, or a negative errno. */
static int answer_oldest(struct transfers *transfers, struct daemon *daemon, struct flow *flow,
	struct answers *answers)
{
	struct ask *ask = flow->asks;
	uint64_t id = ask->id;
	int r = STATUS_DENIED;

	if (transfers_may_still(
		    transfers, daemon, flow->writes ? RIGHT_WRITE : RIGHT_READ, flow_name(flow)))
		r = flow->writes ? flow_try_write(flow, daemon, ask)
				 : flow_try_read(flow, daemon, id, answers);
	if (r < 0)
		return r;
	flow_forget(transfers, flow, ask);
	return flow->writes ? flow_conclude_write(transfers, daemon, flow, id, r, answers)
			    : flow_conclude_read(transfers, flow, id, r, answers);
}

/* Each request has a time limit of its own, whichever it stands behind. */
static int answer_late(struct transfers *transfers, struct flow *flow, struct answers *answers)
{
	uint64_t now_ms = daemon_now_ms();
	struct ask *next;
	int r = 0;

	/* With the last one the flow may go. */
	for (struct ask *ask = flow->asks; ask && r == 0; ask = next) {
		uint64_t id = ask->id;

		next = ask->next;
		if (ask->deadline_ms == 0 || now_ms < ask->deadline_ms)
			continue;
		flow_forget(transfers, flow, ask);
		r = flow_conclude_read(transfers, flow, id, STATUS_TIMEOUT, answers);
	}
	return r;
}

/* Whether the flow is still one of the session's. */
static bool is_there(const struct transfers *transfers, const struct flow *flow)
{
	const struct flow *at = transfers->flows;

	while (at && at != flow)
		at = at->next;
	return at != NULL;
}

/*
 * Answers the requests of a flow as far as it goes in this turn; one of all at least. Returns 0,
 * WAIT, or a negative errno.
 */
static int answer_flow(struct transfers *transfers, struct daemon *daemon, struct flow *flow,
	unsigned *answeredp, struct answers *answers)
{
	int r = 0;

	while (r == 0 && is_there(transfers, flow) && flow->asks) {
		daemon_forget_in_time(daemon, daemon_now_ns());
		flow->due = *answeredp > 0 && !daemon_has_time(daemon);
		r = flow->due ? WAIT : answer_oldest(transfers, daemon, flow, answers);
		*answeredp += r == 0;
	}
	return r;
}

int flows_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	unsigned answered = 0;
	struct flow *next;

	for (struct flow *flow = transfers->flows; flow; flow = next) {
		int r;

		next = flow->next;
		r = answer_flow(transfers, daemon, flow, &answered, answers);
		if (r == WAIT && !flow->writes && !flow->due)
			r = answer_late(transfers, flow, answers);
		if (r < 0 && r != WAIT)
			return r;
	}
	return 0;
}

bool flows_due(const struct transfers *transfers)
{
	const struct flow *flow = transfers->flows;

	while (flow && !flow->due)
		flow = flow->next;
	return flow != NULL;
}

uint64_t flows_deadline(const struct transfers *transfers)
{
	uint64_t earliest = 0;

	for (const struct flow *flow = transfers->flows; flow; flow = flow->next) {
		uint64_t resume_ms = !flow->writes && flow->asks && flow->stream
			? stream_resume_ms(flow->stream)
			: 0;

		if (resume_ms != 0 && (earliest == 0 || resume_ms < earliest))
			earliest = resume_ms;
		for (const struct ask *ask = flow->asks; ask; ask = ask->next)
			if (ask->deadline_ms != 0 && (earliest == 0 || ask->deadline_ms < earliest))
				earliest = ask->deadline_ms;
	}
	return earliest;
}
