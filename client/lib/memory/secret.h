/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/mgclient.h"
#include "common/memory/arena.h"
#include "common/memory/os_memory.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * A value in guarded memory. One that can be written to has pages of its own; a small one that
 * cannot shares its pages with others of its kind.
 */
struct mg_secret {
	uint8_t *data;       /* the library's own way to the bytes; NULL: destroyed */
	const uint8_t *view; /* what callers get; the same address where pages are its own */
	size_t size;         /* bytes */
	pid_t owner;         /* after a fork the pages are not there */
	bool frozen;
	struct arena_object shared; /* .slab NULL: not shared */
	struct os_memory memory;    /* of its own */
};

/*
 * `size` zeroed bytes that callers may only read: fill in secret->data, then secret_close. `self`
 * is getpid(2). Returns a status, with the words said.
 */
int secret_new_closed(struct mg_secret **secretp, size_t size, enum mg_memory memory, pid_t self);

/* Ends the filling in. Returns a status. */
int secret_close(struct mg_secret *secret);

/* MG_OK for a secret that is alive in this process; else a status, with the words said. */
int secret_check(const struct mg_secret *secret);

/* The same for one that can be written to. */
int secret_check_writable(const struct mg_secret *secret);
