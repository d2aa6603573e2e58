/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/memory/secret.h"

#include <sys/types.h>

/*
 * The process's secrets that have pages of their own, so that all of them can be wiped at one go;
 * those that share pages are found by their pages. A forked child begins with an empty one.
 */

/*
 * Waits for its turn, until registry_leave; `self` is own_self(). Whoever maps, protects or unmaps
 * a secret's pages does it in its turn.
 */
void registry_enter(pid_t self);
void registry_leave(void);

/* In one's turn: adds a secret, takes one out, and goes from one to the next (NULL: the first). */
void registry_add(struct mg_secret *secret);
void registry_remove(struct mg_secret *secret);
struct mg_secret *registry_next(const struct mg_secret *secret);
