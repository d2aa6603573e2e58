/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/wire/channel.h"
#include "daemon/backlog.h"
#include "daemon/log.h"
#include "daemon/peer.h"
#include "daemon/serve.h"
#include "daemon/transfer.h"
#include "daemon/waiter.h"

/* As much as a socket's buffer holds by default. */
#define READ_SIZE ((size_t)256 * 1024)

/* Milliseconds in which a Hello must be whole: it is sent in one piece by every client. */
#define HELLO_MS 5000

/* Milliseconds in which a frame that has begun must be whole. */
#define FRAME_MS 10000

/* Milliseconds in which a reader must take what has been waiting for it. */
#define WRITE_MS 30000

/* Milliseconds that the masters' view may live. */
#define VIEW_MS 2

struct session {
	struct session *next;
	struct session *previous;
	struct sessions *sessions;
	uv_pipe_t pipe;
	uv_timer_t timer;
	unsigned handles; /* libuv's, not yet closed */
	bool open;        /* the Hellos have been exchanged */
	bool closing;
	bool stopped;    /* not reading */
	unsigned writes; /* under way: the socket is full */
	struct served served;
	struct backlog backlog;  /* what was read and not yet served; ciphertext */
	uint64_t input_deadline; /* uv_now of the loop; 0: none */
	uint64_t write_deadline;
	uint64_t armed; /* the deadline for which the timer runs */
};

/* What the socket did not take at once. */
struct pending {
	uv_write_t request;
	struct session *session;
	uint8_t bytes[];
};

static void session_run(struct session *session);
static void on_busy(uv_idle_t *idle);

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

static void session_close(struct session *session)
{
	struct sessions *sessions = session->sessions;

	if (session->closing)
		return;
	session->closing = true;
	for (size_t i = 0; i < sessions->segment_count; i++)
		if (sessions->segments[i].session == session)
			sessions->segments[i].session = NULL;
	transfers_finish(&session->served.transfers, sessions->daemon);
	unlink_session(session);
	uv_close((uv_handle_t *)&session->pipe, on_closed);
	uv_close((uv_handle_t *)&session->timer, on_closed);
	if (sessions->on_count)
		sessions->on_count(sessions);
}

/* One line a session that ends other than by its own wish. */
static void session_fail(struct session *session, const char *what, int error)
{
	if (session->closing)
		return;
	log_stranger("closed the connection of uid %ld, pid %ld: %s%s%s",
		(long)session->served.peer.uid, (long)session->served.peer.pid, what,
		error ? ": " : "", error ? strerror(-error) : "");
	session_close(session);
}

/* -- deadlines ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Waiting gets keep CLOCK_BOOTTIME; the timer keeps the loop's clock. */
static uint64_t waiting_deadline(const struct session *session)
{
	uint64_t deadline = waiters_deadline(&session->served.transfers);
	uint64_t now = deadline ? daemon_now_ms() : 0;
	uint64_t left = deadline > now ? deadline - now : 1;

	return deadline ? uv_now(session->sessions->loop) + left : 0;
}

static void on_deadline(uv_timer_t *timer)
{
	struct session *session = timer->data;
	uint64_t now = uv_now(session->sessions->loop);

	session->armed = 0;
	if (session->write_deadline && now >= session->write_deadline)
		session_fail(session, "it does not read its answers", 0);
	else if (session->input_deadline && now >= session->input_deadline)
		session_fail(session,
			session->open ? "a frame did not come to its end" : "no Hello came", 0);
	else
		session_run(session);
}

/* Lets the timer run for the earliest deadline; most requests leave none and cost nothing. */
static void arm(struct session *session)
{
	uint64_t deadline = earlier(session->input_deadline, session->write_deadline);
	uint64_t now = uv_now(session->sessions->loop);

	if (session->closing)
		return;
	/* An answer that cannot leave is not waited for. */
	if (session->writes == 0 && session->served.transfers.waiters)
		deadline = earlier(deadline, waiting_deadline(session));
	if (deadline == session->armed)
		return;
	session->armed = deadline;
	if (deadline == 0)
		uv_timer_stop(&session->timer);
	else
		uv_timer_start(
			&session->timer, on_deadline, deadline > now ? deadline - now : 1, 0);
}

/* -- writing ------------------------------------------------------------------------------- */

static void resume_reading(struct session *session);

static void on_written(uv_write_t *request, int status)
{
	struct pending *pending = (struct pending *)request;
	struct session *session = pending->session;

	free(pending);
	if (session->closing)
		return;
	session->writes--;
	if (status < 0) {
		session_close(session);
		return;
	}
	session->write_deadline = session->writes ? uv_now(session->sessions->loop) + WRITE_MS : 0;
	if (session->writes == 0) {
		session_run(session);
		resume_reading(session);
	}
	arm(session);
}

