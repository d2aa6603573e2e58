/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/handle.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/error.h"
#include "client/lib/turn.h"

/* MemGuard's 512 bytes: enough to defeat an image of memory with bit errors. */
#define PREKEY_SIZE 512

/* A chunk to send, the message that announces it, and what either needs beside. */
#define BENCH_SIZE (7 * 4096)

/* Milliseconds between two re-masks, as far as calls come by: a library starts no timer. */
#define REMASK_MS 500

enum region { REGION_KEYS, REGION_STACK, REGION_BENCH, REGIONS };

static size_t aligned(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

static size_t keys_size(void)
{
	return aligned(sizeof(struct handle_keys)) + aligned(coffer_view_size()) +
		coffer_keys_size(PREKEY_SIZE);
}

static int map(struct mg_client *client, enum mg_memory need)
{
	struct os_memory *memory = &client->memory;
	int r;

	memory->count = REGIONS;
	memory->regions[REGION_KEYS].size = keys_size();
	memory->regions[REGION_STACK].size = locked_stack_size();
	memory->regions[REGION_BENCH].size = BENCH_SIZE;
	r = os_memory_map(memory, (enum os_memory_need)need);
	if (r == -EPERM)
		return error_say(MG_LIMIT, "guarded memory: %s", os_memory_advice(memory));
	return r < 0 ? error_say(MG_LIMIT, "guarded memory: %s", strerror(-r)) : MG_OK;
}

static void draw_masters(void *argument)
{
	struct mg_client *client = argument;
	uint8_t *keys = client->memory.regions[REGION_KEYS].data;
	uint8_t *view = keys + aligned(sizeof(struct handle_keys));

	guard_init(&client->keys->guard);
	coffer_init(&client->coffer, view + aligned(coffer_view_size()), PREKEY_SIZE, view,
		&client->keys->guard);
}

static void furnish(struct mg_client *client)
{
	const struct os_region *regions = client->memory.regions;

	client->keys = (struct handle_keys *)(void *)regions[REGION_KEYS].data;
	locked_stack_init(&client->stack, regions[REGION_STACK].data, regions[REGION_STACK].size);
	workbench_init(
		&client->bench, regions[REGION_BENCH].data, BENCH_SIZE, &client->keys->guard);
	handle_run(client, draw_masters, client);
	client->remasked_ms = connection_now_ms();
}

static int lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attributes;
	int r = pthread_mutexattr_init(&attributes);

	if (r != 0)
		return r;
	/* A callback that calls its own handle is told so instead of waiting for itself. */
	r = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
	if (r == 0)
		r = pthread_mutex_init(lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return r;
}

int handle_new(struct mg_client **clientp, enum mg_memory need)
{
	struct mg_client *client;
	int r;

	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	client = calloc(1, sizeof(*client));
	if (!client)
		return error_say(MG_LIMIT, "out of memory");
	client->connection.fd = -1;
	client->owner = getpid();
	client->need = need;
	r = map(client, need);
	if (r == MG_OK && lock_init(&client->lock) != 0) {
		os_memory_unmap(&client->memory);
		r = error_say(MG_LIMIT, "no lock for a handle");
	}
	if (r != MG_OK) {
		free(client);
		return r;
	}
	furnish(client);
	*clientp = client;
	return MG_OK;
}

void handle_free(struct mg_client *client)
{
	connection_finish(&client->connection);
	if (client->owner == getpid()) {
		os_memory_unmap(&client->memory);
		pthread_mutex_destroy(&client->lock);
	}
	free(client);
}

/* All but what says that this thread itself went wrong. */
static void block_signals(sigset_t *before)
{
	static const int faults[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_BLOCK, &set, before);
}

void handle_run(struct mg_client *client, void (*function)(void *), void *argument)
{
	sigset_t before;

	block_signals(&before);
	locked_stack_call(&client->stack, function, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int handle_enter(struct mg_client *client, uint64_t deadline_ms)
{
	int r;

	if (client->owner != getpid())
		return error_say(MG_INVALID, "a handle does not go over a fork: open another");
	r = turn_take(&client->lock, deadline_ms);
	if (r == -EDEADLK)
		return error_say(MG_INVALID, "a callback cannot call the handle that runs it");
	if (r == -ETIMEDOUT)
		return error_say(MG_TIMEOUT, "another thread's call on this handle did not end");
	return r == 0 ? MG_OK : error_say(MG_INTERNAL, "the handle's lock: %s", strerror(-r));
}

static void wipe_bench(void *argument)
{
	struct mg_client *client = argument;

	workbench_wipe(&client->bench);
}

void handle_clear(struct mg_client *client)
{
	handle_run(client, wipe_bench, client);
	client->messages = (struct messages){ 0 };
	client->floor = client->parsed = 0;
}

static void rest(void *argument)
{
	struct mg_client *client = argument;
	uint64_t now = connection_now_ms();

	sodium_memzero(client->keys->value, sizeof(client->keys->value));
	coffer_forget(&client->coffer);
	if (now - client->remasked_ms < REMASK_MS)
		return;
	coffer_remask(&client->coffer);
	client->remasked_ms = now;
}

void handle_leave(struct mg_client *client)
{
	handle_clear(client);
	handle_run(client, rest, client);
	pthread_mutex_unlock(&client->lock);
}
