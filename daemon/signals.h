/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/daemon.h"

#include <signal.h>
#include <stdbool.h>

/*
 * What each signal does to the daemon. Those that end it in order, SIGUSR2, which purges, and
 * SIGHUP, which reloads, are blocked and read from a descriptor by the loop; those that nobody
 * means as an end are ignored; faults wipe and then have their own effect. The others do what they
 * always do: they stop, go on, or change nothing.
 */

/* Blocks what the loop reads, and ignores what is ignored. Before anything may start a thread. */
void signals_block(void);

/* What signals_block blocks. */
sigset_t signals_set(void);

/* The descriptor that tells of them, without waiting; or a negative errno. */
int signals_open(void);

/* The same, and of children that have ended: SIGCHLD is blocked, too, until signals_block. */
int signals_open_with_children(void);

/* The number of the next one, or 0. */
int signals_read(int fd);

/* For whoever works before the loop does: whether one that ends the process waits to be read. */
bool signals_end_waits(void);

/*
 * From now on a fault (SEGV, BUS, ILL, FPE, ABRT, SYS, TRAP) wipes all secret memory of the daemon
 * before it ends the process. Its handler runs on the workbench.
 */
void signals_wipe_on_fault(struct daemon *daemon);
