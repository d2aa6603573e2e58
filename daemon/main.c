/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/overflow_uid.h"
#include "daemon/companion.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/harden.h"
#include "daemon/inherited.h"
#include "daemon/keeper.h"
#include "daemon/ledger/ledger.h"
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
	struct companion companion;
	struct inherited inherited;
	struct listener listener;
	struct daemon daemon;
	struct os_memory keys; /* the keeper's: of the daemon after this one, too */
	int ledger;            /* likewise */
	bool first;            /* nobody was before us */
};

static int fail(int status, const char *what)
{
	log_error("%s", what);
	return status;
}

static int show(const char *text)
{
	return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? EXIT_INTERNAL : EXIT_FINE;
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
	/* As it was read: a command's daemon gets a place of its own after this. */
	reload_init(&process->reload, argc, argv, &process->config);
	return -1;
}

static int say_too_weak(const struct os_memory *memory)
{
	log_error("memory is not as strong as the setting `memory` requires: %s",
		os_memory_advice(memory));
	return EXIT_CONFIGURATION;
}

static int init_daemon(struct process *process)
{
	struct daemon_options options = { .memory = process->config.memory,
		.keys = process->config.keep ? &process->keys : NULL,
		.ledger = process->ledger,
		.max_value = process->config.max_value,
		.rekey_ms = process->config.rekey_ms,
		.own = geteuid() };
	const char *advice;
	int r = daemon_init(&process->daemon, &options);

	if (r == -EPERM)
		return say_too_weak(daemon_memory(&process->daemon));
	if (r == -EBADMSG)
		return fail(EXIT_INTERNAL,
			"keys and ledger that were left to us are of another version, or were "
			"overwritten");
	if (r < 0)
		return fail(EXIT_INTERNAL, "out of memory");
	advice = os_memory_advice(daemon_memory(&process->daemon));
	if (advice[0] && process->first)
		log_warning("%s", advice);
	return EXIT_FINE;
}

/* What became of what another worker had. */
static void tell_adopted(const struct vault *vault)
{
	uint64_t broken = vault_broken(vault);
	uint64_t count = vault_count(vault);

	if (broken > 0)
		log_error("%llu of the secrets were not what was written: they are lost",
			(unsigned long long)broken);
	log_notice("serves again, with %llu secret%s", (unsigned long long)count,
		count == 1 ? "" : "s");
}

static void on_ready(void *context)
{
	struct process *process = context;

	if (!process->first)
		tell_adopted(process->daemon.vault);
	/* A command's stderr is its own. */
	else if (!process->config.command)
		log_notice("memguardd " MEMGUARDD_VERSION " serves unix:%s (memory: %s)",
			process->listener.endpoint.path,
			os_memory_backend_name(daemon_memory(&process->daemon)->backend));
	notify_send(NOTIFY_READY);
	if (!process->config.keep)
		companion_ready(&process->companion, &process->listener.endpoint);
}

static int on_reload(void *context, struct config_fault *fault)
{
	struct process *process = context;

	return reload_settings(&process->reload, &process->daemon, fault);
}

static int run(struct process *process)
{
	struct server_options options = { .daemon = &process->daemon,
		.listener = &process->listener,
		.companion = process->companion.parent,
		.line = -1,
		.on_ready = on_ready,
		.on_reload = on_reload,
		.context = process };
	int r = server_run(&options);

	if (r < 0)
		log_error("the loop cannot run: %s", strerror(-r));
	return r < 0 ? EXIT_INTERNAL : EXIT_FINE;
}

static int open_listener(struct process *process)
{
	int r = listener_open(
		&process->listener, &process->config, &process->inherited, &process->fault);

	inherited_close_rest(&process->inherited);
	if (r < 0)
		return fail(
			r == -EADDRINUSE ? EXIT_TAKEN : EXIT_CONFIGURATION, process->fault.text);
	return EXIT_FINE;
}

/* -- without a keeper ---------------------------------------------------------------------- */

static int serve(struct process *process)
{
	int status = init_daemon(process);

	if (status == EXIT_FINE) {
		signals_wipe_on_fault(&process->daemon);
		status = open_listener(process);
	}
	if (status == EXIT_FINE) {
		status = run(process);
		listener_close(&process->listener);
	}
	daemon_finish(&process->daemon);
	return status;
}

/* -- with one ------------------------------------------------------------------------------ */

/* In a worker. What was reloaded since the start is read again; what is wrong now was right then.
 */
static int work(void *context, bool first)
{
	struct process *process = context;
	struct config_fault fault;
	int status;

	companion_keep_silent(&process->companion);
	process->first = first;
	status = init_daemon(process);
	if (status != EXIT_FINE)
		return status;
	signals_wipe_on_fault(&process->daemon);
	if (!first && reload_settings(&process->reload, &process->daemon, &fault) < 0)
		log_error("the configuration is that of the start: %s", fault.text);
	status = run(process);
	if (status == EXIT_FINE)
		daemon_finish(&process->daemon);
	else
		daemon_leave(&process->daemon);
	return status;
}

/* In the keeper. */
static void on_served(void *context)
{
	struct process *process = context;

	companion_ready(&process->companion, &process->listener.endpoint);
}

static int keep(struct process *process)
{
	struct keeper_options options = {
		.keys = &process->keys, .work = work, .on_ready = on_served, .context = process
	};
	int r = daemon_map_keys(&process->keys, process->config.memory);
	int status;

	if (r == -EPERM)
		return say_too_weak(&process->keys);
	process->ledger = ledger_file();
	if (r < 0 || process->ledger < 0)
		return fail(EXIT_INTERNAL, "there is no memory that could be kept");
	status = open_listener(process);
	if (status == EXIT_FINE) {
		status = keeper_run(&options);
		listener_close(&process->listener);
	}
	os_memory_unmap(&process->keys);
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
	static struct process process = { .ledger = -1, .first = true };
	int status;

	if (!has_command(argc, argv) && harden_early() < 0)
		return fail(EXIT_INTERNAL, "the process cannot be kept out of core files");
	log_init();
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
		status = process.config.keep ? keep(&process) : serve(&process);
	companion_finish(&process.companion);
	return status;
}
