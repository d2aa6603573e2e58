/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

#include <stddef.h>

/* One option, of all commands or of one. A table of them ends with a row without a name. */
struct option {
	const char *name; /* without the dashes */
	char letter;      /* the short form, '\0': none */
	/* What follows: NULL nothing, "[=LEN]" something that may be left out, "a|b" a choice. */
	const char *argument;
	arguments_reader *read;
	size_t offset; /* of its field in struct arguments */
	const char *help;
};

/* What an operand is, for those who complete it; OPERAND_DEED: what to do with a name, and it;
 * OPERAND_DEED_FILE: the same with files. */
enum operand {
	OPERAND_NONE,
	OPERAND_NAME,
	OPERAND_COMMAND,
	OPERAND_SHELL,
	OPERAND_DEED,
	OPERAND_DEED_FILE,
	OPERAND_FILE
};

struct command {
	const char *name;
	const char *operands; /* as they stand in the usage line */
	enum operand kind;
	size_t least, most; /* how many */
	const struct option *options;
	const char *summary; /* one line, begins small */
	const char *text;    /* what else there is to know; whole lines */
	const char *surplus; /* what to say of one operand too many; NULL: name it */
	/* Returns an exit status; whatever is wrong has been said. */
	int (*run)(const struct arguments *arguments);
};

extern const struct option commands_globals[];

/* All commands, in the order of the help; ends with a row without a name. */
extern const struct command commands[];

/* NULL when there is none. */
const struct command *commands_find(const char *name);
