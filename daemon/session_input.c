/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session_inside.h"

#include <errno.h>
#include <stddef.h>

#include "common/wire/channel.h"
#include "daemon/peer.h"
#include "daemon/request/flow.h"
#include "daemon/request/restore.h"
#include "daemon/request/transfer.h"
#include "daemon/request/trial.h"

/*
 * Nanoseconds of a session's turn, and of a round of turns before sockets are looked at again: what
 * one client sends, however much, holds up the others no longer than this and one frame.
 */
#define TURN_NS 1000000
#define ROUND_NS 4000000

/* Milliseconds after a visit that the masters' view may live. */
#define VIEW_MS 1

/* -- one turn ------------------------------------------------------------------------------ */

static void on_view_over(uv_timer_t *timer)
{
	struct sessions *sessions = timer->data;

	daemon_forget(sessions->daemon);
}

/* After every visit to the locked stack: the view that it made is wiped in time. */
static void watch_view(struct sessions *sessions)
{
	if (sessions->daemon->coffer.viewing && !uv_is_active((uv_handle_t *)&sessions->view))
		uv_timer_start(&sessions->view, on_view_over, VIEW_MS, 0);
}

/* Tells a client of another version what we speak, as far as it goes at once, and closes. */
static void turn_away(struct session *session)
{
	static const uint8_t no_key[32];
	uint8_t hello[HELLO_SIZE];
	uv_buf_t buffer = uv_buf_init((char *)hello, sizeof(hello));

	hello_write(hello, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, no_key);
	(void)uv_try_write((uv_stream_t *)&session->pipe, &buffer, 1);
	session_fail(session, "it speaks no version or cipher of ours", 0);
}

/* Answers the client's Hello when it is whole. Returns the input that is left. */
static struct span session_greet(struct session *session, struct span input)
{
	struct sessions *sessions = session->sessions;
	size_t begin;
	struct hello hello;
	int size = hello_read(&hello, input);
	int r;

	if (size < 0)
		session_fail(session, "what it sent is no Hello", 0);
	if (size <= 0)
		return input;
	if (hello_agree(&hello) < 0) {
		turn_away(session);
		return input;
	}
	if (sessions_full(sessions))
		sessions_flush(sessions);
	begin = sessions->outbox.used;
	r = serve_hello(&session->served, &hello);
	watch_view(sessions);
	if (r < 0) {
		session_fail(session, "its key is no good", r);
		return input;
	}
	session_claim(session, begin);
	session->open = true;
	return span_of(input.data + size, input.size - (size_t)size);
}

/* Serves frames until there is none, the outbox is full or time is up. Returns what is left. */
static struct span session_turn(
	struct session *session, struct span input, uint64_t until_ns, enum serve_end *endp)
{
	size_t begin = session->sessions->outbox.used;
	int r = serve_frames(&session->served, &input, until_ns, endp);

	watch_view(session->sessions);
	if (r < 0)
		session_fail(session, serve_words(r), 0);
	else
		session_claim(session, begin);
	return input;
}

/* The same over as many outboxes as it takes; stops where the socket takes no more. */
static struct span session_turns(struct session *session, struct span input)
{
	struct sessions *sessions = session->sessions;
	uint64_t until_ns = daemon_now_ns() + TURN_NS;
	enum serve_end end = SERVE_FULL;

	while (end == SERVE_FULL) {
		if (sessions_full(sessions))
			sessions_flush(sessions);
		if (session->closing || session->writes > 0)
			break;
		input = session_turn(session, input, until_ns, &end);
	}
	session->behind = end == SERVE_OVERTIME && input.size > 0;
	return input;
}

/* Input that waits for us, or for its reader, has no deadline; what its sender owes has one. */
static void set_input_deadline(struct session *session, bool progress, bool owed)
{
	if (!owed || session->writes > 0 || session->behind)
		session->input_deadline = 0;
	else if (progress || session->input_deadline == 0)
		session->input_deadline =
			uv_now(session->sessions->loop) + (session->open ? FRAME_MS : HELLO_MS);
	if (progress || session->input_deadline == 0)
		session->late = false;
}

