/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/handle.h"

/*
 * Requests out, replies in, over a connected handle. Keys are used on the locked stack only;
 * messages lie on the workbench. Deadlines are milliseconds of CLOCK_MONOTONIC. Returns 0 or a
 * negative errno, after which the connection is of no further use.
 */

/* Sends one request, with the chunks that it announces behind it. */
int exchange_send(struct mg_client *client, const struct request *request, struct span chunks,
	uint64_t deadline_ms);

/*
 * Waits for the next reply to the request that was sent last; one to another is -EPROTO. It is good
 * until the next call, or until exchange_forget; a data key in it is kept in client->keys->value.
 */
int exchange_receive(struct mg_client *client, struct reply *reply, uint64_t deadline_ms);

/* Wipes the reply's messages from the bench. Its chunks, which are ciphertext, stay readable. */
void exchange_forget(struct mg_client *client);

/* Whether something has come that was not read yet. */
bool exchange_has_news(const struct mg_client *client);
