/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

#include <mgclient.h>
#include <stdbool.h>

/*
 * The passphrase of a bundle, in guarded memory from its first byte on: one line from the
 * descriptor that the arguments name, else a person's, who is asked once or twice. The caller's:
 * mg_secret_free. Returns an exit status; what is wrong has been said.
 */
int passphrase_take(struct mg_secret **passphrasep, const struct arguments *arguments, bool twice);

/*
 * The same of the one that locks and unlocks the daemon, from where a value comes from: one line
 * from --fd, --file or stdin, else a person's; with --once he is asked once.
 */
int passphrase_take_value(
	struct mg_secret **passphrasep, const struct arguments *arguments, bool twice);
