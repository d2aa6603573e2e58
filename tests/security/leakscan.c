/* SPDX-License-Identifier: Apache-2.0 */

/*
 * leakscan --pid PID... --facts FILE [OPTION...]: looks for known values and unknown keys in
 * processes, from outside. README.md describes the routes and what is looked for. Several processes
 * are one whole: what is found in one is tried on what is found in another.
 *
 *   --routes LIST   of ptrace, mem, vm, stack, registers, fd, machine (default: all of them)
 *   --core FILE     also a core file of one of them
 *   --for SECONDS   goes on and begins anew until the time is over
 *   --thorough      every byte offset, and the pages that are the same as on disk
 *   --values-only   keys that are found are counted, but are no leak
 *   --live PID      this one is at work: keys in its registers are counted apart
 *   --no-secret     they are not expected to have secret memory
 *   --wrapped FILE  what is wrapped is remembered there, and what was before is tried, too
 *
 * A line a route, and one for each of the first finds. Exit status: 0 nothing found, 1 a leak, 2
 * the scan could not see what it must see.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/security/hunt.h"
#include "tests/security/sources.h"
#include "tests/security/tracee.h"

#define EXIT_CLEAN 0
#define EXIT_LEAK 1
#define EXIT_BLIND 2

/* Finds of a kind on a route that are told one by one. */
#define SHOWN_MAX 3

#define PROCESSES_MAX 8

struct options {
	pid_t pids[PROCESSES_MAX];
	size_t processes;
	const char *facts;
	const char *core;
	const char *routes;
	unsigned long seconds;
	bool thorough;
	bool values_only;
	pid_t live; /* 0: none */
	bool no_secret;
	const char *wrapped; /* NULL: nothing is remembered */
};

/* What came of one route, over all rounds. */
struct result {
	uint64_t rounds;
	uint64_t bytes;
	uint64_t secret_pages;
	uint64_t unreadable;
	uint64_t descriptors;
	uint64_t broken;   /* secret pages that could be read, or were refused in another way */
	uint64_t mappable; /* secret memory that a descriptor gives away */
	pid_t bare;        /* a process that has no secret memory; 0: all have */
	uint64_t leaks;    /* finds that must not be */
	uint64_t leaks_in[PROCESSES_MAX]; /* of those, by process */
	uint64_t excused; /* finds that may be: keys in the fallback, registers at work */
	uint64_t finds[FINDS];
	int error;
};

struct scan {
	const struct options *options;
	const char *route;
	struct result *result;
	struct hunt hunt;
};

/* Every way in, beside what it must have seen of each process to count as a look. */
static const struct route {
	const char *name;
	int (*read)(struct sources *sources, pid_t pid); /* NULL: the core file */
	bool sees_mappings; /* the secret ones too, and is refused there */
	bool sees_ciphertext;
} routes[] = {
	{ "ptrace", sources_read_ptrace, true, true }, /* first: others touch every page */
	{ "mem", sources_read_mem, true, true },
	{ "vm", sources_read_vm, true, true },
	{ "stack", sources_read_stack, false, false },
	{ "registers", sources_read_registers, false, false },
	{ "fd", sources_read_descriptors, false, false },
	{ "machine", sources_read_machine, false, false },
	{ "core", NULL, false, false },
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static void count_leak(const struct scan *scan, pid_t pid)
{
	scan->result->leaks++;
	for (size_t i = 0; i < scan->options->processes; i++)
		scan->result->leaks_in[i] += scan->options->pids[i] == pid;
}

/*
 * Which of the finds is a leak and which is not, and tells the first ones. Keys are used on set and
 * get; values are not even then.
 */
static void on_find(struct hunt *hunt, enum find what, const struct source *source, size_t offset,
	const char *words)
{
	struct scan *scan = hunt->context;
	const struct options *options = scan->options;
	/* A core file does not tell whose it is. */
	bool live = options->live > 0 && (source->pid == options->live || source->pid == 0);
	bool excused = what != FIND_VALUE && ((live && source->registers) || options->values_only);

	if (excused)
		scan->result->excused++;
	else
		count_leak(scan, source->pid);
	if (scan->result->finds[what]++ >= SHOWN_MAX)
		return;
	printf("%s %s %s at %#" PRIx64 " in %s of %d: %s\n", excused ? "excused" : "leak",
		scan->route, find_name(what), source->address + offset,
		source->name[0] ? source->name : "anonymous memory", (int)source->pid, words);
}

/* -- rounds -------------------------------------------------------------------------------- */

static bool wanted(const struct options *options, const struct route *route)
{
	const char *at = options->routes;
	size_t size = strlen(route->name);

	if (!route->read)
		return options->core != NULL;
	for (; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, route->name, size) == 0 && (at[size] == ',' || at[size] == '\0'))
			return true;
	return false;
}

