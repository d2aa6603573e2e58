/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/handle.h"

#include <errno.h>

/*
 * A public call from its first line to its last: the handle's lock, the time limit, the connection
 * (made when there is none, made again when it broke), the end of secret memory.
 */
struct call {
	/*
	 * Asks and hears. Returns a status with the words said, or a negative errno when the
	 * connection failed; -ECONNRESET and -EPIPE are tried once more on a new connection while
	 * `repeatable` is set. May clear it once something was handed over.
	 */
	int (*attempt)(struct mg_client *client, struct call *call);
	bool repeatable;
	bool patient;         /* a daemon that has gone has the time limit to come back */
	bool progressed;      /* since the last attempt began: call_progress */
	bool bare;            /* it needs no token on its connection */
	unsigned wait_ms;     /* milliseconds beside the handle's time limit */
	uint64_t until_ms;    /* of CLOCK_MONOTONIC: no later than this; 0: the limits alone */
	uint64_t deadline_ms; /* the same clock; set by call_run */
};

/* Takes the time since `since_ms`, which a callback of the host has spent, off the time limit. */
void call_excuse(struct call *call, uint64_t since_ms);

/*
 * Part of a long call is done for good: the time limit begins anew, and a connection that breaks
 * later is a new mishap.
 */
void call_progress(struct mg_client *client, struct call *call);

/* Returns the attempt's status, or what its errno means to the caller of the library. */
int call_run(struct mg_client *client, struct call *call);

/* One request and its one answer, for attempts. Returns 0 or a negative errno. */
int call_ask(struct mg_client *client, const struct call *call, struct request *request,
	struct reply *reply);

/* Sends the request with the next id. Returns 0 or a negative errno. */
int call_send(struct mg_client *client, const struct call *call, struct request *request,
	struct span chunks);

/* The status of an answer; says its words when it is a refusal. */
int call_judge(const struct reply *reply);

/* Whether the name may be one. Returns a status, with the words said. */
int call_check_name(const char *name);

/* The caller's tags as the wire has them. Returns a status, with the words said. */
int call_take_tags(struct tags *tags, struct tag store[static MESSAGE_TAGS_MAX],
	const struct mg_tag *from, size_t count);

/* The conditions that the caller sets; `options` may be NULL. */
struct conditions call_conditions(const struct mg_set_options *options);

/* As mg_set_options, for requests that change something: number, name, conditions, tags. */
int call_prepare_change(struct request *request, struct tag store[static MESSAGE_TAGS_MAX],
	enum verb verb, const char *name, const struct mg_set_options *options);
