/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session_inside.h"

#include <errno.h>
#include <unistd.h>

#include "common/wire/channel.h"
#include "daemon/peer.h"

/*
 * Nanoseconds of a session's turn: what one client sends, however much, holds up the others no
 * longer than this and one request.
 */
#define TURN_NS 1000000

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

/* As far as it goes at once. */
static void say_hello(struct session *session, uint8_t hello[static HELLO_SIZE])
{
	uv_buf_t buffer = uv_buf_init((char *)hello, HELLO_SIZE);

	(void)uv_try_write((uv_stream_t *)&session->pipe, &buffer, 1);
}

/* Tells a client of another version what we speak, and closes. */
static void turn_away(struct session *session)
{
	static const uint8_t no_key[32];
	uint8_t hello[HELLO_SIZE];

	hello_write(hello, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, no_key);
	say_hello(session, hello);
	session_fail(session, "it speaks no version or cipher of ours", 0);
}

/* Whether the quota of its user allows one session more. If not, it is told and closed. */
static bool admit(struct session *session)
{
	uint8_t hello[HELLO_SIZE];
	enum hello_refusal refusal;

	if (!session->limited || session->counted)
		return true;
	refusal = user_begin_session(session->user);
	if (refusal == HELLO_NOT_REFUSED) {
		session->counted = true;
		session->served.transfers.user = session->user;
		return true;
	}
	hello_write_refusal(hello, refusal);
	say_hello(session, hello);
	session_fail(session, "its user has as many sessions as quota-sessions allows", 0);
	return false;
}

/*
 * While several users are there a handshake has two turns, for it takes longer than anything else
 * that one asks for at once: sockets are looked at in between. Whether this was the first of them.
 */
static bool greet_by_halves(struct session *session)
{
	struct sessions *sessions = session->sessions;
	int r;

	if (session->served.drawn || sessions->daemon->users.count < 2)
		return false;
	r = serve_draw(&session->served);
	watch_view(sessions);
	if (r < 0)
		session_fail(session, "no key can be drawn for it", r);
	session->behind = true;
	return true;
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
	if (!admit(session) || greet_by_halves(session))
		return input;
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
	uint64_t share_ns = user_share(session->user);
	uint64_t until_ns = daemon_now_ns() + (share_ns < TURN_NS ? share_ns : TURN_NS);
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
static void serve_input(struct session *session, struct span input)
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

void session_serve(struct session *session, struct span input)
{
	bool alone = session->sessions->daemon->users.count < 2;
	uint64_t begin_ns = alone ? 0 : daemon_now_ns();

	serve_input(session, input);
	/* It may be closed by now. */
	if (!alone && session->user)
		user_spend(session->user, daemon_now_ns() - begin_ns);
}

/* An end takes time as everything does: whoever has many connections end has one share for them. */
static void end_by_peer(struct session *session)
{
	struct user *user = session->user;
	uint64_t begin_ns = daemon_now_ns();

	session_close(session);
	if (user)
		user_spend(user, daemon_now_ns() - begin_ns);
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
	else if (policy_asks_where_of(&session->sessions->daemon->policy, peer))
		peer_locate(peer);
	return r >= 0;
}

/* -- reading ------------------------------------------------------------------------------- */

static size_t read_size(const struct session *session)
{
	return session->sessions->daemon->users.count < 2 ? READ_SIZE : READ_SHARED_SIZE;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct session *session = handle->data;

	(void)suggested;
	*buffer = uv_buf_init((char *)session->sessions->read_buffer, (unsigned)read_size(session));
	/* What is not read yet waits in the socket; but for a Hello, which waits for more than
	 * that. */
	if (session->open && session_has_to_wait(session))
		*buffer = uv_buf_init(NULL, 0);
}

/* A turn with what has come from the socket. */
static void take_bytes(struct session *session, struct span bytes)
{
	if (!session_is_entitled(session))
		return;
	if (backlog_join(&session->backlog, &bytes) < 0) {
		session_fail(session, "out of memory", 0);
		return;
	}
	if (!session->open && session->sessions->daemon->users.count > 1) {
		if (backlog_keep(&session->backlog, bytes) < 0)
			session_fail(session, "out of memory", 0);
		else
			session_greet_later(session);
		return;
	}
	session_serve(session, bytes);
	session_settle(session);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct session *session = stream->data;
	struct span bytes = span_of(buffer->base, size > 0 ? (size_t)size : 0);

	if (size == UV_ENOBUFS) {
		session_put_off(session);
		return;
	}
	if (size < 0) {
		end_by_peer(session);
		return;
	}
	if (size > 0 && !session->closing)
		take_bytes(session, bytes);
}

bool session_read_now(struct session *session)
{
	uint8_t *buffer = session->sessions->read_buffer;
	uv_os_fd_t fd;
	ssize_t size;

	if (uv_fileno((const uv_handle_t *)&session->pipe, &fd) < 0)
		return false;
	do
		size = read(fd, buffer, read_size(session));
	while (size < 0 && errno == EINTR);
	if (size < 0 && errno == EAGAIN)
		return false;
	if (size > 0)
		take_bytes(session, span_of(buffer, (size_t)size));
	else
		end_by_peer(session);
	return true;
}

void session_read(struct session *session)
{
	bool wanted =
		!session->closing && session->writes == 0 && !session->behind && !session->put_off;
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
