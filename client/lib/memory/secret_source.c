/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "common/memory/locked_stack.h"

/*
 * Where secrets come from: bytes at hand, chance, a source that is read, such as a descriptor. All
 * are read-only at once.
 */

/* Bytes that a secret of unknown size begins with; it doubles from there. */
#define ROOM_FIRST 4000

int mg_secret_from_bytes(
	struct mg_secret **secretp, void *bytes, size_t size, enum mg_memory memory)
{
	int r = secret_new_closed(secretp, size, memory, own_self());

	if (r != MG_OK)
		return r;
	memcpy((*secretp)->data, bytes, size);
	r = secret_close(*secretp);
	if (r == MG_OK)
		sodium_memzero(bytes, size);
	else
		mg_secret_cleanup(secretp);
	return r;
}

int mg_secret_random(struct mg_secret **secretp, size_t size, enum mg_memory memory)
{
	int r = secret_new_closed(secretp, size, memory, own_self());

	if (r != MG_OK)
		return r;
	randombytes_buf((*secretp)->data, size);
	r = secret_close(*secretp);
	if (r != MG_OK)
		mg_secret_cleanup(secretp);
	return r;
}

/* -- from a source ------------------------------------------------------------------------- */

/* A secret under way: guarded memory that grows, and what has been read. */
struct intake {
	mg_source source;
	void *context;
	size_t most; /* bytes that may be read: one too many tells that there are too many */
	enum mg_memory memory;
	struct mg_secret *room;
	size_t have;
	bool failed;
	bool ended;
};

/* Returns whether there is more to come. */
static bool read_some(struct intake *intake, size_t size)
{
	ssize_t n = intake->source(intake->context, intake->room->data + intake->have, size);

	/* The next call may wait for long; what this one has copied went through registers. */
	locked_stack_scrub();
	if (n < 0 || (size_t)n > size)
		intake->failed = true;
	else if (n == 0)
		intake->ended = true;
	else
		intake->have += (size_t)n;
	return !intake->failed && !intake->ended;
}

/* What is full gets twice the room, up to the most; the bytes move and the old place is wiped. */
static int grow(struct intake *intake)
{
	size_t size = intake->room ? intake->room->size : 0;
	struct mg_secret *larger;
	int r;

	if (intake->have < size)
		return MG_OK;
	if (size >= intake->most)
		return error_say(
			MG_LIMIT, "there are more than the %zu bytes allowed", intake->most - 1);
	size = size == 0 ? ROOM_FIRST : size > intake->most / 2 ? intake->most : 2 * size;
	if (size > intake->most)
		size = intake->most;
	r = mg_secret_new(&larger, size, intake->memory);
	if (r != MG_OK)
		return r;
	if (intake->have > 0)
		memcpy(larger->data, intake->room->data, intake->have);
	mg_secret_free(intake->room);
	intake->room = larger;
	return MG_OK;
}

/* What there is becomes a secret of exactly that size; nothing becomes none. */
static int settle(struct intake *intake, struct mg_secret **secretp)
{
	int r;

	if (intake->have == 0)
		return MG_OK;
	r = secret_new_closed(secretp, intake->have, intake->memory, own_self());
	if (r != MG_OK)
		return r;
	memcpy((*secretp)->data, intake->room->data, intake->have);
	r = secret_close(*secretp);
	if (r != MG_OK)
		mg_secret_cleanup(secretp);
	return r;
}

static int say_read(const struct intake *intake)
{
	return error_say(MG_INTERNAL, "the source gave up after %zu bytes", intake->have);
}

static int say_short(const struct intake *intake, const char *what)
{
	return error_say(MG_NO, "the end came after %zu bytes, without %s", intake->have, what);
}

/* Settles what was read whatever stopped the reading; that is what is returned then. */
static int finish(struct intake *intake, struct mg_secret **secretp, int r)
{
	int settled = MG_OK;

	if (r == MG_OK || r == MG_NO || r == MG_INTERNAL)
		settled = settle(intake, secretp);
	mg_secret_free(intake->room);
	return settled == MG_OK ? r : settled;
}

