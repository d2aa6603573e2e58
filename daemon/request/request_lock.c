/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/status.h"
#include "daemon/log.h"
#include "daemon/request/desk.h"
#include "daemon/request/unlock.h"
#include "daemon/request/upload.h"

_Static_assert(LOCK_SALT_SIZE == MESSAGE_SALT_SIZE, "the lock keeps what the request brings");
_Static_assert(VAULT_DIGEST_SIZE == REPEAT_DIGEST_SIZE, "and what it is known by");

static void describe(struct vault_lock *lock, const struct desk *desk,
	const uint8_t digest[static REPEAT_DIGEST_SIZE])
{
	const struct request *request = desk->request;

	*lock = (struct vault_lock){ .opslimit = request->opslimit,
		.memlimit = request->memlimit,
		.uid = (uint32_t)desk->peer->uid };
	memcpy(lock->salt, request->salt.data, sizeof(lock->salt));
	memcpy(lock->number, request->number, sizeof(lock->number));
	memcpy(lock->digest, digest, sizeof(lock->digest));
}

/* Whether it is this request that has locked the vault: the process before us has no memory. */
static bool is_repeat(const struct vault_lock *lock, const struct vault_lock *asked)
{
	return lock && lock->uid == asked->uid &&
		memcmp(lock->number, asked->number, sizeof(lock->number)) == 0 &&
		memcmp(lock->digest, asked->digest, sizeof(lock->digest)) == 0;
}

/*
 * Another passphrase would not be the one that unlocks: whoever locks what is locked is told so.
 */
static int lock_once(struct desk *desk, const struct vault_lock *lock)
{
	struct daemon *daemon = desk->daemon;
	int r;

	if (is_repeat(vault_lock_of(daemon->vault), lock))
		return 0;
	if (vault_is_locked(daemon->vault)) {
		desk->words = "locked already: the passphrase is the one before";
		return STATUS_LOCKED;
	}
	r = daemon_lock(daemon, lock, desk->request->key);
	if (r == 0)
		log_notice("locked, as uid %ld asks", (long)desk->peer->uid);
	return r;
}

int serve_lock(struct desk *desk)
{
	struct repeats *repeats = desk->daemon->repeats;
	const struct request *request = desk->request;
	uint32_t uid = (uint32_t)desk->peer->uid;
	uint8_t digest[REPEAT_DIGEST_SIZE];
	struct repeat_answer first = { 0 };
	struct vault_lock lock;
	int r;

	request_digest(digest, request, desk->name);
	r = repeats_find(repeats, uid, request->number, digest, &first);
	if (r == STATUS_CONFLICT)
		return desk_answer_code(desk, STATUS_CONFLICT, NUMBER_REUSED);
	if (r == 0) {
		describe(&lock, desk, digest);
		r = lock_once(desk, &lock);
		if (r != 0)
			return r;
		(void)repeats_keep(repeats, uid, request->number, digest, &first);
	}
	return desk_answer_code(desk, 0, NULL);
}

/* It is answered once it is tried. A repeat of one that has unlocked finds nothing to be done. */
int serve_unlock(struct desk *desk)
{
	if (!vault_is_locked(desk->daemon->vault))
		return desk_answer_code(desk, 0, NULL);
	return unlock_park(desk->transfers, desk->daemon, desk->request->id,
		(uint32_t)desk->peer->uid, desk->request->key);
}
