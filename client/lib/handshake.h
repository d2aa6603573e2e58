/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/handle.h"

/*
 * Connects, looks whether it is the right daemon, and agrees on the keys of the channel. Returns
 * MG_OK or a status with the words said, or a negative errno when the connection broke. Not
 * connected after anything but MG_OK.
 */
int handshake(struct mg_client *client, uint64_t deadline_ms);
