/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/request/transfer.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether the session's peer is held to quotas: all are but root and the daemon's own user. */
bool quota_holds(const struct transfers *transfers);

/*
 * Which quota the vault has just answered STATUS_LIMIT for, its limit and what there is, for that
 * uid; NULL when it was for none. They stay until the next ones.
 */
const char *quota_words(struct daemon *daemon, uint32_t uid);
