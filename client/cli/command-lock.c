/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/passphrase.h"
#include "client/cli/say.h"

/* Nobody is asked for a passphrase that is not needed. */
static int look(struct mg_client **clientp, const struct arguments *arguments, bool *lockedp)
{
	struct mg_state state;
	int r = connect_daemon(clientp, arguments);

	if (r != 0)
		return r;
	r = mg_status_of(*clientp, &state);
	if (r != MG_OK)
		return say_failed(r, NULL);
	*lockedp = state.vault_locked;
	return 0;
}

static int tell(const struct arguments *arguments, bool locked)
{
	json_t *answer;

	if (!arguments->json)
		return 0;
	answer = answer_new();
	answer_flag(answer, "vault_locked", locked);
	return answer_print(answer);
}

int command_lock(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *passphrase = NULL;
	bool locked = false;
	int r = look(&client, arguments, &locked);

	if (r == 0 && locked)
		return say_error(MG_LOCKED, "locked already: the passphrase is the one before");
	if (r == 0)
		r = passphrase_take_value(&passphrase, arguments, true);
	if (r != 0)
		return r;
	r = mg_lock(client, passphrase);
	if (r != MG_OK)
		return say_failed(r, NULL);
	say_note("the daemon at %s is locked", mg_endpoint(client));
	return tell(arguments, true);
}

int command_unlock(const struct arguments *arguments)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *passphrase = NULL;
	bool locked = false;
	int r = look(&client, arguments, &locked);

	if (r == 0 && !locked) {
		say_done("the daemon at %s is not locked", mg_endpoint(client));
		return tell(arguments, false);
	}
	if (r == 0)
		r = passphrase_take_value(&passphrase, arguments, false);
	if (r != 0)
		return r;
	r = mg_unlock(client, passphrase);
	if (r != MG_OK)
		return say_failed(r, NULL);
	say_note("the daemon at %s is unlocked", mg_endpoint(client));
	return tell(arguments, false);
}
