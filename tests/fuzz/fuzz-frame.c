/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/frame.h"
#include "tests/fuzz/fuzz.h"

/* A byte stream cut into frames: every frame lies within the stream, behind the one before. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);
	struct frame frame;
	const uint8_t *at = data;

	while (frame_next(&frame, &input) > 0) {
		MUST(frame.header.data == at && frame.header.size == FRAME_HEADER_SIZE);
		MUST(frame.sealed.data == at + FRAME_HEADER_SIZE);
		MUST(frame.sealed.size > FRAME_TAG_SIZE && frame.sealed.size <= FRAME_SEALED_MAX);
		MUST(frame.chunks.data == frame.sealed.data + frame.sealed.size);
		MUST(frame.chunks.size <= FRAME_CHUNKS_MAX);
		at = frame.chunks.data + frame.chunks.size;
		MUST(at == input.data && at <= data + size);
	}
	return 0;
}
