/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/handle.h"
#include "client/lib/mgclient-backup.h"
#include "common/span.h"
#include "common/wire/bundle_reader.h"

/*
 * A bundle at a descriptor, written or read through a buffer in the heap: all that lies there is
 * sealed. The bundle's key is in guarded memory. Functions return a status, with the words said.
 */
struct bundle_file {
	int fd;
	struct mg_client *client;
	struct mg_secret *vessel; /* a struct bundle */

	/* One that is written. */
	struct bundle_head head;
	uint8_t *buffer;
	size_t end; /* of what lies in it */

	/* One that is read: on the client's bench, which is nobody else's between two answers. */
	struct bundle_reader reader;
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

/*
 * As bundle_reader_next: *overp when there is none, and the bundle is whole. The data key of the
 * secret is in client->keys->value.
 */
int bundle_file_next(struct bundle_file *file, struct bundled *bundled, bool *overp);

/* As bundle_reader_chunks: *bytes is empty behind the last ones. */
int bundle_file_chunks(struct bundle_file *file, struct chunks *chunks, struct span *bytes);

void bundle_file_finish(struct bundle_file *file);
