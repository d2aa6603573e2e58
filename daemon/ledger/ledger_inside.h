/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/ledger/bitmap.h"
#include "daemon/ledger/ledger.h"

/*
 * In here a place is the number of its unit. The method is TLSF's (Masmano, Ripoll, Crespo, Real:
 * "TLSF: a New Dynamic Memory Allocator for Real-Time Systems", 2004): lists of free blocks by
 * powers of two, each split in 8, and a word of bits that tells which have any. What TLSF keeps
 * beside the blocks lies in bit maps instead, where a stray write into the ledger does not reach.
 */
#define WORD_BITS BITMAP_WORD
#define RUN_MAX (LEDGER_BLOCK_MAX / LEDGER_UNIT) /* units in a free run; bounds the merging */
#define STEP_BITS 3                              /* a power of two has 8 lists */
#define STEPS (1u << STEP_BITS)
#define LISTS ((20 - STEP_BITS + 1) * STEPS + 1)
#define LIST_WORDS ((LISTS + WORD_BITS - 1) / WORD_BITS)

_Static_assert(RUN_MAX == 1u << 20, "the classes end with the longest run");
_Static_assert(LEDGER_MAX / LEDGER_UNIT - 1 == UINT32_MAX, "a unit's number has 32 bits");

/* In the first unit of a free run; 0 is the end. Not to be believed: see the maps. */
struct links {
	uint64_t next;
	uint64_t previous;
};

/*
 * How much of a stretch is taken, in units: by all blocks, and by the small ones, which share their
 * pages with others.
 */
#define STRETCH_UNITS 4096u

struct stretch {
	uint16_t taken;
	uint16_t small;
	uint16_t wasted; /* where in it a block of waste begins, from 1 on; 0: none does */
};

_Static_assert(STRETCH_UNITS <= UINT16_MAX, "a stretch that is full can be told");

/* Lists that small blocks belong to. */
#define SMALL_LISTS ((12 - STEP_BITS + 1) * STEPS)

_Static_assert(LEDGER_LARGE / LEDGER_UNIT == 1u << 12, "small blocks have less than 2^12 units");

/* Small blocks on their way to the front: ledger_compact.c. */
struct compaction {
	uint64_t line;                 /* the unit below which they go; 0: none is moved */
	uint64_t cursors[SMALL_LISTS]; /* before this there is no room for what has this list */
	uint64_t swept;                /* up to here pages were given back */
};

/* Large blocks that are still to be wiped, and the one whose turn it is: ledger_waste.c. */
struct waste {
	uint64_t *units;
	size_t count;
	size_t room;
	uint64_t unit; /* of the block that is being wiped, */
	uint64_t at;   /* which is wiped up to here, */
	uint64_t end;  /* and ends here; 0: there is none */
	uint64_t left; /* units of all of them */
	bool later;    /* what is large becomes waste */
};

struct ledger {
	uint8_t *base;
	uint64_t reserved;    /* bytes */
	uint64_t units;       /* writable */
	uint64_t capacity;    /* units that the maps have room for */
	uint64_t used;        /* units taken */
	uint64_t untidy;      /* bytes freed in small blocks since the pages were looked after */
	uint64_t small;       /* units taken by small blocks */
	uint64_t freed;       /* bytes freed since it was looked whether to compact */
	struct bitmap begins; /* a block or a free run begins here */
	struct bitmap taken;  /* and it is taken */
	uint64_t heads[LISTS];
	uint64_t occupied[LIST_WORDS]; /* classes that have a run */
	int fd;                        /* of the file that it lies in; -1: none */
	bool adopted;                  /* and not yet settled */
	struct stretch *stretches;
	struct compaction compaction;
	struct waste waste;
	struct bitmap claimed; /* while it is adopted */
};

_Static_assert(sizeof(struct links) == LEDGER_UNIT, "links fit into the smallest run");

static inline uint8_t *bytes_at(const struct ledger *ledger, uint64_t unit)
{
	return ledger->base + unit * LEDGER_UNIT;
}

static inline struct links *links_at(const struct ledger *ledger, uint64_t unit)
{
	return (struct links *)(void *)bytes_at(ledger, unit);
}

static inline uint64_t round_up(uint64_t size, uint64_t to)
{
	return (size + to - 1) / to * to;
}

