/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/help.h"

#include <string.h>

/* Where the explanation of an option begins. */
#define COLUMN 30

static void print_spaces(FILE *stream, size_t count)
{
	fprintf(stream, "%*s", (int)count, "");
}

/* An explanation of several lines goes on in the same column. */
static void print_explanation(FILE *stream, size_t used, const char *text)
{
	if (used + 2 > COLUMN) {
		fputc('\n', stream);
		used = 0;
	}
	for (;;) {
		size_t size = strcspn(text, "\n");

		print_spaces(stream, COLUMN - used);
		fprintf(stream, "%.*s\n", (int)size, text);
		if (text[size] == '\0')
			return;
		text += size + 1;
		used = 0;
	}
}

static void print_option(FILE *stream, const struct option *option)
{
	const char *argument = option->argument ? option->argument : "";
	const char *space = option->argument && argument[0] != '[' ? " " : "";
	char letter[] = { '-', option->letter, ',', ' ', '\0' };
	int used = fprintf(stream, "  %s--%s%s%s", option->letter ? letter : "    ", option->name,
		space, argument);

	print_explanation(stream, used > 0 ? (size_t)used : 0, option->help);
}

static void print_options(FILE *stream, const char *title, const struct option *options)
{
	if (options->name)
		fprintf(stream, "\n%s\n", title);
	for (; options->name; options++)
		print_option(stream, options);
}

void help_all(FILE *stream)
{
	fputs("usage: mgctl [OPTION...] COMMAND [ARGUMENT...]\n"
	      "\n"
	      "Stores secrets in memguardd and fetches them from it.\n"
	      "\n"
	      "Commands:\n",
		stream);
	for (const struct command *command = commands; command->name; command++) {
		int used = fprintf(stream, "  %s%s%s", command->name,
			command->operands[0] ? " " : "", command->operands);

		print_explanation(stream, used > 0 ? (size_t)used : 0, command->summary);
	}
	print_options(stream, "Options of all commands:", commands_globals);
	fputs("\n"
	      "A name is a path such as web/prod/key; '~/x' is your own. Quote the '~'.\n"
	      "Exit status: 0 ok, 2 usage, 3 not found, 4 denied, 6 no daemon, 7 conflict,\n"
	      "8 limit, 9 timeout; all of them: mgctl(1). 'mgctl help COMMAND' tells more.\n",
		stream);
}

void help_command(FILE *stream, const struct command *command)
{
	fprintf(stream, "usage: mgctl %s%s%s%s\n\nmgctl %s: %s.\n", command->name,
		command->options->name ? " [OPTION...]" : "", command->operands[0] ? " " : "",
		command->operands, command->name, command->summary);
	fputs(command->text, stream);
	print_options(stream, "Options:", command->options);
	fputs("\nOptions of all commands: mgctl help\n", stream);
}
