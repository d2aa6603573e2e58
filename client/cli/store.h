/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/cli/arguments.h"

#include <mgclient.h>
#include <stdint.h>

/*
 * What set and rotate have in common: a value, from wherever the arguments say, under a name. What
 * is wrong has been said; each returns an exit status.
 */

/* Whether the arguments say one thing about the value, and not two; `command` is for the words. */
int store_check(const struct arguments *arguments, const char *command);

/* Stores it and tells the version. */
int store_value(struct mg_client *client, const char *name, const struct arguments *arguments,
	const struct mg_set_options *options, uint64_t *versionp);

/* Tells that it is "stored", or what `done` says instead. */
int store_report(
	const struct arguments *arguments, const char *name, const char *done, uint64_t version);
