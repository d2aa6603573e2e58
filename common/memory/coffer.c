/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/coffer.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define GENERATIONS 2
#define LEFT_SIZE ((size_t)COFFER_MASTERS * COFFER_KEY_SIZE)

/*
 * In the index, beside the generation: it has a lock secret where the vault's master was. No bit
 * that is overwritten makes one of the two out of the other.
 */
#define LOCKED 0x10c4ed00u

/* A master's mask and the whole of left are one hash long. */
_Static_assert(LEFT_SIZE == crypto_generichash_BYTES_MAX, "left is masked by one BLAKE2b-512");

/* Sixteen bytes, as BLAKE2b's personalisation wants them. */
static const uint8_t ledger_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg ledger key 1";
static const uint8_t audit_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg audit seed 1";
static const uint8_t no_salt[crypto_generichash_blake2b_SALTBYTES];

/*
 * The parts at rest. Each left stands between canaries; the pre-keys follow in pages (or runs) of
 * their own. `index` names the generation that counts, and what it has; the other one is wiped.
 */
struct coffer_keys {
	_Atomic uint32_t index;
	_Atomic uint32_t alive;
	uint32_t format;
	struct guard guard; /* what the canaries here are made of: a crash must not part them */
	struct coffer_notes notes;
	uint8_t left_slot[GENERATIONS][GUARD_SIZE + LEFT_SIZE + GUARD_SIZE];
	/* Last: who does not know them leaves zeros there. */
	struct coffer_chain chain;
	struct coffer_guesser guessers[COFFER_GUESSERS];
	struct coffer_lock_note lock_note;
};

static size_t header_size(size_t prekey)
{
	return prekey; /* the same room as a pre-key: a page in the daemon */
}

size_t coffer_keys_size(size_t prekey)
{
	return header_size(prekey) + GENERATIONS * prekey;
}

size_t coffer_view_size(void)
{
	return guard_span(sizeof(struct coffer_view));
}

static uint8_t *left_of(const struct coffer *coffer, uint32_t generation)
{
	return coffer->keys->left_slot[generation] + GUARD_SIZE;
}

static uint8_t *right_of(const struct coffer *coffer, uint32_t generation)
{
	return (uint8_t *)coffer->keys + header_size(coffer->prekey) + generation * coffer->prekey;
}

static bool is_index(uint32_t index)
{
	return index < GENERATIONS || (index ^ LOCKED) < GENERATIONS;
}

static uint32_t read_index(const struct coffer *coffer)
{
	uint32_t index = atomic_load_explicit(&coffer->keys->index, memory_order_acquire);

	if (!is_index(index))
		abort();
	return index;
}

static uint32_t current(const struct coffer *coffer)
{
	return read_index(coffer) % GENERATIONS;
}

static void mask_of(const struct coffer *coffer, uint32_t generation, uint8_t mask[LEFT_SIZE])
{
	crypto_generichash(mask, LEFT_SIZE, right_of(coffer, generation), coffer->prekey, NULL, 0);
}

static void exclusive_or(uint8_t *out, const uint8_t *a, const uint8_t *b)
{
	for (size_t i = 0; i < LEFT_SIZE; i++)
		out[i] = a[i] ^ b[i];
}

static void wipe_generation(struct coffer *coffer, uint32_t generation)
{
	sodium_memzero(left_of(coffer, generation), LEFT_SIZE);
	sodium_memzero(right_of(coffer, generation), coffer->prekey);
}

static void check_canaries(const struct coffer *coffer)
{
	guard_check(&coffer->keys->guard, left_of(coffer, 0), LEFT_SIZE);
	guard_check(&coffer->keys->guard, left_of(coffer, 1), LEFT_SIZE);
	guard_check(coffer->guard, (uint8_t *)coffer->view, sizeof(*coffer->view));
}

/* Lets `next` count, and only then wipes the older one: a crash before leaves that one whole. */
static void advance(struct coffer *coffer, uint32_t next, bool locked)
{
	atomic_store_explicit(
		&coffer->keys->index, next | (locked ? LOCKED : 0), memory_order_release);
	wipe_generation(coffer, !next);
}

bool coffer_alive(const struct coffer *coffer)
{
	return coffer->keys && coffer->keys->alive;
}

bool coffer_is_locked(const struct coffer *coffer)
{
	return coffer_alive(coffer) && read_index(coffer) >= LOCKED;
}

