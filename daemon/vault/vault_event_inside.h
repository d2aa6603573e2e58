/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"
#include "common/wire/name.h"

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the vault's own files tell the ring of. */

struct vault;

#define EVENT_CELL 64 /* bytes */

/* A change has so many at most: another name is the end of the old one, too. */
#define EVENT_DOUBTS 2

/*
 * Cells are counted from 1 on, and lie in the ring where their number leads. An event is written
 * before the change that it tells of, and says by what that can be known; it counts once the change
 * was made.
 */
struct events {
	uint64_t ring; /* offset of the block; 0: nobody has asked yet */
	uint64_t cells;
	uint64_t base;                 /* the number before the first */
	uint64_t number;               /* the last that was given away */
	uint64_t end;                  /* the last cell that counts */
	uint64_t written;              /* the last one that was written to */
	uint64_t doubts[EVENT_DOUBTS]; /* the first cells of those that do not count yet */
	size_t doubt_count;
	uint64_t last; /* the first cell of the last one that was adopted */
	uint8_t key[crypto_shorthash_KEYBYTES];
};

/* As vault_remember_events, in a ring of so many cells. */
int events_make(struct vault *vault, uint64_t cells);

/*
 * Just before a change is made, that gives the sequence number `by` away, or takes out the record
 * that has it. Then either of the next two comes.
 */
struct event_cause {
	uint64_t by;
	bool takes_out;
};
void event_write(struct vault *vault, enum event_kind kind, struct span name, uint64_t version,
	struct event_cause cause);
void events_count(struct vault *vault); /* it was made */
void events_drop(struct vault *vault);  /* it was not */

/*
 * The same of the record at `offset`, which is about to be taken out; nothing is told of what is
 * not seen under its name. Returns whether there is something to be counted.
 */
bool event_write_end(struct vault *vault, enum event_kind kind, uint64_t offset);

/* Everything was purged under a new master, under which the ring is to be believed from now on. */
void events_purge(struct vault *vault);

/* -- adopting it --------------------------------------------------------------------------- */

/* Whether a block of its kind is a ring; its bytes. Touches the ledger key. */
bool events_adoptable(const struct vault *vault, uint64_t offset, uint64_t *sizep);

/*
 * Claims it, once records are in the index, and looks which of its events count. Whatever is wrong
 * with it, it is none then: who asks for what was remembered is told that it is forgotten.
 */
void events_adopt(struct vault *vault, uint64_t offset, uint64_t highest);

/* Once it can be written to. `lost`: names have changed of which nothing was told. */
void events_settle(struct vault *vault, bool lost);
