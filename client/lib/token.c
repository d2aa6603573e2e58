/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/token.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/listing.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "client/lib/mgclient-token.h"
#include "common/wire/name.h"
#include "common/wire/text.h"

/* What tells a token from other texts, for people and for those who look for leaked secrets. */
#define PREFIX "mgt_"
#define PREFIX_WRAP "mgw_"
#define PREFIX_SIZE (sizeof(PREFIX) - 1)

#define DIGITS \
	(sodium_base64_ENCODED_LEN(MESSAGE_TOKEN_SIZE, sodium_base64_VARIANT_URLSAFE_NO_PADDING) - \
		1)

_Static_assert(sizeof(PREFIX) == sizeof(PREFIX_WRAP), "both are as long");
_Static_assert(PREFIX_SIZE + DIGITS == MG_TOKEN_SIZE, "as the header says");
_Static_assert(MG_GRANTS_MAX == MESSAGE_GRANTS_MAX, "as many as a request can bring");

/* -- from bytes to text and back, in guarded memory ---------------------------------------- */

struct spelling {
	struct mg_client *client;
	const char *prefix;
	uint8_t *text;
	const uint8_t *given;
	uint8_t *bytes; /* of what was given */
	bool good;
};

static void spell(void *argument)
{
	struct spelling *spelling = argument;
	struct handle_keys *keys = spelling->client->keys;

	memcpy(spelling->text, spelling->prefix, PREFIX_SIZE);
	sodium_bin2base64(keys->text, sizeof(keys->text), keys->value, MESSAGE_TOKEN_SIZE,
		sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	memcpy(spelling->text + PREFIX_SIZE, keys->text, DIGITS);
	sodium_memzero(keys->text, sizeof(keys->text));
}

static void parse(void *argument)
{
	struct spelling *spelling = argument;
	struct handle_keys *keys = spelling->client->keys;
	size_t size = 0;

	/* The text is whatever the host has: it is copied before it is looked at. */
	memcpy(keys->text, spelling->given + PREFIX_SIZE, DIGITS);
	spelling->good =
		sodium_base642bin(spelling->bytes, MESSAGE_TOKEN_SIZE, keys->text, DIGITS, NULL,
			&size, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
		size == MESSAGE_TOKEN_SIZE;
	sodium_memzero(keys->text, sizeof(keys->text));
}

/* -- issuing ------------------------------------------------------------------------------- */

struct issuing {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct grant grants[MESSAGE_GRANTS_MAX];
	struct mg_secret *secret;
	const char *prefix;
};

static int attempt_issue(struct mg_client *client, struct call *call)
{
	struct issuing *issuing = (struct issuing *)(void *)call;
	struct spelling spelling = {
		.client = client, .prefix = issuing->prefix, .text = issuing->secret->data
	};
	struct reply reply;
	int r = call_ask(client, call, &issuing->request, &reply);

	if (r < 0)
		return r;
	if (reply.code == 0 && reply.body != BODY_ISSUED)
		return -EPROTO;
	r = call_judge(&reply);
	if (r == MG_OK)
		handle_run(client, spell, &spelling);
	return r;
}

static int take_grants(struct issuing *issuing, const struct mg_token_options *options)
{
	if (!options || options->grant_count == 0)
		return error_say(MG_INVALID, "a token grants something");
	if (options->grant_count > MG_GRANTS_MAX)
		return error_say(MG_INVALID, "a token has at most %d grants", MG_GRANTS_MAX);
	for (size_t i = 0; i < options->grant_count; i++) {
		const struct mg_grant *from = &options->grants[i];

		if (!from->operations || !from->glob)
			return error_say(MG_INVALID, "a grant has operations and a glob");
		issuing->grants[i] =
			(struct grant){ span_text(from->operations), span_text(from->glob) };
	}
	issuing->request.grants = (struct grants){ issuing->grants, options->grant_count };
	return MG_OK;
}

static int take_options(
	struct issuing *issuing, const char *name, const struct mg_token_options *options)
{
	int r = call_check_name(name);

	if (r == MG_OK)
		r = take_grants(issuing, options);
	if (r != MG_OK)
		return r;
	if (options->ttl_ms > MESSAGE_SPAN_MAX)
		return error_say(MG_INVALID, "a time to live is at most a hundred years");
	issuing->request.name = span_text(name);
	issuing->request.lifetime.ttl_ms = options->ttl_ms;
	issuing->request.uses = options->uses;
	issuing->request.of_uid = options->bind_uid;
	issuing->request.uid = options->bind_uid ? options->uid : 0;
	issuing->request.unit = span_text(options->unit ? options->unit : "");
	return MG_OK;
}

/* There is a place for it before there is one. */
static int issue(struct mg_client *client, struct issuing *issuing, struct mg_secret **tokenp)
{
	int r;

	if (!client)
		return error_say(MG_INVALID, "no handle");
	r = secret_new_closed(&issuing->secret, MG_TOKEN_SIZE, client->need, own_self());
	if (r != MG_OK)
		return r;
	issuing->call.attempt = attempt_issue;
	issuing->call.repeatable = true;
	issuing->request.numbered = true;
	randombytes_buf(issuing->request.number, sizeof(issuing->request.number));
	r = call_run(client, &issuing->call);
	if (r == MG_OK)
		r = secret_close(issuing->secret);
	if (r == MG_OK)
		*tokenp = issuing->secret;
	else
		mg_secret_free(issuing->secret);
	return r;
}

int mg_issue_token(struct mg_client *client, const char *name,
	const struct mg_token_options *options, struct mg_secret **tokenp)
{
	struct issuing issuing = { .request = { .verb = VERB_ISSUE_TOKEN }, .prefix = PREFIX };
	int r = take_options(&issuing, name, options);

	*tokenp = NULL;
	return r == MG_OK ? issue(client, &issuing, tokenp) : r;
}

int mg_wrap(struct mg_client *client, const char *name, const struct mg_wrap_options *options,
	struct mg_secret **wrapp)
{
	struct issuing issuing = { .request = { .verb = VERB_WRAP }, .prefix = PREFIX_WRAP };
	int r = call_check_name(name);

	*wrapp = NULL;
	if (r != MG_OK)
		return r;
	if (options && options->ttl_ms > MESSAGE_SPAN_MAX)
		return error_say(MG_INVALID, "a time to live is at most a hundred years");
	issuing.request.name = span_text(name);
	if (options) {
		issuing.request.lifetime.ttl_ms = options->ttl_ms;
		issuing.request.uses = options->uses;
	}
	return issue(client, &issuing, wrapp);
}

/* -- listing ------------------------------------------------------------------------------- */

struct tokens {
	struct listing listing; /* first: what is handed over */
	mg_each_token each;
	void *context;
};

/* A token as C strings. */
struct shown_token {
	char name[NAME_FILED_MAX + 1];
	char unit[MESSAGE_UNIT_MAX + 1];
	struct mg_grant grants[MESSAGE_GRANTS_MAX];
	char operations[MESSAGE_GRANTS_MAX][MESSAGE_OPERATIONS_MAX + 1];
	char globs[MESSAGE_GRANTS_MAX][NAME_FILED_MAX + 1];
};

/* Spans from the wire hold no NUL: they are checked when they are read. */
static const char *copy_text(char *out, size_t room, struct span text)
{
	snprintf(out, room, "%.*s", (int)text.size, (const char *)text.data);
	return out;
}

static int hand_over(const struct token_info *token, mg_each_token each, void *context)
{
	struct shown_token shown;
	struct mg_token out = {
		.name = copy_text(shown.name, sizeof(shown.name), token->name),
		.issuer = token->issuer,
		.created_ms = token->created_ms,
		.grants = shown.grants,
		.grant_count = token->grants.count,
		.ttl_ms = token->ttl_ms,
		.uses = token->uses,
		.left = token->left,
		.bind_uid = token->of_uid,
		.uid = token->uid,
		.unit = copy_text(shown.unit, sizeof(shown.unit), token->unit),
	};
	int r;

	for (size_t i = 0; i < token->grants.count; i++) {
		const struct grant *grant = &token->grants.grant[i];

		shown.grants[i] = (struct mg_grant){
			copy_text(shown.operations[i], sizeof(shown.operations[i]),
				grant->operations),
			copy_text(shown.globs[i], sizeof(shown.globs[i]), grant->glob),
		};
	}
	r = each(context, &out);
	if (r == 0)
		return MG_OK;
	return error_say(r > 0 ? r : MG_INTERNAL, "the caller gave up");
}

static int hand_over_token(const struct listing *listing, const struct reply *entry)
{
	const struct tokens *tokens = (const struct tokens *)(const void *)listing;

	return hand_over(&entry->token, tokens->each, tokens->context);
}

int mg_list_tokens(struct mg_client *client, mg_each_token each, void *context)
{
	struct tokens tokens = {
		.listing = { .request = { .verb = VERB_LIST_TOKENS },
			.entry = BODY_TOKEN,
			.hand_over = hand_over_token },
		.each = each,
		.context = context,
	};

	return listing_run(client, &tokens.listing);
}

/* -- revoking ------------------------------------------------------------------------------ */

struct asking {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct spelling spelling; /* of a token that is shown */
};

static int attempt_asking(struct mg_client *client, struct call *call)
{
	struct asking *asking = (struct asking *)(void *)call;
	struct reply reply;
	int r = call_ask(client, call, &asking->request, &reply);

	return r < 0 ? r : call_judge(&reply);
}

int mg_revoke_token(struct mg_client *client, const char *name)
{
	struct asking asking = { .call = { .attempt = attempt_asking, .repeatable = true } };
	int r = call_check_name(name);

	if (r != MG_OK)
		return r;
	asking.request = (struct request){
		.verb = VERB_REVOKE_TOKEN, .numbered = true, .name = span_text(name)
	};
	randombytes_buf(asking.request.number, sizeof(asking.request.number));
	return call_run(client, &asking.call);
}

/* -- showing ------------------------------------------------------------------------------- */

int token_show_again(struct mg_client *client, const struct call *call)
{
	struct request request = { .verb = VERB_SHOW_TOKEN, .token = client->keys->token };
	struct reply reply;
	int r = call_ask(client, call, &request, &reply);

	if (r == 0)
		r = call_judge(&reply);
	if (r != MG_OK)
		connection_close(&client->connection);
	return r;
}

/* A final newline is no part of it. */
static bool has_form(const void *text, size_t size, const char *prefix)
{
	if (size == MG_TOKEN_SIZE + 1 && ((const char *)text)[MG_TOKEN_SIZE] == '\n')
		size--;
	return size == MG_TOKEN_SIZE && memcmp(text, prefix, PREFIX_SIZE) == 0;
}

/* What was shown before is not shown again, whatever comes of this one. */
static int attempt_show(struct mg_client *client, struct call *call)
{
	struct asking *asking = (struct asking *)(void *)call;
	int r;

	client->shows_token = false;
	if (asking->spelling.given) {
		asking->spelling.bytes = client->keys->token;
		handle_run(client, parse, &asking->spelling);
		if (!asking->spelling.good)
			return error_say(MG_INVALID, "this is no token: those begin with " PREFIX);
		asking->request.token = client->keys->token;
	}
	r = attempt_asking(client, call);
	client->shows_token = r == MG_OK && asking->spelling.given;
	if (!client->shows_token)
		sodium_memzero(client->keys->token, sizeof(client->keys->token));
	return r;
}

int mg_show_token(struct mg_client *client, const void *text, size_t size)
{
	struct asking asking = {
		.call = { .attempt = attempt_show, .repeatable = true, .bare = true },
		.request = { .verb = VERB_SHOW_TOKEN },
		.spelling = { .client = client, .given = text }
	};

	if (text && !has_form(text, size, PREFIX))
		return error_say(MG_INVALID, "this is no token: those begin with " PREFIX);
	return call_run(client, &asking.call);
}

/* -- wraps --------------------------------------------------------------------------------- */

static int say_no_wrap(void)
{
	return error_say(MG_INVALID, "nothing is wrapped by this: wraps begin with " PREFIX_WRAP);
}

int token_check_wrap(const void *text, size_t size)
{
	return text && has_form(text, size, PREFIX_WRAP) ? MG_OK : say_no_wrap();
}

int token_take_wrap(struct mg_client *client, const void *text)
{
	struct spelling spelling = { .client = client, .given = text, .bytes = client->keys->wrap };

	handle_run(client, parse, &spelling);
	return spelling.good ? MG_OK : say_no_wrap();
}

struct looking_up {
	struct call call; /* first: what attempts are given */
	const void *text;
	struct mg_wrapped *wrapped;
};

static int attempt_look_up(struct mg_client *client, struct call *call)
{
	struct looking_up *looking = (struct looking_up *)(void *)call;
	struct request request = {
		.verb = VERB_UNWRAP, .token = client->keys->wrap, .lookup = true
	};
	struct reply reply;
	int r = token_take_wrap(client, looking->text);

	if (r == MG_OK)
		r = call_ask(client, call, &request, &reply);
	if (r != MG_OK)
		return r;
	if (reply.code == 0 && reply.body != BODY_WRAPPED)
		return -EPROTO;
	r = call_judge(&reply);
	if (r != MG_OK)
		return r;
	*looking->wrapped = (struct mg_wrapped){ .issuer = reply.token.issuer,
		.created_ms = reply.token.created_ms,
		.ttl_ms = reply.token.ttl_ms,
		.uses = reply.token.uses,
		.left = reply.token.left };
	copy_text(looking->wrapped->name, sizeof(looking->wrapped->name), reply.token.name);
	return MG_OK;
}

int mg_look_up_wrap(
	struct mg_client *client, const void *text, size_t size, struct mg_wrapped *wrapped)
{
	struct looking_up looking = { .call = { .attempt = attempt_look_up, .repeatable = true },
		.text = text,
		.wrapped = wrapped };
	int r = token_check_wrap(text, size);

	return r == MG_OK ? call_run(client, &looking.call) : r;
}