static void add_up(struct result *result, const struct sources *sources)
{
	result->rounds++;
	result->bytes += sources_size(sources);
	result->secret_pages += sources->secret_pages;
	result->unreadable += sources->unreadable;
	result->descriptors += sources->descriptors;
	result->broken += sources->secret_readable + sources->secret_wrong;
	result->mappable += sources->secret_mappable;
}

static int read_process(
	struct sources *sources, const struct route *route, pid_t pid, struct result *result)
{
	size_t count = sources->count;
	size_t secret_pages = sources->secret_pages;
	int r = route->read(sources, pid);

	for (; count < sources->count; count++)
		sources->items[count].pid = pid;
	if (r == 0 && route->sees_mappings && sources->secret_pages == secret_pages)
		result->bare = pid;
	return r;
}

static int read_route(struct sources *sources, const struct route *route,
	const struct options *options, struct result *result)
{
	int r = 0;

	if (!route->read)
		return sources_read_core(sources, options->core);
	for (size_t i = 0; r == 0 && i < options->processes; i++)
		r = read_process(sources, route, options->pids[i], result);
	return r;
}

static void run_route(struct scan *scan, const struct route *route, struct result *result)
{
	struct sources sources = { 0 };
	int r = read_route(&sources, route, scan->options, result);

	scan->route = route->name;
	scan->result = result;
	if (r == 0)
		r = hunt_run(&scan->hunt, &sources);
	if (r < 0)
		result->error = r;
	else
		add_up(result, &sources);
	sources_free(&sources);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run_routes(struct scan *scan, struct result results[ROUTES])
{
	double end = now() + (double)scan->options->seconds;
	bool first = true;

	do {
		for (size_t i = 0; i < ROUTES; i++)
			if (wanted(scan->options, &routes[i]) && (first || routes[i].read) &&
				results[i].error == 0)
				run_route(scan, &routes[i], &results[i]);
		first = false;
	} while (now() < end);
}

/* -- the verdict --------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static int blind(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("blind ", stdout);
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
	return EXIT_BLIND;
}

static int worse(int a, int b)
{
	/* A leak that was seen counts more than what was not seen. */
	if (a == EXIT_LEAK || b == EXIT_LEAK)
		return EXIT_LEAK;
	return a > b ? a : b;
}

static int judge_secrecy(
	const struct scan *scan, const struct route *route, const struct result *result)
{
	if (result->mappable > 0)
		printf("leak %s secret memory can be mapped by a descriptor, %" PRIu64 " times\n",
			route->name, result->mappable);
	if (result->broken > 0)
		printf("leak %s %" PRIu64 " secret pages were not refused as they must be\n",
			route->name, result->broken);
	if (result->mappable > 0 || result->broken > 0)
		return EXIT_LEAK;
	if (result->bare != 0 && !scan->options->no_secret) {
		printf("leak %s there is no secret memory in %d\n", route->name, (int)result->bare);
		return EXIT_LEAK;
	}
	return EXIT_CLEAN;
}

static int judge_route(
	const struct scan *scan, const struct route *route, const struct result *result)
{
	int status = judge_secrecy(scan, route, result);

	printf("route %s rounds=%" PRIu64 " bytes=%" PRIu64 " secret-pages=%" PRIu64
	       " unreadable=%" PRIu64 " descriptors=%" PRIu64 " leaks=%" PRIu64 " excused=%" PRIu64,
		route->name, result->rounds, result->bytes, result->secret_pages,
		result->unreadable, result->descriptors, result->leaks, result->excused);
	for (int what = 0; what < FINDS; what++)
		printf(" %s=%" PRIu64, find_name((enum find)what), result->finds[what]);
	for (size_t i = 0; i < scan->options->processes; i++)
		printf(" leaks-in-%d=%" PRIu64, (int)scan->options->pids[i], result->leaks_in[i]);
	putchar('\n');
	if (result->leaks > 0)
		status = EXIT_LEAK;
	if (result->error < 0)
		status = worse(status, blind("%s: %s", route->name, strerror(-result->error)));
	else if (result->rounds == 0)
		status = worse(status, blind("%s: not looked at", route->name));
	return status;
}

/* What every scan must have seen, else its silence says nothing. */
static int judge_hunt(const struct scan *scan)
{
	const struct hunt *hunt = &scan->hunt;
	bool sees = false;
	int status = EXIT_CLEAN;

	for (size_t i = 0; i < ROUTES; i++)
		sees |= routes[i].sees_ciphertext && wanted(scan->options, &routes[i]);
	if (sees && hunt->known == 0)
		status = blind("none of the stored ciphertext was seen");
	if (sees && hunt->target_count[COFFER_VAULT] == 0)
		status = blind("no record's wrapped key was seen");
	if (sees && hunt->target_count[COFFER_CHANNEL] == 0)
		status = blind("no session's wrapped keys were seen");
	return status;
}

