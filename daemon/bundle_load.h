/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/bundle_setting.h"
#include "daemon/daemon.h"

#include <stdint.h>
#include <sys/types.h>

/* What came out of a bundle. */
struct bundle_count {
	uint64_t secrets;
	uint64_t bytes; /* of their values */
};

/*
 * Opens the bundle of the setting into a daemon that is empty and that nobody is served by yet: all
 * of it, or nothing. Values stay as they rest there, under their own data keys, which are wrapped
 * anew; the private key and the data keys are in secret memory alone, and the private key is wiped
 * as soon as it has opened the bundle's. The key's descriptor is read to its end and closed.
 *
 * All is as if root had restored it, but that the own space of whoever made the bundle, "~/", is
 * that of `uid`. Returns 0; -EBADMSG when it cannot be, with `fault` filled in; -ENOMEM, the same;
 * or -EINTR when a signal that ends the daemon came meanwhile.
 */
int bundle_load(struct daemon *daemon, struct bundle_setting *setting, uid_t uid,
	struct bundle_count *countp, struct config_fault *fault);
