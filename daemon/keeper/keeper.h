/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/os_memory.h"
#include "daemon/config.h"
#include "daemon/keeper/estate.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The keeper: the process that is started, and that others know. It holds what must outlive the one
 * that serves, the worker: its estate. It reads nothing from clients and no file; when a worker
 * dies, it forks the next one, which goes on with what it finds. A worker ends with its keeper.
 *
 * The estate may outlive the keeper, too: it goes to a newer program while clients notice nothing
 * (an upgrade), or into the service manager's descriptor store for the next start (a restart).
 */
struct keeper_options {
	struct estate *estate;
	enum os_memory_need memory; /* what the administrator insists on */

	/* The program that an upgrade starts, and its arguments; NULL: there are no upgrades. */
	const char *program;
	char **arguments;

	/* The keeper before us, which waits until we serve; -1: none. And what it asks of us. */
	int predecessor;
	bool purge;

	/* In a new process, whose end it is: serves, and returns its exit status. `line` is to its
	 * keeper; `settings` are what a worker before it has told to be in force, or -1. */
	int (*work)(void *context, bool first, int line, int settings);

	/* The first worker brings what no other one can: its death before it serves is the end. */
	bool once;

	/* The first worker serves. */
	void (*on_ready)(void *context);

	void *context;

	/* What became of upgrades; a worker finds it as it was when it began. */
	struct keeper_news {
		bool under_way;            /* one is */
		uint64_t failed;           /* so many came to nothing */
		struct config_fault fault; /* why the last one did */
	} * news;
};

/* Deaths by a fault within a minute after which the keeper gives up, and everything with it. */
#define KEEPER_FAULTS_MAX 10

/* Whose the estate is once the keeper has ended. */
enum keeper_fate {
	KEEPER_ENDED, /* nobody's: to be destroyed */
	KEEPER_LEFT,  /* somebody else's: to be released */
};

/*
 * Keeps workers until one ends of its own will, or until the estate is another's. Returns its exit
 * status; 70 after too many deaths by a fault, or where no process can be made. In a worker it
 * never returns.
 */
int keeper_run(const struct keeper_options *options, enum keeper_fate *fatep);
