/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "client/lib/mgclient.h"
#include "client/lib/passphrase.h"
#include "common/wire/message.h"

_Static_assert(PASSPHRASE_SALT_SIZE == MESSAGE_SALT_SIZE, "the salt goes to the daemon");
_Static_assert(PASSPHRASE_KEY_SIZE == ENCLAVE_KEY_SIZE, "and so does the key");
_Static_assert(PASSPHRASE_OPSLIMIT >= MESSAGE_LOCK_OPSLIMIT_MIN &&
		PASSPHRASE_OPSLIMIT <= MESSAGE_LOCK_OPSLIMIT_MAX &&
		PASSPHRASE_MEMLIMIT >= MESSAGE_LOCK_MEMLIMIT_MIN &&
		PASSPHRASE_MEMLIMIT <= MESSAGE_LOCK_MEMLIMIT_MAX,
	"what we ask for is taken");

/* How a key is made of a passphrase. */
struct recipe {
	uint8_t salt[PASSPHRASE_SALT_SIZE];
	uint64_t opslimit;
	uint64_t memlimit; /* bytes */
	bool told;         /* all of that is known */
};

/* -- the key ------------------------------------------------------------------------------- */

struct making {
	const struct mg_secret *passphrase;
	const struct recipe *recipe;
	uint8_t *key;
	int result;
};

static void make(void *argument)
{
	struct making *making = argument;

	making->result = passphrase_key(making->key, making->passphrase, making->recipe->salt,
		making->recipe->opslimit, (size_t)making->recipe->memlimit);
}

/* Into guarded memory of its own, between two of the handle's calls. Returns a status. */
static int make_key(struct mg_client *client, const struct mg_secret *passphrase,
	const struct recipe *recipe, struct mg_secret **keyp)
{
	struct making making = { .passphrase = passphrase, .recipe = recipe };
	int r = secret_new_closed(
		keyp, PASSPHRASE_KEY_SIZE, (enum mg_memory)client->need, own_self());

	if (r == MG_OK)
		r = handle_enter(client, connection_now_ms() + client->timeout_ms);
	if (r != MG_OK)
		return r;
	making.key = (*keyp)->data;
	handle_run_deep(client, make, &making);
	handle_leave(client);
	if (making.result < 0)
		return error_say(MG_LIMIT, "not enough memory for Argon2id");
	return secret_close(*keyp);
}

/* -- the daemon ---------------------------------------------------------------------------- */

struct asking {
	struct call call; /* first: what attempts are given */
	struct request request;
	struct recipe *recipe; /* what is to be told; NULL: nothing */
	bool locked;
};

static void take(struct asking *asking, const struct state *state)
{
	struct recipe *recipe = asking->recipe;

	asking->locked = state->vault_locked;
	recipe->told = state->lock_salt.size == sizeof(recipe->salt);
	recipe->opslimit = state->lock_opslimit;
	recipe->memlimit = state->lock_memlimit;
	if (recipe->told)
		memcpy(recipe->salt, state->lock_salt.data, sizeof(recipe->salt));
}

static int attempt(struct mg_client *client, struct call *call)
{
	struct asking *asking = (struct asking *)(void *)call;
	struct reply reply;
	int r = call_ask(client, call, &asking->request, &reply);

	if (r < 0)
		return r;
	if (reply.code == 0 && reply.body != (asking->recipe ? BODY_STATE : BODY_NONE))
		return -EPROTO;
	r = call_judge(&reply);
	if (r == MG_OK && asking->recipe)
		take(asking, &reply.state);
	return r;
}

/* Locks, or unlocks, with a key. The recipe is what a lock tells whoever unlocks it. */
static int ask(struct mg_client *client, enum verb verb, const struct mg_secret *key,
	const struct recipe *recipe)
{
	struct asking asking = { .call = { .attempt = attempt, .repeatable = true } };

	asking.request = (struct request){ .verb = verb, .numbered = true, .key = key->data };
	randombytes_buf(asking.request.number, sizeof(asking.request.number));
	if (verb == VERB_LOCK) {
		asking.request.salt = span_of(recipe->salt, sizeof(recipe->salt));
		asking.request.opslimit = recipe->opslimit;
		asking.request.memlimit = recipe->memlimit;
	}
	return call_run(client, &asking.call);
}

static int check(struct mg_client *client, const struct mg_secret *passphrase)
{
	if (!client)
		return error_say(MG_INVALID, "no handle");
	return secret_check(passphrase);
}

int mg_lock(struct mg_client *client, const struct mg_secret *passphrase)
{
	struct recipe recipe = { .opslimit = PASSPHRASE_OPSLIMIT, .memlimit = PASSPHRASE_MEMLIMIT };
	MG_AUTO_SECRET struct mg_secret *key = NULL;
	int r = check(client, passphrase);

	if (r != MG_OK)
		return r;
	randombytes_buf(recipe.salt, sizeof(recipe.salt));
	r = make_key(client, passphrase, &recipe, &key);
	return r == MG_OK ? ask(client, VERB_LOCK, key, &recipe) : r;
}

/* -- unlocking ----------------------------------------------------------------------------- */

/*
 * A cost that nobody would ask for is not paid; and whoever is in the daemon's place is not given a
 * key that costs less to guess the passphrase by than any that a daemon is locked with.
 */
static int check_cost(const struct recipe *recipe)
{
	if (recipe->opslimit > MESSAGE_LOCK_OPSLIMIT_MAX ||
		recipe->memlimit > MESSAGE_LOCK_MEMLIMIT_MAX)
		return error_say(MG_LIMIT, "the lock's key takes more than 1 GiB, or 16 passes");
	if (recipe->opslimit < MESSAGE_LOCK_OPSLIMIT_MIN ||
		recipe->memlimit < MESSAGE_LOCK_MEMLIMIT_MIN)
		return error_say(MG_INTEGRITY,
			"the lock asks for a key by which the passphrase is easy to guess: it is "
			"not made");
	return MG_OK;
}

/* What the daemon was locked with. */
static int look(struct mg_client *client, struct recipe *recipe, bool *lockedp)
{
	struct asking asking = { .call = { .attempt = attempt, .repeatable = true },
		.request = { .verb = VERB_STATUS },
		.recipe = recipe };
	int r = call_run(client, &asking.call);

	*lockedp = asking.locked;
	return r == MG_OK && recipe->told ? check_cost(recipe) : r;
}

/*
 * Whoever is not told how the key is made may not unlock, or nobody can any more: which of the two,
 * the daemon says to whoever tries, whatever the key.
 */
static int unlock(
	struct mg_client *client, const struct mg_secret *passphrase, const struct recipe *recipe)
{
	MG_AUTO_SECRET struct mg_secret *key = NULL;
	int r;

	if (recipe->told)
		r = make_key(client, passphrase, recipe, &key);
	else
		r = mg_secret_random(&key, PASSPHRASE_KEY_SIZE, (enum mg_memory)client->need);
	return r == MG_OK ? ask(client, VERB_UNLOCK, key, NULL) : r;
}

int mg_unlock(struct mg_client *client, const struct mg_secret *passphrase)
{
	struct recipe recipe = { 0 };
	bool locked = false;
	int r = check(client, passphrase);

	if (r == MG_OK)
		r = look(client, &recipe, &locked);
	return r == MG_OK && locked ? unlock(client, passphrase, &recipe) : r;
}
