/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

static int report(const struct arguments *arguments, const char *name, bool removed)
{
	json_t *answer;

	say_note(removed ? "removed %s" : "%s was not there", name);
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "name", name);
	answer_flag(answer, "removed", removed);
	return answer_print(answer);
}

static int remove_one(struct mg_client *client, const struct arguments *arguments, const char *word)
{
	owning(freep) char *name = name_from_shell(word);
	struct mg_set_options options = { .compare = arguments->cas.given,
		.version = arguments->cas.number };
	int r;

	if (!name)
		return say_error(MG_LIMIT, "out of memory");
	r = mg_remove(client, name, &options);
	if ((r == MG_NOT_FOUND || r == MG_GONE) && arguments->if_exists)
		return report(arguments, name, false);
	return r == MG_OK ? report(arguments, name, true) : say_failed(r, name);
}

/* Whether the next name would fail for the same reason. */
static bool is_hopeless(int r)
{
	return r == MG_UNREACHABLE || r == MG_TIMEOUT || r == MG_PROTOCOL || r == MG_INTERNAL;
}

/* One that cannot be removed does not keep the others; the first failure is the exit status. */
int command_rm(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	int result = connect_daemon(&client, arguments);

	for (size_t i = 0; client && i < arguments->operand_count; i++) {
		int r = remove_one(client, arguments, arguments->operands[i]);

		if (result == 0)
			result = r;
		if (is_hopeless(r))
			break;
	}
	return result;
}