/* Keeps what the socket did not take, and stops reading until it is gone. */
static int write_later(struct session *session, struct span bytes)
{
	struct pending *pending = malloc(sizeof(*pending) + bytes.size);
	uv_buf_t buffer;
	int r;

	if (!pending)
		return -ENOMEM;
	pending->session = session;
	memcpy(pending->bytes, bytes.data, bytes.size);
	buffer = uv_buf_init((char *)pending->bytes, (unsigned)bytes.size);
	r = uv_write(&pending->request, (uv_stream_t *)&session->pipe, &buffer, 1, on_written);
	if (r < 0) {
		free(pending);
		return r;
	}
	/* What came meanwhile waits for our reader, not for its sender. */
	session->input_deadline = 0;
	if (session->writes++ == 0)
		session->write_deadline = uv_now(session->sessions->loop) + WRITE_MS;
	if (!session->stopped)
		uv_read_stop((uv_stream_t *)&session->pipe);
	session->stopped = true;
	return 0;
}

static void session_write(struct session *session, struct span bytes)
{
	uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)bytes.data, (unsigned)bytes.size);
	int r = UV_EAGAIN;

	if (session->writes == 0)
		r = uv_try_write((uv_stream_t *)&session->pipe, &buffer, 1);
	if (r == UV_EAGAIN)
		r = 0;
	if (r >= 0 && (size_t)r < bytes.size)
		r = write_later(session, span_of(bytes.data + r, bytes.size - (size_t)r));
	/* The reader has gone: nobody's fault, and nobody is left to tell. */
	if (r == UV_EPIPE || r == UV_ECONNRESET)
		session_close(session);
	else if (r < 0)
		session_fail(session, "writing failed", r);
	else
		arm(session);
}

/* Writes what all sessions have in the outbox. */
static void flush(struct sessions *sessions)
{
	for (size_t i = 0; i < sessions->segment_count; i++) {
		struct segment *segment = &sessions->segments[i];

		if (segment->session)
			session_write(segment->session,
				span_of(sessions->outbox.bytes + segment->begin,
					segment->end - segment->begin));
	}
	sessions->segment_count = 0;
	sessions->outbox.used = 0;
}

/* Says whose the bytes are that have come into the outbox since `begin`. */
static void claim_segment(struct session *session, size_t begin)
{
	struct sessions *sessions = session->sessions;
	size_t end = sessions->outbox.used;

	if (end == begin)
		return;
	sessions->segments[sessions->segment_count++] =
		(struct segment){ .session = session, .begin = begin, .end = end };
}

static bool outbox_is_full(const struct sessions *sessions)
{
	return sessions->segment_count == SESSIONS_SEGMENTS || !outbox_has_room(&sessions->outbox);
}

/* -- driving ------------------------------------------------------------------------------- */

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

/* Reads the client's Hello and answers it. Returns the bytes it took; 0: not whole yet. */
static size_t session_greet(struct session *session, struct span input)
{
	struct sessions *sessions = session->sessions;
	size_t begin = sessions->outbox.used;
	struct hello hello;
	int size = hello_read(&hello, input);
	int r;

	if (size < 0)
		session_fail(session, "what it sent is no Hello", 0);
	if (size <= 0)
		return 0;
	if (hello_agree(&hello) < 0) {
		turn_away(session);
		return 0;
	}
	r = serve_hello(&session->served, &hello);
	watch_view(sessions);
	if (r < 0) {
		session_fail(session, "its key is no good", r);
		return 0;
	}
	claim_segment(session, begin);
	session->open = true;
	return (size_t)size;
}

/* One turn: serves what there is. Returns the input that is left. */
static struct span session_turn(struct session *session, struct span input, bool *stopped)
{
	struct sessions *sessions = session->sessions;
	size_t begin = sessions->outbox.used;
	int r = serve_frames(&session->served, &input, stopped);

	watch_view(sessions);
	if (r < 0)
		session_fail(session, serve_words(r), 0);
	else
		claim_segment(session, begin);
	return input;
}

/* Serves `input` as far as it goes; what is left is kept. */
static void session_serve(struct session *session, struct span input)
{
	struct sessions *sessions = session->sessions;
	size_t before = input.size;
	bool stopped = true;

	if (!session->open) {
		size_t size;

		if (outbox_is_full(sessions))
			flush(sessions);
		size = session_greet(session, input);
		input = span_of(input.data + size, input.size - size);
	}
	while (stopped && session->open && !session->closing && session->writes == 0) {
		if (outbox_is_full(sessions))
			flush(sessions);
		if (session->closing || session->writes > 0)
			break;
		input = session_turn(session, input, &stopped);
	}
	if (session->closing)
		return;
	/* With writes under way the input waits for our reader, not for its sender. */
	if (input.size == 0 || session->writes > 0)
		session->input_deadline = 0;
	else if (input.size < before || session->input_deadline == 0)
		session->input_deadline =
			uv_now(sessions->loop) + (session->open ? FRAME_MS : HELLO_MS);
	if (backlog_keep(&session->backlog, input) < 0)
		session_fail(session, "out of memory", 0);
}