/* -- free runs (ledger_runs.c) ------------------------------------------------------------- */

/* Where the block or run that begins here ends. */
uint64_t run_end(const struct ledger *ledger, uint64_t unit);

/* Whether a free run begins here. */
bool run_is_free(const struct ledger *ledger, uint64_t unit);

/* The list for runs of `units`. */
unsigned run_list(uint64_t units);

/* Whether what a free run says of its neighbours in the list is what they say of it. */
bool run_linked(const struct ledger *ledger, uint64_t unit, unsigned list);

/* Makes a run that the maps call taken a free one; run_free does it with its free neighbours. */
void run_link(struct ledger *ledger, uint64_t unit, uint64_t end);
void run_free(struct ledger *ledger, uint64_t unit, uint64_t end);

/* Takes a free run off its list. Its links are wiped with it. */
void run_unlink(struct ledger *ledger, uint64_t unit);

/* A free run of at least `units`, or 0. */
uint64_t run_find(struct ledger *ledger, uint64_t units);

/* Takes the first `units` of a free run and frees the rest anew. */
void run_take(struct ledger *ledger, uint64_t unit, uint64_t units);

/* -- compacting (ledger_compact.c) --------------------------------------------------------- */

/* Room for what is told of stretches. Returns 0 or -ENOMEM. */
int stretches_widen(struct ledger *ledger, uint64_t units);

/* Bytes that it takes. */
uint64_t stretches_bytes(uint64_t units);

/* A block is there; it is there no more. */
void stretches_add(struct ledger *ledger, uint64_t unit, uint64_t end);
void stretches_drop(struct ledger *ledger, uint64_t unit, uint64_t end);

/* From now on what lies at a unit or behind it is to be moved before it. */
void compaction_begin(struct ledger *ledger, uint64_t line);

/* -- what is wiped later (ledger_waste.c) -------------------------------------------------- */

/* Whether such a block begins here. */
bool waste_is_at(const struct ledger *ledger, uint64_t unit);

/* A large block is to be wiped; false without memory for that. */
bool waste_add(struct ledger *ledger, uint64_t unit, uint64_t end);

/* Frees a block that holds nothing any more. */
void ledger_free_wiped(struct ledger *ledger, uint64_t unit, uint64_t end);

/* -- pages and growth (ledger_pages.c) ----------------------------------------------------- */

/* Gives pages back to the kernel; they read as zeros from then on. Whether it has taken them. */
bool pages_drop(const struct ledger *ledger, uint64_t begin, uint64_t end);

/*
 * The whole pages between two places. A refusal (pages locked by mlockall) loses nothing: they were
 * wiped before, or never used.
 */
void pages_drop_whole(const struct ledger *ledger, uint64_t begin, uint64_t end);

/* The pages of what was freed in pieces, when there may be many of them. */
void pages_tidy(struct ledger *ledger, uint64_t size);

/* Address space for the ledger. Returns 0 or -ENOMEM. */
int ledger_reserve(struct ledger *ledger);

/* Lets the reserved addresses from a place on lead to memory. Returns 0 or -ENOMEM. */
int ledger_map(const struct ledger *ledger, uint64_t offset, uint64_t size);

/* The same for a file's bytes that can only be read. */
int ledger_map_to_read(const struct ledger *ledger, uint64_t size);

/* Room in the maps. Returns 0 or -ENOMEM. */
int ledger_widen_maps(struct ledger *ledger, uint64_t units);

/* The first unit is nobody's, so that no block begins at 0. Gives the next. */
uint64_t ledger_keep_first(struct ledger *ledger);

/* Frees what nobody has had yet. */
void ledger_free_fresh(struct ledger *ledger, uint64_t unit, uint64_t end);

/* Doubles, or takes what is to be had, as long as a block of `units` fits into it. */
int ledger_grow(struct ledger *ledger, uint64_t units);

/* -- adopting (ledger_adopt.c) ------------------------------------------------------------- */

/* Says in the first unit whose file this is. */
void ledger_write_head(struct ledger *ledger);

/* Maps what another process has left. Returns 0, -ENOMEM or -EBADMSG. */
int ledger_take_over(struct ledger *ledger, uint64_t size);
