/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"

/* A daemon that is purged again and again while many clients store and fetch. */

#define CLIENTS 32
#define NAMES 16
#define PURGES 150
#define LARGEST 150000

/* Bytes of locked memory for a handle and a value. A sanitized one's stack is many times larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROOM_OF_ONE (512 << 10)
#else
#define ROOM_OF_ONE (256 << 10)
#endif

static struct bare_daemon house;
static _Atomic bool over;
static _Atomic unsigned long right, absent, dead;

/* A value tells what it is: its seed, from which every byte of it follows. */
static size_t size_of(uint32_t seed)
{
	return 8 + seed % LARGEST;
}

static void compose(uint8_t *out, uint32_t seed)
{
	uint8_t key[randombytes_SEEDBYTES] = { 0 };

	memcpy(key, &seed, sizeof(seed));
	randombytes_buf_deterministic(out, size_of(seed), key);
	memcpy(out, &seed, sizeof(seed));
}

static bool is_right(const struct mg_secret *secret, uint8_t *room)
{
	uint32_t seed;

	if (mg_secret_size(secret) < 8)
		return false;
	memcpy(&seed, mg_secret_data(secret), sizeof(seed));
	compose(room, seed);
	return mg_secret_equal(secret, room, size_of(seed));
}

struct visitor {
	pthread_t thread;
	uint8_t room[LARGEST + 8];
	char fault[200]; /* what it met that nobody may meet */
};

static struct visitor visitors[CLIENTS];

static void store(struct visitor *visitor, struct mg_client *client, const char *name)
{
	uint32_t seed = randombytes_random();
	int r;

	compose(visitor->room, seed);
	r = mg_set(client, name, visitor->room, size_of(seed), NULL, NULL);
	if (r == MG_GONE)
		dead++;
	else if (r != MG_OK)
		snprintf(visitor->fault, sizeof(visitor->fault), "set: %d: %s", r, mg_last_error());
}

static void fetch(struct visitor *visitor, struct mg_client *client, const char *name)
{
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	int r = mg_get(client, name, NULL, &secret);

	if (r == MG_OK && is_right(secret, visitor->room))
		right++;
	else if (r == MG_OK)
		snprintf(visitor->fault, sizeof(visitor->fault), "get: other bytes");
	else if (r == MG_NOT_FOUND)
		absent++;
	else if (r == MG_GONE)
		dead++;
	else
		snprintf(visitor->fault, sizeof(visitor->fault), "get: %d: %s", r, mg_last_error());
}

static void *visit(void *argument)
{
	struct visitor *visitor = argument;
	struct mg_options options = { .endpoint = house.path, .timeout_ms = 60000 };
	MG_AUTO_CLIENT struct mg_client *client = NULL;

	if (mg_open(&client, &options) != MG_OK)
		snprintf(visitor->fault, sizeof(visitor->fault), "open: %s", mg_last_error());
	while (!over && visitor->fault[0] == '\0') {
		char name[16];

		snprintf(name, sizeof(name), "n/%u", randombytes_uniform(NAMES));
		if (randombytes_uniform(3) == 0)
			store(visitor, client, name);
		else
			fetch(visitor, client, name);
	}
	return NULL;
}

/* As many as may lock what they need: who is not root has a limit. */
static size_t count_clients(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() == 0 || limit.rlim_cur >= (rlim_t)CLIENTS * ROOM_OF_ONE)
		return CLIENTS;
	return (size_t)limit.rlim_cur / ROOM_OF_ONE;
}

START_TEST(purged_in_a_loop_every_answer_is_right_or_says_so)
{
	struct mg_options options = { .endpoint = house.path, .timeout_ms = 60000 };
	struct mg_client *client = NULL;
	size_t clients = count_clients();

	bare_start(&house, NULL);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
	ck_assert_uint_gt(clients, 1);
	for (size_t i = 0; i < clients; i++)
		ck_assert_int_eq(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
	for (int i = 0; i < PURGES; i++) {
		MG_AUTO_SECRET struct mg_secret *secret = NULL;

		usleep(20000);
		ck_assert_int_eq(mg_purge(client, MG_PURGE_ALL, NULL), MG_OK);
		/* What is stored now is there at once. */
		ck_assert_int_eq(mg_set(client, "mine", "new", 3, NULL, NULL), MG_OK);
		ck_assert_int_eq(mg_get(client, "mine", NULL, &secret), MG_OK);
		ck_assert(mg_secret_equal(secret, "new", 3));
	}
	over = true;
	for (size_t i = 0; i < clients; i++) {
		pthread_join(visitors[i].thread, NULL);
		ck_assert_str_eq(visitors[i].fault, "");
	}
	printf("# %lu right, %lu absent, %lu purged under way\n", right, absent, dead);
	/* It was no quiet day. */
	ck_assert_uint_gt(right, 0);
	ck_assert_uint_gt(absent, 0);
	mg_close(client);
	ck_assert_int_eq(bare_stop(&house), 0);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("purge");

	tcase_set_timeout(claims, 200);
	tcase_add_test(claims, purged_in_a_loop_every_answer_is_right_or_says_so);
	return claims_run(claims, "purges under load");
}
