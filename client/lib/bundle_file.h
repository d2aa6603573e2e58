/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/mgclient-backup.h"
#include "common/span.h"
#include "common/wire/bundle.h"

/*
 * A bundle at a descriptor, written or read through a buffer in the heap: all that lies there is
 * sealed. The bundle's key is in guarded memory. Functions return a status, with the words said.
 */
struct bundle_file {
	int fd;
	struct bundle_head head;
	struct mg_secret *vessel; /* a struct bundle */
	uint8_t *buffer;
	size_t begin, end; /* what lies in it */
	bool ended;        /* nothing more is to be read */
};

/* Derives or draws the bundle's key and writes the head. bundle_file_finish after either end. */
int bundle_file_create(struct bundle_file *file, int fd, const struct mg_backup_options *options,
	struct mg_client *client);

/* Reads the head, and gets the bundle's key out of it. The same. */
int bundle_file_open(struct bundle_file *file, int fd, const struct mg_backup_options *options,
	struct mg_client *client);

/* The stream of messages, in guarded memory; for the locked stack. */
struct bundle *bundle_file_stream(const struct bundle_file *file);

int bundle_file_write(struct bundle_file *file, struct span bytes);
int bundle_file_flush(struct bundle_file *file);

/* Exactly `size` bytes; MG_INTEGRITY when there are fewer. */
int bundle_file_read(struct bundle_file *file, uint8_t *out, size_t size);

/* MG_OK when there is nothing more. */
int bundle_file_end(struct bundle_file *file);

void bundle_file_finish(struct bundle_file *file);
