/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <mgclient-token.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/output.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"
#include "client/cli/token.h"

/* What is on its way to somebody ends by itself, unless another time is said. */
#define WRAP_TTL_MS (UINT64_C(3600) * 1000)

int command_wrap(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *wrap = NULL;
	const struct mg_wrap_options options = {
		.ttl_ms = arguments->ttl.given ? arguments->ttl.number : WRAP_TTL_MS,
		.uses = (uint32_t)arguments->uses.number
	};
	int r = name ? 0 : say_error(MG_LIMIT, "out of memory");

	if (r == 0 && arguments->out && arguments->fd >= 0)
		r = say_error(MG_INVALID, "wrap: --out and --fd do not go together");
	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r != 0)
		return r;
	r = mg_wrap(client, name, &options, &wrap);
	return r == MG_OK ? token_print(arguments, name, wrap) : say_failed(r, name);
}

/* -- and back ------------------------------------------------------------------------------ */

struct unwrapping {
	const struct arguments *arguments;
	struct output output;
	bool begun;
	bool failed; /* and has been said */
};

static int begin(struct unwrapping *unwrapping, const struct mg_info *info)
{
	owning(freep) char *head = NULL;
	json_t *answer;

	if (unwrapping->begun || !output_is_json(&unwrapping->output)) {
		unwrapping->begun = true;
		return 0;
	}
	unwrapping->begun = true;
	answer = answer_new();
	answer_number(answer, "version", info->version);
	answer_number(answer, "size", info->size);
	head = answer_string(answer);
	if (head)
		return output_json(&unwrapping->output, head);
	unwrapping->failed = true;
	return say_error(MG_LIMIT, "out of memory");
}

/* An mg_sink. */
static int on_piece(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	struct unwrapping *unwrapping = context;
	int r = begin(unwrapping, info);

	return r == 0 ? output_write(&unwrapping->output, bytes, size) : r;
}

static int unwrap(
	struct mg_client *client, const struct arguments *arguments, const struct mg_secret *wrap)
{
	struct unwrapping unwrapping = { .arguments = arguments };
	int r = output_open(&unwrapping.output, arguments);

	if (r != 0)
		return r;
	r = mg_unwrap_each(
		client, mg_secret_data(wrap), mg_secret_size(wrap), on_piece, &unwrapping);
	if (r == MG_OK)
		return output_keep(&unwrapping.output);
	if (!unwrapping.failed && !unwrapping.output.failed)
		say_failed(r, NULL);
	output_drop(&unwrapping.output);
	return r;
}

static int look_up(
	struct mg_client *client, const struct arguments *arguments, const struct mg_secret *wrap)
{
	char words[ANSWER_WORDS_MAX];
	struct mg_wrapped wrapped;
	json_t *answer;
	int r = mg_look_up_wrap(client, mg_secret_data(wrap), mg_secret_size(wrap), &wrapped);

	if (r != MG_OK)
		return say_failed(r, NULL);
	if (!arguments->json) {
		answer_row("name", "%s", wrapped.name);
		answer_row("wrapped", "%s, by uid %" PRIu32, answer_time(words, wrapped.created_ms),
			wrapped.issuer);
		if (wrapped.ttl_ms > 0)
			answer_row("ends", "in %s", answer_span(words, wrapped.ttl_ms));
		answer_row("left", "%" PRIu32 " of %" PRIu32, wrapped.left, wrapped.uses);
		return 0;
	}
	answer = answer_new();
	answer_text(answer, "name", wrapped.name);
	answer_number(answer, "issuer", wrapped.issuer);
	answer_number(answer, "created_ms", (uint64_t)wrapped.created_ms);
	if (wrapped.ttl_ms > 0)
		answer_number(answer, "ttl_ms", wrapped.ttl_ms);
	answer_number(answer, "uses", wrapped.uses);
	answer_number(answer, "left", wrapped.left);
	return answer_print(answer);
}

static int check(const struct arguments *arguments)
{
	if (arguments->out && arguments->fd >= 0)
		return say_error(MG_INVALID, "unwrap: --out and --fd do not go together");
	if (arguments->json && arguments->encoding != ENCODING_NONE && !arguments->out &&
		arguments->fd < 0)
		return say_error(MG_INVALID,
			"unwrap: --encode does not go with --json, which gives value_b64");
	if (isatty(STDIN_FILENO))
		return say_error(MG_INVALID,
			"unwrap: what wrap has printed comes on stdin: mgctl unwrap <FILE");
	return 0;
}

int command_unwrap(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *wrap = NULL;
	int r = check(arguments);

	if (r == 0)
		r = token_read(&wrap, STDIN_FILENO, "stdin");
	if (r == 0)
		r = connect_daemon(&client, arguments);
	if (r != 0)
		return r;
	return arguments->lookup ? look_up(client, arguments, wrap)
				 : unwrap(client, arguments, wrap);
}
