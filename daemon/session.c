/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/peer.h"
#include "daemon/request/flow.h"
#include "daemon/request/restore.h"
#include "daemon/request/showing.h"
#include "daemon/request/transfer.h"
#include "daemon/request/trial.h"
#include "daemon/request/unlock.h"
#include "daemon/request/upload.h"
#include "daemon/request/waiter.h"
#include "daemon/session_inside.h"

/* -- the end ------------------------------------------------------------------------------- */

static void unlink_session(struct session *session)
{
	struct sessions *sessions = session->sessions;

	if (session->previous)
		session->previous->next = session->next;
	else
		sessions->first = session->next;
	if (session->next)
		session->next->previous = session->previous;
	session_leave_line(session);
	if (session->counted)
		user_end_session(session->user);
	if (session->user)
		user_leave(session->user);
	session->user = NULL;
	sessions->count--;
	sessions->daemon->sessions = sessions->count;
}

static void on_closed(uv_handle_t *handle)
{
	struct session *session = handle->data;

	if (--session->handles > 0)
		return;
	peer_finish(&session->served.peer);
	backlog_finish(&session->backlog);
	free(session);
}

void session_close(struct session *session)
{
	struct sessions *sessions = session->sessions;

	if (session->closing)
		return;
	session->closing = true;
	session_disown(session);
	transfers_finish(&session->served.transfers, sessions->daemon);
	unlink_session(session);
	uv_close((uv_handle_t *)&session->pipe, on_closed);
	uv_close((uv_handle_t *)&session->timer, on_closed);
	if (session->watching)
		uv_close((uv_handle_t *)&session->watch, on_closed);
	if (sessions->on_count)
		sessions->on_count(sessions);
}

void session_fail(struct session *session, const char *what, int error)
{
	if (session->closing)
		return;
	log_stranger("closed the connection of uid %ld, pid %ld: %s%s%s",
		(long)session->served.peer.uid, (long)session->served.peer.pid, what,
		error ? ": " : "", error ? strerror(-error) : "");
	session_close(session);
}

/* -- the process that connected ------------------------------------------------------------- */

static void on_process_end(uv_poll_t *watch, int status, int events)
{
	struct session *session = watch->data;

	(void)status;
	(void)events;
	if (session_is_entitled(session))
		uv_poll_stop(watch);
}

void session_watch(struct session *session)
{
	struct served *served = &session->served;

	if (session->watching || !served->transfers.session || served->peer.pidfd < 0)
		return;
	if (uv_poll_init(session->sessions->loop, &session->watch, served->peer.pidfd) < 0)
		return;
	session->watching = true;
	session->watch.data = session;
	session->handles++;
	uv_poll_start(&session->watch, UV_READABLE, on_process_end);
}

/* -- deadlines ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What is under way keeps CLOCK_BOOTTIME; the timer keeps the loop's clock. */
static uint64_t transfers_deadline(const struct session *session)
{
	const struct transfers *transfers = &session->served.transfers;
	uint64_t deadline =
		earlier(earlier(waiters_deadline(transfers), uploads_deadline(transfers)),
			earlier(trials_deadline(transfers), flows_deadline(transfers)));
	uint64_t now;
	uint64_t left;

	deadline = earlier(deadline, restore_deadline(transfers));
	deadline = earlier(deadline, showings_deadline(transfers));
	deadline = earlier(deadline, unlocks_deadline(transfers));
	now = deadline ? daemon_now_ms() : 0;
	left = deadline > now ? deadline - now : 1;
	return deadline ? uv_now(session->sessions->loop) + left : 0;
}

/*
 * What the socket holds by now has come in time: it was us who did not look. It is read before the
 * timer can run out again.
 */
static void input_is_late(struct session *session)
{
	if (session->late) {
		session_fail(session,
			session->open ? "a frame did not come to its end" : "no Hello came", 0);
		return;
	}
	session->late = true;
	session->input_deadline = uv_now(session->sessions->loop) + 1;
	session_arm(session);
}

static void on_deadline(uv_timer_t *timer)
{
	struct session *session = timer->data;
	uint64_t now = uv_now(session->sessions->loop);

	session->armed = 0;
	if (session->write_deadline && now >= session->write_deadline)
		session_fail(session, "it does not read its answers", 0);
	else if (session->input_deadline && now >= session->input_deadline)
		input_is_late(session);
	else
		session_run(session);
}

