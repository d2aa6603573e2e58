/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A locked vault has no master. Whoever locks it brings a key, made from a passphrase elsewhere: a
 * lock secret is drawn and takes the master's place in the coffer, and the master is wrapped under
 * keyed BLAKE2b(that key, the lock secret) and lies in a block of the ledger. Neither the block nor
 * the secret is worth anything without the other, and both are worth nothing without the key. There
 * are two such blocks, which say the same: everything hangs on them, and one may be overwritten.
 *
 * The blocks are there before the coffer's one store makes them count, and are wiped after the
 * store that makes the master count again: whoever ends in between leaves a vault that is locked,
 * or is not, and blocks that nobody needs. Room for them is kept while the vault is not locked:
 * whoever has used up the memory keeps nobody from locking it.
 *
 * While it is locked, whatever finds a record returns STATUS_LOCKED, nothing is taken out because
 * its life is over, and nothing is moved: without a ledger key nobody can tell what is what was
 * written. What ends meanwhile nobody finds once it is unlocked; it is taken out as whatever ends.
 */
#define LOCK_KEY_SIZE 32
#define LOCK_SALT_SIZE 16
#define LOCK_NOTE_SIZE 32
#define LOCK_COPIES 2
#define LOCK_WRAPPED (COFFER_KEY_SIZE + ENCLAVE_TAG_SIZE) /* bytes of the wrapped master */

/* What is known of a lock to whoever wants to unlock it. */
struct vault_lock {
	/* How Argon2id has made the key. */
	uint8_t salt[LOCK_SALT_SIZE];
	uint64_t opslimit;
	uint64_t memlimit; /* bytes */
	/* Whose request it was. */
	uint32_t uid;
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[VAULT_DIGEST_SIZE];
	/* What the vault's owner has to know of before it is unlocked. */
	uint8_t note[LOCK_NOTE_SIZE];
};

/*
 * Locks. Returns 0, or STATUS_LIMIT when there is no room for a block: only where memory was used
 * up when the vault was made. It is not locked then. The vault must not be locked, nor its coffer
 * destroyed. `key` is in secret memory. Touches keys.
 */
int vault_lock(struct vault *vault, const struct vault_lock *lock,
	const uint8_t key[static LOCK_KEY_SIZE]);

/*
 * Unlocks. Returns 0; STATUS_NO when the key is another one; STATUS_INTEGRITY when no block that
 * has the master was what was written. After those it is locked still. Touches keys.
 */
int vault_unlock(struct vault *vault, const uint8_t key[static LOCK_KEY_SIZE]);

bool vault_is_locked(const struct vault *vault);

/* What is known of the lock; NULL when it is not locked, or its blocks are gone. */
const struct vault_lock *vault_lock_of(const struct vault *vault);

/*
 * Whether the vault was made while it was locked (vault_new): it has looked for the lock in the
 * file, and at nothing else. Once the coffer has a master again, what is in the file is for a vault
 * that is made anew.
 */
bool vault_is_blind(const struct vault *vault);

/* As vault_purge, of a blind one: the next vault over the file wipes what is in it. */
void vault_purge_blindly(struct vault *vault);

/* -- what the vault's other files ask of it ------------------------------------------------ */

/* The lock of a vault, while it is locked. */
struct lock {
	bool known; /* what follows */
	uint8_t wrapped[LOCK_WRAPPED];
	struct vault_lock what;
};

/* Whether there is a key to check records with: 0, STATUS_LOCKED or -EKEYEXPIRED. */
int vault_check_key(const struct vault *vault);

/*
 * Looks for the lock in what another vault has left: where a note beside the masters says, or,
 * where that is not this lock's, everywhere. Touches the lock secret.
 */
void lock_find(struct vault *vault);

/* There is a master again: the blocks, if there are any, mean nothing any more. */
void lock_forget(struct vault *vault);

/*
 * Sees to it that there is room for the blocks of a vault that is not locked, if there is any. For
 * how many: one is enough.
 */
size_t lock_keep_room(struct vault *vault);

/*
 * If what lies there is that room, and behind the ledger's line, it is elsewhere from now on.
 * Returns 0, or -EAGAIN as ledger_take_before.
 */
int lock_bring_forward(struct vault *vault, uint64_t offset);
