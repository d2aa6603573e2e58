/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/term.h"

#include <stdint.h>
#include <sys/types.h>

/*
 * Processes whose end is the end of secrets. Each is held by a descriptor, so that a later process
 * of the same number is not taken for it.
 */
struct processes;
struct process;

/* Returns 0 or a negative errno. Where the system cannot watch processes, process_take says so. */
int processes_new(struct processes **processesp);

/* Nothing hangs on any of them any more; takes NULL. */
void processes_free(struct processes *processes);

/* Readable when a process has ended: then processes_look. -1: nothing is ever to be read. */
int processes_fd(const struct processes *processes);

/* Gives the holders of those that have ended to `end`, which takes them over. */
void processes_look(struct processes *processes, void (*end)(void *context, struct holder *holder),
	void *context);

/*
 * The process that `peer` calls `pid`, until process_release. Returns 0, STATUS_INVALID when there
 * is none, or STATUS_LIMIT; *wordsp tells why.
 */
int process_take(struct processes *processes, pid_t peer, pid_t pid, struct process **processp,
	const char **wordsp);
void process_release(struct processes *processes, struct process *process);

/* What hangs on it; NULL when it has ended. */
struct holder *process_holder(const struct process *process);

/* When it was started, in the system's own unit: tells it from others of its number. */
uint64_t process_started(const struct process *process);
