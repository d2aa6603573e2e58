/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/endpoint.h"
#include "common/wire/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes to and from the daemon under a deadline; ciphertext only. Not blocking inside: both
 * directions are watched, so that neither side can wait for the other for ever. Deadlines are
 * milliseconds of CLOCK_MONOTONIC. Everything returns 0 or a negative errno: -ETIMEDOUT; -EPIPE or
 * -ECONNRESET when the daemon has closed.
 */
struct connection {
	int fd;         /* -1: not connected */
	uint8_t *input; /* FRAME_SIZE_MAX bytes, made with the first connection */
	size_t have;
	size_t taken; /* bytes of the frame that was given out last */
};

uint64_t connection_now_ms(void);

int connection_open(
	struct connection *connection, const struct endpoint *endpoint, uint64_t deadline_ms);

/* Closes, and forgets what came; may be called twice. */
void connection_close(struct connection *connection);

/* Frees the buffer too. */
void connection_finish(struct connection *connection);

/* Sends two runs of bytes, one after the other. */
int connection_send(
	struct connection *connection, struct span head, struct span body, uint64_t deadline_ms);

/* Whether the daemon has sent or closed something already, without waiting. */
bool connection_has_news(const struct connection *connection);

/* Waits for exactly `size` bytes. */
int connection_read(struct connection *connection, uint8_t *out, size_t size, uint64_t deadline_ms);

/* Waits for a frame; it is good until the next call. */
int connection_next(struct connection *connection, struct frame *frame, uint64_t deadline_ms);
