/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The descriptors that the service manager hands over (sd_listen_fds_with_names(3)): sockets that
 * it made, and what an earlier process of ours has left in its store. Both come in one list, and
 * are told apart by their names: what we store begins with INHERITED_STORED and is never taken for
 * a socket of the manager's. Without names, or when there are not as many as descriptors, all are
 * sockets.
 */
#define INHERITED_STORED "memguardd-"

struct inherited_one {
	int fd;           /* -1: is not here any more */
	bool open;        /* at the start; what was not is nobody's, and never closed */
	const char *name; /* "" without names */
};

struct inherited {
	struct inherited_one *all; /* in the manager's order */
	size_t count;
	char *names;
};

/*
 * Takes them, from LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, which are then for nobody behind us,
 * and closes them on exec. To be called once, before the process opens anything of its own: their
 * numbers are told, not found. Returns 0, or -ENOMEM, when all of them are closed. What there is
 * belongs to the struct until it is taken; inherited_close_rest ends it.
 */
int inherited_init(struct inherited *inherited);

/*
 * The first socket of the manager's, open or not: whoever takes it looks what it is. All others are
 * closed and said so in the log. Returns the caller's descriptor, or -ENOENT.
 */
int inherited_take_socket(struct inherited *inherited);

/* One of the manager's sockets that is bound to this path. The same. */
int inherited_take_at(struct inherited *inherited, const char *path);

/*
 * What was stored under a name. When the manager has several of them the first is taken and the
 * others are closed. Returns the caller's descriptor, or -ENOENT.
 */
int inherited_take(struct inherited *inherited, const char *name);

/*
 * The next name of those that can still be taken and begin with `prefix`, or NULL. `*place` is 0 at
 * first, and goes on although names are taken meanwhile. A name that stands twice is told twice.
 * It lives until inherited_close_rest.
 */
const char *inherited_next(const struct inherited *inherited, const char *prefix, size_t *place);

/* Closes what nobody took, says so in the log, and frees the list; it may be called twice. */
void inherited_close_rest(struct inherited *inherited);
