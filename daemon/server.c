/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server.h"

#include <uv.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/session.h"
#include "daemon/signals.h"

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

/* Milliseconds without accepting after descriptors or memory ran out. */
#define ACCEPT_PAUSE_MS 100

/* Milliseconds between two lines about that: a machine that is short of them stays so for long. */
#define TELL_MS 60000

/* Milliseconds for answers that are on their way when the end is asked for. */
#define DRAIN_MS 1000
#define DRAIN_LOOK_MS 10

/*
 * Milliseconds between two looks at what has ended, at most: the loop's timers stand still while
 * the machine is suspended, lives do not. What is over is not found by anybody meanwhile.
 */
#define EXPIRY_MS 60000

/* Milliseconds between two signatures in the audit log, at least. */
#define AUDIT_MS 1000

/*
 * Descriptors for which libuv's table has room from the start: it ends the process where the table
 * cannot grow. 64 KiB; who has more connections than this has had the memory for it.
 */
#define WATCHED_MAX 8000

struct server {
	uv_loop_t loop;
	const struct server_options *options;
	struct daemon *daemon;
	struct sessions sessions;
	uv_poll_t listening[1 + CONFIG_LISTENERS_MAX]; /* the daemon's own first */
	bool called[1 + CONFIG_LISTENERS_MAX];         /* somebody waits there, */
	bool anybody;                                  /* or at any of them */
	unsigned waited;                               /* rounds, for those who are connected */
	uv_check_t accepting;
	uv_poll_t signals;
	uv_poll_t companion;
	uv_poll_t line;
	uv_timer_t pause;
	uv_timer_t rekey;
	uv_timer_t drain;
	uv_poll_t processes;
	uv_prepare_t planning;
	uv_timer_t expiry;
	uv_timer_t audit;
	uv_poll_t highest;   /* watched once, for the table's sake */
	uint64_t planned_ms; /* what the timer is set to, as daemon_expiry_ms tells it */
	int signal_fd;
	uint64_t told_ms; /* when it was last said that connections have to wait; 0: never */
	bool ending;
	uint64_t drain_until;
};

/* -- listeners ----------------------------------------------------------------------------- */

static size_t count_listeners(const struct server *server)
{
	return 1 + (server->options->listeners ? server->options->listeners->count : 0);
}

static const struct listener *listener_at(const struct server *server, size_t i)
{
	return i == 0 ? server->options->listener : &server->options->listeners->all[i - 1];
}

/* -- re-masking ---------------------------------------------------------------------------- */

/* Whether something rests under the masters that is no session's: a lock secret, too. */
static bool rests(const struct daemon *daemon)
{
	return vault_count(daemon->vault) > 0 || vault_is_locked(daemon->vault);
}

static void on_rekey(uv_timer_t *timer)
{
	struct server *server = timer->data;

	daemon_remask(server->daemon);
	/* The timer sleeps when nothing rests under the masters. */
	if (server->sessions.count == 0 && !rests(server->daemon))
		uv_timer_stop(timer);
}

static void start_rekey(struct server *server)
{
	uv_timer_start(
		&server->rekey, on_rekey, server->daemon->rekey_ms, server->daemon->rekey_ms);
}

static void on_count(struct sessions *sessions)
{
	struct server *server = sessions->owner;

	if (!uv_is_active((uv_handle_t *)&server->rekey) && !server->ending)
		start_rekey(server);
}

/* -- the configuration --------------------------------------------------------------------- */

/* Tells what came of it: the log, whoever asked, and the service manager. */
static void server_reload(struct server *server, const char *why)
{
	const struct server_options *options = server->options;
	uint32_t rekey_ms = server->daemon->rekey_ms;
	struct config_fault fault = { { 0 } };
	int r;

	if (server->ending)
		return;
	notify_send(NOTIFY_RELOADING);
	/* A file or the list of groups may keep us waiting: no view lives so long. */
	daemon_forget(server->daemon);
	r = options->on_reload(options->context, &fault);
	if (r < 0)
		log_error("the configuration stays as it is: %s", fault.text);
	else
		log_notice("took the configuration anew, %s", why);
	if (server->daemon->rekey_ms != rekey_ms && uv_is_active((uv_handle_t *)&server->rekey))
		start_rekey(server);
	daemon_reloaded(server->daemon, r < 0 ? &fault : NULL);
	notify_send(NOTIFY_RELOADED);
}

