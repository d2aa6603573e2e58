/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/call.h"

/*
 * Shows the handle's token on a connection that was just made. Returns MG_OK, a status with the
 * words said, or a negative errno.
 */
int token_show_again(struct mg_client *client, const struct call *call);
