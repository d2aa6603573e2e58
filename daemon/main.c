/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/overflow_uid.h"
#include "daemon/admin_file.h"
#include "daemon/bundle_load.h"
#include "daemon/companion.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/failpoint.h"
#include "daemon/harden.h"
#include "daemon/heap.h"
#include "daemon/inherited.h"
#include "daemon/keeper/estate.h"
#include "daemon/keeper/handover.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keeper/store.h"
#include "daemon/line.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/reload.h"
#include "daemon/server.h"
#include "daemon/signals.h"

/* As sysexits.h has them, and 2 for a wrong command line as every tool here. */
enum exit_status {
	EXIT_FINE = 0,
	EXIT_COMMAND_LINE = 2,
	EXIT_TAKEN = 69,
	EXIT_INTERNAL = 70,
	EXIT_CONFIGURATION = 78,
};

/* Everything that lives as long as the process. */
struct process {
	struct config config;
	struct config_fault fault;
	struct reload reload;
	struct policy_book *policy; /* of the start; the daemon's, once there is one */
	struct companion companion;
	struct inherited inherited;
	struct estate estate; /* with a keeper all of it, else the listener alone */
	struct keeper_news news;
	struct daemon daemon;
	char program[PATH_MAX]; /* as it was started; "" where that is not known */
	int line;               /* in a worker: to its keeper; else -1 */
	bool first;             /* nobody was before us in this program */
	bool taken_over;        /* from a program before this one, which served meanwhile */
	bool leaving;           /* the keeper wants the estate back as it is */
};

/* To the keeper that we are to take over from; -1: there is none, or it is done. */
static int predecessor = -1;

static int fail(int status, const char *what)
{
	log_error("%s", what);
	handover_refuse(predecessor, what);
	return status;
}

static int show(const char *text)
{
	return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? EXIT_INTERNAL : EXIT_FINE;
}

/*
 * Before anything is opened that could have the descriptor's number. Whoever takes over needs no
 * key, and what has that number now is something else. Returns -1 to go on.
 */
static int hold_key(struct process *process)
{
	struct bundle_setting *bundle = &process->config.bundle;
	int fd = bundle->fd;
	char text[CONFIG_FAULT_MAX];
	int r;

	if (predecessor >= 0)
		bundle->fd = -1;
	r = bundle_setting_hold(bundle);
	if (r == 0)
		return -1;
	snprintf(text, sizeof(text), "bundle: %s: the key's descriptor %d: %s",
		admin_file_shown(bundle->file), fd, r == -EINVAL ? "is a socket" : strerror(-r));
	return fail(EXIT_CONFIGURATION, text);
}

/* Of nothing but files. */
static int check_policy(struct process *process)
{
	char said[RELOAD_SAID_MAX + 1];

	if (reload_check_policy(&process->config, said, &process->fault) < 0)
		return fail(EXIT_CONFIGURATION, process->fault.text);
	strcat(said, "\n");
	return show(said);
}

/* Reads the settings. Returns -1 to go on, or an exit status. */
static int configure(struct process *process, int argc, char **argv)
{
	int r = config_load(&process->config, argc, argv, &process->fault);

	if (r < 0)
		return fail(
			r == -EINVAL ? EXIT_COMMAND_LINE : EXIT_CONFIGURATION, process->fault.text);
	if (process->config.help)
		return show(config_help());
	if (process->config.version)
		return show("memguardd " MEMGUARDD_VERSION "\n");
	if (process->config.check_policy)
		return check_policy(process);
	/* As it was read: a command's daemon gets a place of its own after this. */
	reload_init(&process->reload, argc, argv, &process->config);
	if (reload_policy(&process->policy, &process->config, &process->fault) < 0)
		return fail(EXIT_CONFIGURATION, process->fault.text);
	return hold_key(process);
}

static int say_too_weak(const struct os_memory *memory)
{
	char text[512];

	snprintf(text, sizeof(text), "memory is not as strong as the setting `memory` requires: %s",
		os_memory_advice(memory));
	return fail(EXIT_CONFIGURATION, text);
}

