/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server.h"

#include <uv.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/server_accepting.h"
#include "daemon/session.h"
#include "daemon/signals.h"

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

struct server {
	uv_loop_t loop;
	const struct server_options *options;
	struct daemon *daemon;
	struct sessions sessions;
	struct accepting accepting;
	uv_poll_t signals;
	uv_poll_t companion;
	uv_poll_t line;
	uv_timer_t rekey;
	uv_timer_t drain;
	uv_poll_t processes;
	uv_prepare_t planning;
	uv_timer_t expiry;
	uv_timer_t audit;
	uint64_t planned_ms; /* what the timer is set to, as daemon_expiry_ms tells it */
	int signal_fd;
	bool ending;
	uint64_t drain_until;
};

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
		(uv_handle_t *)&server->companion, (uv_handle_t *)&server->rekey,
		(uv_handle_t *)&server->drain, (uv_handle_t *)&server->processes,
		(uv_handle_t *)&server->line, (uv_handle_t *)&server->planning,
		(uv_handle_t *)&server->expiry, (uv_handle_t *)&server->audit };

	sessions_close(&server->sessions);
	accepting_close(&server->accepting);
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

/* Takes no more connections, lets answers leave that are on their way, and ends. */
static void drain(struct server *server)
{
	server->ending = true;
	accepting_stop(&server->accepting);
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

static void init_timer(struct server *server, uv_timer_t *timer)
{
	uv_timer_init(&server->loop, timer);
	timer->data = server;
}

static int set_up(struct server *server)
{
	int r;

	accepting_init(&server->accepting, &server->loop, &server->sessions,
		server->options->listener, server->options->listeners);
	r = sessions_init(&server->sessions, &server->loop, server->daemon);
	if (r < 0) {
		accepting_close(&server->accepting);
		return r;
	}
	server->sessions.on_count = on_count;
	server->sessions.on_reload = on_reload;
	server->sessions.on_upgrade = on_upgrade;
	server->sessions.on_end = on_end;
	server->sessions.owner = server;
	init_timer(server, &server->rekey);
	init_timer(server, &server->drain);
	init_timer(server, &server->expiry);
	init_timer(server, &server->audit);
	uv_prepare_init(&server->loop, &server->planning);
	server->planning.data = server;
	uv_prepare_start(&server->planning, on_planning);
	r = open_signals(server);
	if (r == 0)
		r = accepting_start(&server->accepting);
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
