/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/knowledge.h"

#include <sodium.h>
#include <string.h>

/* -- values -------------------------------------------------------------------------------- */

#define MEDIUM_MAX 60000
#define SMALL_MAX 200

uint32_t value_draw(void)
{
	uint32_t seed;

	do
		seed = randombytes_random();
	while (seed == 0);
	return seed;
}

bool value_is_large(uint32_t seed)
{
	return seed != 0 && seed % 32 == 0;
}

size_t value_size(uint32_t seed)
{
	if (value_is_large(seed))
		return VALUE_LARGE + 1 + seed % (VALUE_MAX - VALUE_LARGE);
	return VALUE_MIN + (seed % 4 == 0 ? seed % MEDIUM_MAX : seed % SMALL_MAX);
}

void value_compose(uint8_t *out, uint32_t seed)
{
	uint8_t key[randombytes_SEEDBYTES] = { 0 };

	memcpy(key, &seed, sizeof(seed));
	randombytes_buf_deterministic(out, value_size(seed), key);
	memcpy(out, &seed, sizeof(seed));
}

void reading_take(struct reading *reading, const void *bytes, size_t size)
{
	if (reading->at == 0 && size >= VALUE_MIN) {
		memcpy(&reading->seed, bytes, sizeof(reading->seed));
		value_compose(reading->room, reading->seed);
	}
	reading->wrong = reading->wrong || reading->seed == 0 ||
		size > value_size(reading->seed) - reading->at ||
		memcmp(reading->room + reading->at, bytes, size) != 0;
	reading->at += reading->wrong ? 0 : size;
}

bool reading_is_right(const struct reading *reading)
{
	return !reading->wrong && reading->seed != 0 && reading->at == value_size(reading->seed);
}

/* -- what is known ------------------------------------------------------------------------- */

void secret_retire(struct secret *secret)
{
	secret->formers[secret->former_count++] =
		(struct former){ .seed = secret->seed, .version = secret->version };
}

static bool secret_fits(const struct secret *secret, const struct secret *seen)
{
	if (secret->seed != seen->seed)
		return false;
	if (secret->seed == 0)
		return true;
	return secret->frozen == seen->frozen &&
		(secret->version == 0 || secret->version == seen->version);
}

bool world_fits(const struct world *world, const struct secret seen[NAMES])
{
	for (unsigned i = 0; i < NAMES; i++)
		if (!secret_fits(&world->secrets[i], &seen[i]))
			return false;
	return true;
}

void world_learn(struct world *world, const struct secret seen[NAMES])
{
	for (unsigned i = 0; i < NAMES; i++)
		world->secrets[i].version = seen[i].version;
}

unsigned world_free_name(const struct world *world, unsigned i)
{
	for (unsigned j = 0; j < NAMES; j++)
		if (world->secrets[(i + j) % NAMES].seed == 0)
			return (i + j) % NAMES;
	return i;
}

static size_t waiting_size(const struct world *world)
{
	size_t size = 0;

	for (size_t i = 0; i < world->waiting_count; i++)
		size += value_size(world->waiting[i]);
	return size;
}

bool world_has_room(const struct world *world, uint32_t seed)
{
	return world->waiting_count < WAITING &&
		waiting_size(world) + value_size(seed) < WAITING_SIZE;
}

void world_queue(struct world *world, uint32_t seed)
{
	world->waiting[world->waiting_count++] = seed;
}

uint32_t world_dequeue(struct world *world)
{
	uint32_t seed = world->waiting[0];

	world->waiting_count--;
	memmove(world->waiting, world->waiting + 1, world->waiting_count * sizeof(seed));
	return seed;
}

/* -- what is done to it -------------------------------------------------------------------- */

const char *deed_name(enum deed deed)
{
	static const char *const names[DEEDS] = {
		[DEED_GET] = "get",
		[DEED_SET] = "set",
		[DEED_REMOVE] = "rm",
		[DEED_MOVE] = "mv",
		[DEED_ROTATE] = "rotate",
		[DEED_FORMER] = "get of a former version",
		[DEED_FREEZE] = "freeze",
		[DEED_MELT] = "melt",
		[DEED_SEND] = "stream write",
		[DEED_RECEIVE] = "stream read",
		[DEED_ONCE] = "get of what is for one reader",
		[DEED_OPEN] = "connect",
	};

	return names[deed];
}
