/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/strongroom.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/workroom.h"
#include "client/lib/mgclient.h"
#include "common/memory/os_memory.h"

enum region { REGION_KEYS, REGION_STACK, REGIONS };

struct keys {
	struct guard guard;
	uint8_t value[ENCLAVE_KEY_SIZE];
};

static struct own own = OWN_INIT;

static struct {
	struct os_memory memory;
	struct workroom room;
	struct keys *keys; /* NULL: not furnished */
} house;

static _Atomic uint64_t generation;

static void renew(void)
{
	memset(&house, 0, sizeof(house));
}

static int furnish(void)
{
	struct os_region *regions = house.memory.regions;
	int r;

	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	house.memory.count = REGIONS;
	regions[REGION_KEYS].size = workroom_keys_size(sizeof(struct keys));
	regions[REGION_STACK].size = locked_stack_size();
	r = os_memory_map(&house.memory, OS_MEMORY_PREFER_LOCK);
	if (r < 0)
		return error_say(MG_LIMIT, "guarded memory: %s", strerror(-r));
	house.keys = (struct keys *)(void *)regions[REGION_KEYS].data;
	workroom_init(&house.room, &regions[REGION_KEYS], sizeof(struct keys), &house.keys->guard,
		&regions[REGION_STACK]);
	return MG_OK;
}

struct step {
	strongroom_work work;
	void *argument;
	int result;
};

static void take_step(void *argument)
{
	struct step *step = argument;

	step->result = step->work(&house.room.coffer, house.keys->value, step->argument);
	if (step->result == 0)
		return;
	sodium_memzero(house.keys->value, sizeof(house.keys->value));
	workroom_rest(&house.room);
}

int strongroom_do(strongroom_work work, void *argument, pid_t self)
{
	struct step step = { .work = work, .argument = argument };
	int r;

	own_enter(&own, self, renew);
	r = house.keys ? MG_OK : furnish();
	while (r == MG_OK && step.result == 0)
		workroom_run(&house.room, take_step, &step);
	own_leave(&own);
	if (r != MG_OK || step.result > 0)
		return r;
	return error_errno(step.result, "the enclave");
}

uint64_t strongroom_generation(void)
{
	return atomic_load(&generation);
}

static void replace(void *unused)
{
	(void)unused;
	coffer_replace(&house.room.coffer, COFFER_VAULT);
}

void strongroom_purge(pid_t self)
{
	own_enter(&own, self, renew);
	atomic_fetch_add(&generation, 1);
	if (house.keys)
		workroom_run(&house.room, replace, NULL);
	own_leave(&own);
}
