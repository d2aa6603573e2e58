/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/call.h"

#include <inttypes.h>
#include <sodium.h>
#include <time.h>

#include "client/lib/error.h"
#include "client/lib/exchange.h"
#include "client/lib/handshake.h"
#include "client/lib/token.h"
#include "common/status.h"
#include "common/wire/name.h"

/* Milliseconds that a daemon which closed in the midst of a call may take to come back. */
#define RETURN_MS 1000
#define RETURN_PAUSE_MS 20

/* Milliseconds after which one that greets no more of this user's may have time for another. */
#define LIMIT_PAUSE_MS 100

/* -- the connection ------------------------------------------------------------------------ */

/* A daemon says nothing unasked: whatever has come while the handle was idle is the end. */
static int ensure_connected(struct mg_client *client, const struct call *call)
{
	struct connection *connection = &client->connection;
	int r;

	if (connection->fd >= 0 && connection_has_news(connection))
		connection_close(connection);
	if (connection->fd >= 0)
		return MG_OK;
	client->last_id = 0;
	r = handshake(client, call->deadline_ms);
	return r == MG_OK && client->shows_token && !call->bare ? token_show_again(client, call)
								: r;
}

static bool broke(int error)
{
	return error == -ECONNRESET || error == -EPIPE;
}

static void pause_ms(unsigned ms)
{
	struct timespec pause = { .tv_nsec = ms * 1000000L };

	nanosleep(&pause, NULL);
}

/*
 * Milliseconds after which another attempt to connect may come to something; 0: none does. All of a
 * user's who come back at the same time are more than the daemon greets in an instant.
 */
static unsigned pause_after(int r, const struct call *call)
{
	if (r == MG_LIMIT)
		return call->patient ? LIMIT_PAUSE_MS : 0;
	return r == MG_UNREACHABLE || (call->patient && broke(r)) ? RETURN_PAUSE_MS : 0;
}

/* A daemon that restarts is away for an instant. */
static int reconnect(struct mg_client *client, const struct call *call)
{
	uint64_t give_up_ms = call->patient ? call->deadline_ms : connection_now_ms() + RETURN_MS;
	int r = ensure_connected(client, call);

	while (pause_after(r, call) > 0 && connection_now_ms() < give_up_ms &&
		connection_now_ms() < call->deadline_ms) {
		pause_ms(pause_after(r, call));
		r = ensure_connected(client, call);
	}
	return r;
}

/* Whether the connection that broke is to be made once more. */
static bool may_go_on(const struct call *call)
{
	if (call->progressed)
		return true;
	if (!call->patient || connection_now_ms() >= call->deadline_ms)
		return false;
	pause_ms(RETURN_PAUSE_MS);
	return true;
}

/* Once more; and again when something was done meanwhile, or there is still time to come back. */
static int go_on(struct mg_client *client, struct call *call, int r)
{
	bool again = true;

	while (broke(r) && call->repeatable && again) {
		connection_close(&client->connection);
		handle_clear(client);
		call->progressed = false;
		r = reconnect(client, call);
		if (r == MG_OK)
			r = call->attempt(client, call);
		again = !broke(r) || may_go_on(call);
	}
	/* Somebody is there, who does not answer. */
	if (r == -ETIMEDOUT && call->patient)
		return error_say(MG_UNREACHABLE, "the daemon did not come back in time");
	return r;
}

/* Once more when the connection broke. */
static int try_twice(struct mg_client *client, struct call *call)
{
	int r = ensure_connected(client, call);

	if (r == MG_OK)
		r = call->attempt(client, call);
	return broke(r) ? go_on(client, call, r) : r;
}

int call_run(struct mg_client *client, struct call *call)
{
	int r;

	if (!client)
		return error_say(MG_INVALID, "no handle");
	call_progress(client, call);
	r = handle_enter(client, call->deadline_ms);
	if (r != MG_OK)
		return r;
	r = try_twice(client, call);
	/* What is half said, and an answer that may still come, would be taken for the next one's.
	 */
	if (r < 0 || client->messages.plain.size > 0)
		connection_close(&client->connection);
	if (r < 0)
		r = error_errno(r, client->endpoint.path);
	handle_leave(client);
	return r;
}

void call_progress(struct mg_client *client, struct call *call)
{
	call->progressed = true;
	call->deadline_ms = connection_now_ms() + client->timeout_ms + (uint64_t)call->wait_ms;
	if (call->until_ms > 0 && call->until_ms < call->deadline_ms)
		call->deadline_ms = call->until_ms;
}

void call_excuse(struct call *call, uint64_t since_ms)
{
	call->deadline_ms += connection_now_ms() - since_ms;
}

/* -- what attempts share ------------------------------------------------------------------- */

int call_send(struct mg_client *client, const struct call *call, struct request *request,
	struct span chunks)
{
	request->id = ++client->last_id;
	request->reason = span_of(client->reason, client->reason_size);
	return exchange_send(client, request, chunks, call->deadline_ms);
}

