/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/call.h"

/*
 * Shows the handle's token on a connection that was just made. Returns MG_OK, a status with the
 * words said, or a negative errno.
 */
int token_show_again(struct mg_client *client, const struct call *call);

/*
 * Whether a text can be a wrap, but for its last 43 characters: its size then, without the newline.
 * Returns a status, with the words said.
 */
int token_check_wrap(const void *text, size_t size);

/* Takes it apart into client->keys->wrap, in an attempt. Returns a status, with the words said. */
int token_take_wrap(struct mg_client *client, const void *text);
