/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/handle.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/turn.h"

/* A chunk to send, the message that announces it, and what either needs beside. */
#define BENCH_SIZE (7 * 4096)

enum region { REGION_KEYS, REGION_STACK, REGION_BENCH, REGIONS };

static int map(struct mg_client *client, enum mg_memory need)
{
	struct os_memory *memory = &client->memory;
	int r;

	memory->count = REGIONS;
	memory->regions[REGION_KEYS].size = workroom_keys_size(sizeof(struct handle_keys));
	memory->regions[REGION_STACK].size = locked_stack_size();
	memory->regions[REGION_BENCH].size = BENCH_SIZE;
	r = os_memory_map(memory, (enum os_memory_need)need);
	if (r == -EPERM)
		return error_say(MG_LIMIT, "guarded memory: %s", os_memory_advice(memory));
	return r < 0 ? error_say(MG_LIMIT, "guarded memory: %s", strerror(-r)) : MG_OK;
}

static void furnish(struct mg_client *client)
{
	const struct os_region *regions = client->memory.regions;

	client->keys = (struct handle_keys *)(void *)regions[REGION_KEYS].data;
	workroom_init(&client->room, &regions[REGION_KEYS], sizeof(*client->keys),
		&client->keys->guard, &regions[REGION_STACK]);
	workbench_init(
		&client->bench, regions[REGION_BENCH].data, BENCH_SIZE, &client->keys->guard);
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
	client->owner = own_self();
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
	if (client->owner == own_self()) {
		os_memory_unmap(&client->memory);
		pthread_mutex_destroy(&client->lock);
	}
	free(client);
}

void handle_run(struct mg_client *client, void (*function)(void *), void *argument)
{
	workroom_run(&client->room, function, argument);
}

void handle_run_deep(struct mg_client *client, void (*function)(void *), void *argument)
{
	const struct os_region *bench = &client->memory.regions[REGION_BENCH];
	struct workroom deep = { 0 };

	locked_stack_init(&deep.stack, bench->data, bench->size);
	/* It is wiped by that, and so is an empty bench again. */
	workroom_run(&deep, function, argument);
}

int handle_enter(struct mg_client *client, uint64_t deadline_ms)
{
	int r;

	if (client->owner != own_self())
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

	sodium_memzero(client->keys->value, sizeof(client->keys->value));
	sodium_memzero(client->keys->wrap, sizeof(client->keys->wrap));
	client->keys->ahead = 0;
	workroom_rest(&client->room);
}

void handle_leave(struct mg_client *client)
{
	handle_clear(client);
	handle_run(client, rest, client);
	pthread_mutex_unlock(&client->lock);
}
