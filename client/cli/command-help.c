/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "client/cli/answer.h"
#include "client/cli/command.h"
#include "client/cli/commands.h"
#include "client/cli/completion.h"
#include "client/cli/help.h"
#include "client/cli/owning.h"
#include "client/cli/say.h"

/* What the two commands below print: a text, or the same text as a member of an object. */
struct page {
	const struct command *command; /* for help; NULL: all of them */
	completion_writer *completion;
};

static void write_page(FILE *stream, const struct page *page)
{
	if (page->completion)
		page->completion(stream);
	else if (page->command)
		help_command(stream, page->command);
	else
		help_all(stream);
}

static int print_object(const struct page *page)
{
	owning(freep) char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	json_t *answer;

	if (!stream)
		return say_error(MG_LIMIT, "out of memory");
	write_page(stream, page);
	if (fclose(stream) != 0)
		return say_error(MG_LIMIT, "out of memory");
	answer = answer_new();
	answer_text(answer, "text", text);
	return answer_print(answer);
}

static int print_page(const struct arguments *arguments, const struct page *page)
{
	if (arguments->json)
		return print_object(page);
	write_page(stdout, page);
	return 0;
}

int command_help(const struct arguments *arguments)
{
	const char *name = arguments->operand_count > 0 ? arguments->operands[0] : NULL;
	struct page page = { .command = name ? commands_find(name) : NULL };

	if (name && !page.command)
		return say_error(
			MG_INVALID, "help: unknown command '%s'; 'mgctl help' lists them", name);
	return print_page(arguments, &page);
}

int command_completion(const struct arguments *arguments)
{
	const char *shell = arguments->operands[0];
	struct page page = { .completion = completion_find(shell) };

	if (!page.completion)
		return say_error(
			MG_INVALID, "completion: unknown shell '%s': bash, zsh or fish", shell);
	return print_page(arguments, &page);
}

int command_version(const struct arguments *arguments)
{
	json_t *answer;

	if (!arguments->json) {
		printf("mgctl %s, libmgclient %s\n", MEMGUARDD_VERSION, mg_version());
		return 0;
	}
	answer = answer_new();
	answer_text(answer, "version", MEMGUARDD_VERSION);
	answer_text(answer, "library", mg_version());
	return answer_print(answer);
}
