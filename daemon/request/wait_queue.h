/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who waits for which name. A published name calls those who wait for it, and only those: what a
 * set costs does not depend on how many wait for something else.
 */

#define WAIT_QUEUE_CHAINS 256

/* Somebody who may be called: one a session, however many names it waits for. All zero at first. */
struct wait_party {
	struct wait_party *next; /* among the called, in a ring; NULL: not called */
	struct wait_party *previous;
};

/* One name that a party waits for. It belongs to its owner, and stays where it is. */
struct wait {
	struct wait *next;
	struct wait **at; /* what points here */
	struct wait_party *party;
	struct span name; /* filed; the owner's */
};

/* All names with a prefix, which a party follows. It belongs to its owner, and stays where it is.
 */
struct follow {
	struct follow *next;
	struct follow **at; /* what points here */
	struct wait_party *party;
	struct span asked;  /* filed; the owner's */
	struct span prefix; /* what it follows of that; filed; the owner's */
	bool none;          /* nothing of it, but for what happens to all names */
	uint64_t place;     /* up to there it has looked at what happened */
	uint64_t latest;    /* it is called there, whatever happened; UINT64_MAX: nowhere */
};

struct wait_queue {
	uint8_t key[crypto_shorthash_KEYBYTES]; /* nobody chooses names that share a chain */
	struct wait *chain[WAIT_QUEUE_CHAINS];
	struct follow *follows;
	struct wait_party called; /* the ring's own link: behind it stands who was called first */
};

/* Makes an empty queue. */
void wait_queue_init(struct wait_queue *queue);

/* Lets a party wait for a name; wait_queue_leave must come before either ends. */
void wait_queue_enter(
	struct wait_queue *queue, struct wait *wait, struct wait_party *party, struct span name);
void wait_queue_leave(struct wait *wait);

/* Calls everybody who waits for the name; they go on waiting until they leave. */
void wait_queue_call(struct wait_queue *queue, struct span name);

/* Lets a party follow a prefix; wait_queue_unfollow must come before either ends. */
void wait_queue_follow(struct wait_queue *queue, struct follow *follow, struct wait_party *party,
	struct span prefix);
void wait_queue_unfollow(struct follow *follow);

/* Whatever it follows of what it has asked for, it follows all of it from now on. */
void follow_widen(struct follow *follow);

/* The same for everybody; whoever follows anything is called. */
void wait_queue_widen(struct wait_queue *queue);

/*
 * Something happened to a name (to all of them, if it is empty), between two places: calls those
 * who follow it. Whoever follows other names, and has looked at everything before, has looked at
 * that, too: what happens costs those nothing whom it does not concern.
 */
void wait_queue_tell(struct wait_queue *queue, struct span name, uint64_t from, uint64_t to);

/* Calls everybody who waits for any name. */
void wait_queue_call_all(struct wait_queue *queue);

/* Calls a party, whatever it waits for. */
void wait_queue_call_party(struct wait_queue *queue, struct wait_party *party);

/* Whoever was called first, who is not called any more then; NULL: nobody is. */
struct wait_party *wait_queue_next(struct wait_queue *queue);

/* Whether anybody is called. */
bool wait_queue_has_called(const struct wait_queue *queue);

/* Takes a party off the called, if it is one of them. */
void wait_party_end(struct wait_party *party);
