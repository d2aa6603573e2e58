/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The coffer is included as source: a crash may come between any two of its steps, so each step
 * that draws, hashes or wipes takes a picture of the key memory as a crash there would leave it.
 */
#include <sodium.h>

static void step(void);

static void stepping_random(void *out, size_t size)
{
	step();
	randombytes_buf(out, size);
	step();
}

static int stepping_hash(uint8_t *out, size_t out_size, const uint8_t *in, unsigned long long size,
	const uint8_t *key, size_t key_size)
{
	int r;

	step();
	r = crypto_generichash(out, out_size, in, size, key, key_size);
	step();
	return r;
}

static void stepping_wipe(void *data, size_t size)
{
	step();
	sodium_memzero(data, size);
	step();
}

#define randombytes_buf stepping_random
#define crypto_generichash stepping_hash
#define sodium_memzero stepping_wipe
#include "common/memory/coffer.c"
#undef randombytes_buf
#undef crypto_generichash
#undef sodium_memzero

#include <check.h>

#include "tests/unit/claims.h"

#define PREKEY_MAX 4096
#define KEYS_MAX (3 * PREKEY_MAX)
#define PICTURES_MAX 64
static _Alignas(16) uint8_t keys[KEYS_MAX];
static _Alignas(16) uint8_t view[256];
static struct guard guard;
static struct coffer coffer;

/* Pictures are taken only while a test wants them. */
static uint8_t pictures[PICTURES_MAX][KEYS_MAX];
static size_t picture_count;
static bool picturing;

static void step(void)
{
	if (!picturing)
		return;
	ck_assert_uint_lt(picture_count, PICTURES_MAX);
	memcpy(pictures[picture_count++], coffer.keys, coffer_keys_size(coffer.prekey));
}

static inline void set_up_in(void *memory, size_t prekey)
{
	guard_init(&guard);
	coffer_init(&coffer, memory, prekey, view, &guard);
}

static inline void set_up(void)
{
	set_up_in(keys, PREKEY_MAX);
}

/* Both masters, as the coffer joins them now. */
struct masters {
	uint8_t bytes[COFFER_MASTERS][COFFER_KEY_SIZE];
	uint8_t ledger[COFFER_KEY_SIZE];
};

static inline struct masters masters_of(struct coffer *from)
{
	const struct coffer_view *now = coffer_view(from);
	struct masters masters;

	ck_assert_ptr_nonnull(now);
	memcpy(masters.bytes, now->master, sizeof(masters.bytes));
	memcpy(masters.ledger, coffer_ledger_key(from), sizeof(masters.ledger));
	coffer_forget(from);
	return masters;
}

static inline bool same(const struct masters *a, const struct masters *b, enum coffer_master master)
{
	return memcmp(a->bytes[master], b->bytes[master], COFFER_KEY_SIZE) == 0;
}

static inline bool holds(const uint8_t *memory, size_t size, const uint8_t *part, size_t part_size)
{
	return memmem(memory, size, part, part_size) != NULL;
}

/* Whether any 8 bytes in a row of a master lie in the memory. */
static inline bool holds_a_window(const uint8_t *memory, size_t size, const struct masters *masters)
{
	const uint8_t *bytes = (const uint8_t *)masters;

	for (size_t i = 0; i + 8 <= sizeof(*masters); i++)
		if (holds(memory, size, bytes + i, 8))
			return true;
	return false;
}

/* -- crashes ------------------------------------------------------------------------------- */

/* What the next process finds, with whatever half-written bytes in the generation that is idle. */
static inline struct masters masters_after_crash(const uint8_t *picture, bool torn)
{
	static _Alignas(16) uint8_t found_keys[KEYS_MAX];
	static _Alignas(16) uint8_t found_view[256];
	struct coffer found = coffer;
	uint32_t idle;

	memcpy(found_keys, picture, KEYS_MAX);
	memcpy(found_view, view, sizeof(view));
	found.keys = (struct coffer_keys *)(void *)found_keys;
	found.view = (struct coffer_view *)(void *)(found_view + GUARD_SIZE);
	found.viewing = false;
	idle = !current(&found);
	if (torn) {
		randombytes_buf(left_of(&found, idle), LEFT_SIZE);
		randombytes_buf(right_of(&found, idle), PREKEY_MAX / 2);
	}
	return masters_of(&found);
}

static inline void picture_all(void (*change)(void))
{
	picture_count = 0;
	picturing = true;
	change();
	picturing = false;
	memcpy(pictures[picture_count++], keys, sizeof(keys));
}

/* -- adopting ------------------------------------------------------------------------------ */

static struct coffer next;
static _Alignas(16) uint8_t next_view[256];
static struct guard next_guard;

/* What another process makes of the parts: it has a guard of its own. */
static inline int adopt(uint8_t *found, size_t prekey)
{
	guard_init(&next_guard);
	return coffer_adopt(&next, found, prekey, next_view, &next_guard);
}
