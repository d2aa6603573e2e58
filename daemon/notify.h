/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

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

/*
 * What $NOTIFY_SOCKET said, for a process that comes after this one; NULL when there was none, or
 * none that is spoken to here. It lives until notify_init is called again.
 */
const char *notify_socket(void);

/* Tells a state; does nothing, 0, without a service manager. Returns 0 or a negative errno. */
int notify_send(enum notify_state state);

/*
 * The service manager hears only of the process that it knows. From now on states go to that one,
 * over a line (LINE_STATE), and it sends them; -1: we are the one.
 */
void notify_relay(int fd);

/*
 * The manager's descriptor store (systemd.service(5), FileDescriptorStoreMax=), its main process
 * and its queue: for the process that the manager has started, never behind notify_relay. Without a
 * service manager they do nothing and return 0; else 0 or a negative errno. A message waits while
 * the manager's queue is full; that it was sent says nothing of what the manager makes of it.
 */

/* Bytes of a name: ASCII without control characters and without ':', and at least one. */
#define NOTIFY_NAME_MAX 255

/*
 * Gives a copy of a descriptor into the store, where it stays whatever is at its other end (before
 * systemd 246: until that hangs up). The store keeps several under one name. The caller's stays the
 * caller's. -EINVAL for a name that cannot be one, -EBADF for what is no descriptor.
 */
int notify_push(const char *name, int fd);

/* Takes all descriptors of that name out of the store. -EINVAL for a name that cannot be one. */
int notify_drop(const char *name);

/* Another process of the service is its main one from now on. -EINVAL for what is no process. */
int notify_main(pid_t pid);

/*
 * Waits until the manager has dealt with everything that was sent before, or is gone; at most
 * `timeout_ms` from when the question is in its queue, then -ETIMEDOUT.
 */
int notify_barrier(int timeout_ms);

/*
 * Whether the store is out of reach of the other processes of our uid: the manager is root's, for
 * its socket is a file of root's now. An abstract name can be anybody's. False without a manager.
 */
bool notify_store_is_private(void);
