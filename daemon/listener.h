/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config.h"
#include "daemon/inherited.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/*
 * The listening socket: our own, or one that the service manager made. No loop here; the server
 * polls the descriptor and accepts. listen(2) is never called on an inherited one, because that
 * restamps the credentials that clients see.
 */
struct listener {
	int fd;
	int lock; /* of "<socket>.lock", held while we serve; -1 when inherited */
	bool inherited;
	bool own_only; /* the socket is 0600: foreign uids but root are turned away */
	char name[CONFIG_LISTENER_NAME_MAX]; /* "": the daemon's own */
	struct endpoint endpoint;
	dev_t device; /* of the socket file, so that only our own is unlinked */
	ino_t inode;
};

/*
 * Takes the first inherited socket (all others are closed and said so in the log) or binds the
 * configured one: makes the last folder of a default place (0700, or 0755 for the system's) when it
 * is missing, refuses a folder in which others may replace our socket (writable by group or others
 * and not sticky, or owned by neither root nor us), replaces a stale socket file, and refuses to
 * stand beside a daemon that serves. Returns 0; -EADDRINUSE when another daemon serves this socket;
 * -EPERM for an unsafe folder; or a negative errno. `fault` says what and where.
 */
int listener_open(struct listener *listener, const struct config *config,
	struct inherited *inherited, struct config_fault *fault);

/* Those beside the daemon's own one, as they are configured. */
struct listeners {
	struct listener all[CONFIG_LISTENERS_MAX];
	size_t count;
};

/*
 * Opens all of them as listener_open does, but of the inherited sockets those that lie at their
 * places: before listener_open, which closes what is left. All or none; errors as there.
 */
int listeners_open(struct listeners *listeners, const struct config *config,
	struct inherited *inherited, struct config_fault *fault);

/*
 * Takes over a listening socket that a process before this one had from listener_open, together
 * with the descriptor of its lock; `lock` is -1 for one that the service manager had made. With a
 * lock it is ours as if we had made it, with mode and group as they are configured now, and
 * listener_close unlinks it; without, its place and rights are the manager's, and the configured
 * ones are not looked at.
 *
 * Returns 0, and both descriptors are the listener's. Else both stay the caller's (whoever keeps
 * the lock keeps listener_open from the place), the listener is an empty one, and `fault` says why:
 * -ENOTSOCK for what is no listening Unix stream socket; -EADDRNOTAVAIL when it is at another place
 * than the configured one; -EPERM for an unsafe folder; -EADDRINUSE when another daemon holds the
 * lock; -ENOENT when no file has the name of the socket; -ESTALE when another one has it, or when
 * the lock's name does not lead to the lock (where the kernel does not tell what file a socket is
 * bound to, the lock is what vouches for it); or another negative errno.
 */
int listener_adopt(struct listener *listener, int fd, int lock, const struct config *config,
	struct config_fault *fault);

/* Whom clients see at the other end: who made the socket, as the kernel has it. */
uid_t listener_owner(const struct listener *listener);

/* Closes, and unlinks our own socket and lock file; the struct may be closed twice. */
void listener_close(struct listener *listener);

/* Closes only: another process has all of it, too, and goes on. */
void listener_leave(struct listener *listener);

/* The same of all of them. */
void listeners_close(struct listeners *listeners);
void listeners_leave(struct listeners *listeners);
