/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/repeat.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"

/* Who asks for little is kept little: a ring doubles until it has REPEAT_KEPT entries. */
#define RING_MIN 8

/* Chains of a ring; a power of two, about as many as entries. */
#define RING_CHAINS 1024

/*
 * Users whose answers are kept. Ordinary users cannot be so many; one who maps uids by the thousand
 * pushes out whoever was silent for longest, and all of it stays below 52 MB.
 */
#define USERS_MAX 1024
#define USER_CHAINS 256

#define NONE UINT16_MAX

struct entry {
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[REPEAT_DIGEST_SIZE];
	uint64_t version;
	uint64_t place;
	int32_t code;
	uint16_t next; /* in its chain */
};

struct user {
	struct user *next; /* in its chain */
	uint32_t uid;
	uint64_t used; /* when it was kept last, in answers */
	struct entry *entries;
	size_t capacity;
	size_t count;
	size_t oldest; /* the next to give way, once the ring is full */
	uint16_t heads[RING_CHAINS];
};

struct repeats {
	uint8_t key[crypto_shorthash_KEYBYTES]; /* numbers are the clients' choice */
	uint64_t kept;
	void (*drop)(void *context, uint64_t place);
	void *context;
	size_t count;
	struct user *users[USER_CHAINS];
};

_Static_assert(REPEAT_KEPT < NONE, "an entry's place has 16 bits");

/* -- one user's ring ----------------------------------------------------------------------- */

static uint16_t *chain_of(const struct repeats *repeats, struct user *user,
	const uint8_t number[static MESSAGE_NUMBER_SIZE])
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint16_t word;

	crypto_shorthash(hash, number, MESSAGE_NUMBER_SIZE, repeats->key);
	memcpy(&word, hash, sizeof(word));
	return &user->heads[word % RING_CHAINS];
}

static struct entry *find_entry(const struct repeats *repeats, struct user *user,
	const uint8_t number[static MESSAGE_NUMBER_SIZE])
{
	uint16_t at = *chain_of(repeats, user, number);

	while (at != NONE && memcmp(user->entries[at].number, number, MESSAGE_NUMBER_SIZE) != 0)
		at = user->entries[at].next;
	return at == NONE ? NULL : &user->entries[at];
}

static void forget_place(const struct repeats *repeats, struct entry *entry)
{
	if (entry->place != 0 && repeats->drop)
		repeats->drop(repeats->context, entry->place);
	entry->place = 0;
}

static void unchain(const struct repeats *repeats, struct user *user, uint16_t place)
{
	uint16_t *at = chain_of(repeats, user, user->entries[place].number);

	while (*at != place)
		at = &user->entries[*at].next;
	*at = user->entries[place].next;
}

static int widen_ring(struct user *user)
{
	size_t capacity = user->capacity > 0 ? user->capacity * 2 : RING_MIN;
	struct entry *entries;

	if (capacity > REPEAT_KEPT)
		capacity = REPEAT_KEPT;
	entries = reallocarray(user->entries, capacity, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	user->entries = entries;
	user->capacity = capacity;
	return 0;
}

/* A place in the ring: a fresh one, or the oldest entry's. Returns 0 or -ENOMEM. */
static int take_place(const struct repeats *repeats, struct user *user, uint16_t *placep)
{
	int r;

	if (user->count == REPEAT_KEPT) {
		*placep = (uint16_t)user->oldest;
		unchain(repeats, user, *placep);
		forget_place(repeats, &user->entries[*placep]);
		user->oldest = (user->oldest + 1) % REPEAT_KEPT;
		return 0;
	}
	if (user->count == user->capacity) {
		r = widen_ring(user);
		if (r < 0)
			return r;
	}
	*placep = (uint16_t)user->count++;
	return 0;
}

static int add_entry(const struct repeats *repeats, struct user *user,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], struct entry **entryp)
{
	uint16_t *chain = chain_of(repeats, user, number);
	uint16_t place;
	int r = take_place(repeats, user, &place);

	if (r < 0)
		return r;
	memcpy(user->entries[place].number, number, MESSAGE_NUMBER_SIZE);
	user->entries[place].next = *chain;
	user->entries[place].place = 0;
	*chain = place;
	*entryp = &user->entries[place];
	return 0;
}

/* -- all users ----------------------------------------------------------------------------- */

