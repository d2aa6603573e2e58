/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server_accepting.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"

/*
 * Connections taken in one round, so that those who are served already get their turn; and, while
 * several users are there, nanoseconds that they may take: whoever comes again and again without a
 * word has no more of the others' time than whoever asks again and again.
 */
#define ACCEPT_ROUND 32
#define ACCEPT_NS 10000

/* Rounds in which somebody was served that newcomers let pass, while several users are there: to
 * take one costs as much as to serve several, and nobody is to wait for both. */
#define ACCEPT_WAITS 4

/*
 * Of the time while somebody is connected, one part in so many goes to those who are turned away:
 * they come again at once, and what the kernel does behind each of them is more than we see of it.
 * Others who come wait in the same queue, behind each of them for so many nanoseconds at most.
 */
#define REFUSALS_PART 4
#define REFUSALS_NS 1000000

/* Milliseconds without accepting after descriptors or memory ran out. */
#define ACCEPT_PAUSE_MS 100

/* Milliseconds between two lines about that: a machine that is short of them stays so for long. */
#define TELL_MS 60000

/*
 * Descriptors for which libuv's table has room from the start: it ends the process where the table
 * cannot grow. 64 KiB; who has more connections than this has had the memory for it.
 */
#define WATCHED_MAX 8000

/* -- who waits ----------------------------------------------------------------------------- */

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct accepting *accepting = poll->data;

	(void)status;
	(void)events;
	accepting->called[poll - accepting->listening] = accepting->anybody = true;
}

static int listen_all(struct accepting *accepting)
{
	int r = 0;

	for (size_t i = 0; i < accepting->count && r == 0; i++)
		r = uv_poll_start(&accepting->listening[i], UV_READABLE, on_connection);
	return r;
}

static void stop_listening(struct accepting *accepting)
{
	for (size_t i = 0; i < accepting->count; i++)
		uv_poll_stop(&accepting->listening[i]);
}

static void on_pause_over(uv_timer_t *timer)
{
	struct accepting *accepting = timer->data;

	if (!accepting->over)
		(void)listen_all(accepting);
}

/* Descriptors or memory ran out: whoever is connected is served on, the others wait a moment. */
static void accept_later(struct accepting *accepting, int error)
{
	uint64_t now = uv_now(accepting->pause.loop);

	if (accepting->told_ms == 0 || now - accepting->told_ms >= TELL_MS) {
		log_warning("connections have to wait: %s", strerror(error));
		accepting->told_ms = now;
	}
	stop_listening(accepting);
	uv_timer_start(&accepting->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

/* -- one of them --------------------------------------------------------------------------- */

/* A listener of mode 0600 is its owner's alone, even if somebody opened the way to it. */
static bool welcome(const struct listener *listener, int socket)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (!listener->own_only)
		return true;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
		(peer.uid == 0 || peer.uid == geteuid()))
		return true;
	log_stranger("turned a connection of uid %ld away: this socket is its owner's alone",
		(long)peer.uid);
	return false;
}

/*
 * Accepts while there is a second descriptor to be had, because a session holds its caller by one:
 * whoever is accepted without it would have to be turned away instead of waiting.
 */
static int take_connection(int listener)
{
	int second = fcntl(listener, F_DUPFD_CLOEXEC, 0);
	int socket = -1;
	int error;

	if (second >= 0)
		socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	error = errno;
	if (second >= 0)
		close(second);
	errno = error;
	return socket;
}

/* -- a round ------------------------------------------------------------------------------- */

/* Whether another one may be taken in this round; `alone` is whether one user is there. */
static bool may_take(int taken, bool alone, uint64_t until_ns)
{
	return taken < ACCEPT_ROUND && (taken == 0 || alone || daemon_now_ns() < until_ns);
}

static void take_connections(struct accepting *accepting, const struct listener *listener)
{
	const struct users *users = &accepting->sessions->daemon->users;
	uint64_t until_ns = daemon_now_ns() + ACCEPT_NS;

	/* Who is not let in may be somebody else, and leaves no trace among those who are there. */
	for (int i = 0; may_take(i, !accepting->refused && users->count < 2, until_ns); i++) {
		int socket = take_connection(listener->fd);

		if (socket < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
				errno == ENOMEM)
				accept_later(accepting, errno);
			return;
		}
		if (!welcome(listener, socket)) {
			close(socket);
			accepting->refused = true;
		} else if (!sessions_accept(accepting->sessions, socket, listener->name)) {
			accepting->refused = true;
		}
	}
}

