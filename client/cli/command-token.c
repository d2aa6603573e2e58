/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <mgclient-token.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"
#include "client/cli/token.h"

/* -- issue --------------------------------------------------------------------------------- */

/* What --allow says, taken apart: each text is a copy. */
struct wishes {
	struct mg_grant grants[MG_GRANTS_MAX];
	char *texts[MG_GRANTS_MAX];
	size_t count;
};

static void wishes_finish(struct wishes *wishes)
{
	for (size_t i = 0; i < wishes->count; i++)
		free(wishes->texts[i]);
}

static int take_allows(struct wishes *wishes, const struct arguments *arguments)
{
	if (arguments->allow_count == 0)
		return say_error(
			MG_INVALID, "token issue: --allow says what for, such as get:web/prod/*");
	for (size_t i = 0; i < arguments->allow_count; i++) {
		char *text = strdup(arguments->allow[i]);
		char *colon = text ? strchr(text, ':') : NULL;

		if (!text)
			return say_error(MG_LIMIT, "out of memory");
		wishes->texts[wishes->count] = text;
		*colon = '\0';
		wishes->grants[wishes->count++] = (struct mg_grant){ text, colon + 1 };
	}
	return 0;
}

static int issue(struct mg_client *client, const struct arguments *arguments, const char *name,
	const struct wishes *wishes)
{
	MG_AUTO_SECRET struct mg_secret *token = NULL;
	struct mg_token_options options = { .grants = wishes->grants,
		.grant_count = wishes->count,
		.ttl_ms = arguments->ttl.number,
		.uses = (uint32_t)arguments->uses.number,
		.bind_uid = arguments->bind_uid.given,
		.uid = (uint32_t)arguments->bind_uid.number,
		.unit = arguments->bind_unit };
	int r = mg_issue_token(client, name, &options, &token);

	if (r != MG_OK)
		return say_failed(r, name);
	r = token_print(arguments, name, token);
	/* Nobody has it: it is worth nothing, and stands in nobody's way. */
	if (r != 0)
		(void)mg_revoke_token(client, name);
	return r;
}

static int token_issue(
	struct mg_client *client, const struct arguments *arguments, const char *name)
{
	struct wishes wishes = { 0 };
	int r = take_allows(&wishes, arguments);

	if (r == 0)
		r = issue(client, arguments, name, &wishes);
	wishes_finish(&wishes);
	return r;
}

/* -- ls ------------------------------------------------------------------------------------ */

static json_t *grants_of(const struct mg_token *token)
{
	json_t *grants = json_array();

	for (size_t i = 0; i < token->grant_count; i++) {
		char text[1024];

		snprintf(text, sizeof(text), "%s:%s", token->grants[i].operations,
			token->grants[i].glob);
		answer_append(grants, json_string(text));
	}
	return grants;
}

static int print_object(const struct mg_token *token)
{
	json_t *answer = answer_new();

	answer_text(answer, "name", token->name);
	answer_number(answer, "issuer", token->issuer);
	answer_number(answer, "created_ms", (uint64_t)token->created_ms);
	answer_add(answer, "allow", grants_of(token));
	if (token->ttl_ms > 0)
		answer_number(answer, "ttl_ms", token->ttl_ms);
	if (token->uses > 0) {
		answer_number(answer, "uses", token->uses);
		answer_number(answer, "left", token->left);
	}
	if (token->bind_uid)
		answer_number(answer, "bind_uid", token->uid);
	if (token->unit[0])
		answer_text(answer, "bind_unit", token->unit);
	return answer_print(answer);
}

/* One line a token; what it allows comes last, as it may be long. */
static void print_line(const struct mg_token *token)
{
	char words[ANSWER_WORDS_MAX];

	printf("%s  uid %" PRIu32, token->name, token->issuer);
	if (token->ttl_ms > 0)
		printf("  ends in %s", answer_span(words, token->ttl_ms));
	if (token->uses > 0)
		printf("  %" PRIu32 " of %" PRIu32 " uses left", token->left, token->uses);
	if (token->bind_uid)
		printf("  for uid %" PRIu32, token->uid);
	if (token->unit[0])
		printf("  for unit %s", token->unit);
	for (size_t i = 0; i < token->grant_count; i++)
		printf("  %s:%s", token->grants[i].operations, token->grants[i].glob);
	putchar('\n');
}

struct telling {
	const struct arguments *arguments;
	bool failed; /* and has been said */
};

/* An mg_each_token. Ends when nobody takes what is printed: answer_flush tells why. */
static int on_token(void *context, const struct mg_token *token)
{
	struct telling *telling = context;
	int r = 0;

	if (telling->arguments->json)
		r = print_object(token);
	else if (telling->arguments->details)
		print_line(token);
	else
		printf("%s\n", token->name);
	telling->failed = r != 0;
	return ferror(stdout) ? MG_INTERNAL : r;
}

static int token_ls(struct mg_client *client, const struct arguments *arguments, const char *name)
{
	struct telling telling = { .arguments = arguments };
	int r = mg_list_tokens(client, on_token, &telling);

	(void)name;
	return r == MG_OK || telling.failed || ferror(stdout) ? r : say_failed(r, NULL);
}

/* -- revoke -------------------------------------------------------------------------------- */

static int token_revoke(
	struct mg_client *client, const struct arguments *arguments, const char *name)
{
	int r = mg_revoke_token(client, name);
	json_t *answer;

	if (r != MG_OK)
		return say_failed(r, name);
	say_note("revoked %s", name);
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "name", name);
	return answer_print(answer);
}

/* -- which of them ------------------------------------------------------------------------- */

static const struct deed {
	const char *name;
	int (*run)(struct mg_client *client, const struct arguments *arguments, const char *name);
	bool named;
} deeds[] = {
	{ "issue", token_issue, true },
	{ "ls", token_ls, false },
	{ "revoke", token_revoke, true },
};

static const struct deed *find_deed(const char *name)
{
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
		if (strcmp(deeds[i].name, name) == 0)
			return &deeds[i];
	return NULL;
}

/* An option of one deed is a mistake with another. */
static int check(const struct arguments *arguments, const struct deed *deed)
{
	bool issuing = arguments->allow_count > 0 || arguments->ttl.given ||
		arguments->uses.given || arguments->bind_uid.given || arguments->bind_unit ||
		arguments->out || arguments->fd >= 0 || arguments->newline != NEWLINE_AUTO;

	if (issuing && deed->run != token_issue)
		return say_error(
			MG_INVALID, "token %s: all options but --long go with issue", deed->name);
	if (arguments->details && deed->run != token_ls)
		return say_error(MG_INVALID, "token %s: --long goes with ls", deed->name);
	if (arguments->out && arguments->fd >= 0)
		return say_error(MG_INVALID, "token issue: --out and --fd do not go together");
	if (deed->named != (arguments->operand_count == 2))
		return say_error(MG_INVALID, "token %s takes %s", deed->name,
			deed->named ? "a name" : "no name");
	return 0;
}

int command_token(const struct arguments *arguments)
{
	const struct deed *deed = find_deed(arguments->operands[0]);
	owning(freep) char *name =
		name_from_shell(arguments->operand_count > 1 ? arguments->operands[1] : "");
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	int r = name ? 0 : say_error(MG_LIMIT, "out of memory");

	if (r == 0 && !deed)
		r = say_error(MG_INVALID, "there is no 'token %s': issue, ls or revoke",
			arguments->operands[0]);
	if (r == 0)
		r = check(arguments, deed);
	if (r == 0)
		r = connect_daemon(&client, arguments);
	return r == 0 ? deed->run(client, arguments, name) : r;
}
