/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/security/facts.h"
#include "tests/security/needles.h"
#include "tests/security/sources.h"
#include "tests/security/windows.h"

#include "common/memory/coffer.h"
#include "common/memory/guard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Looks for values and keys in the bytes of a process. Known ones are looked up window by window;
 * unknown ones are tried: whatever opens what only a key can open is that key, wherever it came
 * from. Bytes that are the test's own ciphertext are recognised and left out of the trying.
 */
enum find {
	FIND_VALUE,          /* 8 bytes of a value */
	FIND_KNOWN_KEY,      /* 8 bytes of a data key, a frame key or what is derived from them */
	FIND_DATA_KEY,       /* opens a chunk */
	FIND_FRAME_KEY,      /* opens a captured frame */
	FIND_WRAPPING_KEY,   /* opens a wrapped key */
	FIND_VAULT_MASTER,   /* unwraps a data key */
	FIND_CHANNEL_MASTER, /* unwraps a session's frame keys */
	FIND_LEDGER_KEY,     /* authenticates a record's header */
	FIND_SPLIT_KEY,      /* two parts that join to a master */
	FINDS
};

#define HUNT_TARGETS_MAX 16
#define HUNT_TAG_SIZE 16     /* bytes of a record's tag, which its header begins with */
#define HUNT_HEADER_SIZE 136 /* bytes of a record's header, in front of the name */
#define HUNT_RECORD_MAX (HUNT_HEADER_SIZE + FACTS_NAME_MAX)

/* Something wrapped that was found in the process, to try masters on. */
struct target {
	uint8_t wrapped[ENCLAVE_WRAP_SIZE(sizeof(struct channel_keys))];
	size_t size; /* bytes inside */
	struct enclave_binding binding;
	enum coffer_master master;
};

/* A stand-in for the daemon's coffer, whose view holds the window that is tried. */
struct stand_in {
	struct guard guard;
	struct coffer coffer;
	uint8_t keys[3 * 512] __attribute__((aligned(64)));
	uint8_t view[256] __attribute__((aligned(64)));
};

struct hunt {
	const struct facts *facts;
	bool thorough; /* every byte offset, and the pages that are the same as on disk */
	struct needles needles;
	struct windows chunks; /* to recognise ciphertext by */
	uint8_t *sealed[FACTS_VALUES_MAX];
	size_t sealed_size[FACTS_VALUES_MAX];
	const struct fact_value *anchor;
	const uint8_t *anchor_chunk;
	size_t anchor_size;
	struct target targets[HUNT_TARGETS_MAX];
	size_t target_count[COFFER_MASTERS];
	uint8_t record[HUNT_RECORD_MAX]; /* the anchor's, as it lies in the ledger */
	size_t record_size;              /* bytes; 0 until it is found */
	struct stand_in stand_in;
	/* What came of it, added up over all calls of hunt_run. */
	uint64_t known; /* bytes of the test's own ciphertext */
	uint64_t tries;
	uint64_t prekeys; /* pages that could have been one */
	void (*on_find)(struct hunt *hunt, enum find what, const struct source *source,
		size_t offset, const char *words);
	void *context;
};

/* `facts` outlives the hunt. Returns 0 or a negative errno. */
int hunt_init(struct hunt *hunt, const struct facts *facts);

/* Gathers what is wrapped in one source: masters are tried on it. hunt_run does so. */
void hunt_gather_targets(struct hunt *hunt, const struct source *source);

/*
 * What was gathered, to and from a file: what is wrapped lies in a process that may have ended when
 * the next one is looked at. A file that is not there holds nothing. Return 0 or a negative errno.
 */
int hunt_write_targets(const struct hunt *hunt, const char *path);
int hunt_read_targets(struct hunt *hunt, const char *path);

/* Looks through all sources. Returns 0 or -ENOMEM. */
int hunt_run(struct hunt *hunt, const struct sources *sources);

void hunt_free(struct hunt *hunt);

const char *find_name(enum find what);
