/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/log.h"

/* The vault's master goes and comes back; and with it goes, and comes back, what is made from it.
 */

_Static_assert(
	AUDIT_KEY_SIZE == LOCK_NOTE_SIZE, "the lock keeps the key that the log is signed with");

int daemon_lock(struct daemon *daemon, const struct vault_lock *lock,
	const uint8_t key[static LOCK_KEY_SIZE])
{
	const struct audit_state audit = audit_state(daemon->audit);
	struct vault_lock noted = *lock;
	int r;

	/* Of what was decided up to here the signature does not have to wait. */
	audit_sign(daemon->audit);
	memcpy(noted.note, audit.key, sizeof(noted.note));
	r = vault_lock(daemon->vault, &noted, key);
	if (r != 0)
		return r;
	daemon->locks++;
	return 0;
}

/* -- a vault that was made while it was locked --------------------------------------------- */

static _Noreturn void give_up(const char *why)
{
	/* The next worker finds all as we leave it. */
	log_error("the ledger cannot be opened again: %s", why);
	abort();
}

/* The blind one stands for nothing: a vault that sees takes its place. Returns as vault_new. */
static int replace_vault(struct daemon *daemon)
{
	vault_leave(daemon->vault);
	daemon->vault = NULL;
	return vault_new(&daemon->vault, &daemon->coffer, daemon->ledger);
}

/*
 * What is in the ledger is adopted, with all the checks of a worker that begins. Returns 0; where
 * it cannot be, it is locked as it was, and that is a status.
 */
static int open_eyes(struct daemon *daemon, const uint8_t secret[static COFFER_KEY_SIZE])
{
	int r = replace_vault(daemon);

	if (r == 0) {
		if (daemon_take_up(daemon) < 0)
			give_up("out of memory");
		daemon_tell_adopted(daemon);
		return 0;
	}
	/* Up to its last step adopting changes nothing: the block of the lock is there still. */
	coffer_lock(&daemon->coffer, secret);
	if (vault_new(&daemon->vault, &daemon->coffer, daemon->ledger) < 0 ||
		daemon_take_up(daemon) < 0)
		give_up("out of memory");
	return r == -ENOMEM ? STATUS_LIMIT : STATUS_INTERNAL;
}

void daemon_purge_vault(struct daemon *daemon)
{
	if (!vault_is_blind(daemon->vault)) {
		vault_purge(daemon->vault);
		tokens_purge_all(daemon->tokens);
		return;
	}
	/* Nobody has shown a token to it. */
	vault_purge_blindly(daemon->vault);
	if (replace_vault(daemon) < 0 || daemon_take_up(daemon) < 0)
		give_up("out of memory");
}

/* -- unlocking ----------------------------------------------------------------------------- */

int daemon_unlock(struct daemon *daemon, const uint8_t key[static LOCK_KEY_SIZE])
{
	const uint8_t *found = coffer_lock_secret(&daemon->coffer);
	uint8_t secret[COFFER_KEY_SIZE];
	int r;

	if (!found)
		return 0;
	memcpy(secret, found, sizeof(secret));
	r = vault_unlock(daemon->vault, key);
	if (r == 0 && vault_is_blind(daemon->vault))
		r = open_eyes(daemon, secret);
	sodium_memzero(secret, sizeof(secret));
	if (r != 0)
		return r;
	/* Secrets whose life ended while it was locked may be many: nobody finds them any more, and
	 * they are taken out in turns (daemon_expire). */
	tokens_expire(daemon->tokens);
	audit_find_key(daemon->audit);
	return 0;
}

/* -- what is told of it -------------------------------------------------------------------- */

void daemon_tell_adopted(const struct daemon *daemon)
{
	static const char *const words[LOSS_COUNT] = {
		[LOSS_SECRET] = "secrets were not what was written: they are lost",
		[LOSS_FORMER] = "versions in their grace were not what was written: they are lost",
		[LOSS_CONSUMED] = "consumed names were not what was written: they are as if never "
				  "stored",
		[LOSS_STREAM] = "parts of streams were not what was written: they are lost",
		[LOSS_ANSWER] = "remembered answers were not what was written: who repeats such a "
				"request makes it anew",
		[LOSS_TOKEN] = "tokens were not what was written: they are lost",
	};
	const struct vault *vault = daemon->vault;
	uint64_t count = vault_count(vault);

	if (vault_is_locked(vault)) {
		log_notice("serves again, and is locked%s",
			vault_lock_of(vault) ? "" : "; the lock was not what was written");
		return;
	}
	for (unsigned loss = 0; loss < LOSS_COUNT; loss++)
		if (vault_lost(vault, loss) > 0)
			log_error("%llu of the %s", (unsigned long long)vault_lost(vault, loss),
				words[loss]);
	log_notice("serves again, with %llu secret%s", (unsigned long long)count,
		count == 1 ? "" : "s");
}
