/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch NAME: writes a secret to standard output, however large it is.
 * Build: cc fetch.c $(pkg-config --cflags --libs mgclient)
 */
#include <errno.h>
#include <mgclient.h>
#include <stdio.h>
#include <unistd.h>

/* Pieces come in guarded memory, so they go out by write(2): stdio would keep a copy. */
static int write_piece(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	const char *at = bytes;

	(void)context;
	(void)info;
	while (size > 0) {
		ssize_t written = write(STDOUT_FILENO, at, size);

		if (written < 0 && errno != EINTR)
			return -1;
		if (written > 0) {
			at += written;
			size -= (size_t)written;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	int status;

	if (argc != 2) {
		fprintf(stderr, "usage: %s NAME\n", argv[0]);
		return MG_INVALID;
	}
	status = mg_open(&client, NULL);
	if (status == MG_OK)
		status = mg_get_each(client, argv[1], NULL, write_piece, NULL);
	if (status != MG_OK)
		fprintf(stderr, "%s: %s\n", argv[1], mg_last_error());
	return status;
}
