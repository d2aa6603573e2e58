/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/os_memory.h"
#include "daemon/listener.h"

#include <stdbool.h>

/*
 * What outlives the process that serves: the pages of the keys, the ledger, the listener. All of it
 * is made by one program and may be left to the next one.
 */
struct estate {
	struct os_memory keys; /* of daemon_map_keys or daemon_open_keys */
	int ledger;            /* of ledger_file; -1: none */
	struct listener listener;
	struct listeners listeners; /* beside it */
	bool inherited;             /* from a program before this one */
};

/* Nothing yet. */
void estate_init(struct estate *estate);

/*
 * Makes keys and an empty ledger. Returns 0, -EPERM when the memory is not as strong as asked for
 * (estate->keys says why), or another negative errno.
 */
int estate_make(struct estate *estate, enum os_memory_need need);

/*
 * Moves the keys into pages of the same strength that another program can be given, and wipes those
 * where they were. *fdp is the caller's to close, at once. For when no worker lives. Returns 0, or
 * a negative errno when nothing has changed.
 */
int estate_share(struct estate *estate, int *fdp);

/* Takes keys that another program has shared, and closes the descriptor. As daemon_open_keys. */
int estate_open_keys(struct estate *estate, enum os_memory_need need, int fd);

/*
 * Moves keys that were taken into pages that nobody has ever had a descriptor of, and wipes those
 * where they were. Returns what daemon_map_keys does; nothing has changed after a failure.
 */
int estate_settle(struct estate *estate, enum os_memory_need need);

/* Whether keys and ledger are of formats that this program reads: 0 or -EBADMSG. */
int estate_check(const struct estate *estate);

/* Somebody else has all of it now: lets go, wipes nothing and removes no file. */
void estate_release(struct estate *estate);

/* Wipes the keys and removes the socket. The ledger goes with its last descriptor. */
void estate_destroy(struct estate *estate);
