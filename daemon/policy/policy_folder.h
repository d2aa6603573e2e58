/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config_fault.h"
#include "daemon/policy/policy_book.h"
#include "daemon/policy/policy_sources.h"

#include <stdbool.h>

/*
 * Reads all files of a folder whose names end in ".conf" and begin with no dot, and looks up the
 * users and groups in them: where no request is served. The folder and the files must be such that
 * only root and the daemon's user may write to them. Returns 0, with the book in *bookp, which is
 * the caller's to free; NULL when there is no folder and it is `optional`. Or returns -EBADMSG or
 * -ENOMEM, with the fault said. What it was read from is added to `sources`, which is the caller's
 * in any case.
 */
int policy_folder_read(struct policy_book **bookp, struct policy_sources *sources, const char *path,
	bool optional, struct config_fault *fault);

/* The same of a folder that has to be there, or of one file, whatever its name ends in. */
int policy_path_read(struct policy_book **bookp, struct policy_sources *sources, const char *path,
	struct config_fault *fault);
