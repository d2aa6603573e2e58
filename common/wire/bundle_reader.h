/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/workbench.h"
#include "common/wire/bundle.h"

#include <sys/types.h>

/*
 * Reads a bundle from whatever gives its bytes: the head, then secret by secret its message and the
 * chunks of its value, each of them checked before it is given on. Values are not opened. Whoever
 * reads uses nothing for good before bundle_reader_next has said that the bundle is whole.
 *
 * What is read lies in the heap, and all of it is sealed. Messages are opened on a bench, and the
 * bundle's key and a value's data key lie where the reader's owner says.
 */
struct bundle_reader {
	/* Up to `room` bytes: how many, 0 at the end, or a negative errno. */
	ssize_t (*read)(void *context, uint8_t *out, size_t room);
	/* Runs function(argument) on the locked stack. */
	void (*run)(void *context, void (*function)(void *), void *argument);
	void *context;
	struct bundle *bundle; /* secret memory */
	uint8_t *key; /* the same: ENCLAVE_KEY_SIZE bytes, the data key of the secret at hand */
	struct workbench *bench; /* back at its mark before each message */
	size_t mark;

	/* The reader's own. */
	const char *fault; /* why it is no bundle, as a sentence; NULL */
	struct bundle_head head;
	struct bundle_room *room;
	size_t begin, end;    /* what lies in the room and is not used yet */
	bool ended;           /* nothing more is to be read */
	uint64_t met;         /* secrets so far */
	uint64_t left;        /* sealed bytes of the value at hand that are not read yet */
	struct chunks chunks; /* those that were read last */
};

/*
 * All functions return a negative errno when they fail: -EBADMSG, with `fault` filled in, when it
 * is no bundle or does not open; else -ENOMEM or what the source gave.
 */

/* Takes memory and reads the head. Returns 0. bundle_reader_finish after either end. */
int bundle_reader_begin(struct bundle_reader *reader);

/*
 * The next secret; bundle_resume comes first. Returns 1 and its outside, whose spans lie on the
 * bench until the next message; or 0 behind the last one, and the bundle is whole then. All chunks
 * of the secret before were read.
 */
int bundle_reader_next(struct bundle_reader *reader, struct bundled *bundled);

/*
 * The next chunks of its value, as many as a frame takes; the bytes live until the next call.
 * Returns 1, or 0 behind the last ones.
 */
int bundle_reader_chunks(struct bundle_reader *reader, struct chunks *chunks, struct span *bytes);

/* Frees; of a reader that is all zeros, too. */
void bundle_reader_finish(struct bundle_reader *reader);