static void on_reload(struct sessions *sessions)
{
	char why[64];

	snprintf(why, sizeof(why), "as uid %ld asks", (long)sessions->daemon->reloads.uid);
	server_reload(sessions->owner, why);
}

/* -- the end ------------------------------------------------------------------------------- */

static void close_all(struct server *server)
{
	uv_handle_t *handles[] = { (uv_handle_t *)&server->signals,
		(uv_handle_t *)&server->companion, (uv_handle_t *)&server->pause,
		(uv_handle_t *)&server->rekey, (uv_handle_t *)&server->drain,
		(uv_handle_t *)&server->processes, (uv_handle_t *)&server->line,
		(uv_handle_t *)&server->planning, (uv_handle_t *)&server->expiry,
		(uv_handle_t *)&server->audit, (uv_handle_t *)&server->accepting };

	sessions_close(&server->sessions);
	for (size_t i = 0; i < sizeof(server->listening) / sizeof(server->listening[0]); i++)
		if (server->listening[i].data &&
			!uv_is_closing((uv_handle_t *)&server->listening[i]))
			uv_close((uv_handle_t *)&server->listening[i], NULL);
	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
		if (handles[i]->data && !uv_is_closing(handles[i]))
			uv_close(handles[i], NULL);
}

static void on_drain(uv_timer_t *timer)
{
	struct server *server = timer->data;

	if (sessions_drained(&server->sessions) || uv_now(&server->loop) >= server->drain_until)
		close_all(server);
}

static void stop_accepting(struct server *server)
{
	for (size_t i = 0; i < count_listeners(server); i++)
		uv_poll_stop(&server->listening[i]);
}

/* Takes no more connections, lets answers leave that are on their way, and ends. */
static void drain(struct server *server)
{
	server->ending = true;
	stop_accepting(server);
	uv_timer_stop(&server->pause);
	server->drain_until = uv_now(&server->loop) + DRAIN_MS;
	uv_timer_start(&server->drain, on_drain, 0, DRAIN_LOOK_MS);
}

static void server_end(struct server *server)
{
	if (server->ending)
		return;
	notify_send(NOTIFY_STOPPING);
	drain(server);
}

/* The same, but others go on: the service does not end. */
static void server_leave(struct server *server)
{
	if (!server->ending)
		drain(server);
}

static void end_on(struct server *server, int number)
{
	if (server->ending) {
		log_notice("ending at once, on a second signal");
		server->drain_until = 0;
		return;
	}
	log_notice("ending, on %s", strsignal(number));
	server_end(server);
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;
	int number = signals_read(server->signal_fd);

	(void)status;
	(void)events;
	if (number == SIGUSR2) {
		daemon_purge(server->daemon);
		server->options->on_purged(server->options->context);
		log_notice("purged everything, on SIGUSR2");
	} else if (number == SIGHUP) {
		server_reload(server, "on SIGHUP");
	} else if (number > 0) {
		end_on(server, number);
	}
}

static void on_end(struct sessions *sessions)
{
	server_end(sessions->owner);
}

static void on_companion(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;

	(void)status;
	(void)events;
	uv_poll_stop(poll);
	server_end(server);
}

/* -- upgrades ------------------------------------------------------------------------------ */

/* What is asked for while everything ends is not begun. */
static void on_upgrade(struct sessions *sessions)
{
	const struct server *server = sessions->owner;
	struct upgrades *upgrades = &sessions->daemon->upgrades;

	upgrades->asked = false;
	if (server->ending)
		return;
	log_notice("upgrades, as uid %ld asks", (long)upgrades->uid);
	server->options->on_upgrade(server->options->context);
}

static void on_line(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;

	(void)status;
	(void)events;
	if (!server->options->on_line(server->options->context))
		return;
	uv_poll_stop(poll);
	server_leave(server);
}

