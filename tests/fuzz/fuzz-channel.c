/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/door.h"

/* What a stranger sends before and instead of a frame: Hellos, and frames that nobody sealed. */

static struct door door;

static size_t say_hello(struct span input)
{
	struct hello hello;
	int size = hello_read(&hello, input);

	MUST(size <= HELLO_SIZE_MAX);
	if (size <= 0 || hello_agree(&hello) < 0)
		return 0;
	return serve_hello(&door.served, &hello) == 0 ? (size_t)size : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);
	enum serve_end end;
	size_t hello;

	door_open(&door, 1000);
	hello = say_hello(input);
	if (hello > 0) {
		input = span_of(data + hello, size - hello);
		door.outbox.used = 0;
		/* The keys hang on our own ephemeral key: no input can be a frame. */
		if (serve_frames(&door.served, &input, UINT64_MAX, &end) == 0)
			MUST(frame_size(input) == 0 || (size_t)frame_size(input) > input.size);
		MUST(door.outbox.used == 0);
	}
	door_must_be_clean(&door);
	door_close(&door);
	return 0;
}
