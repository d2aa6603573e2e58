/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/connection.h"
#include "client/lib/memory/workroom.h"
#include "client/lib/mgclient.h"
#include "common/memory/os_memory.h"
#include "common/memory/workbench.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"

#include <pthread.h>

/* What lies in the key page of a handle, beside the coffer. */
struct handle_keys {
	struct guard guard;
	struct channel_pair pair;          /* during the handshake */
	uint8_t value[ENCLAVE_KEY_SIZE];   /* the data key of the value under way */
	uint8_t ahead;                     /* the byte behind the piece that was sealed last */
	uint8_t token[MESSAGE_TOKEN_SIZE]; /* that the handle shows */
	uint8_t wrap[MESSAGE_TOKEN_SIZE];  /* of the call under way */
	char text[64];                     /* of either, while it is taken apart */
};

/*
 * A handle: secret memory for keys, stack and bench; one connection with its channel. All but the
 * secret memory is ciphertext, counters and names.
 */
struct mg_client {
	pthread_mutex_t lock; /* one call at a time; finds a call from within a callback */
	pid_t owner;          /* after fork the memory is not there */
	enum mg_memory need;
	_Atomic unsigned timeout_ms;
	bool expect_uid;
	uid_t daemon_uid;
	char reason[MESSAGE_REASON_MAX]; /* why calls are made */
	size_t reason_size;              /* bytes of it */
	bool shows_token;                /* on each connection: keys->token */
	struct endpoint endpoint;
	char place[ENDPOINT_PATH_MAX + 8]; /* the endpoint as a text */

	struct os_memory memory;
	struct handle_keys *keys;
	struct workroom room;
	struct workbench bench;

	struct connection connection;
	struct channel channel;
	uint64_t channels;        /* drawn so far: each has a number of its own */
	uint64_t last_id;         /* of a request */
	struct messages messages; /* what the open frame still holds */
	size_t floor;             /* the bench below the open frame */
	size_t parsed;            /* the bench above it, below the message that was read last */
	uint8_t out[FRAME_HEADER_SIZE + FRAME_SEALED_MAX];
};

/* Maps the secret memory and draws the masters. Returns a status, with the words said. */
int handle_new(struct mg_client **clientp, enum mg_memory need);

/* Wipes and frees; the connection is closed. */
void handle_free(struct mg_client *client);

/* As workroom_run, on the handle's own stack. */
void handle_run(struct mg_client *client, void (*function)(void *), void *argument);

/*
 * The same on the bench, which has more room and must be empty, for what goes deeper than anything
 * that a request takes. The handle is the caller's.
 */
void handle_run_deep(struct mg_client *client, void (*function)(void *), void *argument);

/*
 * Begins a call: the handle is this thread's until handle_leave. Returns a status; MG_TIMEOUT when
 * other threads' calls are not over by the deadline, in milliseconds of connection_now_ms.
 */
int handle_enter(struct mg_client *client, uint64_t deadline_ms);

/* Wipes the bench and forgets the open frame; a data key stays. */
void handle_clear(struct mg_client *client);

/* Wipes what the call left in secret memory, and gives the handle free. */
void handle_leave(struct mg_client *client);