int mg_secret_from_source(struct mg_secret **secretp, mg_source source, void *context, size_t size,
	enum mg_memory memory)
{
	struct intake intake = {
		.source = source, .context = context, .most = size, .memory = memory
	};
	int r = MG_OK;

	*secretp = NULL;
	if (size == 0)
		return MG_OK;
	r = mg_secret_new(&intake.room, size, memory);
	while (r == MG_OK && intake.have < size && read_some(&intake, size - intake.have))
		;
	if (r == MG_OK && intake.failed)
		r = say_read(&intake);
	else if (r == MG_OK && intake.ended)
		r = say_short(&intake, "all that was asked for");
	return finish(&intake, secretp, r);
}

/* The byte too many that tells that there are too many. */
static size_t one_more(size_t most)
{
	return most < SIZE_MAX ? most + 1 : most;
}

/* A byte at a time: what stands behind the delimiter is somebody else's. */
int mg_secret_from_source_until(struct mg_secret **secretp, mg_source source, void *context,
	unsigned char delimiter, size_t most, enum mg_memory memory)
{
	struct intake intake = {
		.source = source, .context = context, .most = one_more(most), .memory = memory
	};
	bool found = false;
	int r;

	*secretp = NULL;
	while ((r = grow(&intake)) == MG_OK && !found && read_some(&intake, 1))
		found = intake.room->data[intake.have - 1] == delimiter;
	if (found)
		intake.room->data[--intake.have] = 0;
	else if (r == MG_OK && intake.failed)
		r = say_read(&intake);
	else if (r == MG_OK)
		r = say_short(&intake, "the delimiter");
	return finish(&intake, secretp, found ? MG_OK : r);
}

int mg_secret_from_source_all(struct mg_secret **secretp, mg_source source, void *context,
	size_t most, enum mg_memory memory)
{
	struct intake intake = {
		.source = source, .context = context, .most = one_more(most), .memory = memory
	};
	int r;

	*secretp = NULL;
	while ((r = grow(&intake)) == MG_OK && read_some(&intake, intake.room->size - intake.have))
		;
	if (r == MG_OK && intake.failed)
		r = say_read(&intake);
	return finish(&intake, secretp, r);
}

/* -- from a descriptor --------------------------------------------------------------------- */

struct descriptor {
	int fd;
	int error; /* errno of a read that failed */
};

/* As read(2), for descriptors that do not block, too. */
static ssize_t read_descriptor(void *context, void *buffer, size_t capacity)
{
	struct descriptor *descriptor = context;
	ssize_t n;

	while ((n = read(descriptor->fd, buffer, capacity)) < 0) {
		if (errno == EAGAIN)
			(void)poll(
				&(struct pollfd){ .fd = descriptor->fd, .events = POLLIN }, 1, -1);
		else if (errno != EINTR)
			break;
	}
	if (n < 0)
		descriptor->error = errno;
	return n;
}

/* The source's failure in the kernel's words. */
static int say_kernel(const struct descriptor *descriptor, struct mg_secret *const *secretp, int r)
{
	if (descriptor->error == 0 || r != MG_INTERNAL)
		return r;
	return error_say(MG_INTERNAL, "after %zu bytes: %s", mg_secret_size(*secretp),
		strerror(descriptor->error));
}

int mg_secret_from_fd(struct mg_secret **secretp, int fd, size_t size, enum mg_memory memory)
{
	struct descriptor descriptor = { .fd = fd };
	int r = mg_secret_from_source(secretp, read_descriptor, &descriptor, size, memory);

	return say_kernel(&descriptor, secretp, r);
}

int mg_secret_from_fd_until(struct mg_secret **secretp, int fd, unsigned char delimiter,
	size_t most, enum mg_memory memory)
{
	struct descriptor descriptor = { .fd = fd };
	int r = mg_secret_from_source_until(
		secretp, read_descriptor, &descriptor, delimiter, most, memory);

	return say_kernel(&descriptor, secretp, r);
}

int mg_secret_from_fd_all(struct mg_secret **secretp, int fd, size_t most, enum mg_memory memory)
{
	struct descriptor descriptor = { .fd = fd };
	int r = mg_secret_from_source_all(secretp, read_descriptor, &descriptor, most, memory);

	return say_kernel(&descriptor, secretp, r);
}