/* Rights only ever shrink: looked at before anything is served, asked for now or long ago. */
static bool still_entitled(struct session *session)
{
	int r = peer_check(&session->served.peer);

	if (r < 0)
		session_fail(session, peer_words(r), 0);
	return r >= 0;
}

/* A turn without new input: after a write, for a get that goes on, for one that waited. */
static void session_run(struct session *session)
{
	struct sessions *sessions = session->sessions;

	if (session->closing || session->writes > 0 || !still_entitled(session))
		return;
	session_serve(session, backlog_span(&session->backlog));
	if (session->closing)
		return;
	if (session->served.transfers.downloads && !uv_is_active((uv_handle_t *)&sessions->busy))
		uv_idle_start(&sessions->busy, on_busy);
	arm(session);
}

/* Lets every get go on whose socket takes more; stops when there is none. */
static void on_busy(uv_idle_t *idle)
{
	struct sessions *sessions = idle->data;
	struct session *next;
	bool any = false;

	for (struct session *session = sessions->first; session; session = next) {
		next = session->next;
		if (!session->served.transfers.downloads || session->writes > 0)
			continue;
		any = true;
		session_run(session);
	}
	if (!any)
		uv_idle_stop(&sessions->busy);
}

/* New names: whoever waits for one of them looks again. */
static void answer_called(struct sessions *sessions)
{
	struct wait_party *party;

	while ((party = wait_queue_next(&sessions->daemon->waits)) != NULL)
		session_run((struct session *)((char *)party -
			offsetof(struct session, served.transfers.party)));
}

static void write_round(struct sessions *sessions)
{
	answer_called(sessions);
	flush(sessions);
}

static void on_before_poll(uv_prepare_t *prepare)
{
	write_round(prepare->data);
}

static void on_after_poll(uv_check_t *check)
{
	write_round(check->data);
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
	if (!still_entitled(session))
		return;
	if (backlog_join(&session->backlog, &bytes) < 0) {
		session_fail(session, "out of memory", 0);
		return;
	}
	session_serve(session, bytes);
	if (!session->closing && session->served.transfers.downloads && session->writes == 0 &&
		!uv_is_active((uv_handle_t *)&session->sessions->busy))
		uv_idle_start(&session->sessions->busy, on_busy);
	arm(session);
}

static void resume_reading(struct session *session)
{
	if (session->closing || session->writes > 0 || !session->stopped)
		return;
	session->stopped = false;
	if (uv_read_start((uv_stream_t *)&session->pipe, on_alloc, on_read) < 0)
		session_fail(session, "reading failed", 0);
}

/* -- accepting ----------------------------------------------------------------------------- */

static struct session *session_new(struct sessions *sessions)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->sessions = sessions;
	session->served.daemon = sessions->daemon;
	session->served.outbox = &sessions->outbox;
	session->served.peer.pidfd = -1;
	uv_pipe_init(sessions->loop, &session->pipe, 0);
	uv_timer_init(sessions->loop, &session->timer);
	session->pipe.data = session->timer.data = session;
	session->handles = 2;
	session->next = sessions->first;
	if (sessions->first)
		sessions->first->previous = session;
	sessions->first = session;
	sessions->count++;
	sessions->daemon->sessions = sessions->count;
	if (sessions->on_count)
		sessions->on_count(sessions);
	return session;
}

void sessions_accept(struct sessions *sessions, int socket)
{
	struct session *session = session_new(sessions);
	int r;

	if (!session) {
		log_warning("turned a connection away: out of memory");
		close(socket);
		return;
	}
	r = peer_take(&session->served.peer, socket);
	if (r < 0) {
		close(socket);
		session_fail(session, "the kernel does not say who it is", r);
		return;
	}
	r = uv_pipe_open(&session->pipe, socket);
	if (r < 0) {
		close(socket);
		session_fail(session, "it cannot be opened", r);
		return;
	}
	session->input_deadline = uv_now(sessions->loop) + HELLO_MS;
	r = uv_read_start((uv_stream_t *)&session->pipe, on_alloc, on_read);
	if (r < 0)
		session_fail(session, "reading failed", r);
	else
		arm(session);
}

/* -- all of them --------------------------------------------------------------------------- */

int sessions_init(struct sessions *sessions, uv_loop_t *loop, struct daemon *daemon)
{
	memset(sessions, 0, sizeof(*sessions));
	sessions->loop = loop;
	sessions->daemon = daemon;
	sessions->read_buffer = malloc(READ_SIZE);
	if (!sessions->read_buffer || outbox_init(&sessions->outbox) < 0) {
		sessions_finish(sessions);
		return -ENOMEM;
	}
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
	flush(sessions);
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
