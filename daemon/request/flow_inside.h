/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/name.h"
#include "daemon/request/flow.h"
#include "daemon/vault/vault_stream.h"

#include <errno.h>

/* What the files of flow share: flow.c, flow_write.c, flow_read.c. */

/* What the attempts below return beside a status: the request waits. */
#define WAIT (-EAGAIN)

/* A request that waits; `bytes` are the chunks of one that writes. */
struct ask {
	struct ask *next;
	uint64_t id;
	uint64_t deadline_ms; /* CLOCK_BOOTTIME; 0: none */
	struct chunks chunks;
	struct span bytes;
	uint8_t copy[];
};

struct flow {
	struct flow *next;
	bool writes;
	bool held; /* a reader was sent what it has not acknowledged yet */
	bool due;  /* there is something for it, and its answer has to wait for its turn */
	uint32_t uid;
	bool limited;          /* it is held to quotas */
	struct stream *stream; /* pinned; NULL: a reader waits for the first writer */
	struct stream_place sent;
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[REPEAT_DIGEST_SIZE];
	uint64_t answer;  /* the place of what is answered to the end; 0: none */
	struct ask *asks; /* oldest first */
	struct wait wait; /* while there are any */
	size_t name_size;
	char name[NAME_FILED_MAX];
};

/* -- its life (flow.c) --------------------------------------------------------------------- */

struct span flow_name(const struct flow *flow);
struct flow *flow_find(const struct transfers *transfers, struct span name, bool writes);

/* NULL without memory, or when too much is under way. */
struct flow *flow_new(struct transfers *transfers, const struct flow_request *asked, bool writes);

/* Lets go of the stream, if it has hold of one. */
void flow_let_go(struct flow *flow, bool for_good);
void flow_end(struct transfers *transfers, struct flow *flow, bool for_good);

/* Ends a flow that holds nothing and has nothing to answer. */
void flow_end_if_idle(struct transfers *transfers, struct flow *flow);

/* Puts a request behind those that wait already. Returns 0 or STATUS_LIMIT. */
int flow_park(struct transfers *transfers, struct daemon *daemon, struct flow *flow,
	const struct ask *like);
void flow_forget(struct transfers *transfers, struct flow *flow, struct ask *ask);

/* -- writing (flow_write.c) ---------------------------------------------------------------- */

/* Returns 0 when the chunks are in the stream, WAIT, a status, or a negative errno. */
int flow_try_write(struct flow *flow, struct daemon *daemon, const struct ask *ask);

/* What follows from an attempt to write; the flow may be gone then. Returns 0 or a negative errno.
 */
int flow_conclude_write(struct transfers *transfers, struct daemon *daemon, struct flow *flow,
	uint64_t id, int outcome, struct answers *answers);

/* -- reading (flow_read.c) ----------------------------------------------------------------- */

/* Returns 0 when the request has its answer, WAIT, a status, or a negative errno. */
int flow_try_read(struct flow *flow, struct daemon *daemon, uint64_t id, struct answers *answers);

/* What follows from an attempt to read; the flow may be gone then. Returns 0 or a negative errno.
 */
int flow_conclude_read(struct transfers *transfers, struct flow *flow, uint64_t id, int outcome,
	struct answers *answers);