void session_arm(struct session *session)
{
	uint64_t deadline = earlier(session->input_deadline, session->write_deadline);
	uint64_t now = uv_now(session->sessions->loop);

	if (session->closing)
		return;
	/* An answer that cannot leave is not waited for. */
	if (session->writes == 0)
		deadline = earlier(deadline, transfers_deadline(session));
	if (deadline == session->armed)
		return;
	session->armed = deadline;
	if (deadline == 0)
		uv_timer_stop(&session->timer);
	else
		uv_timer_start(
			&session->timer, on_deadline, deadline > now ? deadline - now : 1, 0);
}

/* -- all of them --------------------------------------------------------------------------- */

/*
 * After a purge of everything: frames that wait for their reader are all that is left of what is
 * dead, so they do not wait for long.
 */
static void hurry_readers(struct sessions *sessions)
{
	uint64_t deadline = uv_now(sessions->loop) + PURGE_MS;

	sessions->purges = sessions->daemon->purges;
	for (struct session *session = sessions->first; session; session = session->next) {
		if (session->writes == 0 || session->write_deadline <= deadline)
			continue;
		session->write_deadline = deadline;
		session->hurried = true;
		session_arm(session);
	}
}

/* The vault is locked now: what needs its master has its answer at once, whatever it waits for. */
static void tell_locked(struct sessions *sessions)
{
	struct daemon *daemon = sessions->daemon;

	sessions->locks = daemon->locks;
	for (struct session *session = sessions->first; session; session = session->next)
		if (session->served.transfers.count > 0)
			wait_queue_call_party(&daemon->waits, &session->served.transfers.party);
}

static void write_round(struct sessions *sessions)
{
	if (sessions->daemon->reloads.asked && sessions->on_reload)
		sessions->on_reload(sessions);
	if (sessions->locks != sessions->daemon->locks)
		tell_locked(sessions);
	sessions_answer_called(sessions);
	sessions_flush(sessions);
	/* What is asked for without an answer. */
	audit_write(sessions->daemon->audit);
	if (sessions->purges != sessions->daemon->purges)
		hurry_readers(sessions);
	if (sessions->daemon->ending && sessions->on_end)
		sessions->on_end(sessions);
	if (sessions->daemon->upgrades.asked && sessions->on_upgrade)
		sessions->on_upgrade(sessions);
}

static void on_before_poll(uv_prepare_t *prepare)
{
	write_round(prepare->data);
}

/* In a round those who stand in line come first, then the sockets: whoever was put off is not put
 * off again by those of his connections that have something to read each time. */
static void on_after_poll(uv_check_t *check)
{
	struct sessions *sessions = check->data;

	write_round(sessions);
	users_begin_round(&sessions->daemon->users);
}

int sessions_init(struct sessions *sessions, uv_loop_t *loop, struct daemon *daemon)
{
	memset(sessions, 0, sizeof(*sessions));
	sessions->daemon = daemon;
	sessions->read_buffer = malloc(READ_SIZE);
	if (!sessions->read_buffer || outbox_init(&sessions->outbox) < 0) {
		sessions_finish(sessions);
		return -ENOMEM;
	}
	daemon_wipe_later(daemon);
	/* From here on there is something to close. */
	sessions->loop = loop;
	uv_prepare_init(loop, &sessions->before_poll);
	uv_check_init(loop, &sessions->after_poll);
	uv_idle_init(loop, &sessions->busy);
	uv_timer_init(loop, &sessions->view);
	sessions->before_poll.data = sessions->after_poll.data = sessions;
	sessions->busy.data = sessions->view.data = sessions;
	uv_prepare_start(&sessions->before_poll, on_before_poll);
	uv_check_start(&sessions->after_poll, on_after_poll);
	return 0;
}

bool sessions_drained(const struct sessions *sessions)
{
	for (const struct session *session = sessions->first; session; session = session->next)
		if (session->writes > 0 || session->served.transfers.downloads)
			return false;
	return sessions->segment_count == 0;
}

void sessions_close(struct sessions *sessions)
{
	if (sessions->closing)
		return;
	sessions->closing = true;
	sessions_flush(sessions);
	while (sessions->first)
		session_close(sessions->first);
	uv_close((uv_handle_t *)&sessions->before_poll, NULL);
	uv_close((uv_handle_t *)&sessions->after_poll, NULL);
	uv_close((uv_handle_t *)&sessions->busy, NULL);
	uv_close((uv_handle_t *)&sessions->view, NULL);
}

void sessions_finish(struct sessions *sessions)
{
	outbox_finish(&sessions->outbox);
	free(sessions->read_buffer);
	sessions->read_buffer = NULL;
}
