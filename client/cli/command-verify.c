/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/input.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

static int compare(struct mg_client *client, const char *name, struct input *input)
{
	const void *bytes;
	size_t size;

	if (!input_is_whole(input))
		return mg_verify_from(client, name, input_read, input);
	bytes = input_bytes(input, &size);
	return mg_verify(client, name, bytes, size);
}

/* "No" is an answer, not a failure: it is told as one where answers are read by programs. */
static int report(const struct arguments *arguments, const char *name, int r)
{
	json_t *answer;
	int printed;

	if (!arguments->json)
		return r == MG_NO ? say_failed(r, name) : 0;
	answer = answer_new();
	answer_text(answer, "name", name);
	answer_flag(answer, "equal", r == MG_OK);
	printed = answer_print(answer);
	return printed != 0 ? printed : r;
}

int command_verify(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct arguments once = *arguments;
	struct input input;
	int r = name ? connect_daemon(&client, arguments) : say_error(MG_LIMIT, "out of memory");

	/* Whoever mistypes is told so soon enough. */
	once.once = true;
	if (r == 0)
		r = input_open(&input, &once, name);
	if (r != 0)
		return r;
	r = compare(client, name, &input);
	if (r == MG_OK || r == MG_NO)
		r = report(arguments, name, r);
	else if (!input.failed)
		say_failed(r, name);
	input_close(&input);
	return r;
}
