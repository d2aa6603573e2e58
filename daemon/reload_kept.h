/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config.h"
#include "daemon/policy/policy_sources.h"

/*
 * The settings in force, as a worker leaves them with its keeper for the next one: that one goes on
 * with them whatever the files say by then. For processes that were forked of one another.
 */

/*
 * Writes them, and what the policy was read from (NULL: there is none), into a file in memory that
 * nobody can change any more. Returns its descriptor, or a negative errno.
 */
int reload_kept_write(const struct config *config, const struct policy_sources *policy);

/*
 * Reads them back; *bookp is the caller's to free, NULL where there is no policy. Returns 0, or
 * -EBADMSG or -ENOMEM with the fault said.
 */
int reload_kept_read(
	int fd, struct config *config, struct policy_book **bookp, struct config_fault *fault);
