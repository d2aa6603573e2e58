/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/secret.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/pool.h"
#include "client/lib/memory/registry.h"
#include "client/lib/memory/strongroom.h"
#include "common/memory/guard.h"
#include "common/memory/locked_stack.h"

static bool is_shared(const struct mg_secret *secret)
{
	return secret->shared.slab != NULL;
}

/* -- pages of its own ---------------------------------------------------------------------- */

/*
 * Guard pages stand on both sides. Inside, a canary stands in front of the value, and behind it
 * canary bytes fill the rest of the pages. What the canary should be lies in the first 16 bytes;
 * those are the canary in front.
 */
static uint8_t *pages_of(const struct mg_secret *secret)
{
	return secret->memory.regions[0].data;
}

/* Each byte behind the value is the canary byte that its place asks for. */
static void fill_slack(struct mg_secret *secret)
{
	uint8_t *pages = pages_of(secret);

	for (size_t i = GUARD_SIZE + secret->size; i < secret->memory.regions[0].size; i++)
		pages[i] = pages[i % GUARD_SIZE];
}

static bool slack_intact(const struct mg_secret *secret)
{
	const uint8_t *pages = pages_of(secret);
	uint8_t difference = 0;

	for (size_t i = GUARD_SIZE + secret->size; i < secret->memory.regions[0].size; i++)
		difference |= pages[i] ^ pages[i % GUARD_SIZE];
	return difference == 0;
}

static bool is_limit(int error)
{
	return error == ENOMEM || error == EAGAIN;
}

static int say_refused(const struct os_memory *memory, size_t size, int error)
{
	if (error != -EPERM)
		return error_say(
			MG_LIMIT, "%zu bytes of guarded memory: %s", size, strerror(-error));
	if (is_limit(memory->lock_error) || is_limit(memory->secret_error))
		return error_say(MG_LIMIT,
			"%zu bytes are over the limit of locked memory (ulimit -l, LimitMEMLOCK=)",
			size);
	return error_say(
		MG_LIMIT, "%zu bytes of guarded memory: %s", size, os_memory_advice(memory));
}

/* Gives the secret pages of its own for secret->size bytes. */
static int take_pages(struct mg_secret *secret, enum mg_memory memory)
{
	int r;

	secret->memory.count = 1;
	secret->memory.regions[0].size = GUARD_SIZE + secret->size + GUARD_SIZE;
	r = os_memory_map(&secret->memory, (enum os_memory_need)memory);
	if (r < 0)
		return say_refused(&secret->memory, secret->size, r);
	randombytes_buf(pages_of(secret), GUARD_SIZE);
	fill_slack(secret);
	secret->data = pages_of(secret) + GUARD_SIZE;
	secret->view = secret->data;
	registry_enter(secret->owner);
	registry_add(secret);
	/* One that moves here stays of the generation it was. */
	if (!is_shared(secret))
		secret->generation = strongroom_generation();
	registry_leave();
	return MG_OK;
}

static void give_pages(struct mg_secret *secret)
{
	registry_enter(secret->owner);
	registry_remove(secret);
	registry_leave();
	if (!secret->memory.reservation)
		return; /* a purge took them */
	if (!slack_intact(secret))
		abort();
	os_memory_unmap(&secret->memory);
}

/* What cannot be made writable to be wiped goes altogether. */
static void wipe_pages(struct mg_secret *secret)
{
	enum os_memory_access access = secret->memory.regions[0].access;

	if (os_memory_protect(&secret->memory, 0, OS_MEMORY_WRITE) < 0) {
		os_memory_unmap(&secret->memory);
		return;
	}
	sodium_memzero(secret->data, secret->size);
	(void)os_memory_protect(&secret->memory, 0, access);
}

/* -- pages that are shared ----------------------------------------------------------------- */

static bool take_share(struct mg_secret *secret, enum mg_memory memory)
{
	if (secret->size > ARENA_OBJECT_MAX ||
		pool_take(&secret->shared, secret->size, (enum os_memory_need)memory, secret->owner,
			&secret->generation) < 0)
		return false;
	secret->data = secret->shared.data;
	secret->view = secret->shared.view;
	return true;
}

/* -- its life ------------------------------------------------------------------------------ */

/* An empty one, with all that is asked for checked. */
static int begin(struct mg_secret **secretp, size_t size, enum mg_memory memory, pid_t self)
{
	*secretp = NULL;
	if (size == 0)
		return error_say(MG_INVALID, "a secret has at least one byte");
	if (memory > MG_MEMORY_REQUIRE_SECRET)
		return error_say(MG_INVALID, "no such protection of memory");
	if (size > SIZE_MAX / 4)
		return error_say(MG_LIMIT, "%zu bytes are more than this machine has", size);
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	*secretp = calloc(1, sizeof(**secretp));
	if (!*secretp)
		return error_say(MG_LIMIT, "out of memory");
	(*secretp)->owner = self;
	(*secretp)->size = size;
	return MG_OK;
}

int mg_secret_new(struct mg_secret **secretp, size_t size, enum mg_memory memory)
{
	int r = begin(secretp, size, memory, own_self());

	if (r != MG_OK)
		return r;
	r = take_pages(*secretp, memory);
	if (r != MG_OK) {
		free(*secretp);
		*secretp = NULL;
	}
	return r;
}

