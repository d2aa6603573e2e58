/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/answer.h"
#include "client/cli/arguments.h"
#include "client/cli/command.h"
#include "client/cli/commands.h"
#include "client/cli/harden.h"
#include "client/cli/help.h"
#include "client/cli/options.h"
#include "client/cli/say.h"

/*
 * What we open must not become stdin, stdout or stderr. A stand-in works the wrong way round, so
 * that a value that should come or go there is an error and is not lost.
 */
static int fill_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return -errno;
	return 0;
}

/* Set, not empty and not "0". */
static bool is_set(const char *variable)
{
	const char *text = getenv(variable);

	return text && text[0] && strcmp(text, "0") != 0;
}

static int show_help(const struct arguments *arguments, const struct command *command)
{
	struct arguments asked = *arguments;
	const char *name = command ? command->name : NULL;

	asked.operands = &name;
	asked.operand_count = command ? 1 : 0;
	return command_help(&asked);
}

static int run(struct arguments *arguments, const struct command *command)
{
	arguments->no_input = arguments->no_input || is_set("MGCTL_NO_INPUT");
	say_setup(arguments->json, arguments->quiet, arguments->verbose);
	if (arguments->help)
		return show_help(arguments, command);
	if (arguments->version)
		return command_version(arguments);
	return command->run(arguments);
}

int main(int argc, char **argv)
{
	int r = harden_early();
	struct arguments arguments;
	const struct command *command;
	int flushed;

	if (r == 0)
		r = fill_standard();
	if (r < 0)
		return say_error(MG_INTERNAL, "cannot start: %s", strerror(-r));
	/* A file that may not grow is an error that is told, and nothing is left behind. */
	signal(SIGXFSZ, SIG_IGN);
	arguments_init(&arguments);
	say_setup(options_want_json(argc, argv), false, false);
	r = options_parse(&arguments, &command, argc, argv);
	if (r == 0)
		r = run(&arguments, command);
	flushed = answer_flush();
	arguments_finish(&arguments);
	return r == 0 ? flushed : r;
}