/* -- accepting ----------------------------------------------------------------------------- */

static void on_connection(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct server *server = timer->data;

	for (size_t i = 0; i < count_listeners(server) && !server->ending; i++)
		uv_poll_start(&server->listening[i], UV_READABLE, on_connection);
}

/* Descriptors or memory ran out: whoever is connected is served on, the others wait a moment. */
static void accept_later(struct server *server, int error)
{
	uint64_t now = uv_now(server->pause.loop);

	if (server->told_ms == 0 || now - server->told_ms >= TELL_MS) {
		log_warning("connections have to wait: %s", strerror(error));
		server->told_ms = now;
	}
	stop_accepting(server);
	uv_timer_start(&server->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

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

/* Whether another one may be taken in this round. */
static bool may_take(const struct server *server, int taken, uint64_t until_ns)
{
	return taken < ACCEPT_ROUND &&
		(taken == 0 || server->daemon->users.count < 2 || daemon_now_ns() < until_ns);
}

static void take_connections(struct server *server, const struct listener *listener)
{
	uint64_t until_ns = daemon_now_ns() + ACCEPT_NS;

	for (int i = 0; may_take(server, i, until_ns); i++) {
		int socket = take_connection(listener->fd);

		if (socket < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
				errno == ENOMEM)
				accept_later(server, errno);
			return;
		}
		if (welcome(listener, socket))
			sessions_accept(&server->sessions, socket, listener->name);
		else
			close(socket);
	}
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;

	(void)status;
	(void)events;
	server->called[poll - server->listening] = server->anybody = true;
}

/* Whether it was the turn of those who are connected. */
static bool let_pass(struct server *server)
{
	const struct users *users = &server->daemon->users;
	bool passes = users->count > 1 && users->before_ns > 0 && server->waited < ACCEPT_WAITS;

	server->waited = passes ? server->waited + 1 : 0;
	return passes;
}

/* Whoever is connected goes first: what they asked for has been answered by now. */
static void on_accepting(uv_check_t *check)
{
	struct server *server = check->data;

	if (!server->anybody || let_pass(server))
		return;
	server->anybody = false;
	for (size_t i = 0; i < count_listeners(server); i++) {
		if (server->called[i] && !server->ending)
			take_connections(server, listener_at(server, i));
		server->called[i] = false;
	}
}

/* -- lives that end ------------------------------------------------------------------------ */

static void on_expiry(uv_timer_t *timer)
{
	struct server *server = timer->data;

	server->planned_ms = UINT64_MAX;
	daemon_expire(server->daemon);
}

static void on_audit(uv_timer_t *timer)
{
	struct server *server = timer->data;

	daemon_sign_audit(server->daemon);
}

/* Lines are signed a second after the first of them. */
static void plan_audit(struct server *server)
{
	if (audit_owes_signature(server->daemon->audit) && !server->ending &&
		!uv_is_active((uv_handle_t *)&server->audit))
		uv_timer_start(&server->audit, on_audit, AUDIT_MS, 0);
}

/* Before each wait: what was stored or ended since may have moved the next end. */
static void on_planning(uv_prepare_t *prepare)
{
	struct server *server = prepare->data;
	uint64_t next_ms = daemon_expiry_ms(server->daemon);
	uint64_t now_ms;
	uint64_t delay_ms;

	plan_audit(server);
	if (next_ms == server->planned_ms || server->ending)
		return;
	server->planned_ms = next_ms;
	uv_timer_stop(&server->expiry);
	if (next_ms == UINT64_MAX)
		return;
	now_ms = daemon_now_ms();
	delay_ms = next_ms > now_ms ? next_ms - now_ms : 0;
	uv_timer_start(&server->expiry, on_expiry, delay_ms < EXPIRY_MS ? delay_ms : EXPIRY_MS, 0);
}

static void on_process_end(void *context, struct holder *holder)
{
	struct server *server = context;

	vault_end_holder(server->daemon->vault, holder);
}

static void on_processes(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;

	(void)status;
	(void)events;
	processes_look(server->daemon->processes, on_process_end, server);
}

/* -- setting up ---------------------------------------------------------------------------- */

static int poll_fd(struct server *server, uv_poll_t *poll, int fd, uv_poll_cb callback)
{
	int r = uv_poll_init(&server->loop, poll, fd);

	if (r < 0)
		return r;
	poll->data = server;
	return uv_poll_start(poll, UV_READABLE, callback);
}

static int open_signals(struct server *server)
{
	server->signal_fd = signals_open();
	if (server->signal_fd < 0)
		return server->signal_fd;
	return poll_fd(server, &server->signals, server->signal_fd, on_signal);
}

static int open_listeners(struct server *server)
{
	int r = 0;

	for (size_t i = 0; i < count_listeners(server) && r == 0; i++)
		r = poll_fd(
			server, &server->listening[i], listener_at(server, i)->fd, on_connection);
	return r;
}

/* Lets libuv's table grow while nothing is lost yet. Without so many descriptors it need not. */
static void grow_table(struct server *server)
{
	int fd = fcntl(server->options->listener->fd, F_DUPFD_CLOEXEC, WATCHED_MAX);

	if (fd < 0)
		return;
	if (uv_poll_init(&server->loop, &server->highest, fd) == 0) {
		uv_poll_start(&server->highest, UV_READABLE, on_connection);
		uv_poll_stop(&server->highest);
		uv_close((uv_handle_t *)&server->highest, NULL);
	}
	close(fd);
}

static void init_timer(struct server *server, uv_timer_t *timer)
{
	uv_timer_init(&server->loop, timer);
	timer->data = server;
}

static int set_up(struct server *server)
{
	int r;

	/* Of what looks at the end of a round, what is begun first comes last. */
	uv_check_init(&server->loop, &server->accepting);
	server->accepting.data = server;
	uv_check_start(&server->accepting, on_accepting);
	r = sessions_init(&server->sessions, &server->loop, server->daemon);
	if (r < 0) {
		uv_close((uv_handle_t *)&server->accepting, NULL);
		return r;
	}
	grow_table(server);
	server->sessions.on_count = on_count;
	server->sessions.on_reload = on_reload;
	server->sessions.on_upgrade = on_upgrade;
	server->sessions.on_end = on_end;
	server->sessions.owner = server;
	init_timer(server, &server->pause);
	init_timer(server, &server->rekey);
	init_timer(server, &server->drain);
	init_timer(server, &server->expiry);
	init_timer(server, &server->audit);
	uv_prepare_init(&server->loop, &server->planning);
	server->planning.data = server;
	uv_prepare_start(&server->planning, on_planning);
	r = open_signals(server);
	if (r == 0)
		r = open_listeners(server);
	if (r == 0 && server->options->companion >= 0)
		r = poll_fd(server, &server->companion, server->options->companion, on_companion);
	if (r == 0 && server->options->line >= 0)
		r = poll_fd(server, &server->line, server->options->line, on_line);
	if (r == 0 && processes_fd(server->daemon->processes) >= 0)
		r = poll_fd(server, &server->processes, processes_fd(server->daemon->processes),
			on_processes);
	return r;
}

/* Runs the loop dry: whoever forgot to close something is found here. */
static void tear_down(struct server *server)
{
	if (server->sessions.loop)
		close_all(server);
	uv_run(&server->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&server->loop) != 0)
		abort();
	sessions_finish(&server->sessions);
	if (server->signal_fd >= 0)
		close(server->signal_fd);
}

int server_run(const struct server_options *options)
{
	struct server server = { .options = options,
		.daemon = options->daemon,
		.planned_ms = UINT64_MAX,
		.signal_fd = -1 };
	int r = uv_loop_init(&server.loop);

	if (r < 0)
		return r;
	r = set_up(&server);
	/* What was there before the first connection rests under the masters, too. */
	if (r == 0 && rests(server.daemon))
		start_rekey(&server);
	if (r == 0) {
		options->on_ready(options->context);
		uv_run(&server.loop, UV_RUN_DEFAULT);
	}
	tear_down(&server);
	return r;
}
