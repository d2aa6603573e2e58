/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/handle.h"

struct call;

/*
 * A value on its way into chunks, under the data key in client->keys->value. What is sealed is in
 * the heap; plaintext is the caller's own, or on the handle's bench.
 */
struct pieces {
	mg_source source;
	void *context;
	struct mg_client *client;
	struct call *call;
	uint8_t *piece;     /* on the bench */
	size_t have;        /* bytes in it */
	bool ended;         /* the source has no more */
	uint8_t *sealed;    /* a frame's chunks */
	size_t sealed_size; /* bytes of them */
};

/* Draws a new data key. */
void pieces_draw_key(struct mg_client *client);

/* All chunks of a value that is at hand; the caller's to free. NULL without memory. */
uint8_t *pieces_seal_whole(struct mg_client *client, const void *value, size_t size);

/*
 * Begins with the first piece, or goes on after the bench was wiped between two frames. Returns a
 * status, with the words said.
 */
int pieces_begin(struct pieces *pieces, struct mg_client *client, struct call *call);

/*
 * Fills a frame with chunks from chunks->first on, and says in the rest of it which they are. The
 * source's time is none of the call's. Returns a status, with the words said.
 */
int pieces_seal_frame(struct pieces *pieces, struct chunks *chunks);

void pieces_finish(struct pieces *pieces);
