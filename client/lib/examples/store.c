/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store NAME: stores what comes on standard input, unless the name exists already.
 * Build: cc store.c $(pkg-config --cflags --libs mgclient)
 */
#include <errno.h>
#include <inttypes.h>
#include <mgclient.h>
#include <stdio.h>
#include <unistd.h>

/* `buffer` is guarded memory: the value is nowhere else in this process. */
static ssize_t read_piece(void *context, void *buffer, size_t capacity)
{
	ssize_t size;

	(void)context;
	do {
		size = read(STDIN_FILENO, buffer, capacity);
	} while (size < 0 && errno == EINTR);
	return size;
}

int main(int argc, char **argv)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	const struct mg_tag tags[] = { { .key = "from", .value = "store.c" } };
	const struct mg_set_options options = { .create_only = true, .tags = tags, .tag_count = 1 };
	uint64_t version;
	int status;

	if (argc != 2) {
		fprintf(stderr, "usage: %s NAME <FILE\n", argv[0]);
		return MG_INVALID;
	}
	status = mg_open(&client, NULL);
	if (status == MG_OK)
		status = mg_set_from(client, argv[1], read_piece, NULL, &options, &version);
	if (status != MG_OK) {
		fprintf(stderr, "%s: %s\n", argv[1], mg_last_error());
		return status;
	}
	printf("%s is at version %" PRIu64 "\n", argv[1], version);
	return status;
}
