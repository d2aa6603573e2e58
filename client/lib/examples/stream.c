/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream: takes in all of standard input, however long it is, keeps it sealed until the input ends,
 * and writes it to standard output then. Only a page of it is plaintext at a time.
 * Build: cc stream.c $(pkg-config --cflags --libs mgclient)
 */
#include <errno.h>
#include <mgclient.h>
#include <stdio.h>
#include <unistd.h>

#define PAGE_SIZE 4096

static int say_errno(const char *what)
{
	perror(what);
	return MG_INTERNAL;
}

/* What is written to the stream is sealed, and wiped from the page. */
static int take_in(struct mg_stream *stream, void *page)
{
	ssize_t size;

	while ((size = read(STDIN_FILENO, page, PAGE_SIZE)) != 0) {
		int status;

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0)
			return say_errno("standard input");
		status = mg_stream_write(stream, page, (size_t)size);
		if (status != MG_OK)
			return status;
	}
	return MG_OK;
}

static int write_all(const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t written = write(STDOUT_FILENO, bytes, size);

		if (written < 0 && errno != EINTR)
			return say_errno("standard output");
		if (written > 0) {
			bytes += written;
			size -= (size_t)written;
		}
	}
	return MG_OK;
}

/* MG_NO says that the stream is empty: it is the end. */
static int give_out(struct mg_stream *stream, void *page)
{
	size_t size;
	int status;

	while ((status = mg_stream_read(stream, page, PAGE_SIZE, &size)) == MG_OK) {
		status = write_all(page, size);
		if (status != MG_OK)
			return status;
	}
	return status == MG_NO ? MG_OK : status;
}

int main(void)
{
	MG_AUTO_STREAM struct mg_stream *stream = NULL;
	MG_AUTO_SECRET struct mg_secret *page = NULL;
	int status = mg_stream_new(&stream);

	if (status == MG_OK)
		status = mg_secret_new(&page, PAGE_SIZE, MG_MEMORY_PREFER_LOCK);
	if (status == MG_OK)
		status = take_in(stream, mg_secret_writable(page));
	if (status == MG_OK)
		status = give_out(stream, mg_secret_writable(page));
	if (status != MG_OK)
		fprintf(stderr, "%s: %s\n", mg_status_name(status), mg_last_error());
	return status;
}