static int init_daemon(struct process *process)
{
	struct daemon_options options = { .memory = process->config.memory,
		.keys = process->config.keep ? &process->estate.keys : NULL,
		.ledger = process->estate.ledger,
		.max_value = process->config.max_value,
		.rekey_ms = process->config.rekey_ms,
		.own = geteuid(),
		.quotas = process->config.quotas,
		.policy = process->policy,
		.reasons = reload_reasons(&process->config) };
	const char *advice;
	int r = daemon_init(&process->daemon, &options);

	process->policy = NULL;
	if (r == -EPERM)
		return say_too_weak(daemon_memory(&process->daemon));
	if (r == -EBADMSG)
		return fail(EXIT_INTERNAL,
			"keys and ledger that were left to us are of another version, or were "
			"overwritten");
	if (r < 0)
		return fail(EXIT_INTERNAL, "out of memory");
	advice = os_memory_advice(daemon_memory(&process->daemon));
	if (advice[0] && process->first && !process->estate.inherited)
		log_warning("%s", advice);
	return EXIT_FINE;
}

/* Of the settings that the process was started with. Returns 0 or a negative errno. */
static int begin_audit(struct process *process, struct config_fault *fault)
{
	struct audit_file file;
	int r = reload_open_audit(&process->daemon, &process->config, &file, fault);

	/* Whoever goes on for another one tries again while it serves. */
	if (r < 0 && process->first && !process->taken_over)
		return r;
	if (r < 0)
		log_error("%s", fault->text);
	daemon_audit(&process->daemon, &process->config, &file);
	return 0;
}

static void on_ready(void *context)
{
	struct process *process = context;

	/* A command's stderr is its own. */
	if (process->first && !process->config.command) {
		log_notice("memguardd " MEMGUARDD_VERSION " serves unix:%s (memory: %s)",
			process->estate.listener.endpoint.path,
			os_memory_backend_name(daemon_memory(&process->daemon)->backend));
		for (size_t i = 0; i < process->estate.listeners.count; i++)
			log_notice("listener %s: unix:%s", process->estate.listeners.all[i].name,
				process->estate.listeners.all[i].endpoint.path);
	}
	if (!process->config.command)
		daemon_tell_audit_key(&process->daemon);
	if (!process->first || process->estate.inherited)
		daemon_tell_adopted(&process->daemon);
	notify_send(NOTIFY_READY);
	if (!process->config.keep)
		companion_ready(&process->companion, &process->estate.listener.endpoint);
}

static int on_reload(void *context, struct config_fault *fault)
{
	struct process *process = context;
	int r = reload_settings(&process->reload, &process->daemon, fault);

	/* Else the next worker would have to do it. */
	if (r < 0 && process->line >= 0)
		line_say_word(process->line, LINE_SETTINGS, 0);
	return r;
}

/* Passed on: what comes of it is the keeper's to tell. */
static void on_upgrade(void *context)
{
	struct process *process = context;

	line_say_word(process->line, LINE_UPGRADE, 0);
}

/* Until it knows, the next worker would have to do it. */
static void on_purged(void *context)
{
	struct process *process = context;

	if (process->line >= 0)
		line_say_word(process->line, LINE_PURGED, 0);
}

/* What the keeper has said. Whether the loop is to leave. */
static bool on_line(void *context)
{
	struct process *process = context;
	struct config_fault fault;
	struct line_packet packet;
	int r;

	while ((r = line_look(process->line, &packet)) == 0) {
		line_drop(&packet);
		if (packet.word == LINE_LEAVE) {
			process->leaving = true;
		} else if (packet.word == LINE_FAILED) {
			snprintf(fault.text, sizeof(fault.text), "%s", packet.text);
			daemon_upgrade_failed(&process->daemon, &fault);
		}
	}
	/* Without a keeper we are about to be killed; but the one before it may go on. */
	process->leaving = process->leaving || r == -EPIPE;
	return process->leaving;
}

static int run(struct process *process)
{
	struct server_options options = { .daemon = &process->daemon,
		.listener = &process->estate.listener,
		.listeners = &process->estate.listeners,
		.companion = process->companion.parent,
		.on_ready = on_ready,
		.on_reload = on_reload,
		.on_upgrade = on_upgrade,
		.on_purged = on_purged,
		.line = process->line,
		.on_line = on_line,
		.context = process };
	int r;

	heap_keep();
	r = server_run(&options);
	if (r < 0)
		log_error("the loop cannot run: %s", strerror(-r));
	return r < 0 ? EXIT_INTERNAL : EXIT_FINE;
}

/* Those that there are not yet. */
static int open_listeners(struct process *process)
{
	struct estate *estate = &process->estate;
	int r = listeners_open(
		&estate->listeners, &process->config, &process->inherited, &process->fault);

	if (r == 0 && estate->listener.fd < 0)
		r = listener_open(
			&estate->listener, &process->config, &process->inherited, &process->fault);
	inherited_close_rest(&process->inherited);
	if (r < 0)
		return fail(
			r == -EADDRINUSE ? EXIT_TAKEN : EXIT_CONFIGURATION, process->fault.text);
	return EXIT_FINE;
}

