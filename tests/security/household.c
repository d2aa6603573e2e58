/* SPDX-License-Identifier: Apache-2.0 */

/*
 * household NAME WRONG: a service that does all there is to do with a value, which comes on its
 * standard input, and never has a byte of it in memory of its own. WRONG is the name of another
 * value. Exit status: 0, or 1 with a line on stderr.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lib/mgclient.h"

#define NEED MG_MEMORY_PREFER_LOCK
#define MOST 1000000

static void expect(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s: %s\n", what, mg_last_error());
	exit(EXIT_FAILURE);
}

static bool same(const struct mg_secret *a, const struct mg_secret *b)
{
	return mg_secret_equal(a, mg_secret_data(b), mg_secret_size(b));
}

/* -- with a daemon ------------------------------------------------------------------------- */

static int see(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	(void)info;
	*(size_t *)context += size;
	return bytes ? 0 : -1;
}

static void store_and_fetch(struct mg_client *client, const char *name, struct mg_secret *value)
{
	MG_AUTO_SECRET struct mg_secret *fetched = NULL, *opened = NULL;
	MG_AUTO_ENCLAVE struct mg_enclave *closed = NULL;
	size_t size = mg_secret_size(value), seen = 0;

	expect(mg_set(client, name, mg_secret_data(value), size, NULL, NULL) == MG_OK, "set");
	expect(mg_get(client, name, NULL, &fetched) == MG_OK && same(fetched, value), "get");
	expect(mg_get_enclave(client, name, NULL, &closed) == MG_OK, "get closed");
	expect(mg_enclave_open(closed, &opened, NEED) == MG_OK && same(opened, value), "open");
	expect(mg_get_each(client, name, NULL, see, &seen) == MG_OK && seen == size, "get each");
}

static void compare(
	struct mg_client *client, const char *name, const char *wrong, struct mg_secret *value)
{
	const void *bytes = mg_secret_data(value);
	size_t size = mg_secret_size(value);

	expect(mg_verify(client, name, bytes, size) == MG_OK, "verify");
	expect(mg_verify(client, wrong, bytes, size) == MG_NO, "verify of another");
}

/* -- without one --------------------------------------------------------------------------- */

/* A writable copy, that comes and goes. */
static void copy(struct mg_secret *value)
{
	MG_AUTO_SECRET struct mg_secret *room = NULL, *moved = NULL;
	size_t size = mg_secret_size(value);

	expect(mg_secret_new(&room, size, NEED) == MG_OK, "new");
	expect(mg_secret_copy(room, mg_secret_data(value), size) == MG_OK, "copy");
	expect(mg_secret_freeze(room) == MG_OK && mg_secret_melt(room) == MG_OK, "melt");
	expect(mg_secret_from_bytes(&moved, mg_secret_writable(room), size, NEED) == MG_OK, "move");
	expect(same(moved, value), "what was moved");
	expect(mg_secret_melt(moved) == MG_OK && same(moved, value), "what was melted");
}

static void keep_closed(struct mg_secret *value)
{
	MG_AUTO_SECRET struct mg_secret *room = NULL, *opened = NULL;
	MG_AUTO_ENCLAVE struct mg_enclave *enclave = NULL;
	size_t size = mg_secret_size(value);

	expect(mg_secret_new(&room, size, NEED) == MG_OK, "new");
	expect(mg_secret_copy(room, mg_secret_data(value), size) == MG_OK, "copy");
	expect(mg_enclave_seal(&enclave, room) == MG_OK, "seal");
	expect(mg_enclave_open(enclave, &opened, NEED) == MG_OK && same(opened, value), "open");
}

static void pass_on(struct mg_secret *value)
{
	MG_AUTO_SECRET struct mg_secret *room = NULL, *next = NULL, *rest = NULL;
	MG_AUTO_STREAM struct mg_stream *stream = NULL;
	size_t size = mg_secret_size(value);

	expect(mg_secret_new(&room, size, NEED) == MG_OK, "new");
	expect(mg_secret_copy(room, mg_secret_data(value), size) == MG_OK, "copy");
	expect(mg_stream_new(&stream) == MG_OK, "stream");
	expect(mg_stream_write(stream, mg_secret_writable(room), size) == MG_OK, "write");
	expect(mg_stream_next(stream, &next, NEED) == MG_OK, "next");
	expect(mg_stream_flush(stream, &rest, NEED) == MG_OK, "flush");
	expect(mg_secret_size(next) + mg_secret_size(rest) == size, "the stream's end");
}

int main(int argc, char **argv)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *value = NULL;

	expect(argc == 3, "usage: household NAME WRONG");
	expect(mg_secret_from_fd_all(&value, STDIN_FILENO, MOST, NEED) == MG_OK && value, "stdin");
	expect(mg_open(&client, NULL) == MG_OK, "no daemon");
	store_and_fetch(client, argv[1], value);
	compare(client, argv[1], argv[2], value);
	copy(value);
	keep_closed(value);
	pass_on(value);
	return EXIT_SUCCESS;
}
