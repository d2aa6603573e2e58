/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <uv.h>

#include "daemon/listener.h"
#include "daemon/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who comes: takes connections from all listeners and hands them to the sessions. Whoever is
 * connected goes first: what they asked for is answered before anybody is let in.
 */
struct accepting {
	struct sessions *sessions;
	const struct listener *listeners[1 + CONFIG_LISTENERS_MAX]; /* the daemon's own first */
	uv_poll_t listening[1 + CONFIG_LISTENERS_MAX];
	bool called[1 + CONFIG_LISTENERS_MAX]; /* somebody waits there, */
	bool anybody;                          /* or at any of them */
	bool over;                             /* nobody is let in any more */
	size_t count;                          /* of listeners */
	bool refused;                          /* somebody was, in this round */
	unsigned waited;                       /* rounds, for those who are connected */
	uint64_t again_ns;                     /* of daemon_now_ns: until then nobody is let in */
	uint64_t told_ms; /* when it was last said that connections have to wait; 0: never */
	uv_check_t turn;
	uv_timer_t pause;
	uv_poll_t highest; /* watched once, for the table's sake */
};

/*
 * Begins, for those listeners, which outlive it; `others` may be NULL. Call it before
 * sessions_init: of what looks at the end of a round, what is begun first comes last. From then on
 * there is something to close.
 */
void accepting_init(struct accepting *accepting, uv_loop_t *loop, struct sessions *sessions,
	const struct listener *own, const struct listeners *others);

/* Lets them in from now on. Returns 0 or a negative errno. */
int accepting_start(struct accepting *accepting);

/* Nobody is let in any more. */
void accepting_stop(struct accepting *accepting);

/* Closes its handles; the loop then runs dry. May be called twice. */
void accepting_close(struct accepting *accepting);
