/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/commands.h"

#include <stdio.h>

/* Explains all commands, or one. The words come from the tables of commands.h. */
void help_all(FILE *stream);
void help_command(FILE *stream, const struct command *command);
