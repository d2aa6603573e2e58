/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/mgclient.h"

/* Milliseconds between two looks at the daemon. */
#define LOOK_MS 20

#define FAULT_MAX 512

/* A look at the daemon: what it said last of its upgrades. */
struct look {
	struct call call; /* first: what attempts are given */
	enum verb verb;
	uint32_t keeper;
	uint64_t failed;
	bool under_way;
	char fault[FAULT_MAX];
};

static void take(struct look *look, const struct state *state)
{
	size_t size = state->upgrade_fault.size;

	if (size >= sizeof(look->fault))
		size = sizeof(look->fault) - 1;
	if (size > 0)
		memcpy(look->fault, state->upgrade_fault.data, size);
	look->fault[size] = '\0';
	look->keeper = state->keeper;
	look->failed = state->failed_upgrades;
	look->under_way = state->upgrading;
}

static int attempt_look(struct mg_client *client, struct call *call)
{
	struct look *look = (struct look *)(void *)call;
	struct request request = { .verb = look->verb };
	struct reply reply;
	int r = call_ask(client, call, &request, &reply);

	if (r < 0)
		return r;
	if (reply.code == 0 && reply.body != BODY_STATE)
		return -EPROTO;
	r = call_judge(&reply);
	if (r == MG_OK)
		take(look, &reply.state);
	return r;
}

/* A call of its own, so that others may have the handle between two of them. */
static int look_at(struct mg_client *client, struct look *look, enum verb verb)
{
	look->verb = verb;
	/* Where an upgrade's answer is lost, the next look tells whether it was heard. */
	look->call.repeatable = verb == VERB_STATUS;
	return call_run(client, &look->call);
}

/* Whether the next look may tell more: a daemon is away while another takes over. */
static bool is_open(const struct look *look, uint32_t keeper, int r)
{
	return r == MG_UNREACHABLE || (r == MG_OK && look->under_way && look->keeper == keeper);
}

/* Looks until the upgrade of this keeper is over, one way or the other. */
static int watch(struct mg_client *client, struct look *look, uint32_t keeper)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	int r;

	do {
		nanosleep(&pause, NULL);
		r = look_at(client, look, VERB_STATUS);
	} while (is_open(look, keeper, r) && connection_now_ms() < look->call.until_ms);
	if (r == MG_OK && is_open(look, keeper, r))
		return error_errno(-ETIMEDOUT, client->endpoint.path);
	return r;
}

/* What was there before the upgrade. One that began earlier may have taken an older program. */
static int look_before(struct mg_client *client, struct look *look)
{
	int r = look_at(client, look, VERB_STATUS);

	return r == MG_OK && look->under_way ? watch(client, look, look->keeper) : r;
}

/* Asks, and waits for what comes of it. Returns a status, or -EAGAIN when nothing did. */
static int upgrade(struct mg_client *client, struct look *look)
{
	int r = look_at(client, look, VERB_UPGRADE);
	uint32_t keeper = look->keeper;
	uint64_t failed = look->failed;

	/* A connection that breaks may be the upgrade itself. */
	if (r == MG_OK || r == MG_UNREACHABLE)
		r = watch(client, look, keeper);
	if (r != MG_OK)
		return r;
	if (look->keeper != 0 && look->keeper != keeper)
		return MG_OK;
	if (look->failed > failed) {
		(void)error_quote(MG_NO, span_text(look->fault));
		return error_about(MG_NO, span_text("the daemon goes on as before"));
	}
	return -EAGAIN;
}

int mg_upgrade(struct mg_client *client)
{
	struct look look = { .call = { .attempt = attempt_look } };
	int r;

	if (!client)
		return error_say(MG_INVALID, "no handle");
	look.call.until_ms = connection_now_ms() + client->timeout_ms;
	r = look_before(client, &look);
	if (r == MG_OK)
		r = upgrade(client, &look);
	/* The process that was asked may have died before it told anybody: once more, no more. */
	if (r == -EAGAIN)
		r = upgrade(client, &look);
	return r == -EAGAIN ? error_say(MG_NO, "nothing came of it, nobody says why") : r;
}
