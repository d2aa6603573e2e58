/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/connect.h"
#include "client/cli/name.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

extern char **environ;

/* A watch under way. */
struct watching {
	const struct arguments *arguments;
	char **command; /* NULL: lines are printed */
	bool over;      /* it has had the one event that it was for */
	bool failed;    /* and has been said */
};

static const char *word_for(enum mg_change change)
{
	switch (change) {
	case MG_CHANGE_LOST:
		return "lost";
	case MG_CHANGE_SET:
		return "set";
	case MG_CHANGE_REMOVE:
		return "rm";
	case MG_CHANGE_EXPIRE:
		return "expire";
	case MG_CHANGE_PURGE:
		return "purge";
	default:
		return "other";
	}
}

/* -- lines --------------------------------------------------------------------------------- */

/* The name comes last: it may hold spaces. */
static void print_line(const struct mg_event *event)
{
	printf("%s %" PRIu64, word_for(event->change), event->number);
	if (event->name[0])
		printf(" %" PRIu64 " %s", event->version, event->name);
	putchar('\n');
}

static int print_object(const struct mg_event *event)
{
	json_t *answer = answer_new();

	answer_text(answer, "event", word_for(event->change));
	answer_number(answer, "number", event->number);
	if (event->name[0]) {
		answer_number(answer, "version", event->version);
		answer_text(answer, "name", event->name);
	}
	return answer_print(answer);
}

/* Whoever reads has it at once, whatever stdout is. */
static int print(const struct watching *watching, const struct mg_event *event)
{
	int r = 0;

	if (watching->arguments->json)
		r = print_object(event);
	else
		print_line(event);
	return r == 0 ? answer_flush() : r;
}

/* -- a command for each -------------------------------------------------------------------- */

static bool set_number(const char *variable, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	return setenv(variable, text, 1) == 0;
}

static bool set_variables(const struct mg_event *event)
{
	return setenv("MG_EVENT", word_for(event->change), 1) == 0 &&
		setenv("MG_NAME", event->name, 1) == 0 &&
		set_number("MG_VERSION", event->version) && set_number("MG_NUMBER", event->number);
}

/* What is on our stdin is not the command's; it takes signals as programs do. Returns an errno. */
static int spawn(char **command, pid_t *pidp)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return r;
	r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		sigemptyset(&defaults);
		sigaddset(&defaults, SIGXFSZ);
		posix_spawnattr_setsigdefault(&attributes, &defaults);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
		r = posix_spawn_file_actions_addopen(
			&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
		if (r == 0)
			r = posix_spawnp(pidp, command[0], &actions, &attributes, command, environ);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* A command that fails is told of; there are more events to come. */
static void tell_end(const char *command, int status)
{
	if (WIFSIGNALED(status))
		say_error(MG_NO, "%s: killed by signal %d", command, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		say_error(MG_NO, "%s: ended with status %d", command, WEXITSTATUS(status));
}

static int run(const struct watching *watching, const struct mg_event *event)
{
	char **command = watching->command;
	int status = 0;
	pid_t pid;
	int r;

	if (!set_variables(event))
		return say_error(MG_LIMIT, "out of memory");
	r = spawn(command, &pid);
	if (r != 0) {
		say_error(MG_NO, "%s: cannot be run: %s", command[0], strerror(r));
		return 0;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return say_error(
				MG_INTERNAL, "waiting for %s: %s", command[0], strerror(errno));
	tell_end(command[0], status);
	return 0;
}

/* -- the watch ----------------------------------------------------------------------------- */

/* An mg_on_event. */
static int on_event(void *context, const struct mg_event *event)
{
	struct watching *watching = context;
	int r;

	if (event->change == MG_CHANGE_NONE) {
		say_note("watching from %" PRIu64 " on", event->number);
		return 0;
	}
	r = watching->command ? run(watching, event) : print(watching, event);
	watching->failed = r != 0;
	watching->over = r == 0 && watching->arguments->once;
	return watching->over ? MG_NO : r;
}

static int watch(struct watching *watching, const char *prefix)
{
	const struct arguments *arguments = watching->arguments;
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	struct mg_watch_options options = { .since = arguments->since_number.number,
		.wait_ms = arguments->timeout_ms };
	int r = connect_daemon(&client, arguments);

	if (r != 0)
		return r;
	r = mg_watch(client, prefix, &options, on_event, watching);
	if (watching->over)
		return 0;
	return watching->failed ? r : say_failed(r, prefix[0] ? prefix : NULL);
}

int command_watch(const struct arguments *arguments)
{
	size_t dashes = arguments->dashes;
	size_t before = dashes < arguments->operand_count ? dashes : arguments->operand_count;
	struct watching watching = { .arguments = arguments };
	owning(freep) char *prefix =
		name_prefix_from_shell(before > 0 ? arguments->operands[0] : "");

	if (before > 1)
		return say_error(MG_INVALID,
			"watch: surplus argument '%s'; usage: mgctl watch [PREFIX] [-- CMD...]",
			arguments->operands[1]);
	if (dashes != SIZE_MAX && dashes == arguments->operand_count)
		return say_error(MG_INVALID, "watch: a command is missing behind --");
	if (!prefix)
		return say_error(MG_LIMIT, "out of memory");
	if (dashes != SIZE_MAX)
		watching.command = (char **)(uintptr_t)&arguments->operands[dashes];
	return watch(&watching, prefix);
}
