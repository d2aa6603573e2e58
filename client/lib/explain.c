/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/mgclient.h"

_Static_assert(MG_AS_MAX == MESSAGE_AS_MAX, "as many as a request can bring");

struct explaining {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct span as[MESSAGE_AS_MAX];
	struct mg_verdict *verdict;
};

/* The end of a path tells more than its beginning; a rule that was cut would be another one. */
static int take_text(char *out, size_t room, struct span from, bool tail)
{
	size_t skipped = from.size >= room && tail ? from.size - (room - 1) : 0;

	if (from.size >= room && !tail)
		return -EPROTO;
	if (from.size > 0)
		memcpy(out, from.data + skipped, from.size - skipped);
	out[from.size - skipped] = '\0';
	return 0;
}

static int take(struct mg_verdict *verdict, const struct verdict *from)
{
	*verdict = (struct mg_verdict){
		.allowed = from->allowed,
		.cause = (enum mg_cause)from->cause,
		.line = from->line,
		.token_fault = (enum mg_token_fault)from->token_fault,
	};
	if (take_text(verdict->file, sizeof(verdict->file), from->file, true) < 0 ||
		take_text(verdict->section, sizeof(verdict->section), from->section, false) < 0 ||
		take_text(verdict->rule, sizeof(verdict->rule), from->rule, false) < 0)
		return -EPROTO;
	return MG_OK;
}

static int attempt_explain(struct mg_client *client, struct call *call)
{
	struct explaining *explaining = (struct explaining *)(void *)call;
	struct reply reply;
	int r = call_ask(client, call, &explaining->request, &reply);

	if (r < 0)
		return r;
	if (reply.code == 0 && reply.body != BODY_VERDICT)
		return -EPROTO;
	r = call_judge(&reply);
	return r == MG_OK ? take(explaining->verdict, &reply.verdict) : r;
}

int mg_explain(struct mg_client *client, const char *operation, const char *name,
	const char *const *as, size_t as_count, struct mg_verdict *verdict)
{
	struct explaining explaining = { .call = { .attempt = attempt_explain, .repeatable = true },
		.verdict = verdict };
	int r = call_check_name(name);

	if (r != MG_OK)
		return r;
	if (as_count > MG_AS_MAX)
		return error_say(MG_INVALID, "at most %d selectors say for whom", MG_AS_MAX);
	for (size_t i = 0; i < as_count; i++)
		explaining.as[i] = span_text(as[i]);
	explaining.request = (struct request){ .verb = VERB_EXPLAIN,
		.operation = span_text(operation),
		.name = span_text(name),
		.as = explaining.as,
		.as_count = as_count };
	return call_run(client, &explaining.call);
}
