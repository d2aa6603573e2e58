/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/listener.h"

/*
 * The loop: accepts, re-masks, reloads, ends in order. Signals come by signals.h: of those that end
 * it, the first one drains, closes and returns, a second one ends the process at once. Leaving
 * counts as the first.
 */
struct server_options {
	struct daemon *daemon;
	struct listener *listener;
	struct listeners *listeners; /* beside it; NULL: none */
	int companion;               /* pidfd of the command we run with, or -1: its end is ours */
	int line;                    /* what the keeper says, or -1 */
	void (*on_ready)(void *context); /* clients may come now */
	/* Reads the settings anew, as reload_settings does. */
	int (*on_reload)(void *context, struct config_fault *fault);
	/* Somebody who may wants an upgrade; only with a keeper. */
	void (*on_upgrade)(void *context);
	/* A signal that asked for it has purged everything. */
	void (*on_purged)(void *context);
	/* The line can be read, or has ended. Returns whether to leave all to others, in order. */
	bool (*on_line)(void *context);
	void *context;
};

/* Runs until it is told to end. Returns 0 or a negative errno. */
int server_run(const struct server_options *options);
