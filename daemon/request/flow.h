/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/request/answers.h"
#include "daemon/request/transfer.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The ends of streams that a session holds: it writes into one, or reads from it. A request for
 * which there is no room yet, or nothing to read yet, waits here; chunks that wait are ciphertext,
 * and the key of their segment rests in the vault.
 */
struct flow;

/* A request and how it ended up here; `words` says why a status is answered. */
struct flow_request {
	const struct request *request;
	struct span name; /* filed */
	uint32_t uid;
	const char *words;
};

/*
 * Serve a write and a read. Return 0 when the request has its answer or waits, an enum status that
 * is still to be answered, or a negative errno.
 */
int flow_write(struct transfers *transfers, struct daemon *daemon, struct flow_request *asked,
	struct answers *answers);
int flow_read(struct transfers *transfers, struct daemon *daemon, struct flow_request *asked,
	struct answers *answers);

/* Whether a request with this id waits; and the id of one that does, or 0. */
bool flows_have(const struct transfers *transfers, uint64_t id);
uint64_t flows_first(const struct transfers *transfers);

/* Forgets a request that waits. */
void flows_forget(struct transfers *transfers, uint64_t id);

/* The end of the session: its writers may come back, its reader's place is free. */
void flows_finish(struct transfers *transfers);

/* Answers what can be answered by now. Returns 0 or a negative errno. */
int flows_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* Whether one has something to send, and waits only for its turn. */
bool flows_due(const struct transfers *transfers);

/* When the first of those that wait is looked at again, in ms of CLOCK_BOOTTIME; 0: never. */
uint64_t flows_deadline(const struct transfers *transfers);
