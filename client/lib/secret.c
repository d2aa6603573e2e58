/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/error.h"
#include "client/lib/mgclient.h"
#include "common/memory/guard.h"
#include "common/memory/os_memory.h"

/*
 * A value in pages of its own, guard pages on both sides. Inside, a canary stands in front of it,
 * and behind it canary bytes fill the rest of the pages. What the canary should be lies in the
 * first 16 bytes; those are the canary in front.
 */
struct mg_secret {
	struct os_memory memory;
	uint8_t *data;
	size_t size;
	pid_t owner; /* after fork the pages are not there */
	bool frozen;
};

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

static enum os_memory_need need_of(enum mg_memory memory)
{
	return (enum os_memory_need)memory;
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

int mg_secret_new(struct mg_secret **secretp, size_t size, enum mg_memory memory)
{
	struct mg_secret *secret;
	int r;

	*secretp = NULL;
	if (size == 0)
		return error_say(MG_INVALID, "a secret has at least one byte");
	if (memory > MG_MEMORY_REQUIRE_SECRET)
		return error_say(MG_INVALID, "no such protection of memory");
	if (size > SIZE_MAX / 4)
		return error_say(MG_LIMIT, "%zu bytes are more than this machine has", size);
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	secret = calloc(1, sizeof(*secret));
	if (!secret)
		return error_say(MG_LIMIT, "out of memory");
	secret->memory.count = 1;
	secret->memory.regions[0].size = GUARD_SIZE + size + GUARD_SIZE;
	r = os_memory_map(&secret->memory, need_of(memory));
	if (r < 0) {
		say_refused(&secret->memory, size, r);
		free(secret);
		return MG_LIMIT;
	}
	secret->owner = getpid();
	secret->size = size;
	secret->data = pages_of(secret) + GUARD_SIZE;
	randombytes_buf(pages_of(secret), GUARD_SIZE);
	fill_slack(secret);
	*secretp = secret;
	return MG_OK;
}

const void *mg_secret_data(const struct mg_secret *secret)
{
	return secret ? secret->data : NULL;
}

void *mg_secret_writable(struct mg_secret *secret)
{
	return secret && !secret->frozen ? secret->data : NULL;
}

size_t mg_secret_size(const struct mg_secret *secret)
{
	return secret ? secret->size : 0;
}

int mg_secret_freeze(struct mg_secret *secret)
{
	int r;

	if (!secret)
		return error_say(MG_INVALID, "no secret");
	r = os_memory_protect(&secret->memory, 0, OS_MEMORY_READ);
	if (r < 0)
		return error_errno(r, "the secret cannot be made read-only");
	secret->frozen = true;
	return MG_OK;
}

void mg_secret_free(struct mg_secret *secret)
{
	if (!secret)
		return;
	if (secret->owner == getpid()) {
		if (!slack_intact(secret))
			abort();
		os_memory_unmap(&secret->memory);
	}
	free(secret);
}

bool mg_secret_equal(const struct mg_secret *secret, const void *bytes, size_t size)
{
	return secret && secret->size == size && sodium_memcmp(secret->data, bytes, size) == 0;
}

void mg_secret_cleanup(struct mg_secret **secretp)
{
	mg_secret_free(*secretp);
	*secretp = NULL;
}
