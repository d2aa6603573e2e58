/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/backlog.h"
#include "daemon/serve.h"
#include "daemon/session.h"

#include <stddef.h>

/*
 * What a session is made of: who is let in (session_door.c), its life and its deadlines
 * (session.c), whose turn it is (session_turn.c), what comes in and is served (session_input.c),
 * what goes out (session_output.c).
 */

/* As much as a socket's buffer holds by default; and what is read of it while several users are
 * there, because others wait for the copy. */
#define READ_SIZE ((size_t)256 * 1024)
#define READ_SHARED_SIZE ((size_t)16 * 1024)

/* Milliseconds in which a Hello must be whole: it is sent in one piece by every client. */
#define HELLO_MS 5000

/* Milliseconds in which a frame that has begun must be whole. */
#define FRAME_MS 10000

/* Milliseconds in which a reader must take what has been waiting for it. */
#define WRITE_MS 30000

/* The same after a purge of everything. */
#define PURGE_MS 1000

struct session {
	struct session *next;
	struct session *previous;
	struct session *ahead; /* in the line of those who have something left to do */
	struct session *behind_it;
	struct sessions *sessions;
	struct user *user; /* whose it is; NULL: closed, and nobody's */
	uv_pipe_t pipe;
	uv_timer_t timer;
	uv_poll_t watch;  /* over the connecting process, once secrets end with it */
	unsigned handles; /* libuv's, not yet closed */
	bool open;        /* the Hellos have been exchanged */
	bool closing;
	bool reading;
	bool watching;
	bool late;    /* a deadline has passed: what the socket holds by now still counts */
	bool behind;  /* its turn was over before its input */
	bool put_off; /* its user's share was used up before its turn */
	bool in_line;
	bool limited;    /* quotas hold for it */
	bool counted;    /* among its user's sessions */
	bool hurried;    /* what is under way has a last deadline */
	unsigned writes; /* under way: the socket is full */
	struct served served;
	struct backlog backlog;  /* what was read and not yet served; ciphertext */
	uint64_t input_deadline; /* uv_now of the loop; 0: none */
	uint64_t write_deadline;
	uint64_t armed; /* the deadline for which the timer runs */
};

/* -- its life ------------------------------------------------------------------------------ */

void session_close(struct session *session);

/* Closes it with one line in the log; `error` is 0 or a negative errno. */
void session_fail(struct session *session, const char *what, int error);

/*
 * Closes the session when the connecting process ends, if secrets hang on the connection: a child
 * that has inherited it does not keep them.
 */
void session_watch(struct session *session);

/* Lets the timer run for the earliest deadline; most requests leave none and cost nothing. */
void session_arm(struct session *session);

/* -- whose turn it is ---------------------------------------------------------------------- */

/*
 * A turn without new input: after a write, for a get that goes on, for one that waited, for input
 * that was left behind. It is put off when the user has had his share.
 */
void session_run(struct session *session);

/*
 * While several users are there a handshake, which takes longer than most requests, waits until
 * those who are connected have had their turns: its Hello is in the backlog.
 */
void session_greet_later(struct session *session);

/* Whether the user has had his share of this round. */
bool session_has_to_wait(const struct session *session);

/* It waits for the next round. */
void session_put_off(struct session *session);

/* After a turn: what the session waits for now. */
void session_settle(struct session *session);

void session_leave_line(struct session *session);

/* Lets everybody go on who has something left to do, in turn; the callback of sessions->busy. */
void sessions_go_on(uv_idle_t *busy);

/* Lets those look again who wait for a name that has come. */
void sessions_answer_called(struct sessions *sessions);

/* -- what comes in ------------------------------------------------------------------------- */

/* Reads while there is nothing that has to leave, or to be served, first. */
void session_read(struct session *session);

/* Reads once, at a turn, and serves it; false when there is nothing to be read. */
bool session_read_now(struct session *session);

/* Serves `input` as far as it goes in one turn, on the user's account; what is left is kept. */
void session_serve(struct session *session, struct span input);

/* Closes the session unless its peer is who it was. Whether it is; then it is known where, too. */
bool session_is_entitled(struct session *session);

/* -- what goes out ------------------------------------------------------------------------- */

/* Says whose the bytes are that have come into the outbox since `begin`. */
void session_claim(struct session *session, size_t begin);

/* Takes the session's bytes off the outbox: nobody is left to read them. */
void session_disown(struct session *session);

/* Whether the outbox has to be written before anybody is served. */
bool sessions_full(const struct sessions *sessions);

/* Writes what all sessions have in the outbox. */
void sessions_flush(struct sessions *sessions);
