/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/request/trial.h"

/* What the socket did not take at once. */
struct pending {
	uv_write_t request;
	struct session *session;
	uint8_t bytes[];
};

/* Each write that is taken earns another one its time, unless it is the last time. */
static void set_write_deadline(struct session *session)
{
	if (session->writes == 0) {
		session->write_deadline = 0;
		session->hurried = false;
	} else if (!session->hurried) {
		session->write_deadline = uv_now(session->sessions->loop) + WRITE_MS;
	}
}

static void on_written(uv_write_t *request, int status)
{
	struct pending *pending = (struct pending *)request;
	struct session *session = pending->session;

	free(pending);
	if (session->closing)
		return;
	session->writes--;
	if (status < 0) {
		session_close(session);
		return;
	}
	set_write_deadline(session);
	if (session->writes == 0)
		session_run(session);
	session_arm(session);
}

/* Keeps what the socket did not take, and stops reading until it is gone. */
static int write_later(struct session *session, struct span bytes)
{
	struct pending *pending = malloc(sizeof(*pending) + bytes.size);
	uv_buf_t buffer;
	int r;

	if (!pending)
		return -ENOMEM;
	pending->session = session;
	memcpy(pending->bytes, bytes.data, bytes.size);
	buffer = uv_buf_init((char *)pending->bytes, (unsigned)bytes.size);
	r = uv_write(&pending->request, (uv_stream_t *)&session->pipe, &buffer, 1, on_written);
	if (r < 0) {
		free(pending);
		return r;
	}
	/* What came meanwhile waits for our reader, not for its sender. */
	session->input_deadline = 0;
	if (session->writes++ == 0) {
		session->write_deadline = uv_now(session->sessions->loop) + WRITE_MS;
		trials_pause(&session->served.transfers, session->sessions->daemon);
	}
	session_read(session);
	return 0;
}

static void session_write(struct session *session, struct span bytes)
{
	uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)bytes.data, (unsigned)bytes.size);
	int r = UV_EAGAIN;

	if (session->writes == 0)
		r = uv_try_write((uv_stream_t *)&session->pipe, &buffer, 1);
	if (r == UV_EAGAIN)
		r = 0;
	if (r >= 0 && (size_t)r < bytes.size)
		r = write_later(session, span_of(bytes.data + r, bytes.size - (size_t)r));
	/* The reader has gone: nobody's fault, and nobody is left to tell. */
	if (r == UV_EPIPE || r == UV_ECONNRESET)
		session_close(session);
	else if (r < 0)
		session_fail(session, "writing failed", r);
	else
		session_arm(session);
}

void sessions_flush(struct sessions *sessions)
{
	/* A line is written before the answer that it tells of. */
	if (sessions->segment_count > 0)
		audit_write(sessions->daemon->audit);
	for (size_t i = 0; i < sessions->segment_count; i++) {
		struct segment *segment = &sessions->segments[i];

		if (segment->session)
			session_write(segment->session,
				span_of(sessions->outbox.bytes + segment->begin,
					segment->end - segment->begin));
	}
	sessions->segment_count = 0;
	sessions->outbox.used = 0;
}

void session_claim(struct session *session, size_t begin)
{
	struct sessions *sessions = session->sessions;
	size_t end = sessions->outbox.used;

	if (end == begin)
		return;
	sessions->segments[sessions->segment_count++] =
		(struct segment){ .session = session, .begin = begin, .end = end };
}

void session_disown(struct session *session)
{
	struct sessions *sessions = session->sessions;

	for (size_t i = 0; i < sessions->segment_count; i++)
		if (sessions->segments[i].session == session)
			sessions->segments[i].session = NULL;
}

bool sessions_full(const struct sessions *sessions)
{
	return sessions->segment_count == SESSIONS_SEGMENTS || !outbox_has_room(&sessions->outbox);
}