static int judge(const struct scan *scan, const struct result results[ROUTES])
{
	int status = EXIT_CLEAN;

	for (size_t i = 0; i < ROUTES; i++)
		if (wanted(scan->options, &routes[i]))
			status = worse(status, judge_route(scan, &routes[i], &results[i]));
	printf("tried tries=%" PRIu64 " known=%" PRIu64 " prekeys=%" PRIu64 " records=%zu"
	       " channels=%zu",
		scan->hunt.tries, scan->hunt.known, scan->hunt.prekeys,
		scan->hunt.target_count[COFFER_VAULT], scan->hunt.target_count[COFFER_CHANNEL]);
	putchar('\n');
	return worse(status, judge_hunt(scan));
}

/* -- options ------------------------------------------------------------------------------- */

enum letter {
	OPTION_PID = 'p',
	OPTION_FACTS = 'f',
	OPTION_ROUTES = 'r',
	OPTION_CORE = 'c',
	OPTION_FOR = 's',
	OPTION_THOROUGH = 't',
	OPTION_VALUES = 'v',
	OPTION_LIVE = 'l',
	OPTION_NO_SECRET = 'n',
	OPTION_WRAPPED = 'w',
};

static const struct option long_options[] = {
	{ "pid", required_argument, NULL, OPTION_PID },
	{ "facts", required_argument, NULL, OPTION_FACTS },
	{ "routes", required_argument, NULL, OPTION_ROUTES },
	{ "core", required_argument, NULL, OPTION_CORE },
	{ "for", required_argument, NULL, OPTION_FOR },
	{ "thorough", no_argument, NULL, OPTION_THOROUGH },
	{ "values-only", no_argument, NULL, OPTION_VALUES },
	{ "live", required_argument, NULL, OPTION_LIVE },
	{ "no-secret", no_argument, NULL, OPTION_NO_SECRET },
	{ "wrapped", required_argument, NULL, OPTION_WRAPPED },
	{ NULL, 0, NULL, 0 },
};

static bool add_process(struct options *options, const char *number)
{
	pid_t pid = (pid_t)strtol(number, NULL, 10);

	if (pid <= 0 || options->processes == PROCESSES_MAX)
		return false;
	options->pids[options->processes++] = pid;
	return true;
}

static bool take_option(struct options *options, int letter)
{
	switch (letter) {
	case OPTION_PID:
		return add_process(options, optarg);
	case OPTION_FACTS:
		options->facts = optarg;
		return true;
	case OPTION_ROUTES:
		options->routes = optarg;
		return true;
	case OPTION_CORE:
		options->core = optarg;
		return true;
	case OPTION_FOR:
		options->seconds = strtoul(optarg, NULL, 10);
		return true;
	case OPTION_THOROUGH:
		return options->thorough = true;
	case OPTION_VALUES:
		return options->values_only = true;
	case OPTION_LIVE:
		options->live = (pid_t)strtol(optarg, NULL, 10);
		return options->live > 0;
	case OPTION_NO_SECRET:
		return options->no_secret = true;
	case OPTION_WRAPPED:
		options->wrapped = optarg;
		return true;
	default:
		return false;
	}
}

static bool parse(struct options *options, int argc, char **argv)
{
	int letter;

	*options = (struct options){ .routes = "ptrace,mem,vm,stack,registers,fd,machine" };
	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		if (!take_option(options, letter))
			return false;
	return optind == argc && options->processes > 0 && options->facts;
}

int main(int argc, char **argv)
{
	static struct facts facts;
	static struct scan scan;
	struct result results[ROUTES] = { 0 };
	struct options options;
	int status;
	int r;

	if (!parse(&options, argc, argv)) {
		fputs("usage: leakscan --pid PID... --facts FILE [OPTION...]\n", stderr);
		return EXIT_BLIND;
	}
	if (sodium_init() < 0)
		return blind("libsodium does not start");
	r = facts_read(&facts, options.facts);
	if (r == 0)
		r = hunt_init(&scan.hunt, &facts);
	if (r < 0)
		return blind("%s: %s", options.facts, strerror(-r));
	r = options.wrapped ? hunt_read_targets(&scan.hunt, options.wrapped) : 0;
	if (r < 0)
		return blind("%s: %s", options.wrapped, strerror(-r));
	scan.options = &options;
	scan.hunt.thorough = options.thorough;
	scan.hunt.on_find = on_find;
	scan.hunt.context = &scan;
	run_routes(&scan, results);
	status = judge(&scan, results);
	r = options.wrapped ? hunt_write_targets(&scan.hunt, options.wrapped) : 0;
	if (r < 0)
		status = worse(status, blind("%s: %s", options.wrapped, strerror(-r)));
	hunt_free(&scan.hunt);
	facts_free(&facts);
	return status;
}
