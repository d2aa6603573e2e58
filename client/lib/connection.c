/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds between two tries when a listener's queue is full. */
#define QUEUE_FULL_MS 10

uint64_t connection_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for one of `events`; what came of it is in *got. */
static int wait_for(int fd, short events, uint64_t deadline_ms, short *got)
{
	struct pollfd entry = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = connection_now_ms();
		uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
		int r = poll(&entry, 1, left > INT32_MAX ? INT32_MAX : (int)left);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0) {
			*got = entry.revents;
			return 0;
		}
		if (r == 0 && left <= INT32_MAX)
			return -ETIMEDOUT;
	}
}

/* A Unix socket connects at once, or says that the listener's queue is full. */
static int connect_by(int fd, const struct endpoint *endpoint, uint64_t deadline_ms)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, endpoint->path);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		struct timespec pause = { .tv_nsec = QUEUE_FULL_MS * 1000000L };

		if (errno == EISCONN)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (connection_now_ms() >= deadline_ms)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int connection_open(
	struct connection *connection, const struct endpoint *endpoint, uint64_t deadline_ms)
{
	int r;

	if (!connection->input)
		connection->input = malloc(FRAME_SIZE_MAX);
	if (!connection->input)
		return -ENOMEM;
	connection->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection->fd < 0)
		return -errno;
	r = connect_by(connection->fd, endpoint, deadline_ms);
	if (r < 0)
		connection_close(connection);
	return r;
}

void connection_close(struct connection *connection)
{
	if (connection->fd >= 0)
		close(connection->fd);
	connection->fd = -1;
	connection->have = connection->taken = 0;
}

void connection_finish(struct connection *connection)
{
	connection_close(connection);
	free(connection->input);
	connection->input = NULL;
}

/* Takes what is there, as far as there is room. */
static int fill(struct connection *connection)
{
	ssize_t r = recv(connection->fd, connection->input + connection->have,
		FRAME_SIZE_MAX - connection->have, 0);

	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (r == 0)
		return -ECONNRESET;
	connection->have += (size_t)r;
	return 0;
}

/* Drops the frame that was given out. */
static void drop(struct connection *connection)
{
	memmove(connection->input, connection->input + connection->taken,
		connection->have - connection->taken);
	connection->have -= connection->taken;
	connection->taken = 0;
}

static ssize_t send_some(int fd, struct span head, struct span body)
{
	struct iovec parts[2] = {
		{ .iov_base = (void *)(uintptr_t)head.data, .iov_len = head.size },
		{ .iov_base = (void *)(uintptr_t)body.data, .iov_len = body.size },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	/* No signal for our host when the daemon has gone. */
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void advance(struct span *span, size_t *sent)
{
	size_t part = *sent < span->size ? *sent : span->size;

	if (part > 0)
		*span = span_of(span->data + part, span->size - part);
	*sent -= part;
}

/*
 * While the daemon does not take more, what it says is read, so that it never waits for us; as far
 * as a frame, beyond which there is nothing to say before we have been heard.
 */
static int make_way(struct connection *connection, uint64_t deadline_ms)
{
	bool room = connection->have < FRAME_SIZE_MAX;
	short got;
	int r = wait_for(connection->fd, (short)(POLLOUT | (room ? POLLIN : 0)), deadline_ms, &got);

	if (r == 0 && (got & POLLIN))
		r = fill(connection);
	return r;
}

int connection_send(
	struct connection *connection, struct span head, struct span body, uint64_t deadline_ms)
{
	while (head.size + body.size > 0) {
		ssize_t r = send_some(connection->fd, head, body);
		size_t sent = r > 0 ? (size_t)r : 0;
		int error;

		advance(&head, &sent);
		advance(&body, &sent);
		if (r >= 0 || errno == EINTR)
			continue;
		error = errno == EAGAIN ? make_way(connection, deadline_ms) : -errno;
		if (error < 0)
			return error;
	}
	return 0;
}

bool connection_has_news(const struct connection *connection)
{
	struct pollfd entry = { .fd = connection->fd, .events = POLLIN };

	return connection->have > connection->taken || poll(&entry, 1, 0) > 0;
}

static int fill_by(struct connection *connection, uint64_t deadline_ms)
{
	short got;
	int r = wait_for(connection->fd, POLLIN, deadline_ms, &got);

	return r == 0 ? fill(connection) : r;
}

int connection_read(struct connection *connection, uint8_t *out, size_t size, uint64_t deadline_ms)
{
	drop(connection);
	while (connection->have < size) {
		int r = fill_by(connection, deadline_ms);

		if (r < 0)
			return r;
	}
	memcpy(out, connection->input, size);
	connection->taken = size;
	drop(connection);
	return 0;
}

int connection_next(struct connection *connection, struct frame *frame, uint64_t deadline_ms)
{
	drop(connection);
	/* Also where bytes never cease to come. */
	if (connection_now_ms() >= deadline_ms)
		return -ETIMEDOUT;
	for (;;) {
		struct span input = span_of(connection->input, connection->have);
		int r = frame_next(frame, &input);

		if (r < 0)
			return r;
		if (r > 0) {
			connection->taken = connection->have - input.size;
			return 0;
		}
		r = fill_by(connection, deadline_ms);
		if (r < 0)
			return r;
	}
}
