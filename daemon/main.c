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
	struct listener listener;
	struct daemon daemon;
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

static int init_daemon(struct process *process)
{
	struct daemon_options options = { .memory = process->config.memory,
		.max_value = process->config.max_value,
		.rekey_ms = process->config.rekey_ms,
		.own = geteuid() };
	const char *advice;
	int r = daemon_init(&process->daemon, &options);

	if (r == -EPERM) {
		log_error("memory is not as strong as the setting `memory` requires: %s",
			os_memory_advice(&process->daemon.memory));
		return EXIT_CONFIGURATION;
	}
	if (r < 0)
		return fail(EXIT_INTERNAL, "out of memory");
	advice = os_memory_advice(&process->daemon.memory);
	if (advice[0])
		log_warning("%s", advice);
	return EXIT_FINE;
}

static void on_ready(void *context)
{
	struct process *process = context;

	/* A command's stderr is its own. */
	if (!process->config.command)
		log_notice("memguardd " MEMGUARDD_VERSION " serves unix:%s (memory: %s)",
			process->listener.endpoint.path,
			os_memory_backend_name(process->daemon.memory.backend));
	notify_send("READY=1\nSTATUS=Serving");
	companion_ready(&process->companion, &process->listener.endpoint);
}

static int on_reload(void *context, struct config_fault *fault)
{
	struct process *process = context;

	return reload_settings(&process->reload, &process->daemon, fault);
}

static int listen_and_serve(struct process *process)
{
	struct server_options options = { .daemon = &process->daemon,
		.listener = &process->listener,
		.companion = process->companion.parent,
		.on_ready = on_ready,
		.on_reload = on_reload,
		.context = process };
	int r = listener_open(&process->listener, &process->config, &process->fault);

	if (r < 0)
		return fail(
			r == -EADDRINUSE ? EXIT_TAKEN : EXIT_CONFIGURATION, process->fault.text);
	r = server_run(&options);
	if (r < 0)
		log_error("the loop cannot run: %s", strerror(-r));
	listener_close(&process->listener);
	return r < 0 ? EXIT_INTERNAL : EXIT_FINE;
}

static int serve(struct process *process)
{
	int status;

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
	status = init_daemon(process);
	if (status == EXIT_FINE) {
		signals_wipe_on_fault(&process->daemon);
		status = listen_and_serve(process);
	}
	daemon_finish(&process->daemon);
	return status;
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
	static struct process process;
	int status;

	if (!has_command(argc, argv) && harden_early() < 0)
		return fail(EXIT_INTERNAL, "the process cannot be kept out of core files");
	log_init();
	status = configure(&process, argc, argv);
	if (status >= 0)
		return status;
	if (companion_start(&process.companion, &process.config, &process.fault) < 0)
		return fail(EXIT_INTERNAL, process.fault.text);
	/* The service manager that a command runs under is the command's to tell. */
	if (!process.config.command)
		notify_init();
	signals_block();
	status = serve(&process);
	companion_finish(&process.companion);
	return status;
}
