/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/say.h"

int command_purge(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	char words[ANSWER_WORDS_MAX];
	uint64_t count = 0;
	json_t *answer;
	int r;

	if (arguments->mine && arguments->all)
		return say_error(MG_INVALID, "purge: --mine and --all do not go together");
	r = connect_daemon(&client, arguments);
	if (r != 0)
		return r;
	r = mg_purge(client, arguments->all ? MG_PURGE_ALL : MG_PURGE_MINE, &count);
	if (r != MG_OK)
		return say_failed(r, NULL);
	say_note("destroyed %s", answer_secrets(words, count));
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_number(answer, "purged", count);
	return answer_print(answer);
}
