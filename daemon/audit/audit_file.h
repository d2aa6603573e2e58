/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/audit/audit_line.h"
#include "daemon/config_fault.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/*
 * Where lines go: a file of our own, of mode 0600 where we make it, that nobody else writes to; or
 * stderr.
 */
struct audit_file {
	int fd;      /* -1: none; not ours to close where it is stderr's */
	bool same;   /* what was opened before is what is there: `fd` is -1 */
	bool stream; /* stderr */
	dev_t device;
	ino_t inode;
	bool has_tail;          /* there is a line in it, */
	struct audit_head tail; /* and this is the last one */
};

#define AUDIT_FILE_NONE ((struct audit_file){ .fd = -1 })

/*
 * Opens one for more lines behind those that are in it; what a crash has left of a line is cut off.
 * `path` is "" for stderr; `now` is what is open at present. Returns 0, or a negative errno with
 * the fault said: also for what is no regular file, no audit log, another user's, or written to by
 * another daemon.
 */
int audit_file_open(struct audit_file *file, const char *path, const struct audit_file *now,
	struct config_fault *fault);

/* Takes one that has no file, too. */
void audit_file_close(struct audit_file *file);

/* Whether no name leads to it any more: what is written to it nobody will read. */
bool audit_file_is_deleted(const struct audit_file *file);

/* Writes as much as goes at once. Returns the bytes, or a negative errno. */
ssize_t audit_file_write(const struct audit_file *file, const char *bytes, size_t size);

/*
 * Takes back so many bytes at the end, which audit_file_write has written. Returns 0 or a negative
 * errno: of stderr nothing can be.
 */
int audit_file_cut(const struct audit_file *file, size_t size);
