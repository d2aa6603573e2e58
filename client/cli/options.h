/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"
#include "client/cli/commands.h"

/*
 * Reads the command line into `arguments`, which arguments_init has prepared, by the tables of
 * commands.h. Options may stand anywhere; "--" ends them. *commandp is NULL when no command was
 * given, which --help and --version do not need. Returns 0 or MG_INVALID, which has been said.
 */
int options_parse(
	struct arguments *arguments, const struct command **commandp, int argc, char **argv);

/* Whether the words ask for JSON, even if they turn out to be wrong: so the error is JSON too. */
bool options_want_json(int argc, char **argv);
