/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/security/sources.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * A process under ptrace(2): one that runs and is stopped for the time of a look, or one that is
 * started for it and stops where it says so and just before it ends.
 */

/* -- a process that runs ------------------------------------------------------------------- */

/* Stops every thread, reads memory by PTRACE_PEEKDATA and all registers, and lets them go on.
 * Returns 0 or a negative errno; -EPERM where tracing is refused. */
int sources_read_ptrace(struct sources *sources, pid_t pid);

/* Stops it many times, one shortly after the other, and reads nothing but registers. The same. */
int sources_read_registers(struct sources *sources, pid_t pid);

/* Whether this process may trace one of its own: 0 or a negative errno. */
int tracee_allowed(void);

/* -- a process that is started ------------------------------------------------------------- */

enum tracee_stop {
	TRACEE_BREAK, /* it has stopped itself with a breakpoint instruction */
	TRACEE_LEAVE, /* it is about to end; its memory is still there */
	TRACEE_ENDED, /* it is gone */
};

struct tracee {
	pid_t pid;
	int status; /* wait status, once it has ended */
	int number; /* of the stop's signal or event */
};

/* Starts a program. It is killed when this process ends. Returns 0 or a negative errno. */
int tracee_start(struct tracee *tracee, char *const argv[]);

/* Lets it go on until the next stop. */
enum tracee_stop tracee_next(struct tracee *tracee);

/* Ends it, whatever it does. */
void tracee_kill(struct tracee *tracee);

/* Memory through /proc/PID/mem and all registers while it is stopped. Returns 0 or a negative
 * errno. */
int tracee_read(struct sources *sources, const struct tracee *tracee);
