/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/visitors.h"

#include <check.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/lib/mgclient.h"

#define NAMES 6
#define LARGEST 60000

/* Microseconds without a call after which none is waited for, and between two looks. */
#define PATIENCE_US 10000000
#define LOOK_US 500

static _Atomic bool over;
static _Atomic unsigned long calls, unsure, once_read;
static _Atomic unsigned long longest_us;

/* What may be under a name: seeds of values, 0 for nothing. */
struct name {
	uint32_t may[2];
	size_t count;
};

struct visitor {
	pthread_t thread;
	struct mg_client *client;
	struct name names[NAMES];
	unsigned number;
	uint8_t room[LARGEST + 8];
	char fault[240]; /* what it met that nobody may meet */
};

static struct visitor visitors[VISITORS];

#define FAULT(visitor, ...) snprintf((visitor)->fault, sizeof((visitor)->fault), __VA_ARGS__)

/* A value tells what it is: its seed, from which every byte of it follows. */
static size_t size_of(uint32_t seed)
{
	return 8 + (seed % 4 == 0 ? seed % LARGEST : seed % 200);
}

static void compose(uint8_t *out, uint32_t seed)
{
	uint8_t key[randombytes_SEEDBYTES] = { 0 };

	memcpy(key, &seed, sizeof(seed));
	randombytes_buf_deterministic(out, size_of(seed), key);
	memcpy(out, &seed, sizeof(seed));
}

/* The seed of a value that is right, else 0. */
static uint32_t seed_in(const struct mg_secret *secret, uint8_t *room)
{
	uint32_t seed;

	if (mg_secret_size(secret) < 8)
		return 0;
	memcpy(&seed, mg_secret_data(secret), sizeof(seed));
	compose(room, seed);
	return mg_secret_equal(secret, room, size_of(seed)) ? seed : 0;
}

/* The daemon was not there for long enough, twice: nobody knows whether it was done. */
static bool is_absence(int r)
{
	return r == MG_UNREACHABLE || r == MG_TIMEOUT;
}

static void settle(struct name *name, uint32_t seed)
{
	*name = (struct name){ .may = { seed }, .count = 1 };
}

static void doubt(struct visitor *visitor, struct name *name, uint32_t seed)
{
	unsure++;
	if (name->count == 2)
		FAULT(visitor, "in doubt twice");
	name->may[name->count++ % 2] = seed;
}

static void spell(char out[32], const struct visitor *visitor, unsigned i)
{
	snprintf(out, 32, "c%u/%u", visitor->number, i);
}

/* What is there is one of what may be there; then it is known. */
static void look(struct visitor *visitor, unsigned i)
{
	struct name *name = &visitor->names[i];
	struct mg_secret *secret = NULL;
	uint32_t seed = 0;
	char text[32];
	int r;

	spell(text, visitor, i);
	do
		r = mg_get(visitor->client, text, NULL, &secret);
	while (is_absence(r) && !over);
	if (is_absence(r))
		return;
	if (r == MG_OK)
		seed = seed_in(secret, visitor->room);
	if ((r != MG_OK && r != MG_NOT_FOUND) || (r == MG_OK && seed == 0))
		FAULT(visitor, "get %s: %d: %s", text, r,
			r == MG_OK ? "other bytes" : mg_last_error());
	else if (seed != name->may[0] && (name->count < 2 || seed != name->may[1]))
		FAULT(visitor, "%s: %08x is there, not %08x (%zu)", text, seed, name->may[0],
			name->count);
	settle(name, seed);
	mg_secret_free(secret);
}

static void store(struct visitor *visitor, unsigned i)
{
	uint32_t seed = randombytes_random() | 1;
	char text[32];
	int r;

	if (randombytes_uniform(4) == 0)
		seed = (seed & ~UINT32_C(3)) + 4;
	spell(text, visitor, i);
	compose(visitor->room, seed);
	r = mg_set(visitor->client, text, visitor->room, size_of(seed), NULL, NULL);
	if (r == MG_OK)
		settle(&visitor->names[i], seed);
	else if (is_absence(r))
		doubt(visitor, &visitor->names[i], seed);
	else
		FAULT(visitor, "set %s: %d: %s", text, r, mg_last_error());
}

