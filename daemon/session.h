/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <uv.h>

#include "daemon/daemon.h"
#include "daemon/outbox.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * One connection, from accept to close: Hello, then frames. A session belongs to libuv from its
 * pipe's init on; session_close is the only way out, and its close callback the only free.
 */
struct session;

/* Bytes of one session in the outbox. */
struct segment {
	struct session *session; /* NULL: closed meanwhile */
	size_t begin;
	size_t end;
};

/* More sessions than this in one round are written in two. */
#define SESSIONS_SEGMENTS 256

/* What all sessions share: one read buffer, one outbox, the handles that drive them. */
struct sessions {
	uv_loop_t *loop;
	struct daemon *daemon;
	struct outbox outbox;
	struct segment segments[SESSIONS_SEGMENTS];
	size_t segment_count;
	struct session *first;
	size_t count;
	struct session
		*line; /* of those who have something left to do; whoever is served goes last */
	struct session *line_end;
	struct session *line_next; /* while they have their turns */
	size_t line_count;
	uint8_t *read_buffer;
	uv_prepare_t before_poll; /* both write what is in the outbox */
	uv_check_t after_poll;
	uv_idle_t busy;  /* runs while anybody has something to do that hangs on nobody else */
	uv_timer_t view; /* wipes the masters' view */
	bool closing;
	uint64_t purges; /* of the daemon's, that the readers have been hurried for */
	uint64_t locks;  /* of the daemon's, that everybody has been told of */
	void (*on_count)(struct sessions *sessions);   /* a session came or went */
	void (*on_reload)(struct sessions *sessions);  /* somebody asked for it */
	void (*on_upgrade)(struct sessions *sessions); /* the same; its answer has left */
	void (*on_end)(struct sessions *sessions);     /* somebody asked for it; more than once */
	void *owner;
};

/* Returns 0 or a negative errno. `loop` and `daemon` outlive the sessions. */
int sessions_init(struct sessions *sessions, uv_loop_t *loop, struct daemon *daemon);

/*
 * Takes over a connected socket. Whoever comes too often is told which quota is in his way, and
 * closed; so is a failure, and both are logged. `listener`: the name of the one that it came in by,
 * which outlives the session; "" for the daemon's own. Returns whether there was a session made.
 */
bool sessions_accept(struct sessions *sessions, int socket, const char *listener);

/* Whether every answer has left. */
bool sessions_drained(const struct sessions *sessions);

/* Closes every session and handle; the loop then runs dry. Call sessions_finish after that. */
void sessions_close(struct sessions *sessions);
void sessions_finish(struct sessions *sessions);