/* -- a bundle ------------------------------------------------------------------------------ */

static int fail_to_load(const struct process *process, int error)
{
	if (error == -EINTR) {
		log_notice("ending before it has served");
		return EXIT_FINE;
	}
	return fail(error == -ENOMEM ? EXIT_INTERNAL : EXIT_CONFIGURATION, process->fault.text);
}

/*
 * What a daemon begins with. One that has taken over from another has that, though it be empty.
 * Returns -1 to go on, or an exit status.
 */
static int load(struct process *process)
{
	struct bundle_setting *bundle = &process->config.bundle;
	struct bundle_count count;
	int r;

	if (process->daemon.adopted || bundle->file[0] == '\0') {
		bundle_setting_drop(bundle);
		return -1;
	}
	r = bundle_load(&process->daemon, bundle, listener_owner(&process->estate.listener), &count,
		&process->fault);
	if (r < 0)
		return fail_to_load(process, r);
	/* A command's stderr is its own. */
	if (!process->config.command)
		log_notice("opened the bundle %s: %llu secret%s, %llu bytes", bundle->file,
			(unsigned long long)count.secrets, count.secrets == 1 ? "" : "s",
			(unsigned long long)count.bytes);
	return -1;
}

/* Loads what there is to be loaded, and serves. */
static int load_and_run(struct process *process)
{
	int status = load(process);

	return status < 0 ? run(process) : status;
}

/* -- without a keeper ---------------------------------------------------------------------- */

static int serve(struct process *process)
{
	struct config_fault fault = { { 0 } };
	int status;

	/* Nothing is taken: what an earlier daemon has left is dropped. */
	(void)store_take(&process->estate, &process->inherited, &process->config);
	status = init_daemon(process);
	if (status == EXIT_FINE) {
		signals_wipe_on_fault(&process->daemon);
		status = open_listeners(process);
	}
	if (status == EXIT_FINE && begin_audit(process, &fault) < 0)
		status = fail(EXIT_CONFIGURATION, fault.text);
	if (status == EXIT_FINE)
		status = load_and_run(process);
	listener_close(&process->estate.listener);
	listeners_close(&process->estate.listeners);
	daemon_finish(&process->daemon);
	return status;
}

/* -- with one ------------------------------------------------------------------------------ */

/* What requests may know of the keeper, and of the upgrades before this worker. */
static void tell_of_keeper(struct process *process)
{
	const struct upgrades upgrades = { .keeper = getppid(),
		.under_way = process->news.under_way,
		.failed = process->news.failed,
		.fault = process->news.fault };

	daemon_kept(&process->daemon, &upgrades);
}

/* Who goes on has everything, unless it is the daemon's end: whoever asked for that was answered.
 */
static void end_worker(struct process *process, int status)
{
	if (status == EXIT_FINE && (!process->leaving || process->daemon.ending)) {
		daemon_finish(&process->daemon);
		return;
	}
	failpoint("leaving");
	daemon_leave(&process->daemon);
	failpoint("left");
	if (status == EXIT_FINE)
		line_say_word(process->line, LINE_LEFT, 0);
}

/*
 * What was reloaded since the start stays in force, also behind an upgrade: whoever was before us
 * may have reloaded since we read the files.
 */
static int settle(struct process *process, int settings)
{
	struct config_fault fault = { { 0 } };
	int r = 0;

	if (settings >= 0)
		r = reload_resume(&process->reload, &process->daemon, settings, &fault);
	else if (process->taken_over && process->first)
		r = reload_settings(&process->reload, &process->daemon, &fault);
	else
		r = begin_audit(process, &fault);
	if (r == 0)
		return EXIT_FINE;
	log_error("nobody is served: %s", fault.text);
	return r == -ENOMEM ? EXIT_INTERNAL : EXIT_CONFIGURATION;
}

/* In a worker. */
static int work(void *context, bool first, int line, int settings)
{
	struct process *process = context;
	int status;

	companion_keep_silent(&process->companion);
	process->first = first;
	process->line = line;
	process->reload.line = line;
	/* Its line is the keeper's alone. */
	predecessor = -1;
	failpoint("opening");
	status = init_daemon(process);
	if (status != EXIT_FINE)
		return status;
	tell_of_keeper(process);
	signals_wipe_on_fault(&process->daemon);
	status = settle(process, settings);
	if (status == EXIT_FINE)
		status = load_and_run(process);
	end_worker(process, status);
	return status;
}

