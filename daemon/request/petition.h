/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/request/answers.h"
#include "daemon/request/transfer.h"

#include <stdint.h>

/*
 * A request that the configuration be read anew. Files and groups are looked up where no request is
 * served, on the ordinary stack: it waits until that is done.
 */
struct petition;

/* Parks one of `uid`, and asks for what it wants. Returns 0 or STATUS_LIMIT. */
int petition_park(struct transfers *transfers, struct daemon *daemon, uid_t uid, uint64_t id);

/* The one with this id, or NULL. */
struct petition *petition_find(const struct transfers *transfers, uint64_t id);

/* Ends one without an answer. What it has asked for is done all the same. */
void petition_end(struct transfers *transfers, struct petition *petition);

/* Answers those whose wish was looked at since they came. Returns 0 or a negative errno. */
int petitions_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers);
