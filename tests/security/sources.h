/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The bytes of a process, as somebody outside gets at them: one collection a route. A new route is
 * a new function here and a line in leakscan.c's table.
 */

/* A run of bytes. */
struct source {
	pid_t pid;        /* where it was read; 0 where that is not known */
	uint64_t address; /* in the process; 0 where there is none */
	uint8_t *bytes;   /* owned */
	size_t size;
	bool file;      /* the same bytes as in the file on disk: code and constants */
	bool registers; /* of a thread, or a core file's notes */
	char name[128];
};

struct sources {
	struct source *items;
	size_t count;
	size_t room;
	size_t secret_pages;    /* of mappings that say they are secret memory */
	size_t secret_readable; /* of those, pages that could be read all the same */
	size_t secret_wrong;    /* of those, pages that were refused with another error */
	size_t unreadable;      /* other pages, or other processes, that could not be read */
	size_t descriptors;     /* that were taken out of the process and looked at */
	size_t secret_mappable; /* of those, secret memory that could be mapped */
};

/* Each returns 0 or a negative errno; -EPERM and the like when the route is closed to us. */
int sources_read_mem(struct sources *sources, pid_t pid);
int sources_read_vm(struct sources *sources, pid_t pid);
int sources_read_stack(struct sources *sources, pid_t pid); /* many looks, one after the other */
int sources_read_peek(struct sources *sources, pid_t pid);  /* which is stopped under ptrace */
int sources_read_descriptors(struct sources *sources, pid_t pid);

int sources_read_machine(struct sources *sources, pid_t pid);
int sources_read_core(struct sources *sources, const char *path);

/* A further source of zeros, for a route of its own kind; NULL when memory is used up. */
struct source *sources_add(
	struct sources *sources, uint64_t address, size_t size, const char *name);

/* Bytes in all. */
uint64_t sources_size(const struct sources *sources);

void sources_free(struct sources *sources);