/* Whether it was the turn of those who are connected. */
static bool let_pass(struct accepting *accepting)
{
	const struct users *users = &accepting->sessions->daemon->users;
	bool passes = users->before_ns > 0 && accepting->waited < ACCEPT_WAITS;

	if (users->count == 0)
		return false;
	if (accepting->again_ns > 0 && daemon_now_ns() < accepting->again_ns)
		return true;
	accepting->again_ns = 0;
	accepting->waited = passes ? accepting->waited + 1 : 0;
	return passes;
}

/* When what has been done since then will be one part of the whole. */
static uint64_t rest_until(uint64_t begin_ns)
{
	uint64_t whole_ns = REFUSALS_PART * (daemon_now_ns() - begin_ns);

	return begin_ns + (whole_ns < REFUSALS_NS ? whole_ns : REFUSALS_NS);
}

static void on_turn(uv_check_t *turn)
{
	struct accepting *accepting = turn->data;
	uint64_t begin_ns;

	if (!accepting->anybody || let_pass(accepting))
		return;
	begin_ns = daemon_now_ns();
	accepting->anybody = accepting->refused = false;
	for (size_t i = 0; i < accepting->count; i++) {
		if (accepting->called[i] && !accepting->over)
			take_connections(accepting, accepting->listeners[i]);
		accepting->called[i] = false;
	}
	if (accepting->refused)
		accepting->again_ns = rest_until(begin_ns);
}

/* -- from beginning to end ----------------------------------------------------------------- */

void accepting_init(struct accepting *accepting, uv_loop_t *loop, struct sessions *sessions,
	const struct listener *own, const struct listeners *others)
{
	*accepting = (struct accepting){ .sessions = sessions, .listeners = { own } };
	for (size_t i = 0; others && i < others->count; i++)
		accepting->listeners[1 + i] = &others->all[i];
	uv_check_init(loop, &accepting->turn);
	uv_timer_init(loop, &accepting->pause);
	accepting->turn.data = accepting->pause.data = accepting;
	uv_check_start(&accepting->turn, on_turn);
	accepting->count = 1 + (others ? others->count : 0);
}

/* Lets libuv's table grow while nothing is lost yet. Without so many descriptors it need not. */
static void grow_table(struct accepting *accepting)
{
	int fd = fcntl(accepting->listeners[0]->fd, F_DUPFD_CLOEXEC, WATCHED_MAX);

	if (fd < 0)
		return;
	if (uv_poll_init(accepting->turn.loop, &accepting->highest, fd) == 0) {
		uv_poll_start(&accepting->highest, UV_READABLE, on_connection);
		uv_poll_stop(&accepting->highest);
		uv_close((uv_handle_t *)&accepting->highest, NULL);
	}
	close(fd);
}

int accepting_start(struct accepting *accepting)
{
	int r = 0;

	grow_table(accepting);
	for (size_t i = 0; i < accepting->count && r == 0; i++) {
		r = uv_poll_init(accepting->turn.loop, &accepting->listening[i],
			accepting->listeners[i]->fd);
		if (r == 0)
			accepting->listening[i].data = accepting;
	}
	return r < 0 ? r : listen_all(accepting);
}

void accepting_stop(struct accepting *accepting)
{
	accepting->over = true;
	stop_listening(accepting);
	uv_timer_stop(&accepting->pause);
}

static void close_once(uv_handle_t *handle)
{
	if (handle->data && !uv_is_closing(handle))
		uv_close(handle, NULL);
}

void accepting_close(struct accepting *accepting)
{
	for (size_t i = 0; i < accepting->count; i++)
		close_once((uv_handle_t *)&accepting->listening[i]);
	close_once((uv_handle_t *)&accepting->turn);
	close_once((uv_handle_t *)&accepting->pause);
}
