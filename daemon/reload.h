/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config.h"
#include "daemon/daemon.h"

#define RELOAD_SAID_MAX 512

/*
 * The settings of a daemon that runs, read anew: from the same file and the same command line as at
 * its start, by the same code. All of it is taken, or nothing.
 */
struct reload {
	int argc;
	char **argv;          /* borrowed */
	struct config config; /* in force, as config_load has filled it in */
	int line;             /* to the keeper, who keeps what is taken (LINE_SETTINGS); -1: none */
};

/* What the process was started with, and what came of it. */
void reload_init(struct reload *reload, int argc, char **argv, const struct config *config);

/*
 * The policy that is written down in the folder of the settings, which the caller frees; NULL for
 * none. Returns 0, or a negative errno with `fault` filled in.
 */
int reload_policy(
	struct policy_book **bookp, const struct config *config, struct config_fault *fault);

/*
 * Reads the policy that is asked for on the command line, else that of the settings, else the
 * system's, and writes what there is of it to `said`: "PATH: 12 rules". Returns as above.
 */
int reload_check_policy(
	const struct config *config, char said[static RELOAD_SAID_MAX], struct config_fault *fault);

/* What nobody does without a reason; borrows from the settings. */
struct policy_reasons reload_reasons(const struct config *config);

/*
 * Opens the audit log of these settings, where they have one. Returns 0, or a negative errno with
 * the fault said; daemon_audit is what puts it into force.
 */
int reload_open_audit(const struct daemon *daemon, const struct config *config,
	struct audit_file *file, struct config_fault *fault);

/*
 * Reads the settings and puts them into force in `daemon`. Returns 0; or a negative errno, with
 * `fault` filled in, when they are wrong or one has changed that takes a restart: then all is as it
 * was.
 */
int reload_settings(struct reload *reload, struct daemon *daemon, struct config_fault *fault);

/*
 * Puts into force what another worker has taken last, as its keeper has kept it: whatever the files
 * say by now, nobody has asked for them to be read. Closes the descriptor. Returns 0, or a negative
 * errno with `fault` filled in: then this daemon is not to serve.
 */
int reload_resume(struct reload *reload, struct daemon *daemon, int fd, struct config_fault *fault);
