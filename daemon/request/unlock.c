/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/unlock.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/memory/enclave.h"
#include "common/status.h"
#include "daemon/log.h"

_Static_assert(LOCK_KEY_SIZE == ENCLAVE_KEY_SIZE, "it is wrapped as a data key is");

struct unlock {
	struct unlock *next;
	uint64_t id;
	uint32_t uid;
	uint64_t look_ms; /* CLOCK_BOOTTIME: not before */
	struct enclave_binding binding;
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
};

/* -- its life ------------------------------------------------------------------------------ */

int unlock_park(struct transfers *transfers, struct daemon *daemon, uint64_t id, uint32_t uid,
	const uint8_t key[static LOCK_KEY_SIZE])
{
	struct unlock **at = &transfers->unlocks;
	struct unlock *unlock;
	int r;

	if (transfers_full(transfers))
		return STATUS_LIMIT;
	unlock = calloc(1, sizeof(*unlock));
	if (!unlock)
		return STATUS_LIMIT;
	unlock->id = id;
	unlock->uid = uid;
	unlock->look_ms = daemon_now_ms();
	/* No channel has a version: its keys are never taken for these. */
	unlock->binding = (struct enclave_binding){ .secret = daemon->next_upload++, .version = 1 };
	r = enclave_wrap(unlock->wrapped, key, LOCK_KEY_SIZE, unlock->binding, &daemon->coffer,
		COFFER_CHANNEL);
	if (r < 0) {
		free(unlock);
		return r;
	}
	while (*at)
		at = &(*at)->next;
	*at = unlock;
	transfers_begin(transfers);
	return 0;
}

struct unlock *unlock_find(const struct transfers *transfers, uint64_t id)
{
	struct unlock *unlock = transfers->unlocks;

	while (unlock && unlock->id != id)
		unlock = unlock->next;
	return unlock;
}

void unlock_end(struct transfers *transfers, struct unlock *unlock)
{
	struct unlock **at = &transfers->unlocks;

	while (*at != unlock)
		at = &(*at)->next;
	*at = unlock->next;
	transfers_end(transfers);
	sodium_memzero(unlock->wrapped, sizeof(unlock->wrapped));
	free(unlock);
}

/* -- guesses ------------------------------------------------------------------------------- */

/*
 * They are noted beside the masters, or whoever guesses would have the worker end after each of
 * them. One place is root's, the other one the daemon's own user's: nobody else may unlock.
 */
static struct coffer_guesser *place_of(const struct daemon *daemon, uint32_t uid)
{
	struct coffer_guesser *guessers = coffer_guessers(&daemon->coffer);

	return guessers ? &guessers[uid != 0] : NULL;
}

/* `feared`: before the key is tried. */
static void note_guess(const struct daemon *daemon, uint32_t uid, bool feared)
{
	struct coffer_guesser *place = place_of(daemon, uid);

	if (place)
		*place = penalty_tell(daemon->penalties, uid, daemon_now_ms(), feared);
}

/* -- tries --------------------------------------------------------------------------------- */

static const char *words_for(int status)
{
	switch (status) {
	case STATUS_NO:
		return "the passphrase is another one";
	case STATUS_INTEGRITY:
		return "the lock was overwritten, and nothing unlocks it any more: purge --all";
	case STATUS_LIMIT:
		return "memory is used up; it is locked still";
	case STATUS_INTERNAL:
		return "the ledger was overwritten; it is locked still";
	default:
		return NULL;
	}
}

/* Returns as daemon_unlock. */
static int try(const struct unlock *unlock, struct daemon *daemon)
{
	size_t mark = workbench_mark(&daemon->bench);
	uint8_t *key = workbench_take(&daemon->bench, LOCK_KEY_SIZE);
	int r = key ? enclave_unwrap(key, unlock->wrapped, LOCK_KEY_SIZE, unlock->binding,
			      &daemon->coffer, COFFER_CHANNEL)
		    : -ENOBUFS;

	if (r == 0)
		r = daemon_unlock(daemon, key);
	workbench_release(&daemon->bench, mark);
	return workbench_is_broken(&daemon->bench) ? -EFAULT : r;
}

/* In both logs. What was decided while it was locked is signed with it. */
static void tell(const struct transfers *transfers, struct daemon *daemon,
	const struct unlock *unlock, int outcome)
{
	if (outcome == 0)
		log_notice("unlocked, as uid %ld asks", (long)unlock->uid);
	else if (outcome == STATUS_NO)
		log_warning(
			"uid %ld has tried to unlock with another passphrase", (long)unlock->uid);
	if (outcome == 0 || outcome == STATUS_NO)
		transfers_note_unlock(transfers, daemon, outcome == 0);
	if (outcome == 0)
		audit_sign(daemon->audit);
}

/* What is returned for one that has to wait. */
#define WAIT (-EAGAIN)

/* One whose time may have come. Returns WAIT, or as daemon_unlock. */
static int take_turn(
	const struct transfers *transfers, struct daemon *daemon, struct unlock *unlock)
{
	uint64_t now_ms = daemon_now_ms();
	int r;

	/* Somebody else was faster. */
	if (!vault_is_locked(daemon->vault))
		return 0;
	if (now_ms < unlock->look_ms)
		return WAIT;
	r = penalty_enter(daemon->penalties, unlock->uid, now_ms, &unlock->look_ms);
	if (r != 0)
		return r < 0 ? STATUS_LIMIT : WAIT;
	note_guess(daemon, unlock->uid, true);
	r = try(unlock, daemon);
	penalty_leave(daemon->penalties, unlock->uid, daemon_now_ms(), r == STATUS_NO);
	note_guess(daemon, unlock->uid, false);
	/* The view does not wait for whoever reads the log. */
	coffer_forget(&daemon->coffer);
	tell(transfers, daemon, unlock, r);
	return r;
}

int unlocks_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	struct unlock *next;

	for (struct unlock *unlock = transfers->unlocks; unlock; unlock = next) {
		uint64_t id = unlock->id;
		int r = take_turn(transfers, daemon, unlock);

		next = unlock->next;
		if (r == WAIT)
			continue;
		unlock_end(transfers, unlock);
		if (r >= 0)
			r = answers_code(
				answers, id, r == STATUS_NO ? STATUS_INTEGRITY : r, words_for(r));
		if (r < 0)
			return r;
	}
	return 0;
}

uint64_t unlocks_deadline(const struct transfers *transfers)
{
	uint64_t earliest = 0;

	for (const struct unlock *unlock = transfers->unlocks; unlock; unlock = unlock->next)
		if (earliest == 0 || unlock->look_ms < earliest)
			earliest = unlock->look_ms;
	return earliest;
}
