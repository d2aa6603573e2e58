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
