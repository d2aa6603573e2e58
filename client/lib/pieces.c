/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/pieces.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/call.h"
#include "client/lib/error.h"
#include "common/memory/locked_stack.h"

/* A piece and a byte of the next one: whether a piece is the last must be known to seal it. */
#define PIECE_SIZE (ENCLAVE_CHUNK_PLAIN + 1)

/* -- on the locked stack ------------------------------------------------------------------- */

static void draw(void *argument)
{
	enclave_draw_key(argument);
}

void pieces_draw_key(struct mg_client *client)
{
	handle_run(client, draw, client->keys->value);
}

struct sealing {
	struct mg_client *client;
	struct pieces *pieces; /* NULL: the value is somebody else's */
	uint8_t *out;
	const uint8_t *value;
	size_t size;
	uint64_t number; /* of the chunk */
	bool final;
};

static void seal(void *argument)
{
	struct sealing *sealing = argument;

	enclave_seal_chunk(sealing->out, sealing->value, sealing->size, sealing->number,
		sealing->final, sealing->client->keys->value);
}

uint8_t *pieces_seal_whole(struct mg_client *client, const void *value, size_t size)
{
	struct sealing sealing = { .client = client, .value = value };
	uint8_t *sealed = malloc((size_t)enclave_sealed_size(size));

	sealing.out = sealed;
	if (!sealed)
		return NULL;
	for (size_t left = size; left > 0; left -= sealing.size, sealing.number++) {
		sealing.size = left < ENCLAVE_CHUNK_PLAIN ? left : ENCLAVE_CHUNK_PLAIN;
		sealing.final = sealing.size == left;
		handle_run(client, seal, &sealing);
		sealing.value += sealing.size;
		sealing.out += sealing.size + ENCLAVE_TAG_SIZE;
	}
	return sealed;
}

/* -- piece by piece ------------------------------------------------------------------------ */

/* A new place on the bench; the byte that was ahead of the last piece is put there again. */
static void take_piece(void *argument)
{
	struct pieces *pieces = argument;
	struct mg_client *client = pieces->client;

	pieces->piece = workbench_take(&client->bench, PIECE_SIZE);
	client->floor = client->parsed = workbench_mark(&client->bench);
	if (pieces->piece && pieces->have > 0)
		pieces->piece[0] = client->keys->ahead;
}

int pieces_begin(struct pieces *pieces, struct mg_client *client, struct call *call)
{
	pieces->client = client;
	pieces->call = call;
	handle_run(client, take_piece, pieces);
	if (!pieces->sealed)
		pieces->sealed = malloc(FRAME_CHUNKS_MAX);
	if (!pieces->piece || !pieces->sealed)
		return error_say(MG_LIMIT, "out of memory");
	return MG_OK;
}

/* Fills the piece as far as the source has bytes. The time that it takes is its own. */
static int fill(struct pieces *pieces)
{
	uint64_t since_ms = connection_now_ms();

	while (pieces->have < PIECE_SIZE && !pieces->ended) {
		size_t room = PIECE_SIZE - pieces->have;
		ssize_t r = pieces->source(pieces->context, pieces->piece + pieces->have, room);

		/* The next call may wait for long; what this one has copied went through registers.
		 */
		locked_stack_scrub();
		if (r < 0 || (size_t)r > room)
			return error_say(MG_INVALID, "the source of the value gave up");
		pieces->ended = r == 0;
		pieces->have += (size_t)r;
	}
	call_excuse(pieces->call, since_ms);
	if (pieces->have == 0)
		return error_say(MG_INVALID, "a value has at least one byte");
	return MG_OK;
}

/*
 * Seals the piece, and moves the byte that belongs to the next one to its place; a copy rests in
 * the key page, in case the connection breaks and the bench is wiped.
 */
static void seal_piece(void *argument)
{
	struct sealing *sealing = argument;
	struct pieces *pieces = sealing->pieces;

	sealing->value = pieces->piece;
	seal(sealing);
	pieces->have -= sealing->size;
	memmove(pieces->piece, pieces->piece + sealing->size, pieces->have);
	sodium_memzero(pieces->piece + pieces->have, PIECE_SIZE - pieces->have);
	sealing->client->keys->ahead = pieces->piece[0];
}

int pieces_seal_frame(struct pieces *pieces, struct chunks *chunks)
{
	struct sealing sealing = {
		.client = pieces->client, .pieces = pieces, .out = pieces->sealed
	};

	chunks->count = 0;
	while (chunks->count < FRAME_CHUNKS && !chunks->final) {
		int r = fill(pieces);

		if (r != MG_OK)
			return r;
		sealing.size = pieces->have < PIECE_SIZE ? pieces->have : ENCLAVE_CHUNK_PLAIN;
		sealing.number = chunks->first + chunks->count;
		sealing.final = chunks->final = pieces->have < PIECE_SIZE;
		handle_run(pieces->client, seal_piece, &sealing);
		chunks->last = (uint32_t)(sealing.size + ENCLAVE_TAG_SIZE);
		chunks->count++;
		sealing.out += chunks->last;
	}
	pieces->sealed_size = (size_t)(sealing.out - pieces->sealed);
	return MG_OK;
}

void pieces_finish(struct pieces *pieces)
{
	free(pieces->sealed);
	pieces->sealed = NULL;
}
