/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/request/answers.h"
#include "daemon/request/transfer.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Somebody who is told what changes. What there is to tell lies in the vault, once for all who
 * watch, and for each there is only the place up to which it was told: who does not listen costs no
 * more than who does, and is told, once that place is forgotten, that there was more.
 */
struct watch;

/* Begins one of names that begin with `prefix`, which is filed. Returns 0, STATUS_LIMIT, or a
 * negative errno. Touches the ledger key. */
int watch_begin(struct transfers *transfers, struct daemon *daemon, const struct request *request,
	struct span prefix, struct answers *answers);

/* The one with this id, or NULL; and the id of the first, or 0. */
struct watch *watch_find(const struct transfers *transfers, uint64_t id);
uint64_t watch_first(const struct transfers *transfers);

/* Ends one without an answer. */
void watch_end(struct transfers *transfers, struct watch *watch);

/*
 * Tells what has changed, as far as there is room in a frame and as far as one turn goes, however
 * many watches there are. Returns 0 or a negative errno.
 */
int watches_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* Whether one has more to be told. */
bool watches_due(const struct transfers *transfers);
