/* SPDX-License-Identifier: Apache-2.0 */
#include "common/bytes.h"
#include "common/memory/enclave.h"
#include "common/wire/message.h"
#include "daemon/vault/vault_inside.h"
#include "tests/unit/door.h"

/*
 * What a client with good keys can do. The input is a row of frames, each two bytes for the size of
 * the messages, three for the size of the chunks, then the messages; the chunks are the same bytes
 * over and over, the first of them a chunk that is really sealed under the key of zeros. A byte in
 * front says who the client is, how time goes by, and when a purge comes.
 */

static struct door door;
static uint8_t chunk_bytes[FRAME_CHUNKS_MAX];

static void seal_chunks(void)
{
	static const uint8_t key[ENCLAVE_KEY_SIZE];
	static const uint8_t plain[ENCLAVE_CHUNK_PLAIN] = { 1 };

	if (chunk_bytes[0] == 0)
		enclave_seal_chunk(chunk_bytes, plain, 48, 0, true, key);
}

/* Seals one frame of the input as its client would. Returns its size, 0 at the end. */
static size_t next_frame(struct span *input, uint8_t *out)
{
	size_t plain, chunks, sealed;

	if (input->size < 5)
		return 0;
	plain = bytes_get16(input->data);
	chunks = (size_t)(input->data[2] | input->data[3] << 8 | (input->data[4] & 1) << 16);
	*input = span_of(input->data + 5, input->size - 5);
	if (plain == 0 || plain > input->size || plain > FRAME_PLAIN_MAX ||
		chunks > FRAME_CHUNKS_MAX)
		return 0;
	sealed = channel_seal(&door.channel, &door.keys, span_of(input->data, plain), chunks, out);
	memcpy(out + sealed, chunk_bytes, chunks);
	*input = span_of(input->data + plain, input->size - plain);
	return sealed + chunks;
}

/* Every answer opens, and is made of messages that a client can read. */
static void read_answers(struct channel *answers)
{
	static uint8_t plain[FRAME_PLAIN_MAX];
	static struct workbench bench;
	static uint8_t memory[65536] __attribute__((aligned(64)));
	static struct guard guard;
	struct span input = span_of(door.outbox.bytes, door.outbox.used);
	struct frame frame;
	struct reply reply;

	if (!bench.base)
		workbench_init(&bench, memory, sizeof(memory), &guard);
	while (frame_next(&frame, &input) > 0) {
		struct messages messages = { .chunks = frame.chunks };
		int size = channel_open(answers, &door.keys, &frame, plain);
		int r;

		MUST(size > 0);
		messages.plain = span_of(plain, (size_t)size);
		while ((r = message_next_reply(&reply, &messages, &bench)) > 0)
			workbench_wipe(&bench);
		MUST(r == 0);
		workbench_wipe(&bench);
	}
	MUST(input.size == 0);
	door.outbox.used = 0;
}

/* Milliseconds: they go by between two frames, if at all. */
static uint64_t clock_ms;
static const uint64_t paces[] = { 0, 300, 1000, 3600000 };

static uint64_t fuzz_clock(void)
{
	return clock_ms;
}

/* As the loop would, with whatever bytes a file may have held. */
static void reload(void)
{
	static const struct config_fault fault = { "the.conf:1: '\xff\x1b'" };

	if (door.daemon.reloads.asked)
		daemon_reloaded(&door.daemon, door.daemon.reloads.done % 2 ? NULL : &fault);
}

static void upgrade(void)
{
	static const struct config_fault fault = { "'\xff\x1b'" };

	if (door.daemon.upgrades.asked)
		daemon_upgrade_failed(&door.daemon, &fault);
	door.daemon.upgrades.asked = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t wire[FRAME_SIZE_MAX];
	struct channel answers = { 0 };
	struct span input;
	unsigned purge;
	int r = 0;

	if (size < 1)
		return 0;
	seal_chunks();
	door_open(&door, data[0] & 1 ? 1000 : 0);
	door_shake_hands(&door);
	clock_ms = 1000000;
	door.daemon.upgrades.keeper = 2;
	door.daemon.vault->now = fuzz_clock;
	purge = data[0] >> 4;
	input = span_of(data + 1, size - 1);
	for (unsigned i = 0; r == 0; i++) {
		size_t frame = next_frame(&input, wire);
		struct span bytes = span_of(wire, frame);
		enum serve_end end;

		if (frame == 0)
			break;
		if (purge && i == purge)
			vault_purge(door.daemon.vault);
		r = serve_frames(&door.served, &bytes, UINT64_MAX, &end);
		MUST(r < 0 || bytes.size == 0);
		read_answers(&answers);
		door_must_be_clean(&door);
		reload();
		upgrade();
		clock_ms += paces[data[0] >> 1 & 3];
		if (data[0] & 8)
			daemon_expire(&door.daemon);
	}
	door_close(&door);
	return 0;
}