static struct user *find_user(const struct repeats *repeats, uint32_t uid)
{
	struct user *user = repeats->users[uid % USER_CHAINS];

	while (user && user->uid != uid)
		user = user->next;
	return user;
}

static void drop_user(struct repeats *repeats, struct user *user)
{
	struct user **at = &repeats->users[user->uid % USER_CHAINS];

	while (*at != user)
		at = &(*at)->next;
	*at = user->next;
	repeats->count--;
	for (size_t i = 0; i < user->count; i++)
		forget_place(repeats, &user->entries[i]);
	free(user->entries);
	free(user);
}

/* Rare enough to look at all of them. */
static void drop_most_silent(struct repeats *repeats)
{
	struct user *silent = NULL;

	for (size_t i = 0; i < USER_CHAINS; i++)
		for (struct user *user = repeats->users[i]; user; user = user->next)
			if (!silent || user->used < silent->used)
				silent = user;
	if (silent)
		drop_user(repeats, silent);
}

static struct user *add_user(struct repeats *repeats, uint32_t uid)
{
	struct user **chain = &repeats->users[uid % USER_CHAINS];
	struct user *user = calloc(1, sizeof(*user));

	if (!user)
		return NULL;
	if (widen_ring(user) < 0) {
		free(user);
		return NULL;
	}
	if (repeats->count == USERS_MAX)
		drop_most_silent(repeats);
	for (size_t i = 0; i < RING_CHAINS; i++)
		user->heads[i] = NONE;
	user->uid = uid;
	user->next = *chain;
	*chain = user;
	repeats->count++;
	return user;
}

int repeats_new(
	struct repeats **repeatsp, void (*drop)(void *context, uint64_t place), void *context)
{
	struct repeats *repeats = calloc(1, sizeof(*repeats));

	if (!repeats)
		return -ENOMEM;
	crypto_shorthash_keygen(repeats->key);
	repeats->drop = drop;
	repeats->context = context;
	*repeatsp = repeats;
	return 0;
}

void repeats_clear(struct repeats *repeats)
{
	for (size_t i = 0; i < USER_CHAINS; i++)
		while (repeats->users[i])
			drop_user(repeats, repeats->users[i]);
}

void repeats_free(struct repeats *repeats)
{
	if (!repeats)
		return;
	repeats->drop = NULL;
	repeats_clear(repeats);
	free(repeats);
}

int repeats_find(const struct repeats *repeats, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t digest[static REPEAT_DIGEST_SIZE], struct repeat_answer *answer)
{
	struct user *user = find_user(repeats, uid);
	const struct entry *entry = user ? find_entry(repeats, user, number) : NULL;

	if (!entry)
		return 0;
	if (memcmp(entry->digest, digest, REPEAT_DIGEST_SIZE) != 0)
		return STATUS_CONFLICT;
	*answer = (struct repeat_answer){ .code = entry->code, .version = entry->version };
	return 1;
}

static int keep_answer(struct repeats *repeats, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t digest[static REPEAT_DIGEST_SIZE], const struct repeat_answer *answer)
{
	struct user *user = find_user(repeats, uid);
	struct entry *entry;
	int r = 0;

	if (!user)
		user = add_user(repeats, uid);
	if (!user)
		return -ENOMEM;
	entry = find_entry(repeats, user, number);
	if (!entry)
		r = add_entry(repeats, user, number, &entry);
	if (r < 0)
		return r;
	memcpy(entry->digest, digest, REPEAT_DIGEST_SIZE);
	if (entry->place != answer->place)
		forget_place(repeats, entry);
	entry->place = answer->place;
	entry->code = answer->code;
	entry->version = answer->version;
	user->used = ++repeats->kept;
	return 0;
}

int repeats_keep(struct repeats *repeats, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t digest[static REPEAT_DIGEST_SIZE], const struct repeat_answer *answer)
{
	int r = keep_answer(repeats, uid, number, digest, answer);

	/* What is not found here is not to be found by anybody. */
	if (r < 0 && answer->place != 0 && repeats->drop)
		repeats->drop(repeats->context, answer->place);
	return r;
}

bool repeats_moved(struct repeats *repeats, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint64_t from, uint64_t to)
{
	struct user *user = find_user(repeats, uid);
	struct entry *entry = user ? find_entry(repeats, user, number) : NULL;

	if (!entry || entry->place != from)
		return false;
	entry->place = to;
	return true;
}
