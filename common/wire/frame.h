/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/enclave.h"
#include "common/span.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The unit of the wire: a header with two lengths, a sealed part with messages in it, and the
 * chunks that those messages announce. proto/PROTOCOL.md is the description for other languages.
 */
#define FRAME_HEADER_SIZE 8

/* Eight KiB bound what one frame makes the workbench hold, and hold plenty of small messages. */
#define FRAME_SEALED_MAX 8192
#define FRAME_TAG_SIZE 16
#define FRAME_PLAIN_MAX (FRAME_SEALED_MAX - FRAME_TAG_SIZE)

/* A message in a sealed part has a length of two bytes in front of it. */
#define FRAME_PREFIX_SIZE 2

/* Enough to amortise a system call, little enough that a half-sent frame is cheap to keep. */
#define FRAME_CHUNKS 4
#define FRAME_CHUNKS_MAX (FRAME_CHUNKS * ENCLAVE_CHUNK_SIZE)
#define FRAME_SIZE_MAX (FRAME_HEADER_SIZE + FRAME_SEALED_MAX + FRAME_CHUNKS_MAX)

/* A frame as it lies in a read buffer: borrowed, lengths checked. */
struct frame {
	struct span header; /* authenticated with the sealed part */
	struct span sealed;
	struct span chunks;
};

/* Writes a header. */
void frame_header_write(
	uint8_t header[static FRAME_HEADER_SIZE], size_t sealed_size, size_t chunks_size);

/*
 * The whole size in bytes of the frame that begins with `bytes`: 0 when not even the header is
 * there yet, -EPROTO when a length in it is not allowed.
 */
int64_t frame_size(struct span bytes);

/* Takes the first frame off `bytes`. Returns 1, 0 when it is not whole yet, or -EPROTO. */
int frame_next(struct frame *frame, struct span *bytes);
