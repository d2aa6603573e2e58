/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "client/lib/mgclient.h"
#include "common/wire/name.h"

/* A watch, over as many connections as it takes. */
struct watching {
	struct call call; /* first: what attempts are given */
	struct request request;
	unsigned wait_ms;
	uint64_t quiet_ms; /* since then nothing has changed; of connection_now_ms */
	bool begun;        /* the first mark has been handed over */
	mg_on_event on_event;
	void *context;
	char name[NAME_FILED_MAX + 1];
};

/* Words and status when the host gives up, as of a fetch. */
static int give_up(int r)
{
	return error_say(r < 0 ? MG_INTERNAL : r, "the caller gave up");
}

/* A newer daemon's changes are handed on as they are. */
static enum mg_change change_of(const struct reply *reply)
{
	if (reply->body == BODY_MARK)
		return reply->lost ? MG_CHANGE_LOST : MG_CHANGE_NONE;
	return (enum mg_change)reply->change;
}

/* The name is copied: the message is wiped before anybody else has a say. */
static int hand_over(struct mg_client *client, struct watching *watching, const struct reply *reply)
{
	struct mg_event event = { .change = change_of(reply),
		.name = watching->name,
		.version = reply->version,
		.number = reply->number };
	int r;

	/* Nothing comes twice. After a loss numbers may begin anew. */
	if (reply->name.size > NAME_FILED_MAX ||
		(reply->body == BODY_EVENT && event.number <= watching->request.since))
		return -EPROTO;
	if (reply->name.size > 0)
		memcpy(watching->name, reply->name.data, reply->name.size);
	watching->name[reply->name.size] = '\0';
	exchange_forget(client);
	/* A connection that was made anew begins where the last one ended. */
	if (event.change == MG_CHANGE_NONE && watching->begun &&
		event.number <= watching->request.since)
		return MG_OK;
	watching->begun = true;
	watching->request.since = event.number;
	r = watching->on_event(watching->context, &event);
	return r == 0 ? MG_OK : give_up(r);
}

/* Whether it is an answer to a watch: the first one is a mark. */
static bool is_answer(const struct reply *reply, bool first)
{
	if (first)
		return reply->body == BODY_MARK;
	return reply->body == BODY_MARK || reply->body == BODY_EVENT;
}

/* When it is too late for the next answer: the first one is due at once. */
static uint64_t deadline(const struct watching *watching, bool first)
{
	if (first)
		return watching->call.deadline_ms;
	return watching->wait_ms > 0 ? watching->quiet_ms + watching->wait_ms : UINT64_MAX;
}

static int take_answer(struct mg_client *client, struct watching *watching, bool first)
{
	struct reply reply;
	bool changed;
	int r = exchange_receive(client, &reply, deadline(watching, first));

	if (r == -ETIMEDOUT && !first)
		return error_say(MG_TIMEOUT, "nothing has changed in time");
	if (r < 0)
		return r;
	if (reply.code != 0)
		return call_judge(&reply);
	if (!is_answer(&reply, first))
		return -EPROTO;
	changed = change_of(&reply) != MG_CHANGE_NONE;
	r = hand_over(client, watching, &reply);
	/* That there was nothing to tell, which it is told now and then, is no change. */
	if (first || changed)
		watching->quiet_ms = connection_now_ms();
	return r;
}

/* Goes on until something ends it. Whatever that is, the daemon would tell more. */
static int attempt(struct mg_client *client, struct call *call)
{
	struct watching *watching = (struct watching *)(void *)call;
	bool first = true;
	int r = call_send(client, call, &watching->request, span_of(NULL, 0));

	while (r == MG_OK) {
		r = take_answer(client, watching, first);
		first = first && r != MG_OK;
	}
	if (r > 0)
		connection_close(&client->connection);
	/* Who was told anything may be told more, and the time limit begins with the mishap. */
	if (!first)
		call_progress(client, call);
	return r;
}

int mg_watch(struct mg_client *client, const char *prefix, const struct mg_watch_options *options,
	mg_on_event on_event, void *context)
{
	struct watching watching = {
		.call = { .attempt = attempt, .repeatable = true, .patient = true },
		.on_event = on_event,
		.context = context
	};
	const char *fault = name_prefix_fault(span_text(prefix ? prefix : ""));

	if (fault)
		return error_say(MG_INVALID, "the prefix %s", fault);
	watching.request =
		(struct request){ .verb = VERB_WATCH, .name = span_text(prefix ? prefix : "") };
	if (options) {
		watching.request.since = options->since;
		watching.wait_ms = options->wait_ms;
	}
	return call_run(client, &watching.call);
}