static void take_out(struct visitor *visitor, unsigned i)
{
	bool there = visitor->names[i].may[0] != 0;
	char text[32];
	int r;

	spell(text, visitor, i);
	r = mg_remove(visitor->client, text, NULL);
	if (r == (there ? MG_OK : MG_NOT_FOUND))
		settle(&visitor->names[i], 0);
	else if (is_absence(r))
		doubt(visitor, &visitor->names[i], 0);
	else
		FAULT(visitor, "rm %s: %d: %s, and it was %s", text, r, mg_last_error(),
			there ? "there" : "not there");
}

/* A value for one reader comes out once at most. */
static void read_once(struct visitor *visitor)
{
	const struct mg_set_options options = { .lifetime = { .max_reads = 1 } };
	unsigned got = 0;
	char text[32];
	int r;

	snprintf(text, sizeof(text), "c%u/once", visitor->number);
	r = mg_set(visitor->client, text, "once", 4, &options, NULL);
	if (r != MG_OK && !is_absence(r)) {
		FAULT(visitor, "set %s: %d: %s", text, r, mg_last_error());
		return;
	}
	for (int i = 0; i < 3; i++) {
		struct mg_secret *secret = NULL;

		r = mg_get(visitor->client, text, NULL, &secret);
		got += r == MG_OK;
		mg_secret_free(secret);
	}
	once_read += got;
	if (got > 1)
		FAULT(visitor, "%s came out %u times", text, got);
}

static unsigned long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long)now.tv_sec * 1000000 + (unsigned long)now.tv_nsec / 1000;
}

static void call(struct visitor *visitor)
{
	unsigned i = randombytes_uniform(NAMES);
	unsigned what = randombytes_uniform(10);

	/* One doubt at a time. */
	if (visitor->names[i].count > 1 || what < 4)
		look(visitor, i);
	else if (what < 7)
		store(visitor, i);
	else if (what < 9)
		take_out(visitor, i);
	else
		read_once(visitor);
}

static void *visit(void *argument)
{
	struct visitor *visitor = argument;

	for (unsigned i = 0; i < NAMES; i++)
		settle(&visitor->names[i], 0);
	while (!over && visitor->fault[0] == '\0') {
		unsigned long began = now_us();
		unsigned long took;
		unsigned long most = longest_us;

		call(visitor);
		calls++;
		took = now_us() - began;
		while (took > most && !atomic_compare_exchange_weak(&longest_us, &most, took))
			;
	}
	return NULL;
}

/* With all the time that a call has where nobody says anything else. */
void visitors_come(const char *path)
{
	struct mg_options options = { .endpoint = path };

	over = false;
	calls = unsure = once_read = longest_us = 0;
	for (unsigned i = 0; i < VISITORS; i++) {
		visitors[i].number = i;
		ck_assert_int_eq(mg_open(&visitors[i].client, &options), MG_OK);
		ck_assert_int_eq(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
	}
}

void visitors_await(unsigned long more)
{
	unsigned long begun = calls, seen = calls;
	unsigned waited_us = 0;

	while (calls - begun < more && waited_us < PATIENCE_US) {
		usleep(LOOK_US);
		waited_us = calls == seen ? waited_us + LOOK_US : 0;
		seen = calls;
	}
}

struct visits visitors_leave(void)
{
	over = true;
	for (unsigned i = 0; i < VISITORS; i++)
		pthread_join(visitors[i].thread, NULL);
	/* What is known must be there at the end, too. */
	over = false;
	for (unsigned i = 0; i < VISITORS; i++) {
		ck_assert_str_eq(visitors[i].fault, "");
		for (unsigned j = 0; j < NAMES; j++)
			look(&visitors[i], j);
		ck_assert_str_eq(visitors[i].fault, "");
		mg_close(visitors[i].client);
	}
	return (struct visits){
		.calls = calls, .unsure = unsure, .once_read = once_read, .longest_us = longest_us
	};
}
