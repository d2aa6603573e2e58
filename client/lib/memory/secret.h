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
	uint64_t generation;        /* another one than the process's: purged */
	struct arena_object shared; /* .slab NULL: not shared */
	struct os_memory memory;    /* of its own */
	struct mg_secret *next;     /* in the registry, while it has pages of its own */
	struct mg_secret *previous;
};

/* Neither destroyed nor purged. */
bool secret_alive(const struct mg_secret *secret);

/*
 * `size` zeroed bytes that callers may only read: fill in secret->data, then secret_close. `self`
 * is own_self(). Returns a status, with the words said.
 */
int secret_new_closed(struct mg_secret **secretp, size_t size, enum mg_memory memory, pid_t self);

/*
 * Ends the filling in. Returns a status, with the words said; MG_GONE when the process purged in
 * between, and nothing of the bytes is left then.
 */
int secret_close(struct mg_secret *secret);

/*
 * After bytes were written to a secret: takes them out of the registers through which they came,
 * and wipes them and says so when a purge came in between.
 */
int secret_settle(struct mg_secret *secret);

/*
 * Begins a new generation, with new masters for enclaves, and wipes the bytes of every secret of
 * the old one. Their pages stay until their owners free them: who reads at that moment reads zeros.
 */
void secret_purge_all(pid_t self);

/* MG_OK for a secret that is alive in this process; else a status, with the words said. */
int secret_check(const struct mg_secret *secret);

/* The same for one that can be written to. */
int secret_check_writable(const struct mg_secret *secret);
