/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/status.h"
#include "daemon/daemon.h"
#include "daemon/request/request.h"
#include "tests/unit/claims.h"
#include "tests/unit/notebook.h"

/* request_serve with invented peers: the heart without sockets. One house, one session. */

#define VALUE_MAX ((size_t)256 * 1024)

static struct daemon house;
static struct transfers transfers;
static struct notebook book;
static const struct peer root = { .uid = 0, .pidfd = -1 };
static const struct peer user = { .uid = 1000, .pidfd = -1 };
static uint8_t key[32];
static uint8_t value[VALUE_MAX];
static uint8_t sealed[VALUE_MAX + 1024];
static uint64_t next_id;

static inline void set_up(void)
{
	struct daemon_options options = { .max_value = VALUE_MAX, .rekey_ms = 500, .own = 4242 };

	if (sodium_init() < 0)
		abort();
	ck_assert_int_eq(daemon_init(&house, &options), 0);
	notebook_init(&book);
	randombytes_buf(key, sizeof(key));
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7 + i / 251);
	next_id = 1;
}

static inline void tear_down(void)
{
	transfers_finish(&transfers, &house);
	daemon_finish(&house);
}

static inline int serve(const struct peer *peer, const struct request *request)
{
	int r = request_serve(&house, peer, &transfers, request, &book.answers);

	workbench_wipe(&house.bench);
	return r;
}

/* Serves and gives the last answer. */
static inline struct note_of_reply *ask(const struct peer *peer, struct request request)
{
	size_t before = book.count;

	if (request.id == 0)
		request.id = next_id++;
	ck_assert_int_eq(serve(peer, &request), 0);
	return book.count > before ? notebook_last(&book) : NULL;
}

static inline struct request getting(const char *name)
{
	return (struct request){ .id = next_id++, .verb = VERB_GET, .name = span_text(name) };
}

static inline struct request changing(enum verb verb, const char *name)
{
	struct request request = { .verb = verb, .numbered = true, .name = span_text(name) };

	request.id = next_id++;
	randombytes_buf(request.number, sizeof(request.number));
	return request;
}

static inline void seal(size_t size)
{
	size_t chunks = (size + ENCLAVE_CHUNK_PLAIN - 1) / ENCLAVE_CHUNK_PLAIN;

	for (size_t i = 0; i < chunks; i++) {
		size_t plain =
			i + 1 < chunks ? ENCLAVE_CHUNK_PLAIN : size - i * ENCLAVE_CHUNK_PLAIN;

		enclave_seal_chunk(sealed + i * ENCLAVE_CHUNK_SIZE, value + i * ENCLAVE_CHUNK_PLAIN,
			plain, i, i + 1 == chunks, key);
	}
}

static inline struct request setting(const char *name, size_t size)
{
	struct request request = { .verb = VERB_SET,
		.numbered = true,
		.name = span_text(name),
		.key = key,
		.size = size };

	request.id = next_id++;
	randombytes_buf(request.number, sizeof(request.number));
	return request;
}

/* The chunks first..first+count of what was sealed, announced on `request`. */
static inline struct request with_chunks(
	struct request request, size_t size, uint64_t first, uint32_t count)
{
	uint64_t total = enclave_sealed_size(size);
	uint64_t begin = first * ENCLAVE_CHUNK_SIZE;
	uint64_t end = begin + (uint64_t)count * ENCLAVE_CHUNK_SIZE;

	request.chunked = true;
	request.chunks.final = end >= total;
	if (end > total)
		end = total;
	request.chunks.first = first;
	request.chunks.count = count;
	request.chunks.last = (uint32_t)(end - begin - (count - 1) * (uint64_t)ENCLAVE_CHUNK_SIZE);
	request.bytes = span_of(sealed + begin, (size_t)(end - begin));
	return request;
}

static inline struct request going_on(uint64_t id)
{
	return (struct request){ .id = id, .verb = VERB_NONE };
}

/* Stores a value as the library would: four chunks a frame. */
static inline struct note_of_reply *store_with(
	const struct peer *peer, struct request request, size_t size)
{
	struct note_of_reply *note = NULL;
	size_t chunks = (size + ENCLAVE_CHUNK_PLAIN - 1) / ENCLAVE_CHUNK_PLAIN;

	seal(size);
	for (size_t at = 0; at < chunks; at += FRAME_CHUNKS) {
		uint32_t count =
			chunks - at < FRAME_CHUNKS ? (uint32_t)(chunks - at) : FRAME_CHUNKS;

		note = ask(peer,
			with_chunks(at == 0 ? request : going_on(request.id), size, at, count));
	}
	return note;
}

static inline struct note_of_reply *store(const struct peer *peer, const char *name, size_t size)
{
	return store_with(peer, setting(name, size), size);
}
