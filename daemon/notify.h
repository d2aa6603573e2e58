/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The service manager's notification protocol (sd_notify(3)), spoken directly: one datagram to
 * $NOTIFY_SOCKET, a path or an abstract name.
 */

/* Remembers $NOTIFY_SOCKET and removes it from the environment. Call once, at start. */
void notify_init(void);

enum notify_state {
	NOTIFY_READY,
	NOTIFY_STOPPING,
	NOTIFY_RELOADING, /* the configuration is being read anew */
	NOTIFY_RELOADED,
	NOTIFY_STATES
};

/* Tells a state; does nothing, 0, without a service manager. Returns 0 or a negative errno. */
int notify_send(enum notify_state state);

/*
 * The service manager hears only of the process that it has started. From now on states go to that
 * one, over a socket of packets, and it takes and sends them. notify_take returns the state, or
 * -EAGAIN, -EPIPE when nobody is at the other end, or -EBADMSG.
 */
void notify_relay(int fd);
int notify_take(int fd);
