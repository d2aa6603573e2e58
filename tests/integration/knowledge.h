/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- values that tell what they are: a seed, from which every byte follows -----------------------
 */

#define VALUE_MIN 8
#define VALUE_LARGE ((size_t)1 << 20)
#define VALUE_MAX (VALUE_LARGE + 400000)

/* Any but 0. One of four takes some chunks, one of 32 several extents. */
uint32_t value_draw(void);

/* Bytes: VALUE_MIN to VALUE_MAX. */
size_t value_size(uint32_t seed);

/* Whether it has more than VALUE_LARGE. */
bool value_is_large(uint32_t seed);

/* Writes as many bytes as it has. */
void value_compose(uint8_t *out, uint32_t seed);

/* A value that comes piece by piece, beside the one that it says to be. */
struct reading {
	uint8_t *room;    /* VALUE_MAX bytes, the caller's */
	uint32_t seed;    /* which it says; 0: nothing has come */
	uint64_t version; /* the caller's; 0: not told */
	size_t at;        /* bytes that were right */
	bool wrong;
};

void reading_take(struct reading *reading, const void *bytes, size_t size);

/* Whether it has come whole, and no byte was another one. */
bool reading_is_right(const struct reading *reading);

/* -- what somebody who alone changes it knows of a daemon ----------------------------------------
 */

#define NAMES 6
#define FORMERS 4
#define WAITING 3
#define WAITING_SIZE ((size_t)2 << 20) /* bytes that a stream keeps */

/* A version in its grace. */
struct former {
	uint32_t seed;
	uint64_t version;
};

/* What is under a name. */
struct secret {
	uint32_t seed;    /* of its value; 0: there is nothing */
	uint64_t version; /* 0: not known */
	bool frozen;
	struct former formers[FORMERS];
	size_t former_count;
};

struct world {
	struct secret secrets[NAMES];
	uint32_t waiting[WAITING]; /* seeds of what was sent to the stream and not received */
	size_t waiting_count;
};

/* Its version is one in its grace from now on. There is room for one more. */
void secret_retire(struct secret *secret);

/* Whether what was seen under all names can be this; but for former versions, which are not seen.
 */
bool world_fits(const struct world *world, const struct secret seen[NAMES]);

/* Fills in versions that were not known. */
void world_learn(struct world *world, const struct secret seen[NAMES]);

/* The first name from `i` on, around, that has nothing under it; `i` where all have. */
unsigned world_free_name(const struct world *world, unsigned i);

/* Whether the stream takes another one of these without a reader. */
bool world_has_room(const struct world *world, uint32_t seed);

void world_queue(struct world *world, uint32_t seed);

/* The one that was sent first. There is one. */
uint32_t world_dequeue(struct world *world);

/* -- what is done to it -------------------------------------------------------------------------
 */

enum deed {
	DEED_GET,
	DEED_SET,
	DEED_REMOVE,
	DEED_MOVE,
	DEED_ROTATE, /* with a grace */
	DEED_FORMER, /* a get of a version in its grace */
	DEED_FREEZE,
	DEED_MELT,
	DEED_SEND, /* to a stream */
	DEED_RECEIVE,
	DEED_ONCE, /* a value for one reader came out */
	DEED_OPEN, /* another handle, as a program that begins */
	DEEDS
};

const char *deed_name(enum deed deed);
