/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

static int report(
	const struct arguments *arguments, const char *name, const char *to, uint64_t version)
{
	json_t *answer;

	say_note("moved %s to %s, version %llu", name, to, (unsigned long long)version);
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "name", name);
	answer_text(answer, "to", to);
	answer_number(answer, "version", version);
	return answer_print(answer);
}

/* Of two names, what is denied is hardly the one in the caller's own space. */
static int fail(int r, const char *name, const char *to)
{
	return say_failed(r, r == MG_DENIED && name[0] == '~' ? to : name);
}

int command_mv(const struct arguments *arguments)
{
	owning(freep) char *name = name_from_shell(arguments->operands[0]);
	owning(freep) char *to = name_from_shell(arguments->operands[1]);
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	const struct mg_set_options options = { .compare = arguments->cas.given,
		.version = arguments->cas.number };
	uint64_t version = 0;
	int r = name && to ? connect_daemon(&client, arguments)
			   : say_error(MG_LIMIT, "out of memory");

	if (r != 0)
		return r;
	r = mg_move(client, name, to, &options, &version);
	return r == MG_OK ? report(arguments, name, to, version) : fail(r, name, to);
}
