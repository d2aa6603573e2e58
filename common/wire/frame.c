/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/frame.h"

#include <errno.h>

#include "common/bytes.h"

void frame_header_write(
	uint8_t header[static FRAME_HEADER_SIZE], size_t sealed_size, size_t chunks_size)
{
	bytes_put32(header, (uint32_t)sealed_size);
	bytes_put32(header + 4, (uint32_t)chunks_size);
}

int64_t frame_size(struct span bytes)
{
	uint32_t sealed, chunks;

	if (bytes.size < FRAME_HEADER_SIZE)
		return 0;
	sealed = bytes_get32(bytes.data);
	chunks = bytes_get32(bytes.data + 4);
	/* The least sealed part is a tag, a length prefix and a message of one byte. */
	if (sealed <= FRAME_TAG_SIZE + FRAME_PREFIX_SIZE || sealed > FRAME_SEALED_MAX)
		return -EPROTO;
	if (chunks > FRAME_CHUNKS_MAX)
		return -EPROTO;
	return (int64_t)FRAME_HEADER_SIZE + sealed + chunks;
}

int frame_next(struct frame *frame, struct span *bytes)
{
	int64_t size = frame_size(*bytes);
	size_t sealed;

	if (size <= 0)
		return (int)size;
	if ((uint64_t)size > bytes->size)
		return 0;
	sealed = bytes_get32(bytes->data);
	frame->header = span_of(bytes->data, FRAME_HEADER_SIZE);
	frame->sealed = span_of(bytes->data + FRAME_HEADER_SIZE, sealed);
	frame->chunks =
		span_of(frame->sealed.data + sealed, (size_t)size - FRAME_HEADER_SIZE - sealed);
	*bytes = span_of(bytes->data + size, bytes->size - (size_t)size);
	return 1;
}
