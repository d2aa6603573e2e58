/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/completion.h"

#include <stdbool.h>
#include <string.h>

#include "client/cli/commands.h"

/* The names that begin with the words under the cursor; quick, since a person waits. */
#define LIST_NAMES "mgctl --no-input --timeout 1s ls -- "

/* All names; they are few. */
#define LIST_TOKENS "mgctl --no-input --timeout 1s token ls"

#define OPERATIONS \
	"get set rm ls stat touch freeze melt verify stream-write stream-read watch rotate mv"

/* What stands behind a deed: what there is of it, and words that a shell puts in its place. */
enum following {
	FOLLOWS_NOTHING,
	FOLLOWS_NAMES,
	FOLLOWS_TOKENS,
	FOLLOWS_FILES,
	FOLLOWS_OPERATIONS
};

static const struct {
	const char *bash; /* what `words` is then */
	const char *zsh;
	const char *fish;
} followings[] = {
	[FOLLOWS_NOTHING] = { NULL, NULL, NULL },
	[FOLLOWS_NAMES] = { "names", "_mgctl_names",
		" -a '(" LIST_NAMES "(commandline -ct) 2>/dev/null)'" },
	[FOLLOWS_TOKENS] = { "tokens", "_mgctl_tokens", " -a '(" LIST_TOKENS " 2>/dev/null)'" },
	[FOLLOWS_FILES] = { "files", "_files", " -F" },
	[FOLLOWS_OPERATIONS] = { "'" OPERATIONS "'", "compadd " OPERATIONS,
		" -a '" OPERATIONS "'" },
};

/* A deed of which nothing is said here is followed by nothing that could be told. */
static const struct follower {
	const char *command;
	const char *deed;
	unsigned place; /* the deed's own is 0 */
	enum following what;
} followers[] = {
	{ "stream", "write", 1, FOLLOWS_NAMES },
	{ "stream", "read", 1, FOLLOWS_NAMES },
	{ "stream", "size", 1, FOLLOWS_NAMES },
	{ "token", "revoke", 1, FOLLOWS_TOKENS },
	{ "policy", "check", 1, FOLLOWS_FILES },
	{ "policy", "explain", 1, FOLLOWS_OPERATIONS },
	{ "policy", "explain", 2, FOLLOWS_NAMES },
};

#define FOLLOWERS (sizeof(followers) / sizeof(followers[0]))

static bool takes_word(const struct option *option)
{
	return option->argument && option->argument[0] != '[';
}

static bool takes_file(const struct option *option)
{
	return option->argument &&
		(strcmp(option->argument, "FILE") == 0 || strcmp(option->argument, "PATH") == 0);
}

static bool takes_choice(const struct option *option)
{
	return option->argument && strchr(option->argument, '|');
}

/* "a|b|c" as "a b c". */
static void print_choices(FILE *stream, const char *choices)
{
	for (; *choices; choices++)
		fputc(*choices == '|' ? ' ' : *choices, stream);
}

/* "a|b|c NAME" as "a b c". */
static void print_deeds(FILE *stream, const char *operands)
{
	for (; *operands && *operands != ' '; operands++)
		fputc(*operands == '|' ? ' ' : *operands, stream);
}

/* A text between single quotes; `special` characters get a backslash, line ends become spaces. */
static void print_quoted(FILE *stream, const char *text, const char *special)
{
	for (; *text; text++) {
		if (*text == '\n') {
			fputc(' ', stream);
			continue;
		}
		if (strchr(special, *text))
			fputc('\\', stream);
		fputc(*text, stream);
	}
}

static void print_commands(FILE *stream)
{
	for (const struct command *command = commands; command->name; command++)
		fprintf(stream, "%s%s", command == commands ? "" : " ", command->name);
}

static bool follows_at(const char *command, unsigned place)
{
	for (size_t i = 0; i < FOLLOWERS; i++)
		if (strcmp(followers[i].command, command) == 0 && followers[i].place == place)
			return true;
	return false;
}

/* -- bash ---------------------------------------------------------------------------------- */

/* What may follow an option; "*" stands for any command. */
static void bash_followers(FILE *stream, const char *command, const struct option *options)
{
	for (; options->name; options++) {
		if (!takes_word(options))
			continue;
		fprintf(stream, "\t%s:--%s) ", command, options->name);
		if (takes_choice(options)) {
			fputs("mapfile -t COMPREPLY < <(compgen -W '", stream);
			print_choices(stream, options->argument);
			fputs("' -- \"$cur\")", stream);
		} else if (takes_file(options)) {
			fputs("mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")", stream);
		} else {
			fputs(":", stream);
		}
		fputs("; return ;;\n", stream);
	}
}

