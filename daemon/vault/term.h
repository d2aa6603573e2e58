/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What ends by itself, and when: beside the vault's records, on the heap, and built anew from them.
 * A term stands for the record at one offset. It is over at its deadline, or when one of its
 * holders (a session, a process) has ended. Whoever asks is told at once; what is over is taken out
 * step by step, however much ends in one moment.
 */
struct terms;

/* Whose life some records hang on. */
struct holder;

/*
 * A holder is of one kind. A record hangs on at most one of each kind, a tombstone on that of its
 * owner's.
 */
enum bond_kind { BOND_SESSION, BOND_PROCESS, BOND_OWNER, BONDS };

/* What a record's life hangs on, beside its being deleted. */
struct term_of {
	uint64_t deadline_ms;          /* 0: none */
	struct holder *holders[BONDS]; /* NULL: none */
};

/* Return 0 or -ENOMEM. */
int terms_new(struct terms **termsp);
void terms_free(struct terms *terms);

/* How many there are. */
uint64_t terms_count(const struct terms *terms);

/* -- terms --------------------------------------------------------------------------------- */

/* Sees to it that the next terms_add cannot fail. Returns 0 or -ENOMEM. */
int terms_reserve(struct terms *terms);

/* A term for the record at `offset`, which has none; its place is reserved. */
void terms_add(struct terms *terms, uint64_t offset, const struct term_of *of);

/* The record is at another place now, or it has another deadline. It may have no term. */
void terms_move(struct terms *terms, uint64_t offset, uint64_t to);
void terms_defer(struct terms *terms, uint64_t offset, uint64_t deadline_ms);

/* The record is gone. It may have no term. */
void terms_drop(struct terms *terms, uint64_t offset);

/* What was said of it; false when there is no term. */
bool terms_look(const struct terms *terms, uint64_t offset, struct term_of *of);

/* Whether the record has a term that is over. */
bool terms_over(const struct terms *terms, uint64_t offset, uint64_t now_ms);

/* One that is over, or 0: it stays until it is dropped. */
uint64_t terms_next_over(const struct terms *terms, uint64_t now_ms);

/* When the next one is over by its deadline; 0 now, UINT64_MAX never. */
uint64_t terms_next_ms(const struct terms *terms);

/* -- holders ------------------------------------------------------------------------------- */

/* `emptied`, unless it is NULL, is called when the last record that hung on it is gone; it may free
 * the holder. NULL without memory. */
struct holder *holder_new(void (*emptied)(void *context), void *context);

/* Frees a holder on which nothing hangs; takes NULL. */
void holder_free(struct holder *holder);

/* Everything that hangs on it is over. It is the terms' from now on, and `emptied` is not called.
 */
void holder_end(struct terms *terms, struct holder *holder);
bool holder_ended(const struct holder *holder);

/* How many records hang on it, and the one that has done so for longest, or 0. */
size_t holder_count(const struct holder *holder);
uint64_t holder_oldest(const struct holder *holder);
