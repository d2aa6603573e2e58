/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

#include <mgclient.h>

/*
 * Opens a handle to the daemon that the arguments name. The handle is the caller's: mg_close.
 * Returns an exit status; what is wrong has been said.
 */
int connect_daemon(struct mg_client **clientp, const struct arguments *arguments);

/* The same, and waits for a daemon that is not there yet as long as --wait-ready says. */
int connect_ready(struct mg_client **clientp, const struct arguments *arguments);