static void bash_options(FILE *stream, const struct option *options)
{
	for (; options->name; options++)
		fprintf(stream, " --%s", options->name);
}

static bool is_deed(const struct command *command)
{
	return command->kind == OPERAND_DEED || command->kind == OPERAND_DEED_FILE;
}

static void bash_deeds(FILE *stream, const struct command *command)
{
	fputs("\t\tcase ${#operands[@]}:${operands[0]} in\n\t\t0:) words='", stream);
	print_deeds(stream, command->operands);
	fputs("' ;;\n", stream);
	for (size_t i = 0; i < FOLLOWERS; i++)
		if (strcmp(followers[i].command, command->name) == 0)
			fprintf(stream, "\t\t%u:%s) words=%s ;;\n", followers[i].place,
				followers[i].deed, followings[followers[i].what].bash);
	if (command->kind == OPERAND_DEED_FILE)
		fputs("\t\t*) words=files ;;\n", stream);
	fputs("\t\tesac\n", stream);
}

static void bash_command(FILE *stream, const struct command *command)
{
	fprintf(stream, "\t%s)\n\t\toptions+='", command->name);
	bash_options(stream, command->options);
	fputs("'\n", stream);
	if (command->kind == OPERAND_NAME)
		fputs("\t\twords=names\n", stream);
	if (command->kind == OPERAND_FILE)
		fputs("\t\twords=files\n", stream);
	if (is_deed(command))
		bash_deeds(stream, command);
	if (command->kind == OPERAND_COMMAND) {
		fputs("\t\twords='", stream);
		print_commands(stream);
		fputs("'\n", stream);
	}
	if (command->kind == OPERAND_SHELL) {
		fputs("\t\twords='", stream);
		print_choices(stream, command->operands);
		fputs("'\n", stream);
	}
	fputs("\t\t;;\n", stream);
}

static void bash_find_command(FILE *stream)
{
	fputs("\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t",
		stream);
	for (const struct option *option = commands_globals; option->name; option++)
		if (takes_word(option))
			fprintf(stream, "%s--%s", option == commands_globals ? "" : "|",
				option->name);
	fputs(") ((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) command=${COMP_WORDS[i]}; break ;;\n"
	      "\t\tesac\n"
	      "\tdone\n",
		stream);
}

static void bash_words_of(FILE *stream, const char *command, const struct option *options)
{
	for (; options->name; options++)
		if (takes_word(options))
			fprintf(stream, "%s:--%s|", command, options->name);
}

/* What stands behind the command, but options and what belongs to them. Bash parts words at '='. */
static void bash_find_operands(FILE *stream)
{
	fputs("\tfor ((i++; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase $command:${COMP_WORDS[i]} in\n"
	      "\t\t",
		stream);
	for (const struct command *command = commands; command->name; command++)
		bash_words_of(stream, command->name, command->options);
	bash_words_of(stream, "*", commands_globals);
	fputs("*:=) ((i++)); [[ ${COMP_WORDS[i]} == = ]] && ((i++)) ;;\n"
	      "\t\t*:-*) ;;\n"
	      "\t\t*) operands+=(\"${COMP_WORDS[i]}\") ;;\n"
	      "\t\tesac\n"
	      "\tdone\n",
		stream);
}

static void write_bash(FILE *stream)
{
	fputs("# bash completion for mgctl\n"
	      "_mgctl_names() {\n"
	      "\tlocal name\n"
	      "\twhile IFS= read -r name; do\n"
	      "\t\t[[ $name == \"$1\"* ]] || continue\n"
	      "\t\t[[ $name == *[!A-Za-z0-9_@%+=:,./~-]* ]] && printf -v name %q \"$name\"\n"
	      "\t\tCOMPREPLY+=(\"$name\")\n"
	      "\tdone < <(\"${@:2}\" 2>/dev/null)\n"
	      "}\n"
	      "\n"
	      "_mgctl() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	      "\tlocal command='' words='' options='' operands=() i\n"
	      "\tCOMPREPLY=()\n",
		stream);
	bash_find_command(stream);
	bash_find_operands(stream);
	fputs("\tcase $command:$prev in\n", stream);
	for (const struct command *command = commands; command->name; command++)
		bash_followers(stream, command->name, command->options);
	bash_followers(stream, "*", commands_globals);
	fputs("\tesac\n\toptions='", stream);
	bash_options(stream, commands_globals);
	fputs("'\n\tcase $command in\n\t'') words='", stream);
	print_commands(stream);
	fputs("' ;;\n", stream);
	for (const struct command *command = commands; command->name; command++)
		bash_command(stream, command);
	fputs("\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
	      "\telif [[ $words == names ]]; then\n"
	      "\t\t_mgctl_names '' " LIST_NAMES "\"${cur#[\\'\\\"]}\"\n"
	      "\telif [[ $words == tokens ]]; then\n"
	      "\t\t_mgctl_names \"${cur#[\\'\\\"]}\" " LIST_TOKENS "\n"
	      "\telif [[ $words == files ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	      "\telse\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	      "\tfi\n"
	      "}\n"
	      "complete -F _mgctl mgctl\n",
		stream);
}

