/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/endpoint.h"
#include "daemon/config.h"

/*
 * `memguardd -- CMD`: the child becomes the daemon; the parent, which touches nothing of its own
 * limits, mask or privileges, waits until it serves and becomes CMD. The daemon ends when CMD does.
 */
struct companion {
	int ready;  /* the daemon tells here that it serves; -1 without a command */
	int parent; /* pidfd of the process that becomes CMD; -1 without a command */
	char folder[ENDPOINT_PATH_MAX]; /* made for the socket, removed at the end; or "" */
};

/*
 * Forks when `config` has a command. Returns in the daemon only: 0, or a negative errno. The other
 * process never returns: it becomes CMD with $MEMGUARD_SOCKET set, or exits with the daemon's own
 * status when that did not come up, 70 and a line when that has none to tell, 127 when CMD is not
 * found, 126 when it cannot be executed.
 */
int companion_start(struct companion *companion, struct config *config, struct config_fault *fault);

/* Lets the parent go on: the daemon serves at `endpoint`. */
void companion_ready(struct companion *companion, const struct endpoint *endpoint);

/* In a process that is forked later: the word is not its to give. */
void companion_keep_silent(struct companion *companion);

/* Removes the folder that was made for the socket. */
void companion_finish(struct companion *companion);
