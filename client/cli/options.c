/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/options.h"

#include <stdlib.h>
#include <string.h>

#include "client/cli/say.h"

/* The command line while it is read. */
struct words {
	char **next;
	const struct command *command; /* NULL: not there yet */
	struct arguments *arguments;
};

static const struct option *find_long(const struct option *table, const char *name, size_t size)
{
	for (; table && table->name; table++)
		if (strlen(table->name) == size && strncmp(table->name, name, size) == 0)
			return table;
	return NULL;
}

static const struct option *find_short(const struct option *table, char letter)
{
	for (; table && table->name; table++)
		if (table->letter == letter)
			return table;
	return NULL;
}

static const struct option *options_of(const struct words *words)
{
	return words->command ? words->command->options : NULL;
}

/* Says what is wrong in front of which command it went wrong. */
static int refuse(const struct words *words, const char *what, const char *word, size_t size)
{
	const char *name = words->command ? words->command->name : "";

	return say_error(MG_INVALID, "%s%s%s '%.*s'; see 'mgctl help%s%s'", name,
		words->command ? ": " : "", what, (int)size, word, words->command ? " " : "", name);
}

static int read_value(const struct words *words, const struct option *option, const char *text)
{
	void *target = (char *)words->arguments + option->offset;
	const char *fault = option->read(target, text);

	if (!fault)
		return 0;
	return say_error(MG_INVALID, "%s%s--%s '%s' %s", words->command ? words->command->name : "",
		words->command ? ": " : "", option->name, text ? text : "", fault);
}

static bool takes_argument(const struct option *option)
{
	return option->argument && option->argument[0] != '[';
}

/* `text` is what stood behind the name in the same word, NULL: nothing. */
static int read_option(struct words *words, const struct option *option, const char *text)
{
	if (text && !option->argument)
		return refuse(words, "nothing may follow", option->name, strlen(option->name));
	if (!text && takes_argument(option)) {
		text = *words->next;
		if (!text)
			return refuse(words, "something must follow", words->next[-1],
				strlen(words->next[-1]));
		words->next++;
	}
	return read_value(words, option, text);
}

/* "--name", "--name=value". */
static int read_long(struct words *words, const char *word)
{
	const char *name = word + 2;
	size_t size = strcspn(name, "=");
	const struct option *option = find_long(options_of(words), name, size);

	if (!option)
		option = find_long(commands_globals, name, size);
	if (!option)
		return refuse(words, "unknown option", word, size + 2);
	return read_option(words, option, name[size] == '=' ? name + size + 1 : NULL);
}

/* "-qv": none of the short ones takes an argument. */
static int read_short(struct words *words, const char *word)
{
	int r = 0;

	for (const char *letter = word + 1; *letter && r == 0; letter++) {
		const struct option *option = find_short(options_of(words), *letter);

		if (!option)
			option = find_short(commands_globals, *letter);
		r = option ? read_option(words, option, NULL)
			   : refuse(words, "unknown option", word, strlen(word));
	}
	return r;
}

static int read_operand(struct words *words, const char *word)
{
	struct arguments *arguments = words->arguments;

	if (words->command) {
		arguments->operands[arguments->operand_count++] = word;
		return 0;
	}
	words->command = commands_find(word);
	return words->command ? 0 : refuse(words, "unknown command", word, strlen(word));
}

static int read_words(struct words *words)
{
	bool options = true;
	int r = 0;

	while (*words->next && r == 0) {
		const char *word = *words->next++;

		if (options && strcmp(word, "--") == 0) {
			options = false;
			words->arguments->dashes = words->arguments->operand_count;
		} else if (options && strncmp(word, "--", 2) == 0)
			r = read_long(words, word);
		else if (options && word[0] == '-' && word[1] != '\0')
			r = read_short(words, word);
		else
			r = read_operand(words, word);
	}
	return r;
}

static int refuse_surplus(const struct command *command, const struct arguments *arguments)
{
	if (command->surplus)
		return say_error(MG_INVALID, "%s", command->surplus);
	return say_error(MG_INVALID, "%s: surplus argument '%s'; usage: mgctl %s%s%s",
		command->name, arguments->operands[command->most], command->name,
		command->operands[0] ? " " : "", command->operands);
}

static int check_operands(const struct command *command, const struct arguments *arguments)
{
	if (arguments->help || arguments->version)
		return 0;
	if (arguments->operand_count > command->most)
		return refuse_surplus(command, arguments);
	if (arguments->operand_count < command->least)
		return say_error(MG_INVALID, "%s: %s is missing; usage: mgctl %s %s", command->name,
			command->operands, command->name, command->operands);
	return 0;
}

int options_parse(
	struct arguments *arguments, const struct command **commandp, int argc, char **argv)
{
	struct words words = { .next = argc > 0 ? argv + 1 : argv, .arguments = arguments };
	int r;

	*commandp = NULL;
	arguments->operands = calloc((size_t)argc + 1, sizeof(*arguments->operands));
	if (!arguments->operands)
		return say_error(MG_LIMIT, "out of memory");
	r = read_words(&words);
	*commandp = words.command;
	if (r == 0 && words.command)
		return check_operands(words.command, arguments);
	if (r == 0 && !arguments->help && !arguments->version)
		return say_error(MG_INVALID, "no command; 'mgctl help' lists them");
	return r;
}

bool options_want_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}