/* -- zsh ----------------------------------------------------------------------------------- */

/* Within single quotes, where colons and brackets part what zsh is told. */
static void zsh_text(FILE *stream, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\'", stream);
		print_quoted(stream, (char[]){ *text, '\0' }, "[]:\\");
	}
}

/* One line for _arguments, such as '--file=[read it from this file]:PATH:_files'. */
static void zsh_option(FILE *stream, const struct option *option, const char *indent)
{
	fputs(indent, stream);
	if (option->letter)
		fprintf(stream, "'(-%c --%s)'{-%c,--%s}'[", option->letter, option->name,
			option->letter, option->name);
	else
		fprintf(stream, "'--%s%s[", option->name,
			!option->argument            ? ""
				: takes_word(option) ? "="
						     : "=-");
	zsh_text(stream, option->help);
	fputs("]", stream);
	if (takes_choice(option)) {
		fputs(":choice:(", stream);
		print_choices(stream, option->argument);
		fputs(")", stream);
	} else if (takes_word(option)) {
		fprintf(stream, ":%s:%s", option->argument, takes_file(option) ? "_files" : "");
	} else if (option->argument) {
		fputs("::length:", stream);
	}
	fputs("' \\\n", stream);
}

static void zsh_options(FILE *stream, const struct option *options, const char *indent)
{
	for (; options->name; options++)
		zsh_option(stream, options, indent);
}

/* The words are those of the command; which place it is, is known by then. */
static void zsh_place(FILE *stream, const struct command *command, unsigned place)
{
	fprintf(stream, "_mgctl_%s_%u() {\n\tcase ${words[(r)(", command->name, place);
	fwrite(command->operands, 1, strcspn(command->operands, " "), stream);
	fputs(")]} in\n", stream);
	for (size_t i = 0; i < FOLLOWERS; i++)
		if (strcmp(followers[i].command, command->name) == 0 && followers[i].place == place)
			fprintf(stream, "\t%s) %s ;;\n", followers[i].deed,
				followings[followers[i].what].zsh);
	fputs("\tesac\n}\n\n", stream);
}

static void zsh_command(FILE *stream, const struct command *command)
{
	fprintf(stream, "\t\t%s)\n\t\t\t_arguments \\\n", command->name);
	zsh_options(stream, command->options, "\t\t\t\t");
	if (command->kind == OPERAND_NAME) {
		fputs("\t\t\t\t'*:name:_mgctl_names'\n", stream);
	} else if (command->kind == OPERAND_NONE) {
		fputs("\t\t\t\t': :'\n", stream);
	} else if (command->kind == OPERAND_FILE) {
		fputs("\t\t\t\t':file:_files'\n", stream);
	} else if (is_deed(command)) {
		fputs("\t\t\t\t':deed:(", stream);
		print_deeds(stream, command->operands);
		fputs(command->kind == OPERAND_DEED ? ")'" : ")' '*:file:_files'", stream);
		for (unsigned place = 1; follows_at(command->name, place); place++)
			fprintf(stream, " ':operand:_mgctl_%s_%u'", command->name, place);
		fputc('\n', stream);
	} else {
		fputs("\t\t\t\t':word:(", stream);
		if (command->kind == OPERAND_SHELL)
			print_choices(stream, command->operands);
		else
			print_commands(stream);
		fputs(")'\n", stream);
	}
	fputs("\t\t\t;;\n", stream);
}

