/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_lock.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/failpoint.h"
#include "daemon/vault/vault_inside.h"

_Static_assert(COFFER_KEY_SIZE == crypto_secretbox_KEYBYTES, "a master is sealed like a key");
_Static_assert(LOCK_KEY_SIZE >= crypto_generichash_blake2b_KEYBYTES_MIN &&
		LOCK_KEY_SIZE <= crypto_generichash_blake2b_KEYBYTES_MAX,
	"the caller's key keys BLAKE2b");

/*
 * How the lock lies in the ledger. Its tag is keyed with the lock secret, for there is no ledger
 * key where it is looked for: a block that has it is the one that was written with this secret.
 */
struct lock_block {
	struct block block;
	uint8_t salt[LOCK_SALT_SIZE];
	uint8_t opslimit[sizeof(uint64_t)];
	uint8_t memlimit[sizeof(uint64_t)];
	uint8_t wrapped[LOCK_WRAPPED];
	uint8_t uid[sizeof(uint32_t)];
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[VAULT_DIGEST_SIZE];
	uint8_t note[LOCK_NOTE_SIZE];
};

_Static_assert(sizeof(struct lock_block) == 166, "a lock has no holes");
_Static_assert(sizeof(((struct coffer_lock_note *)0)->places) == LOCK_COPIES * sizeof(uint64_t),
	"each copy has its place in the note");
_Static_assert(sizeof(((struct coffer_lock_note *)0)->tag) == BLOCK_TAG_SIZE, "and the note a tag");

static const uint8_t wrap_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg lock wrap 1";
static const uint8_t tag_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg lock tag 1";
static const uint8_t place_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg lock place 1";
static const uint8_t no_salt[crypto_generichash_blake2b_SALTBYTES];

/* So many blocks are looked at while the lock secret is joined. */
#define LOOKS_A_VIEW 512

/* Every wrapping key is used once: a lock secret is drawn for each lock. */
static const uint8_t zero_nonce[crypto_secretbox_NONCEBYTES];

static void wrapping_key(uint8_t out[static COFFER_KEY_SIZE],
	const uint8_t key[static LOCK_KEY_SIZE], const uint8_t secret[static COFFER_KEY_SIZE])
{
	crypto_generichash_blake2b_salt_personal(out, COFFER_KEY_SIZE, secret, COFFER_KEY_SIZE, key,
		LOCK_KEY_SIZE, no_salt, wrap_personal);
}

static void lock_tag(const struct lock_block *block, const uint8_t secret[static COFFER_KEY_SIZE],
	uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(block, sizeof(*block));

	crypto_generichash_blake2b_salt_personal(tag, BLOCK_TAG_SIZE, rest.data, rest.size, secret,
		COFFER_KEY_SIZE, no_salt, tag_personal);
}

static void places_tag(const struct coffer_lock_note *note,
	const uint8_t secret[static COFFER_KEY_SIZE], uint8_t tag[static BLOCK_TAG_SIZE])
{
	crypto_generichash_blake2b_salt_personal(tag, BLOCK_TAG_SIZE, (const uint8_t *)note->places,
		sizeof(note->places), secret, COFFER_KEY_SIZE, no_salt, place_personal);
}

bool vault_is_locked(const struct vault *vault)
{
	return coffer_is_locked(vault->coffer);
}

int vault_check_key(const struct vault *vault)
{
	if (vault_is_locked(vault))
		return STATUS_LOCKED;
	return coffer_alive(vault->coffer) ? 0 : -EKEYEXPIRED;
}

const struct vault_lock *vault_lock_of(const struct vault *vault)
{
	return vault_is_locked(vault) && vault->lock.known ? &vault->lock.what : NULL;
}

bool vault_is_blind(const struct vault *vault)
{
	return vault->blind;
}

/* -- room for it --------------------------------------------------------------------------- */

/* Room for one block; 0: there is none. */
static uint64_t take_room_for_lock(struct vault *vault)
{
	const size_t size = sizeof(struct lock_block);
	uint64_t offset;

	if (ledger_take(vault->ledger, size, &offset) < 0)
		return 0;
	/* Its page is there from now on. */
	sodium_memzero(ledger_at(vault->ledger, offset, size), size);
	vault->held += ledger_block(vault->ledger, offset);
	return offset;
}

size_t lock_keep_room(struct vault *vault)
{
	size_t count = 0;

	for (size_t i = 0; i < LOCK_COPIES; i++) {
		if (vault->lock_rooms[i] == 0)
			vault->lock_rooms[i] = take_room_for_lock(vault);
		count += vault->lock_rooms[i] != 0;
	}
	return count;
}

