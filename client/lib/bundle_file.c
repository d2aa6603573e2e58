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

static ssize_t read_in(void *context, uint8_t *out, size_t room)
{
	struct bundle_file *file = context;
	ssize_t n;

	do
		n = read(file->fd, out, room);
	while (n < 0 && may_try_again(file->fd, POLLIN));
	return n < 0 ? -errno : n;
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

/* -- the whole ----------------------------------------------------------------------------- */

struct bundle *bundle_file_stream(const struct bundle_file *file)
{
	return (struct bundle *)(void *)file->vessel->data;
}

static int furnish(struct bundle_file *file, int fd, struct mg_client *client)
{
	*file = (struct bundle_file){ .fd = fd, .client = client };
	if (sodium_init() < 0)
		return error_say(MG_INTERNAL, "libsodium does not start");
	return mg_secret_new(&file->vessel, sizeof(struct bundle), client->need);
}

int bundle_file_create(struct bundle_file *file, int fd, const struct mg_backup_options *options,
	struct mg_client *client)
{
	int r = furnish(file, fd, client);

	if (r != MG_OK)
		return r;
	file->buffer = malloc(BUFFER_SIZE);
	if (!file->buffer)
		return error_say(MG_LIMIT, "out of memory");
	r = bundle_key_create(bundle_file_stream(file), &file->head, options, client);
	if (r == MG_OK)
		r = bundle_file_write(file, span_of(file->head.bytes, file->head.size));
	return r;
}

void bundle_file_finish(struct bundle_file *file)
{
	bundle_reader_finish(&file->reader);
	mg_secret_free(file->vessel);
	file->vessel = NULL;
	free(file->buffer);
	file->buffer = NULL;
}

/* -- reading ------------------------------------------------------------------------------- */

static void run(void *context, void (*function)(void *), void *argument)
{
	const struct bundle_file *file = context;

	handle_run(file->client, function, argument);
}

/* The words for what the reader gave. */
static int judge(const struct bundle_file *file, int r)
{
	if (r >= 0)
		return MG_OK;
	if (file->reader.fault)
		return error_say(MG_INTEGRITY, "%s", file->reader.fault);
	if (r == -ENOMEM)
		return error_say(MG_LIMIT, "out of memory");
	return error_say(MG_INVALID, "the bundle cannot be read: %s", strerror(-r));
}

int bundle_file_open(struct bundle_file *file, int fd, const struct mg_backup_options *options,
	struct mg_client *client)
{
	int r = furnish(file, fd, client);

	if (r != MG_OK)
		return r;
	file->reader = (struct bundle_reader){ .read = read_in,
		.run = run,
		.context = file,
		.bundle = bundle_file_stream(file),
		.key = client->keys->value,
		.bench = &client->bench };
	r = judge(file, bundle_reader_begin(&file->reader));
	if (r != MG_OK)
		return r;
	return bundle_key_open(file->reader.bundle, &file->reader.head, options, client);
}

int bundle_file_next(struct bundle_file *file, struct bundled *bundled, bool *overp)
{
	int r = bundle_reader_next(&file->reader, bundled);

	/* What the secret's words take of the bench is below all that is asked and answered. */
	file->client->floor = file->client->parsed = workbench_mark(&file->client->bench);
	*overp = r == 0;
	return judge(file, r);
}

int bundle_file_chunks(struct bundle_file *file, struct chunks *chunks, struct span *bytes)
{
	*bytes = span_of(NULL, 0);
	return judge(file, bundle_reader_chunks(&file->reader, chunks, bytes));
}
