/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/say.h"

int command_reload(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	json_t *answer;
	int r = connect_daemon(&client, arguments);

	if (r != 0)
		return r;
	r = mg_reload(client);
	if (r != MG_OK)
		return say_failed(r, NULL);
	say_note("the daemon at %s has read its configuration", mg_endpoint(client));
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "endpoint", mg_endpoint(client));
	return answer_print(answer);
}
