/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/bench/measure.h"

/*
 * The longest call of some clients while one program follows another, with few secrets and with
 * many; beside the longest one in as much time without an upgrade, right before it. They have
 * time, so that a slow machine has figures, too; a call that fails ends the bench.
 */
#define CLIENTS 8
#define UPGRADES 7
#define LIMIT_MS 60000
#define FEW 30
#define MANY 1000000
#define VALUE_SIZE 64

/* Requests on their way at a time, while secrets are stored. */
#define AHEAD 32

static struct bare_daemon house;
static struct mg_client *asker;
static _Atomic bool over;

struct client {
	pthread_t thread;
	unsigned number;
	_Atomic unsigned long calls;
	_Atomic unsigned long longest_us;
};

static struct client clients[CLIENTS];

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "bench-upgrade: %s: %s\n", what, mg_last_error());
	kill(house.pid, SIGKILL);
	exit(1);
}

static struct mg_client *open_handle(void)
{
	const struct mg_options options = { .endpoint = house.path, .timeout_ms = LIMIT_MS };
	struct mg_client *handle = NULL;

	if (mg_open(&handle, &options) != MG_OK)
		die("a handle");
	return handle;
}

/* -- secrets ------------------------------------------------------------------------------- */

static void send_set(struct bare *bare, int i)
{
	static const uint8_t value[VALUE_SIZE] = { 1 };
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint8_t chunk[VALUE_SIZE + ENCLAVE_TAG_SIZE];
	char name[32];
	struct request set = { .id = 1,
		.verb = VERB_SET,
		.numbered = true,
		.key = key,
		.size = VALUE_SIZE,
		.chunked = true,
		.chunks = { .count = 1, .last = sizeof(chunk), .final = true } };

	snprintf(name, sizeof(name), "bench/secret-%07d", i);
	set.name = span_text(name);
	enclave_draw_key(key);
	enclave_seal_chunk(chunk, value, sizeof(value), 0, true, key);
	randombytes_buf(set.number, sizeof(set.number));
	bare_send(bare, &set, span_of(chunk, sizeof(chunk)));
}

static void fill(int count)
{
	struct bare bare;
	struct reply reply;

	bare_open(&bare, house.path);
	for (int sent = 0, heard = 0; heard < count;) {
		while (sent < count && sent < heard + AHEAD)
			send_set(&bare, sent++);
		bare_receive(&bare, &reply);
		heard++;
		if (reply.code != 0)
			bare_die("a set");
	}
	bare_close(&bare);
}

/* -- clients ------------------------------------------------------------------------------- */

static void call(struct mg_client *handle, const char *name)
{
	struct mg_secret *secret = NULL;

	if (randombytes_uniform(2) == 0) {
		if (mg_set(handle, name, "value", 5, NULL, NULL) != MG_OK)
			die("set");
	} else if (mg_get(handle, name, NULL, &secret) != MG_OK) {
		die("get");
	}
	mg_secret_free(secret);
}

static void *visit(void *argument)
{
	struct client *client = argument;
	struct mg_client *handle = open_handle();
	char name[32];

	snprintf(name, sizeof(name), "client/%u", client->number);
	if (mg_set(handle, name, "value", 5, NULL, NULL) != MG_OK)
		die("set");
	while (!over) {
		double begin = measure_clock_us();
		unsigned long took;

		call(handle, name);
		took = (unsigned long)(measure_clock_us() - begin);
		if (took > client->longest_us)
			client->longest_us = took;
		client->calls++;
	}
	mg_close(handle);
	return NULL;
}

/* Until each has ended the call that it is at, and another one. */
static void wait_for_all(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		unsigned long begun = clients[i].calls;

		while (clients[i].calls < begun + 2)
			usleep(200);
	}
}

static void come(void)
{
	over = false;
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i].number = i;
		if (pthread_create(&clients[i].thread, NULL, visit, &clients[i]) != 0)
			bare_die("a thread");
	}
	wait_for_all();
}

static void leave(void)
{
	over = true;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(clients[i].thread, NULL);
}

static void forget(void)
{
	for (int i = 0; i < CLIENTS; i++)
		clients[i].longest_us = 0;
}

static double longest_ms(void)
{
	unsigned long longest_us = 0;

	wait_for_all();
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i].longest_us > longest_us)
			longest_us = clients[i].longest_us;
	return (double)longest_us / 1e3;
}

/* -- upgrades ------------------------------------------------------------------------------ */

/* Another process is the daemon then. Returns microseconds. */
static double upgrade(void)
{
	double begin = measure_clock_us();
	double took;
	struct mg_state state;

	if (mg_upgrade(asker) != MG_OK)
		die("upgrade");
	took = measure_clock_us() - begin;
	if (mg_status_of(asker, &state) != MG_OK)
		die("status");
	if (waitpid(house.pid, NULL, 0) != house.pid)
		bare_die("the old keeper");
	house.pid = (pid_t)state.keeper;
	return took;
}

static void tell(const char *when, double values[static UPGRADES])
{
	qsort(values, UPGRADES, sizeof(values[0]), measure_by_value);
	printf("  %-20s %7.1f ms (median; %.1f the longest of all)\n", when, values[UPGRADES / 2],
		values[UPGRADES - 1]);
}

static void row(int secrets)
{
	static const char *const arguments[] = { "--keep", NULL };
	double calm[UPGRADES], changing[UPGRADES];
	double took = 0;

	bare_start(&house, arguments);
	asker = open_handle();
	fill(secrets);
	come();
	took = upgrade();
	wait_for_all();
	for (int i = 0; i < UPGRADES; i++) {
		forget();
		usleep((useconds_t)took);
		calm[i] = longest_ms();
		forget();
		took = upgrade();
		changing[i] = longest_ms();
	}
	leave();
	mg_close(asker);
	bare_stop(&house);
	printf("%d secrets: the longest call\n", secrets);
	tell("in an upgrade:", changing);
	tell("without one:", calm);
	fflush(stdout);
}

int main(void)
{
	/* What goes on becomes our child when the one before it ends. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || sodium_init() < 0)
		return 1;
	printf("%d clients that set and get, %d upgrades\n", CLIENTS, UPGRADES);
	row(FEW);
	row(MANY);
	return 0;
}
