/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The service manager's notification protocol (sd_notify(3)), spoken directly: one datagram to
 * $NOTIFY_SOCKET, a path or an abstract name.
 */

/* Remembers $NOTIFY_SOCKET and removes it from the environment. Call once, at start. */
void notify_init(void);

/*
 * Says that the configuration is being read anew, and since when; "READY=1" ends it. Returns as
 * notify_send does.
 */
int notify_reloading(void);

/* Sends a state such as "READY=1\nSTATUS=..."; does nothing, 0, without a service manager. */
int notify_send(const char *state);