static void furnish(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard)
{
	if (prekey < sizeof(struct coffer_keys))
		abort();
	*coffer = (struct coffer){ .keys = keys, .prekey = prekey, .guard = guard };
	coffer->view = (struct coffer_view *)(void *)guard_arm(guard, view, sizeof(*coffer->view));
	sodium_memzero(coffer->view, sizeof(*coffer->view));
}

void coffer_init(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard)
{
	uint8_t mask[LEFT_SIZE];
	uint8_t masters[LEFT_SIZE];

	memset(keys, 0, coffer_keys_size(prekey));
	furnish(coffer, keys, prekey, view, guard);
	coffer->keys->format = COFFER_FORMAT;
	coffer->keys->guard = *guard;
	for (uint32_t i = 0; i < GENERATIONS; i++)
		guard_arm(guard, coffer->keys->left_slot[i], LEFT_SIZE);
	randombytes_buf(masters, sizeof(masters));
	randombytes_buf(right_of(coffer, 0), prekey);
	mask_of(coffer, 0, mask);
	exclusive_or(left_of(coffer, 0), masters, mask);
	/* From here on they can be adopted. */
	atomic_store_explicit(&coffer->keys->alive, 1, memory_order_release);
	sodium_memzero(mask, sizeof(mask));
	sodium_memzero(masters, sizeof(masters));
}

/* Nobody takes the lock secret for a master. */
static void set_secret_apart(struct coffer_view *view)
{
	memcpy(view->lock, view->master[COFFER_VAULT], sizeof(view->lock));
	sodium_memzero(view->master[COFFER_VAULT], sizeof(view->master[COFFER_VAULT]));
}

const struct coffer_view *coffer_view(struct coffer *coffer)
{
	uint8_t mask[LEFT_SIZE];
	uint32_t generation;

	if (!coffer_alive(coffer))
		return NULL;
	if (coffer->viewing)
		return coffer->view;
	check_canaries(coffer);
	generation = current(coffer);
	mask_of(coffer, generation, mask);
	exclusive_or((uint8_t *)coffer->view->master, left_of(coffer, generation), mask);
	sodium_memzero(mask, sizeof(mask));
	if (coffer_is_locked(coffer))
		set_secret_apart(coffer->view);
	coffer->viewing = true;
	return coffer->view;
}

const uint8_t *coffer_master(struct coffer *coffer, enum coffer_master master)
{
	const struct coffer_view *view = coffer_view(coffer);

	if (!view || (master == COFFER_VAULT && coffer_is_locked(coffer)))
		return NULL;
	return view->master[master];
}

const uint8_t *coffer_lock_secret(struct coffer *coffer)
{
	return coffer_is_locked(coffer) ? coffer_view(coffer)->lock : NULL;
}

int coffer_check(const void *keys)
{
	const struct coffer_keys *left = keys;

	if (!left->alive)
		return -ENODATA;
	if (left->format != COFFER_FORMAT || !is_index(atomic_load(&left->index)))
		return -EBADMSG;
	for (uint32_t i = 0; i < GENERATIONS; i++)
		if (!guard_intact(&left->guard, left->left_slot[i] + GUARD_SIZE, LEFT_SIZE))
			return -EBADMSG;
	return 0;
}

int coffer_adopt(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard)
{
	int r = coffer_check(keys);

	*coffer = (struct coffer){ 0 };
	if (r < 0)
		return r;
	furnish(coffer, keys, prekey, view, guard);
	/* A re-mask that was interrupted has left a generation that does not count. */
	wipe_generation(coffer, !current(coffer));
	return 0;
}

struct coffer_notes *coffer_notes(const struct coffer *coffer)
{
	return coffer_alive(coffer) ? &coffer->keys->notes : NULL;
}

struct coffer_chain *coffer_chain(const struct coffer *coffer)
{
	return coffer_alive(coffer) ? &coffer->keys->chain : NULL;
}

struct coffer_guesser *coffer_guessers(const struct coffer *coffer)
{
	return coffer_alive(coffer) ? coffer->keys->guessers : NULL;
}

struct coffer_lock_note *coffer_lock_note(const struct coffer *coffer)
{
	return coffer_alive(coffer) ? &coffer->keys->lock_note : NULL;
}