/* Where it is, or has just been, nobody finds a lock. */
static void wipe_room(struct vault *vault, uint64_t offset)
{
	struct lock_block *block;

	if (offset == 0)
		return;
	block = ledger_at(vault->ledger, offset, sizeof(*block));
	block_set_kind(block, BLOCK_NOTHING);
	sodium_memzero(block, sizeof(*block));
}

static uint64_t *room_at(struct vault *vault, uint64_t offset)
{
	for (size_t i = 0; i < LOCK_COPIES; i++)
		if (vault->lock_rooms[i] == offset)
			return &vault->lock_rooms[i];
	return NULL;
}

int lock_bring_forward(struct vault *vault, uint64_t offset)
{
	const size_t size = sizeof(struct lock_block);
	uint64_t *room = room_at(vault, offset);
	uint64_t to;
	int r;

	if (!room || !ledger_is_behind(vault->ledger, offset))
		return 0;
	r = ledger_take_before(vault->ledger, size, &to);
	if (r < 0)
		return r == -EAGAIN ? r : 0;
	sodium_memzero(ledger_at(vault->ledger, to, size), size);
	*room = to;
	ledger_give(vault->ledger, offset);
	return 0;
}

/* -- locking ------------------------------------------------------------------------------- */

static void write_lock_block(struct lock_block *block, const struct lock *lock)
{
	const struct vault_lock *what = &lock->what;

	*block = (struct lock_block){ 0 };
	memcpy(block->salt, what->salt, sizeof(block->salt));
	bytes_put64(block->opslimit, what->opslimit);
	bytes_put64(block->memlimit, what->memlimit);
	memcpy(block->wrapped, lock->wrapped, sizeof(block->wrapped));
	bytes_put32(block->uid, what->uid);
	memcpy(block->number, what->number, sizeof(block->number));
	memcpy(block->digest, what->digest, sizeof(block->digest));
	memcpy(block->note, what->note, sizeof(block->note));
}

static void wrap_master(struct vault *vault, const uint8_t key[static LOCK_KEY_SIZE],
	const uint8_t secret[static COFFER_KEY_SIZE])
{
	const uint8_t *master = coffer_master(vault->coffer, COFFER_VAULT);
	uint8_t wrapping[COFFER_KEY_SIZE];

	if (!master)
		abort();
	wrapping_key(wrapping, key, secret);
	crypto_secretbox_easy(vault->lock.wrapped, master, COFFER_KEY_SIZE, zero_nonce, wrapping);
	sodium_memzero(wrapping, sizeof(wrapping));
}

static void write_lock(
	struct vault *vault, uint64_t offset, const uint8_t secret[static COFFER_KEY_SIZE])
{
	struct lock_block *block;

	if (offset == 0)
		return;
	block = ledger_at(vault->ledger, offset, sizeof(*block));
	write_lock_block(block, &vault->lock);
	lock_tag(block, secret, block->block.tag);
	block_set_kind(block, BLOCK_LOCK);
}

/* Whoever comes next need not look for it. */
static void note_places(struct vault *vault, const uint8_t secret[static COFFER_KEY_SIZE])
{
	struct coffer_lock_note *note = coffer_lock_note(vault->coffer);

	if (!note)
		abort();
	memcpy(note->places, vault->lock_rooms, sizeof(note->places));
	places_tag(note, secret, note->tag);
}

int vault_lock(
	struct vault *vault, const struct vault_lock *lock, const uint8_t key[static LOCK_KEY_SIZE])
{
	uint8_t secret[COFFER_KEY_SIZE];

	if (lock_keep_room(vault) == 0)
		return STATUS_LIMIT;
	randombytes_buf(secret, sizeof(secret));
	wrap_master(vault, key, secret);
	vault->lock.what = *lock;
	vault->lock.known = true;
	for (size_t i = 0; i < LOCK_COPIES; i++)
		write_lock(vault, vault->lock_rooms[i], secret);
	note_places(vault, secret);
	failpoint("locking");
	coffer_lock(vault->coffer, secret);
	sodium_memzero(secret, sizeof(secret));
	failpoint("locked");
	return 0;
}

/* -- unlocking ----------------------------------------------------------------------------- */

void lock_forget(struct vault *vault)
{
	struct coffer_lock_note *note = coffer_lock_note(vault->coffer);

	/* A blind one has not this ledger: whoever adopts that wipes what nobody claims. */
	for (size_t i = 0; i < LOCK_COPIES && vault->lock.known && !vault->blind; i++)
		wipe_room(vault, vault->lock_rooms[i]);
	/* Where nobody can adopt it the note is needed once more. */
	if (note && !vault->blind)
		*note = (struct coffer_lock_note){ 0 };
	vault->lock = (struct lock){ 0 };
}