/* Serves `input` as far as it goes in one turn; what is left is kept. */
static void session_serve(struct session *session, struct span input)
{
	struct span left = input;
	bool progress;
	bool owed;

	if (!session->open)
		left = session_greet(session, left);
	if (session->open && !session->closing)
		left = session_turns(session, left);
	if (session->closing)
		return;
	progress = left.size < input.size;
	owed = left.size > 0;
	set_input_deadline(session, progress, owed);
	if (backlog_keep(&session->backlog, left) < 0)
		session_fail(session, "out of memory", 0);
}

/*
 * Rights only ever shrink: looked at before anything is served, asked for now or long ago; and
 * where somebody is now, before it is decided what may be done from there.
 */
bool session_is_entitled(struct session *session)
{
	const struct peer *peer = &session->served.peer;
	int r = peer_check(peer);

	if (r < 0)
		session_fail(session, peer_words(r), 0);
	else if (policy_asks_where(&session->sessions->daemon->policy))
		peer_locate(peer);
	return r >= 0;
}

/* -- everybody in turn --------------------------------------------------------------------- */

/* Whether it has something to do that hangs on nobody else. */
static bool is_busy(const struct session *session)
{
	const struct transfers *transfers = &session->served.transfers;

	return session->writes == 0 &&
		(session->behind || transfers->downloads || transfers->sweeps || transfers->walks ||
			trials_running(transfers) || flows_due(transfers) ||
			restore_running(transfers));
}

/* After a turn: what the session waits for now. */
static void session_settle(struct session *session)
{
	uv_idle_t *busy = &session->sessions->busy;

	session_read(session);
	if (session->closing)
		return;
	if (is_busy(session) && !uv_is_active((uv_handle_t *)busy))
		uv_idle_start(busy, sessions_go_on);
	session_watch(session);
	session_arm(session);
}

void session_run(struct session *session)
{
	if (session->closing || session->writes > 0 || !session_is_entitled(session))
		return;
	session_serve(session, backlog_span(&session->backlog));
	session_settle(session);
}

/* Whose turn it is; the next time it is the next one's. */
static struct session *next_in_turn(struct sessions *sessions)
{
	struct session *session = sessions->turn ? sessions->turn : sessions->first;

	if (session)
		sessions->turn = session->next;
	return session;
}

void sessions_go_on(uv_idle_t *busy)
{
	struct sessions *sessions = busy->data;
	uint64_t until_ns = daemon_now_ns() + ROUND_NS;
	struct session *session;
	bool any = false;

	for (size_t left = sessions->count; left > 0; left--) {
		session = next_in_turn(sessions);
		if (!session)
			break;
		if (!is_busy(session))
			continue;
		any = true;
		session_run(session);
		if (daemon_now_ns() >= until_ns)
			return;
	}
	if (!any && !wait_queue_has_called(&sessions->daemon->waits))
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
	uint64_t until_ns = wait_queue_has_called(waits) ? daemon_now_ns() + ROUND_NS : 0;

	while (wait_queue_has_called(waits)) {
		session_run(session_of_party(wait_queue_next(waits)));
		if (daemon_now_ns() >= until_ns)
			break;
	}
	if (wait_queue_has_called(waits) && !uv_is_active((uv_handle_t *)&sessions->busy))
		uv_idle_start(&sessions->busy, sessions_go_on);
}

/* -- reading ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct session *session = handle->data;

	(void)suggested;
	*buffer = uv_buf_init((char *)session->sessions->read_buffer, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct session *session = stream->data;
	struct span bytes = span_of(buffer->base, size > 0 ? (size_t)size : 0);

	if (size < 0) {
		session_close(session);
		return;
	}
	if (size == 0 || session->closing)
		return;
	if (!session_is_entitled(session))
		return;
	if (backlog_join(&session->backlog, &bytes) < 0) {
		session_fail(session, "out of memory", 0);
		return;
	}
	session_serve(session, bytes);
	session_settle(session);
}

void session_read(struct session *session)
{
	bool wanted = !session->closing && session->writes == 0 && !session->behind;
	int r = 0;

	if (wanted == session->reading)
		return;
	session->reading = wanted;
	if (wanted)
		r = uv_read_start((uv_stream_t *)&session->pipe, on_alloc, on_read);
	else
		uv_read_stop((uv_stream_t *)&session->pipe);
	if (r < 0)
		session_fail(session, "reading failed", r);
}