static void write_zsh(FILE *stream)
{
	fputs("#compdef mgctl\n"
	      "_mgctl_names() {\n"
	      "\tlocal -a names\n"
	      "\tnames=(${(f)\"$(" LIST_NAMES "\"${(Q)PREFIX}\" 2>/dev/null)\"})\n"
	      "\tcompadd -a names\n"
	      "}\n"
	      "\n"
	      "_mgctl_tokens() {\n"
	      "\tlocal -a names\n"
	      "\tnames=(${(f)\"$(" LIST_TOKENS " 2>/dev/null)\"})\n"
	      "\tcompadd -a names\n"
	      "}\n"
	      "\n",
		stream);
	for (const struct command *command = commands; command->name; command++)
		for (unsigned place = 1; follows_at(command->name, place); place++)
			zsh_place(stream, command, place);
	fputs("_mgctl() {\n"
	      "\tlocal curcontext=$curcontext state line\n"
	      "\tlocal -a known\n"
	      "\ttypeset -A opt_args\n"
	      "\t_arguments -C \\\n",
		stream);
	zsh_options(stream, commands_globals, "\t\t");
	fputs("\t\t'1:command:->command' \\\n"
	      "\t\t'*::argument:->argument'\n"
	      "\tcase $state in\n"
	      "\tcommand)\n"
	      "\t\tknown=(\n",
		stream);
	for (const struct command *command = commands; command->name; command++) {
		fprintf(stream, "\t\t\t'%s:", command->name);
		zsh_text(stream, command->summary);
		fputs("'\n", stream);
	}
	fputs("\t\t)\n"
	      "\t\t_describe command known\n"
	      "\t\t;;\n"
	      "\targument)\n"
	      "\t\tcase $line[1] in\n",
		stream);
	for (const struct command *command = commands; command->name; command++)
		zsh_command(stream, command);
	fputs("\t\tesac\n"
	      "\t\t;;\n"
	      "\tesac\n"
	      "}\n"
	      "\n"
	      "if [[ $funcstack[1] == _mgctl ]]; then\n"
	      "\t_mgctl \"$@\"\n"
	      "else\n"
	      "\tcompdef _mgctl mgctl\n"
	      "fi\n",
		stream);
}

/* -- fish ---------------------------------------------------------------------------------- */

static void fish_condition(FILE *stream, const char *command)
{
	if (command)
		fprintf(stream, "complete -c mgctl -n '__fish_seen_subcommand_from %s'", command);
	else
		fputs("complete -c mgctl", stream);
}

static void fish_options(FILE *stream, const char *command, const struct option *options)
{
	for (; options->name; options++) {
		fish_condition(stream, command);
		if (options->letter)
			fprintf(stream, " -s %c", options->letter);
		fprintf(stream, " -l %s%s", options->name,
			takes_file(options)           ? " -r -F"
				: takes_word(options) ? " -x"
						      : "");
		if (takes_choice(options)) {
			fputs(" -a '", stream);
			print_choices(stream, options->argument);
			fputs("'", stream);
		}
		fputs(" -d '", stream);
		print_quoted(stream, options->help, "'\\");
		fputs("'\n", stream);
	}
}

/* The deed first, and then what belongs to it. */
static void fish_deeds(FILE *stream, const struct command *command)
{
	fprintf(stream,
		"complete -c mgctl -n '__fish_seen_subcommand_from %s; and not "
		"__fish_seen_subcommand_from ",
		command->name);
	print_deeds(stream, command->operands);
	fputs("' -a '", stream);
	print_deeds(stream, command->operands);
	fputs("'\n", stream);
	if (command->kind == OPERAND_DEED_FILE)
		fprintf(stream, "complete -c mgctl -n '__fish_seen_subcommand_from %s' -F\n",
			command->name);
	for (size_t i = 0; i < FOLLOWERS; i++)
		if (strcmp(followers[i].command, command->name) == 0)
			fprintf(stream,
				"complete -c mgctl -n '__fish_seen_subcommand_from %s; and "
				"__fish_seen_subcommand_from %s'%s\n",
				command->name, followers[i].deed,
				followings[followers[i].what].fish);
}

static void fish_operands(FILE *stream, const struct command *command)
{
	if (command->kind == OPERAND_NONE)
		return;
	if (is_deed(command)) {
		fish_deeds(stream, command);
		return;
	}
	fish_condition(stream, command->name);
	if (command->kind == OPERAND_FILE) {
		fputs(" -F\n", stream);
		return;
	}
	fputs(" -a '", stream);
	if (command->kind == OPERAND_NAME)
		fputs("(" LIST_NAMES "(commandline -ct) 2>/dev/null)", stream);
	else if (command->kind == OPERAND_SHELL)
		print_choices(stream, command->operands);
	else if (command->kind == OPERAND_COMMAND)
		print_commands(stream);
	fputs("'\n", stream);
}

static void write_fish(FILE *stream)
{
	fputs("# fish completion for mgctl\ncomplete -c mgctl -f\n", stream);
	fish_options(stream, NULL, commands_globals);
	for (const struct command *command = commands; command->name; command++) {
		fprintf(stream, "complete -c mgctl -n __fish_use_subcommand -a %s -d '",
			command->name);
		print_quoted(stream, command->summary, "'\\");
		fputs("'\n", stream);
		fish_options(stream, command->name, command->options);
		fish_operands(stream, command);
	}
}

completion_writer *completion_find(const char *shell)
{
	static const struct {
		const char *shell;
		completion_writer *write;
	} writers[] = { { "bash", write_bash }, { "zsh", write_zsh }, { "fish", write_fish } };

	for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++)
		if (strcmp(writers[i].shell, shell) == 0)
			return writers[i].write;
	return NULL;
}
