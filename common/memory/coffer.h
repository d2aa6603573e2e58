/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/guard.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Two 32-byte masters that are nowhere in one piece at rest: left is both masters side by side
 * XOR the 64 bytes of BLAKE2b-512 of right, right being a pre-key of random bytes. Both parts
 * change at every re-mask; the masters do not. There are two generations of the parts and an
 * atomic index, so that a crash in the middle of a re-mask loses nothing.
 *
 * While the coffer is locked a secret lies where the vault's master did, which is nowhere then:
 * whoever has locked it keeps the master, wrapped under a key that takes this secret to make. The
 * same index tells which of the two it is, so that there is no moment in between.
 *
 * The method is MemGuard's Coffer; the pre-key instead of a 32-byte right half is what defeats an
 * image of memory that is smeared or has bit errors.
 *
 * Everything here touches keys: call it on the locked stack. Not safe for several threads at once;
 * the owner serialises.
 */
enum coffer_master { COFFER_VAULT, COFFER_CHANNEL, COFFER_MASTERS };

#define COFFER_KEY_SIZE 32 /* bytes of a master */

/* The masters in one piece. Exists in secret memory only, for the instant of use. */
struct coffer_view {
	uint8_t master[COFFER_MASTERS][COFFER_KEY_SIZE]; /* while locked, the vault's is zeros */
	uint8_t ledger[COFFER_KEY_SIZE]; /* coffer_ledger_key's, once it was asked for */
	uint8_t lock[COFFER_KEY_SIZE];   /* the secret, while locked; else zeros */
};

/* What the owner notes beside the parts: it lives as long as the masters do. All zero at first. */
struct coffer_notes {
	_Atomic uint64_t number;  /* the highest that was given away */
	_Atomic uint32_t purging; /* not 0: what rests under an older vault master is being wiped */
};

/*
 * The same of a chain of lines elsewhere: the last one that was written, and the last one of those
 * that are being written. Its owner says what the bytes are. All zero at first.
 */
struct coffer_chain {
	uint64_t written;
	uint64_t writing;
	uint8_t written_hash[32];
	uint8_t writing_hash[32];
};

/*
 * The same of who has brought wrong keys to unlock it, and of how long that is held against him.
 * Its owner says what the times are. All zero at first.
 */
struct coffer_guesser {
	uint32_t uid;
	uint32_t wrong; /* 0: nothing is held against anybody here */
	uint64_t since_ms;
	uint64_t until_ms;
};

#define COFFER_GUESSERS 2

/*
 * The same of where whoever has locked it keeps what unlocks it, and of what proves that it is
 * there. Its owner says what the bytes are. All zero at first.
 */
struct coffer_lock_note {
	uint64_t places[2];
	uint8_t tag[16];
};

#define COFFER_SEED_SIZE 32 /* bytes */

struct coffer_keys;

struct coffer {
	struct coffer_keys *keys; /* in secret memory: the parts */
	size_t prekey;            /* bytes of the pre-key */
	struct coffer_view *view; /* in secret memory */
	const struct guard *guard;
	bool viewing; /* the view holds the masters now */
	bool derived; /* and the ledger key */
};

/* Bytes of secret memory that the parts take with a pre-key of `prekey` bytes (512 or more). */
size_t coffer_keys_size(size_t prekey);

/* Bytes of secret memory that the view takes with its canaries. */
size_t coffer_view_size(void);

/*
 * Draws both masters. `keys` is page or 16-byte aligned memory of coffer_keys_size bytes, `view` of
 * coffer_view_size bytes; both are secret memory and outlive the coffer.
 */
void coffer_init(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard);

/*
 * The same over parts that a process before this one has left, in pages that outlived it; what it
 * left half done is finished. Returns 0; -ENODATA where nobody has drawn masters yet; -EBADMSG when
 * the parts are of another format or were overwritten.
 */
int coffer_adopt(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard);

/*
 * The format of the parts that this program writes and reads. One that does not know what locking
 * is takes the index of locked ones for one that was overwritten, and leaves them as they are.
 */
#define COFFER_FORMAT 1

/* Whether coffer_adopt would read these parts: 0, -ENODATA or -EBADMSG. Touches no key. */
int coffer_check(const void *keys);

/* The notes beside the parts; NULL once the coffer is destroyed. */
struct coffer_notes *coffer_notes(const struct coffer *coffer);

/* The notes of a chain beside them; NULL once the coffer is destroyed. */
struct coffer_chain *coffer_chain(const struct coffer *coffer);

/* The COFFER_GUESSERS notes of guessers beside them; NULL once the coffer is destroyed. */
struct coffer_guesser *coffer_guessers(const struct coffer *coffer);

/* The note of a lock beside them; NULL once the coffer is destroyed. */
struct coffer_lock_note *coffer_lock_note(const struct coffer *coffer);

/*
 * What the keys of the audit log are made from, by the vault's master: `seed` is in secret memory.
 * Returns 0, or -EKEYEXPIRED while the coffer is locked and once it is destroyed.
 */
int coffer_audit_seed(struct coffer *coffer, uint8_t seed[static COFFER_SEED_SIZE]);

/*
 * The masters, joined now or still joined from a moment ago; NULL once the coffer is destroyed.
 * Valid until coffer_forget. Nothing allocates, logs or purges while it uses the view.
 */
const struct coffer_view *coffer_view(struct coffer *coffer);

/* The bytes of one master in the view; NULL also for the vault's while the coffer is locked. */
const uint8_t *coffer_master(struct coffer *coffer, enum coffer_master master);

/*
 * The COFFER_KEY_SIZE bytes that authenticate record headers, derived from the vault's master once
 * a view; otherwise as coffer_master.
 */
const uint8_t *coffer_ledger_key(struct coffer *coffer);

/* Wipes the view. */
void coffer_forget(struct coffer *coffer);

/* Draws a new pre-key: both parts change, the masters stay. */
void coffer_remask(struct coffer *coffer);

/*
 * Draws one master anew, and a new pre-key with it. What rested under the old one is dead. Of a
 * locked coffer the vault's new master takes the place of the lock secret: it is locked no more,
 * and nobody can unlock what was.
 */
void coffer_replace(struct coffer *coffer, enum coffer_master master);

/*
 * Puts a secret where the vault's master is, under a new pre-key, and wipes both generations of the
 * old parts: the master is the caller's to bring back. The coffer must not be locked.
 */
void coffer_lock(struct coffer *coffer, const uint8_t secret[static COFFER_KEY_SIZE]);

/* The other way round: the lock secret is gone then. The coffer must be locked. */
void coffer_unlock(struct coffer *coffer, const uint8_t master[static COFFER_KEY_SIZE]);

/* Whether it is locked; false once it is destroyed. Touches no key. */
bool coffer_is_locked(const struct coffer *coffer);

/* The lock secret in the view; NULL unless the coffer is locked. */
const uint8_t *coffer_lock_secret(struct coffer *coffer);

/* Wipes everything. Later calls of coffer_view give NULL, the others do nothing. */
void coffer_destroy(struct coffer *coffer);

/* Whether coffer_view will still give a view. */
bool coffer_alive(const struct coffer *coffer);
