/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/os_memory.h"

#include <stdbool.h>

/*
 * The keeper: the process that is started, and that others know. It holds what must outlive the one
 * that serves, the worker: the pages of the keys, the ledger, the listener. It reads nothing from
 * clients and no file; when a worker dies, it forks the next one, which goes on with what it finds.
 * A worker ends with its keeper.
 */
struct keeper_options {
	struct os_memory *keys; /* of daemon_map_keys: wiped when the keeper gives up */

	/* In a new process, whose end it is: serves, and returns its exit status. */
	int (*work)(void *context, bool first);

	/* The first worker serves. */
	void (*on_ready)(void *context);

	void *context;
};

/* Deaths by a fault within a minute after which the keeper gives up, and everything with it. */
#define KEEPER_FAULTS_MAX 10

/*
 * Keeps workers until one ends of its own will. Returns its exit status; 70 after too many deaths
 * by a fault, or where no process can be made. In a worker it never returns.
 */
int keeper_run(const struct keeper_options *options);