int coffer_audit_seed(struct coffer *coffer, uint8_t seed[static COFFER_SEED_SIZE])
{
	const uint8_t *master = coffer_master(coffer, COFFER_VAULT);

	if (!master)
		return -EKEYEXPIRED;
	crypto_generichash_blake2b_salt_personal(
		seed, COFFER_SEED_SIZE, NULL, 0, master, COFFER_KEY_SIZE, no_salt, audit_personal);
	return 0;
}

/* It hangs on the vault master, so that a purge kills it too. */
const uint8_t *coffer_ledger_key(struct coffer *coffer)
{
	const uint8_t *master = coffer_master(coffer, COFFER_VAULT);

	if (!master)
		return NULL;
	if (!coffer->derived)
		crypto_generichash_blake2b_salt_personal(coffer->view->ledger,
			sizeof(coffer->view->ledger), NULL, 0, master, COFFER_KEY_SIZE, no_salt,
			ledger_personal);
	coffer->derived = true;
	return coffer->view->ledger;
}

void coffer_forget(struct coffer *coffer)
{
	if (!coffer->view)
		return;
	guard_check(coffer->guard, (uint8_t *)coffer->view, sizeof(*coffer->view));
	sodium_memzero(coffer->view, sizeof(*coffer->view));
	coffer->viewing = coffer->derived = false;
}

/*
 * The old mask is taken off and the new one put on in one step, so that the masters are in one
 * piece nowhere meanwhile. `change` is what the masters change by; NULL for a re-mask.
 */
static void renew(struct coffer *coffer, const uint8_t change[LEFT_SIZE], bool locked)
{
	uint32_t now = current(coffer);
	uint32_t next = !now;
	uint8_t old_mask[LEFT_SIZE];
	uint8_t new_mask[LEFT_SIZE];
	uint8_t *left = left_of(coffer, next);

	check_canaries(coffer);
	randombytes_buf(right_of(coffer, next), coffer->prekey);
	mask_of(coffer, now, old_mask);
	mask_of(coffer, next, new_mask);
	exclusive_or(old_mask, old_mask, new_mask);
	if (change)
		exclusive_or(old_mask, old_mask, change);
	exclusive_or(left, left_of(coffer, now), old_mask);
	sodium_memzero(old_mask, sizeof(old_mask));
	sodium_memzero(new_mask, sizeof(new_mask));
	advance(coffer, next, locked);
}

void coffer_remask(struct coffer *coffer)
{
	if (coffer_alive(coffer))
		renew(coffer, NULL, coffer_is_locked(coffer));
}

/* A random change of a master is a random master: whatever it was, nobody can tell. */
void coffer_replace(struct coffer *coffer, enum coffer_master master)
{
	uint8_t change[LEFT_SIZE] = { 0 };

	if (!coffer_alive(coffer))
		return;
	coffer_forget(coffer);
	randombytes_buf(change + (size_t)master * COFFER_KEY_SIZE, COFFER_KEY_SIZE);
	renew(coffer, change, master != COFFER_VAULT && coffer_is_locked(coffer));
	sodium_memzero(change, sizeof(change));
}

/* What is where the vault's master lies gives way to `next`. */
static void exchange(struct coffer *coffer, const uint8_t *was, const uint8_t *next, bool locked)
{
	uint8_t change[LEFT_SIZE] = { 0 };

	for (size_t i = 0; i < COFFER_KEY_SIZE; i++)
		change[(size_t)COFFER_VAULT * COFFER_KEY_SIZE + i] = was[i] ^ next[i];
	coffer_forget(coffer);
	renew(coffer, change, locked);
	sodium_memzero(change, sizeof(change));
}

void coffer_lock(struct coffer *coffer, const uint8_t secret[static COFFER_KEY_SIZE])
{
	const uint8_t *master = coffer_master(coffer, COFFER_VAULT);

	if (!master)
		abort();
	exchange(coffer, master, secret, true);
}

void coffer_unlock(struct coffer *coffer, const uint8_t master[static COFFER_KEY_SIZE])
{
	const uint8_t *secret = coffer_lock_secret(coffer);

	if (!secret)
		abort();
	exchange(coffer, secret, master, false);
}

void coffer_destroy(struct coffer *coffer)
{
	if (!coffer->keys)
		return;
	coffer_forget(coffer);
	coffer->keys->alive = 0;
	wipe_generation(coffer, 0);
	wipe_generation(coffer, 1);
}
