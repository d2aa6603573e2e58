/* SPDX-License-Identifier: Apache-2.0 */

/*
 * lookfor --value FILE --report FILE (--pid PID | COMMAND...): looks for the bytes of a file in a
 * process that should have forgotten them.
 *
 * A running process is read through /proc/PID/mem, by process_vm_readv and under ptrace with its
 * registers. A command is started under ptrace and looked at where it stops itself with a
 * breakpoint, and just before it ends.
 *
 * The report has a line a look. Exit status: the command's own; 0 after --pid; 2 when nothing could
 * be looked at. lookfor --may-trace says whether tracing is allowed here: 0, or 77 and why not.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "tests/security/needles.h"
#include "tests/security/tracee.h"

#define EXIT_BLIND 2
#define EXIT_SKIP 77

/* Finds of a look that are told one by one. */
#define SHOWN_MAX 3

#define VALUE_MAX ((size_t)4 << 20)

struct look {
	FILE *report;
	const char *what;
	uint64_t bytes;
	uint64_t secret_pages;
	uint64_t in_memory;
	uint64_t in_registers;
};

__attribute__((noreturn)) static void fail(const char *what, int error)
{
	fprintf(stderr, "lookfor: %s: %s\n", what, strerror(error));
	exit(EXIT_BLIND);
}

static void on_needle(void *context, const struct needle *needle, const struct source *source,
	size_t at, uint32_t offset, const char *how)
{
	struct look *look = context;
	uint64_t *count = source->registers ? &look->in_registers : &look->in_memory;

	if ((*count)++ < SHOWN_MAX)
		fprintf(look->report, "find %s %s, byte %u%s, at %#" PRIx64 " in %s\n", look->what,
			needle->name, offset, how, source->address + at,
			source->name[0] ? source->name : "anonymous memory");
}

static void look_through(
	const char *what, FILE *report, const struct needles *needles, struct sources *sources)
{
	struct look look = { .report = report, .what = what };

	look.secret_pages = sources->secret_pages - sources->secret_readable;
	for (size_t i = 0; i < sources->count; i++) {
		look.bytes += sources->items[i].size;
		/* What is as on disk was not drawn a moment ago. */
		if (!sources->items[i].file)
			needles_look(needles, &sources->items[i], on_needle, &look);
	}
	fprintf(report,
		"look %s bytes=%" PRIu64 " secret-pages=%" PRIu64 " memory=%" PRIu64
		" registers=%" PRIu64 "\n",
		what, look.bytes, look.secret_pages, look.in_memory, look.in_registers);
	sources_free(sources);
}

/* -- a process that runs ------------------------------------------------------------------- */

static const struct route {
	const char *name;
	int (*read)(struct sources *sources, pid_t pid);
} routes[] = {
	{ "mem", sources_read_mem },
	{ "vm", sources_read_vm },
	{ "ptrace", sources_read_ptrace },
};

static int look_at_running(pid_t pid, FILE *report, const struct needles *needles)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct sources sources = { 0 };
		int r = routes[i].read(&sources, pid);

		if (r < 0)
			fail(routes[i].name, -r);
		look_through(routes[i].name, report, needles, &sources);
	}
	return 0;
}

/* -- a command ----------------------------------------------------------------------------- */

static void look_at_stop(
	const struct tracee *tracee, const char *what, FILE *report, const struct needles *needles)
{
	struct sources sources = { 0 };
	int r = tracee_read(&sources, tracee);

	if (r < 0)
		fail(what, -r);
	look_through(what, report, needles, &sources);
}

static int look_at_command(char *const argv[], FILE *report, const struct needles *needles)
{
	struct tracee tracee;
	enum tracee_stop stop;
	int r = tracee_start(&tracee, argv);

	if (r < 0)
		fail(argv[0], -r);
	while ((stop = tracee_next(&tracee)) != TRACEE_ENDED)
		look_at_stop(
			&tracee, stop == TRACEE_BREAK ? "stopped" : "leaving", report, needles);
	return WIFEXITED(tracee.status) ? WEXITSTATUS(tracee.status)
					: 128 + WTERMSIG(tracee.status);
}

/* -- options ------------------------------------------------------------------------------- */

static void read_value(struct needles *needles, const char *path)
{
	cleanup(freep) uint8_t *bytes = malloc(VALUE_MAX);
	FILE *file = fopen(path, "re");
	size_t size;

	if (!bytes || !file)
		fail(path, errno);
	size = fread(bytes, 1, VALUE_MAX, file);
	fclose(file);
	if (size < WINDOW_SIZE || size == VALUE_MAX)
		fail(path, EINVAL);
	if (needles_init(needles, size) < 0 ||
		needles_add(needles, (struct needle){ .name = "the value" }, bytes, size) < 0)
		fail(path, ENOMEM);
}

static int may_trace(void)
{
	int r = tracee_allowed();

	if (r == 0)
		return 0;
	puts(strerror(-r));
	return EXIT_SKIP;
}

static const struct option long_options[] = {
	{ "value", required_argument, NULL, 'v' },
	{ "report", required_argument, NULL, 'r' },
	{ "pid", required_argument, NULL, 'p' },
	{ "may-trace", no_argument, NULL, 'm' },
	{ NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
	struct needles needles = { 0 };
	FILE *report = NULL;
	pid_t pid = 0;
	int letter;
	int status;

	while ((letter = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
		if (letter == 'm')
			return may_trace();
		if (letter == 'v')
			read_value(&needles, optarg);
		else if (letter == 'r')
			report = fopen(optarg, "we");
		else if (letter == 'p')
			pid = (pid_t)strtol(optarg, NULL, 10);
		else
			return EXIT_BLIND;
	}
	if (needles.count == 0 || !report || (pid > 0) == (optind < argc)) {
		fputs("usage: lookfor --value FILE --report FILE (--pid PID | COMMAND...)\n",
			stderr);
		return EXIT_BLIND;
	}
	status = pid > 0 ? look_at_running(pid, report, &needles)
			 : look_at_command(argv + optind, report, &needles);
	needles_free(&needles);
	return fclose(report) == 0 ? status : EXIT_BLIND;
}
