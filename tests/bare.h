/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/memory/enclave.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"

/*
 * The least that can speak to a daemon: blocking sockets, keys in ordinary memory, any failure ends
 * the process with words. For benches and for tests that need many connections or odd ones;
 * services use libmgclient.
 */
struct bare {
	int fd;
	struct channel channel;
	struct channel_keys keys;
	uint8_t *input; /* FRAME_SIZE_MAX bytes */
	size_t have;
	size_t taken;             /* bytes of input that the open frame takes */
	struct messages messages; /* of that frame */
	uint8_t plain[FRAME_PLAIN_MAX];
};

/* Says what failed, with errno, and ends the process. */
_Noreturn void bare_die(const char *what);

/* A private daemon in a folder of its own. */
struct bare_daemon {
	pid_t pid;
	char folder[32];
	char path[48]; /* of the socket */
};

/* Starts $MEMGUARDD with further arguments (ended by NULL) and waits until it accepts. */
void bare_start(struct bare_daemon *daemon, const char *const *arguments);

/* Ends it by its process id and removes its folder. Returns the wait status. */
int bare_stop(struct bare_daemon *daemon);

/* Connects, and with bare_open shakes hands too. */
int bare_connect(const char *path);
void bare_open(struct bare *bare, const char *path);
void bare_close(struct bare *bare);

void bare_write(int fd, const uint8_t *bytes, size_t size);

/* Seals one request with chunks behind it into `out`. Returns the bytes. */
size_t bare_seal(
	struct bare *bare, uint8_t *out, const struct request *request, struct span chunks);

/* Sends one request with chunks behind it. */
void bare_send(struct bare *bare, const struct request *request, struct span chunks);

/* Reads once what has come; whether a whole frame is there. */
bool bare_ready(struct bare *bare);

/* The next reply; waits for a frame if need be. What it points to is good until the next call. */
void bare_receive(struct bare *bare, struct reply *reply);

/* Stores `size` bytes of `value`, sealed under a fresh key. Returns the answer's code. */
int bare_set(struct bare *bare, const char *name, const uint8_t *value, size_t size);

/*
 * Fetches a value of at most `room` bytes into `value`, opened. Returns the answer's code; *size
 * tells the bytes.
 */
int bare_get(struct bare *bare, const char *name, uint8_t *value, size_t room, size_t *size);

/* Locked bytes of a process as the kernel counts them (VmLck). */
size_t bare_locked(pid_t pid);
