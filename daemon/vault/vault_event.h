/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault.h"

/*
 * What has changed under which name, in the order in which it was changed. It is remembered in a
 * ring of a fixed size that lies in the ledger, from the moment on in which somebody wants to know:
 * whoever adopts the ledger finds a change and what is told of it, or neither. What is older than
 * the ring has room for is forgotten, and who asks for it is told so.
 *
 * Streams are not told of, nor is what changes neither a name nor its value.
 */
#define VAULT_EVENTS 16384 /* that many are remembered, and less where names are long: a MiB */

struct vault_event {
	enum event_kind kind;
	uint64_t version; /* that was stored, or was there; 0: none, or it was damaged */
	uint64_t number;  /* microseconds since 1970, but always greater than the one before */
	size_t name_size; /* 0: of every name */
	char name[NAME_FILED_MAX]; /* filed */
};

/*
 * Sees to it that events are remembered. Returns 0, STATUS_LIMIT when memory is used up, or
 * -EKEYEXPIRED. Touches the ledger key.
 */
int vault_remember_events(struct vault *vault);

/*
 * A number that no event has had yet and that none will have: all those to come are greater, and
 * it tells nothing of those that were.
 */
uint64_t vault_event_now(struct vault *vault);

/* How far it has come: another place after every event, and 0 while nothing is remembered. */
uint64_t vault_event_place(const struct vault *vault);

/*
 * The place behind the events up to a number. Returns false when some of those after it may be
 * forgotten, or when the number is still to come: whether it was given away here is not known.
 */
bool vault_event_find(struct vault *vault, uint64_t number, uint64_t *placep);

/*
 * The first event behind a place, which is behind that one then. Returns 1; 0 when there is none;
 * or STATUS_GONE when it is forgotten.
 */
int vault_event_next(const struct vault *vault, uint64_t *placep, struct vault_event *event);
