/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sodium.h>

#include "common/wire/channel.h"
#include "daemon/daemon.h"
#include "daemon/serve.h"
#include "tests/fuzz/fuzz.h"

/* A daemon without sockets, and a client that has just shaken hands with it. */
struct door {
	struct daemon daemon;
	struct outbox outbox;
	struct served served;
	struct channel_keys keys; /* the client's */
	struct channel channel;   /* the client's counters */
};

/*
 * The daemon's entropy during a run: the same for the same input, so that a find can be replayed.
 * Source: libsodium's interface for random generators.
 */
static uint64_t door_random_state;

static const char *door_random_name(void)
{
	return "repeatable";
}

static void door_random_bytes(void *const out, const size_t size)
{
	uint8_t *bytes = out;

	for (size_t i = 0; i < size; i++) {
		door_random_state = door_random_state * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (uint8_t)(door_random_state >> 56);
	}
}

static uint32_t door_random_number(void)
{
	uint32_t number;

	door_random_bytes(&number, sizeof(number));
	return number;
}

static inline void door_open(struct door *door, uid_t uid)
{
	static randombytes_implementation repeatable = { .implementation_name = door_random_name,
		.random = door_random_number,
		.buf = door_random_bytes };
	struct daemon_options options = { .max_value = 100000, .rekey_ms = 500, .own = 4242 };

	memset(door, 0, sizeof(*door));
	door_random_state = 1;
	MUST(randombytes_set_implementation(&repeatable) == 0 && sodium_init() >= 0);
	MUST(daemon_init(&door->daemon, &options) == 0);
	MUST(outbox_init(&door->outbox) == 0);
	door->served.daemon = &door->daemon;
	door->served.outbox = &door->outbox;
	door->served.peer =
		(struct peer){ .uid = uid, .pidfd = -1, .shown = &door->served.transfers.shown };
}

static inline void door_shake_hands(struct door *door)
{
	uint8_t ours[HELLO_SIZE];
	struct channel_pair pair;
	struct hello hello;

	channel_draw(&pair);
	hello_write(ours, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, pair.open);
	MUST(hello_read(&hello, span_of(ours, sizeof(ours))) == HELLO_SIZE);
	MUST(serve_hello(&door->served, &hello) == 0);
	MUST(channel_agree(&door->keys, &pair, false, span_of(ours, sizeof(ours)),
		     span_of(door->outbox.bytes, HELLO_SIZE)) == 0);
	door->outbox.used = 0;
}

/* Nothing may stay behind a visit: the bench and the locked stack are empty. */
static inline void door_must_be_clean(const struct door *door)
{
	MUST(sodium_is_zero(door->daemon.bench.base, door->daemon.bench.size));
	MUST(!locked_stack_switches() ||
		sodium_is_zero(door->daemon.stack.base, door->daemon.stack.size));
}

static inline void door_close(struct door *door)
{
	transfers_finish(&door->served.transfers, &door->daemon);
	/* What is locked has no other end than this. */
	if (vault_is_locked(door->daemon.vault))
		vault_purge(door->daemon.vault);
	/* What ended with the session, and the names of what was consumed, take memory until now.
	 */
	while (vault_expire(door->daemon.vault))
		;
	vault_forget_consumed(door->daemon.vault, 0);
	vault_forget_consumed(door->daemon.vault, 1000);
	MUST(vault_count(door->daemon.vault) > 0 || vault_bytes(door->daemon.vault) == 0);
	outbox_finish(&door->outbox);
	daemon_finish(&door->daemon);
}
