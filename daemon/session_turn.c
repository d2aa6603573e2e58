/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session_inside.h"

#include <stddef.h>

#include "daemon/request/flow.h"
#include "daemon/request/restore.h"
#include "daemon/request/transfer.h"
#include "daemon/request/trial.h"
#include "daemon/request/watch.h"

/*
 * Whose turn it is. Whoever has something left to do that hangs on nobody else stands in a line,
 * and whoever has had a turn stands behind all others again.
 */

/* Nanoseconds of turns before sockets are looked at again. */
#define ROUND_NS 4000000

/* -- the line ------------------------------------------------------------------------------ */

static void stand_in_line(struct session *session)
{
	struct sessions *sessions = session->sessions;

	if (session->in_line)
		return;
	session->in_line = true;
	session->ahead = sessions->line_end;
	session->behind_it = NULL;
	if (sessions->line_end)
		sessions->line_end->behind_it = session;
	else
		sessions->line = session;
	sessions->line_end = session;
	sessions->line_count++;
	if (!uv_is_active((uv_handle_t *)&sessions->busy))
		uv_idle_start(&sessions->busy, sessions_go_on);
}

void session_leave_line(struct session *session)
{
	struct sessions *sessions = session->sessions;

	if (!session->in_line)
		return;
	session->in_line = false;
	sessions->line_count--;
	if (sessions->line_next == session)
		sessions->line_next = session->behind_it;
	if (session->ahead)
		session->ahead->behind_it = session->behind_it;
	else
		sessions->line = session->behind_it;
	if (session->behind_it)
		session->behind_it->ahead = session->ahead;
	else
		sessions->line_end = session->ahead;
}

/* -- one turn ------------------------------------------------------------------------------ */

/* Whether it has something to do that hangs on nobody else. */
static bool is_busy(const struct session *session)
{
	const struct transfers *transfers = &session->served.transfers;

	return session->writes == 0 &&
		(session->behind || session->put_off || session->served.owed ||
			session->served.again || transfers->downloads || transfers->sweeps ||
			transfers->walks || trials_running(transfers) || flows_due(transfers) ||
			watches_due(transfers) || restore_running(transfers));
}

bool session_has_to_wait(const struct session *session)
{
	return user_share(session->user) == 0;
}

void session_put_off(struct session *session)
{
	session->put_off = true;
	session_read(session);
	stand_in_line(session);
}

void session_settle(struct session *session)
{
	session_read(session);
	if (session->closing)
		return;
	if (is_busy(session))
		stand_in_line(session);
	session_watch(session);
	session_arm(session);
}

static void take_turn(struct session *session)
{
	/* What it was put off with still lies in its socket: to wait for the loop to say so again
	 * would be to stand in line once more. */
	bool unread = session->put_off && !session->behind && session->open;

	session->put_off = session->behind = false;
	if ((unread && session_read_now(session)) || !session_is_entitled(session))
		return;
	session_serve(session, backlog_span(&session->backlog));
	session_settle(session);
}

/* Of many who wait for one name and are one user's most may have to wait for the next round: that
 * costs no look at who they are. */
void session_run(struct session *session)
{
	if (session->closing || session->writes > 0)
		return;
	if (session_has_to_wait(session))
		session_put_off(session);
	else
		take_turn(session);
}

void session_greet_later(struct session *session)
{
	session->behind = true;
	session_settle(session);
}

/* -- everybody in turn --------------------------------------------------------------------- */

/*
 * Of the next `*leftp` in the line, whoever has something left of his user's share; or is the one
 * of his user that comes in.
 */
static struct session *next_in_line(struct sessions *sessions, size_t *leftp)
{
	while (*leftp > 0 && sessions->line_next) {
		struct session *session = sessions->line_next;

		sessions->line_next = session->behind_it;
		--*leftp;
		if (session->open ? !session_has_to_wait(session) : user_let_in(session->user))
			return session;
	}
	return NULL;
}

void sessions_go_on(uv_idle_t *busy)
{
	struct sessions *sessions = busy->data;
	uint64_t until_ns = daemon_now_ns() + ROUND_NS;
	size_t left = sessions->line_count;
	struct session *session;

	sessions->line_next = sessions->line;
	while ((session = next_in_line(sessions, &left)) != NULL) {
		session_leave_line(session);
		if (is_busy(session))
			take_turn(session);
		if (daemon_now_ns() >= until_ns)
			break;
	}
	sessions->line_next = NULL;
	if (!sessions->line && !wait_queue_has_called(&sessions->daemon->waits))
		uv_idle_stop(busy);
}

/* A party lies in the session that waits. */
static struct session *session_of_party(struct wait_party *party)
{
	void *start = (char *)party - offsetof(struct session, served.transfers.party);

	return start;
}

/*
 * Those who run call others, and these them again: what is left after a round waits until sockets
 * have been looked at.
 */
void sessions_answer_called(struct sessions *sessions)
{
	struct wait_queue *waits = &sessions->daemon->waits;
	uint64_t until_ns;

	daemon_tell_watches(sessions->daemon);
	until_ns = wait_queue_has_called(waits) ? daemon_now_ns() + ROUND_NS : 0;

	while (wait_queue_has_called(waits)) {
		session_run(session_of_party(wait_queue_next(waits)));
		daemon_tell_watches(sessions->daemon);
		if (daemon_now_ns() >= until_ns)
			break;
	}
	if (wait_queue_has_called(waits) && !uv_is_active((uv_handle_t *)&sessions->busy))
		uv_idle_start(&sessions->busy, sessions_go_on);
}