int call_ask(struct mg_client *client, const struct call *call, struct request *request,
	struct reply *reply)
{
	int r = call_send(client, call, request, span_of(NULL, 0));

	return r < 0 ? r : exchange_receive(client, reply, call->deadline_ms);
}

/* A condition did not hold: the version tells what to say the next time. */
static int say_conflict(const struct reply *reply)
{
	int size = (int)reply->detail.size;
	const char *words = (const char *)reply->detail.data;

	if (reply->version == 0)
		return error_say(MG_CONFLICT, "%.*s: there is none", size, words);
	return error_say(MG_CONFLICT, "%.*s: version %" PRIu64, size, words, reply->version);
}

int call_judge(const struct reply *reply)
{
	if (reply->code == STATUS_OK)
		return MG_OK;
	if (mg_status_name(reply->code) == mg_status_name(MG_INTERNAL))
		return error_quote(MG_INTERNAL, reply->detail);
	if (reply->code == STATUS_CONFLICT && reply->body == BODY_STORED)
		return say_conflict(reply);
	return error_quote(reply->code, reply->detail);
}

int call_check_name(const char *name)
{
	const char *fault = name ? name_fault(span_text(name)) : "is missing";

	return fault ? error_say(MG_INVALID, "the name %s", fault) : MG_OK;
}

int call_take_tags(struct tags *tags, struct tag store[static MESSAGE_TAGS_MAX],
	const struct mg_tag *from, size_t count)
{
	if (count > MESSAGE_TAGS_MAX)
		return error_say(MG_INVALID, "a secret has at most %d tags", MESSAGE_TAGS_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *fault = "a tag has a key and a value";

		if (from[i].key && from[i].value) {
			store[i] = (struct tag){ .key = span_text(from[i].key),
				.value = span_text(from[i].value) };
			fault = tag_fault(&store[i]);
		}
		if (fault)
			return error_say(MG_INVALID, "%s", fault);
	}
	*tags = (struct tags){ .tag = store, .count = count };
	return MG_OK;
}

struct conditions call_conditions(const struct mg_set_options *options)
{
	if (!options)
		return (struct conditions){ 0 };
	return (struct conditions){ .create_only = options->create_only,
		.compare = options->compare,
		.version = options->version };
}

static int take_lifetime(struct request *request, const struct mg_set_options *options)
{
	const struct mg_lifetime *from = options ? &options->lifetime : NULL;

	if (!from)
		return MG_OK;
	if (from->ttl_ms > MESSAGE_SPAN_MAX || from->idle_ms > MESSAGE_SPAN_MAX)
		return error_say(MG_INVALID, "a time to live is at most a hundred years");
	if (from->bind_pid < 0)
		return error_say(MG_INVALID, "no process has that number");
	request->lifetime = (struct lifetime){ .ttl_ms = from->ttl_ms,
		.idle_ms = from->idle_ms,
		.reads = from->max_reads,
		.pid = (uint32_t)from->bind_pid,
		.session = from->session };
	request->freeze = options->freeze;
	return MG_OK;
}

/* What a rotation keeps of the version before cannot be given anew. NULL: it can be made. */
static const char *rotation_fault(
	const struct request *request, const struct mg_set_options *options)
{
	if (request->tags.count > 0)
		return "what is rotated keeps its tags: none go with rotate";
	if (lifetime_is_limited(&request->lifetime))
		return "what is rotated keeps its lifetime: none goes with rotate";
	if (options->freeze)
		return "what is rotated is not frozen: freeze does not go with rotate";
	if (options->create_only)
		return "what is rotated exists: create_only does not go with rotate";
	if (options->grace_ms > MESSAGE_SPAN_MAX)
		return "a grace is at most a hundred years";
	return NULL;
}

static int take_rotation(struct request *request, const struct mg_set_options *options)
{
	const char *fault = NULL;

	if (!options)
		return MG_OK;
	if (options->rotate)
		fault = rotation_fault(request, options);
	else if (options->grace_ms > 0)
		fault = "a grace is that of a rotation: grace_ms needs rotate";
	if (fault)
		return error_say(MG_INVALID, "%s", fault);
	request->rotation = (struct rotation){ options->rotate, options->grace_ms };
	return MG_OK;
}

int call_prepare_change(struct request *request, struct tag store[static MESSAGE_TAGS_MAX],
	enum verb verb, const char *name, const struct mg_set_options *options)
{
	int r = call_check_name(name);

	*request = (struct request){ .verb = verb, .numbered = true };
	if (r == MG_OK && options)
		r = call_take_tags(&request->tags, store, options->tags, options->tag_count);
	if (r != MG_OK)
		return r;
	request->name = span_text(name);
	request->conditions = call_conditions(options);
	r = take_lifetime(request, options);
	if (r == MG_OK)
		r = take_rotation(request, options);
	if (r != MG_OK)
		return r;
	randombytes_buf(request->number, sizeof(request->number));
	return MG_OK;
}
