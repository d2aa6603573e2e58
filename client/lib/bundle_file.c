/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/bundle_file.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/bundle_key.h"
#include "client/lib/error.h"
#include "client/lib/handle.h"
#include "client/lib/memory/secret.h"

#define BUFFER_SIZE ((size_t)128 * 1024)

/* -- the descriptor ------------------------------------------------------------------------ */

/* One that does not block is waited for. Returns false when it was something else. */
static bool may_try_again(int fd, short events)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return poll(&(struct pollfd){ .fd = fd, .events = events }, 1, -1) >= 0 ||
			errno == EINTR;
	return errno == EINTR;
}

static int say_unwritten(int error)
{
	bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;

	return error_say(
		full ? MG_LIMIT : MG_INTERNAL, "the bundle cannot be written: %s", strerror(error));
}

static int write_out(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, size);

		if (n < 0 && !may_try_again(fd, POLLOUT))
			return say_unwritten(errno);
		if (n > 0) {
			bytes += n;
			size -= (size_t)n;
		}
	}
	return MG_OK;
}

/* Reads what there is into the empty buffer. */
static int refill(struct bundle_file *file)
{
	ssize_t n;

	do
		n = read(file->fd, file->buffer, BUFFER_SIZE);
	while (n < 0 && may_try_again(file->fd, POLLIN));
	if (n < 0)
		return error_say(MG_INVALID, "the bundle cannot be read: %s", strerror(errno));
	file->begin = 0;
	file->end = (size_t)n;
	file->ended = n == 0;
	return MG_OK;
}

/* -- bytes --------------------------------------------------------------------------------- */

int bundle_file_flush(struct bundle_file *file)
{
	int r = write_out(file->fd, file->buffer, file->end);

	file->end = 0;
	return r;
}

int bundle_file_write(struct bundle_file *file, struct span bytes)
{
	int r = bytes.size > BUFFER_SIZE - file->end ? bundle_file_flush(file) : MG_OK;

	if (r != MG_OK || bytes.size == 0)
		return r;
	if (bytes.size > BUFFER_SIZE)
		return write_out(file->fd, bytes.data, bytes.size);
	memcpy(file->buffer + file->end, bytes.data, bytes.size);
	file->end += bytes.size;
	return MG_OK;
}

int bundle_file_read(struct bundle_file *file, uint8_t *out, size_t size)
{
	int r = MG_OK;

	while (r == MG_OK && size > 0) {
		size_t have = file->end - file->begin;

		if (have == 0 && file->ended)
			return error_say(MG_INTEGRITY, "the bundle ends in the midst");
		if (have > size)
			have = size;
		if (have > 0)
			memcpy(out, file->buffer + file->begin, have);
		file->begin += have;
		out += have;
		size -= have;
		if (size > 0)
			r = refill(file);
	}
	return r;
}

int bundle_file_end(struct bundle_file *file)
{
	int r = MG_OK;

	while (r == MG_OK && file->begin == file->end && !file->ended)
		r = refill(file);
	if (r == MG_OK && file->begin < file->end)
		r = error_say(MG_INTEGRITY, "there is something behind the bundle's end");
	return r;
}

/* -- the whole ----------------------------------------------------------------------------- */

struct bundle *bundle_file_stream(const struct bundle_file *file)
{
	return (struct bundle *)(void *)file->vessel->data;
}

static int furnish(struct bundle_file *file, int fd, enum mg_memory need)
{
	*file = (struct bundle_file){ .fd = fd };
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	file->buffer = malloc(BUFFER_SIZE);
	if (!file->buffer)
		return error_say(MG_LIMIT, "out of memory");
	return mg_secret_new(&file->vessel, sizeof(struct bundle), need);
}

int bundle_file_create(struct bundle_file *file, int fd, const struct mg_backup_options *options,
	struct mg_client *client)
{
	int r = furnish(file, fd, client->need);

	if (r == MG_OK)
		r = bundle_key_create(bundle_file_stream(file), &file->head, options, client);
	if (r == MG_OK)
		r = bundle_file_write(file, span_of(file->head.bytes, file->head.size));
	return r;
}

static int say_no_bundle(void)
{
	return error_say(MG_INTEGRITY, "it is no bundle, one of another version, or changed");
}

static int read_head(struct bundle_file *file)
{
	struct bundle_head *head = &file->head;
	int r = bundle_file_read(file, head->bytes, BUNDLE_START_SIZE);

	if (r != MG_OK)
		return r;
	if (bundle_head_start(head) < 0)
		return say_no_bundle();
	r = bundle_file_read(file, head->bytes + BUNDLE_START_SIZE, head->size - BUNDLE_START_SIZE);
	if (r == MG_OK && bundle_head_read(head) < 0)
		return say_no_bundle();
	return r;
}

int bundle_file_open(struct bundle_file *file, int fd, const struct mg_backup_options *options,
	struct mg_client *client)
{
	int r = furnish(file, fd, client->need);

	if (r == MG_OK)
		r = read_head(file);
	return r == MG_OK ? bundle_key_open(bundle_file_stream(file), &file->head, options, client)
			  : r;
}

void bundle_file_finish(struct bundle_file *file)
{
	mg_secret_free(file->vessel);
	file->vessel = NULL;
	free(file->buffer);
	file->buffer = NULL;
}
