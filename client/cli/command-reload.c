/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/say.h"

/* Milliseconds for an upgrade: a program starts, and sees to everything that was kept. */
#define UPGRADE_MS 60000

/* What the library has made of it; `deed` is said to whoever wants to know. */
static int tell(const struct arguments *arguments, const struct mg_client *client, int status,
	const char *deed)
{
	json_t *answer;

	if (status != MG_OK)
		return say_failed(status, NULL);
	say_note("the daemon at %s %s", mg_endpoint(client), deed);
	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_text(answer, "endpoint", mg_endpoint(client));
	return answer_print(answer);
}

int command_reload(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	int r = connect_daemon(&client, arguments);

	if (r != 0)
		return r;
	return tell(arguments, client, mg_reload(client), "has read its configuration");
}

int command_upgrade(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	int r = connect_daemon(&client, arguments);

	if (r != 0)
		return r;
	if (arguments->timeout_ms == 0)
		mg_set_timeout(client, UPGRADE_MS);
	return tell(arguments, client, mg_upgrade(client), "is that of the program on disk");
}