/* The master, into secret memory: 0 or STATUS_NO. */
static int unwrap_master(struct vault *vault, uint8_t master[static COFFER_KEY_SIZE],
	const uint8_t key[static LOCK_KEY_SIZE])
{
	const uint8_t *secret = coffer_lock_secret(vault->coffer);
	uint8_t wrapping[COFFER_KEY_SIZE];
	int r;

	if (!secret)
		abort();
	wrapping_key(wrapping, key, secret);
	r = crypto_secretbox_open_easy(
		master, vault->lock.wrapped, sizeof(vault->lock.wrapped), zero_nonce, wrapping);
	sodium_memzero(wrapping, sizeof(wrapping));
	return r == 0 ? 0 : STATUS_NO;
}

int vault_unlock(struct vault *vault, const uint8_t key[static LOCK_KEY_SIZE])
{
	uint8_t master[COFFER_KEY_SIZE];
	int r = vault->lock.known ? unwrap_master(vault, master, key) : STATUS_INTEGRITY;

	if (r == 0) {
		failpoint("unlocking");
		coffer_unlock(vault->coffer, master);
		failpoint("unlocked");
		lock_forget(vault);
	}
	sodium_memzero(master, sizeof(master));
	return r;
}

void vault_purge_blindly(struct vault *vault)
{
	struct coffer_notes *notes = coffer_notes(vault->coffer);

	/* Whoever adopts what is there knows that it is no loss. */
	if (notes)
		atomic_store(&notes->purging, 1);
	coffer_replace(vault->coffer, COFFER_VAULT);
	lock_forget(vault);
}

/* -- looking for it ------------------------------------------------------------------------ */

static void read_lock_block(struct lock *lock, const struct lock_block *block)
{
	struct vault_lock *what = &lock->what;

	memcpy(what->salt, block->salt, sizeof(what->salt));
	what->opslimit = bytes_get64(block->opslimit);
	what->memlimit = bytes_get64(block->memlimit);
	memcpy(lock->wrapped, block->wrapped, sizeof(lock->wrapped));
	what->uid = bytes_get32(block->uid);
	memcpy(what->number, block->number, sizeof(what->number));
	memcpy(what->digest, block->digest, sizeof(what->digest));
	memcpy(what->note, block->note, sizeof(what->note));
}

/* Whether the lock is there; then it is known. The caller forgets the view. */
static bool look_for_lock(struct vault *vault, uint64_t offset)
{
	const struct lock_block *block;
	const uint8_t *secret;
	uint8_t tag[BLOCK_TAG_SIZE];

	if (ledger_block(vault->ledger, offset) < sizeof(*block))
		return false;
	block = ledger_at(vault->ledger, offset, sizeof(*block));
	if (block_kind(block) != BLOCK_LOCK)
		return false;
	secret = coffer_lock_secret(vault->coffer);
	if (!secret)
		return false;
	lock_tag(block, secret, tag);
	if (sodium_memcmp(tag, block->block.tag, sizeof(tag)) != 0)
		return false;
	read_lock_block(&vault->lock, block);
	vault->lock.known = true;
	return true;
}

/* Whether the note beside the masters is this lock's: then its blocks are nowhere else. */
static bool look_where_noted(struct vault *vault)
{
	const struct coffer_lock_note *note = coffer_lock_note(vault->coffer);
	const uint8_t *secret = coffer_lock_secret(vault->coffer);
	uint8_t tag[BLOCK_TAG_SIZE];

	if (!note || !secret)
		return false;
	places_tag(note, secret, tag);
	if (sodium_memcmp(tag, note->tag, sizeof(tag)) != 0)
		return false;
	for (size_t i = 0; i < LOCK_COPIES && !vault->lock.known; i++)
		(void)look_for_lock(vault, note->places[i]);
	return true;
}

/*
 * Whoever chooses ciphertext can make it look like a lock at every place: it is gone through only
 * where the note is not what was written, or was written by a program that knows of none.
 */
static void look_everywhere(struct vault *vault)
{
	uint64_t begin = 0;
	uint64_t end = 0;
	bool found = false;

	while (!found && ledger_written(vault->ledger, end, &begin, &end)) {
		if (begin == 0)
			begin = LEDGER_UNIT;
		for (uint64_t at = begin; !found && at + sizeof(struct lock_block) <= end;
			at += LEDGER_UNIT) {
			found = look_for_lock(vault, at);
			/* Ciphertext may have the kind: not a join for each, and no view for long.
			 */
			if (at / LEDGER_UNIT % LOOKS_A_VIEW == 0)
				coffer_forget(vault->coffer);
		}
	}
}

void lock_find(struct vault *vault)
{
	if (!look_where_noted(vault))
		look_everywhere(vault);
	coffer_forget(vault->coffer);
}