/* In the keeper. */
static void on_served(void *context)
{
	struct process *process = context;

	companion_ready(&process->companion, &process->estate.listener.endpoint);
	/* The worker has closed its own. */
	bundle_setting_drop(&process->config.bundle);
}

/* All of it new. */
static int make_estate(struct process *process)
{
	int r = estate_make(&process->estate, process->config.memory);

	if (r == -EPERM)
		return say_too_weak(&process->estate.keys);
	return r < 0 ? fail(EXIT_INTERNAL, "there is no memory that could be kept") : EXIT_FINE;
}

/* From the keeper before us, from the service manager's store, or new. */
static int find_estate(struct process *process, bool *purgep)
{
	struct estate *estate = &process->estate;
	int status = EXIT_FINE;

	if (predecessor >= 0)
		return handover_take(
			       predecessor, &process->config, estate, purgep, &process->fault) < 0
			? fail(EXIT_CONFIGURATION, process->fault.text)
			: EXIT_FINE;
	if (!store_take(estate, &process->inherited, &process->config))
		status = make_estate(process);
	if (status == EXIT_FINE)
		status = open_listeners(process);
	inherited_close_rest(&process->inherited);
	return status;
}

static int keep(struct process *process)
{
	struct keeper_options options = { .estate = &process->estate,
		.memory = process->config.memory,
		.program =
			process->program[0] && !process->config.command ? process->program : NULL,
		.arguments = process->reload.argv,
		.work = work,
		.on_ready = on_served,
		.context = process,
		.news = &process->news };
	enum keeper_fate fate = predecessor >= 0 ? KEEPER_LEFT : KEEPER_ENDED;
	int status;

	process->taken_over = predecessor >= 0;
	status = find_estate(process, &options.purge);

	if (status == EXIT_FINE) {
		options.predecessor = predecessor;
		options.once = process->config.bundle.file[0] && !process->estate.inherited;
		status = keeper_run(&options, &fate);
	}
	if (fate == KEEPER_LEFT)
		estate_release(&process->estate);
	else
		estate_destroy(&process->estate);
	return status;
}

/* -- both ---------------------------------------------------------------------------------- */

/* Returns EXIT_FINE when everything is as we need it. */
static int prepare(void)
{
	if (harden_early() < 0)
		return fail(EXIT_INTERNAL, "the process cannot be kept out of core files");
	if (overflow_uid(geteuid()))
		return fail(EXIT_CONFIGURATION,
			"this user namespace has no uid of its own for us: others could not be "
			"told from us; map it (unshare --map-current-user)");
	harden_descriptors();
	if (harden_probe_random() < 0)
		return fail(EXIT_INTERNAL,
			"there is no source of randomness: neither getrandom(2) "
			"nor /dev/urandom answers");
	if (sodium_init() < 0)
		return fail(EXIT_INTERNAL, "libsodium does not start");
	return EXIT_FINE;
}

/* Where the file lies that a newer program will be put in place of. */
static void find_program(struct process *process)
{
	ssize_t size = readlink("/proc/self/exe", process->program, sizeof(process->program) - 1);

	process->program[size > 0 ? size : 0] = '\0';
}

/* Whether a command follows: then the process that becomes it must not be touched. */
static bool has_command(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--") == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static struct process process = { .line = -1, .first = true };
	int status;

	if (!has_command(argc, argv) && harden_early() < 0)
		return fail(EXIT_INTERNAL, "the process cannot be kept out of core files");
	log_init();
	predecessor = handover_line();
	estate_init(&process.estate);
	find_program(&process);
	status = configure(&process, argc, argv);
	if (status >= 0)
		return status;
	if (companion_start(&process.companion, &process.config, &process.fault) < 0)
		return fail(EXIT_INTERNAL, process.fault.text);
	if (inherited_init(&process.inherited) < 0)
		return fail(EXIT_INTERNAL, "out of memory");
	/* The service manager that a command runs under is the command's to tell. */
	if (!process.config.command)
		notify_init();
	signals_block();
	status = prepare();
	if (status == EXIT_FINE)
		status = process.config.keep || predecessor >= 0 ? keep(&process) : serve(&process);
	companion_finish(&process.companion);
	return status;
}