/* Where no page can be shared, because of a limit or of the machine, it gets some of its own. */
int secret_new_closed(struct mg_secret **secretp, size_t size, enum mg_memory memory, pid_t self)
{
	int r = begin(secretp, size, memory, self);

	if (r == MG_OK && !take_share(*secretp, memory))
		r = take_pages(*secretp, memory);
	if (r != MG_OK) {
		free(*secretp);
		*secretp = NULL;
		return r;
	}
	(*secretp)->frozen = true;
	return MG_OK;
}

bool secret_alive(const struct mg_secret *secret)
{
	return secret && secret->data && secret->generation == strongroom_generation();
}

static int say_purged(void)
{
	return error_say(MG_GONE, "the secret was purged");
}

/* In one's turn, after a purge that came while the bytes were written. */
static void wipe_late(struct mg_secret *secret)
{
	if (is_shared(secret))
		sodium_memzero(secret->data, secret->size);
	else if (secret->memory.reservation)
		wipe_pages(secret);
}

/* A purge has its turn before this one, and is seen, or after it, and wipes what was written. */
int secret_settle(struct mg_secret *secret)
{
	bool alive;

	/* The bytes came through registers. */
	locked_stack_scrub();
	registry_enter(secret->owner);
	alive = secret_alive(secret);
	if (!alive)
		wipe_late(secret);
	registry_leave();
	return alive ? MG_OK : say_purged();
}

/* In its turn, so that a purge does not meet pages that somebody is just closing. */
static int protect(struct mg_secret *secret, enum os_memory_access access)
{
	int r = 0;

	registry_enter(secret->owner);
	if (secret_alive(secret))
		r = os_memory_protect(&secret->memory, 0, access);
	registry_leave();
	return r < 0 ? error_errno(r, "the secret's pages cannot be protected") : MG_OK;
}

int secret_close(struct mg_secret *secret)
{
	int r = secret_settle(secret);

	return r != MG_OK || is_shared(secret) ? r : protect(secret, OS_MEMORY_READ);
}

int secret_check(const struct mg_secret *secret)
{
	if (!secret)
		return error_say(MG_INVALID, "no secret");
	if (!secret->data)
		return error_say(MG_GONE, "the secret is destroyed");
	if (secret->owner != own_self())
		return error_say(MG_INVALID, "a secret does not go over a fork");
	return secret_alive(secret) ? MG_OK : say_purged();
}

int secret_check_writable(const struct mg_secret *secret)
{
	int r = secret_check(secret);

	return r == MG_OK && secret->frozen ? error_say(MG_FROZEN, "the secret is read-only") : r;
}

int mg_secret_freeze(struct mg_secret *secret)
{
	int r = secret_check(secret);

	if (r != MG_OK || secret->frozen)
		return r;
	r = protect(secret, OS_MEMORY_READ);
	secret->frozen = r == MG_OK;
	return r;
}

/* Out of the shared pages, into some of its own that are as strong. */
static int part(struct mg_secret *secret, enum mg_memory memory)
{
	const uint8_t *view = secret->view;
	int r = take_pages(secret, memory);

	if (r != MG_OK) {
		secret->data = secret->shared.data;
		secret->view = view;
		return r;
	}
	memcpy(secret->data, view, secret->size);
	pool_give(&secret->shared, secret->owner);
	return secret_settle(secret);
}

/* What is locked does not become unlocked by being moved. */
static enum mg_memory need_of(const struct mg_secret *secret)
{
	static const enum mg_memory needs[] = {
		[OS_MEMORY_PLAIN] = MG_MEMORY_PREFER_LOCK,
		[OS_MEMORY_LOCKED] = MG_MEMORY_REQUIRE_LOCK,
		[OS_MEMORY_SECRET] = MG_MEMORY_REQUIRE_SECRET,
	};

	return needs[arena_backend(&secret->shared)];
}

int mg_secret_melt(struct mg_secret *secret)
{
	int r = secret_check(secret);

	if (r != MG_OK || !secret->frozen)
		return r;
	r = is_shared(secret) ? part(secret, need_of(secret)) : protect(secret, OS_MEMORY_WRITE);
	secret->frozen = r != MG_OK;
	return r;
}

void mg_secret_destroy(struct mg_secret *secret)
{
	if (!secret || !secret->data)
		return;
	if (secret->owner == own_self()) {
		if (is_shared(secret))
			pool_give(&secret->shared, secret->owner);
		else
			give_pages(secret);
	}
	secret->data = NULL;
	secret->view = NULL;
	secret->size = 0;
	/* What the service has copied last may still lie in registers. */
	locked_stack_scrub();
}

/* In everybody's turn at once: what is made meanwhile is either wiped or of the new generation. */
void secret_purge_all(pid_t self)
{
	struct mg_secret *secret = NULL;

	registry_enter(self);
	pool_purge(self);
	while ((secret = registry_next(secret)) != NULL)
		if (secret->memory.reservation)
			wipe_pages(secret);
	registry_leave();
	locked_stack_scrub();
}

void mg_secret_free(struct mg_secret *secret)
{
	mg_secret_destroy(secret);
	free(secret);
}

void mg_secret_cleanup(struct mg_secret **secretp)
{
	mg_secret_free(*secretp);
	*secretp = NULL;
}
