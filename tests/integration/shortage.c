/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A service that keeps secrets, enclaves and a stream in its own process, on a machine that may
 * refuse it memory (refuse.c). What is refused is told, a line each, and tried once more; whatever
 * a call says, everything that was there before must be as it was. Exit status: 0; 1 when something
 * is wrong or lost, with a line on stderr.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"

#define SMALL 32
#define LARGE 20000 /* more than a chunk */
#define NEED MG_MEMORY_PREFER_LOCK

static uint8_t bytes[LARGE];

static struct {
	struct mg_secret *writable, *small, *large, *piped, *drawn;
	struct mg_enclave *sealed, *chance;
	struct mg_stream *stream;
} service;

__attribute__((noreturn)) static void wrong(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, mg_last_error());
	exit(EXIT_FAILURE);
}

static void expect(bool right, const char *what)
{
	if (!right)
		wrong(what);
}

/* Whether the call was refused, which is to say MG_LIMIT or, from the kernel, MG_INTERNAL. */
static bool was_refused(int r, const char *what)
{
	if (r == MG_OK)
		return false;
	if ((r != MG_LIMIT && r != MG_INTERNAL) || !mg_last_error()[0])
		wrong(what);
	printf("%s: %s: %s\n", what, mg_status_name(r), mg_last_error());
	return true;
}

/* Everything that is there holds what it should. */
static void look_around(void)
{
	static const struct {
		struct mg_secret **secretp;
		size_t size;
	} all[] = { { &service.writable, SMALL }, { &service.small, SMALL },
		{ &service.large, LARGE }, { &service.piped, SMALL } };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (*all[i].secretp)
			expect(mg_secret_equal(*all[i].secretp, bytes, all[i].size), "a secret");
	if (service.drawn)
		expect(mg_secret_alive(service.drawn), "chance");
}

/* Takes a copy, since what is taken over is wiped; after a refusal it must be whole. */
static int from_copy(
	int (*take)(void *object, uint8_t *copy, size_t size), void *object, size_t size)
{
	uint8_t *copy = malloc(size);
	int r;

	expect(copy != NULL, "malloc");
	memcpy(copy, bytes, size);
	r = take(object, copy, size);
	expect(r == MG_OK || memcmp(copy, bytes, size) == 0, "what was not taken over");
	free(copy);
	return r;
}

static int take_secret(void *secretp, uint8_t *copy, size_t size)
{
	return mg_secret_from_bytes(secretp, copy, size, NEED);
}

static int take_enclave(void *enclavep, uint8_t *copy, size_t size)
{
	return mg_enclave_new(enclavep, copy, size);
}

static int take_stream(void *stream, uint8_t *copy, size_t size)
{
	return mg_stream_write(stream, copy, size);
}

/* -- what it does, a step at a time --------------------------------------------------------- */

static int make_writable(void)
{
	int r = mg_secret_new(&service.writable, SMALL, NEED);

	return r == MG_OK ? mg_secret_copy(service.writable, bytes, SMALL) : r;
}

static int make_small(void)
{
	return from_copy(take_secret, &service.small, SMALL);
}

static int make_large(void)
{
	return from_copy(take_secret, &service.large, LARGE);
}

static int make_piped(void)
{
	int ends[2], r;

	expect(pipe(ends) == 0 && write(ends[1], bytes, SMALL) == SMALL, "a pipe");
	close(ends[1]);
	r = mg_secret_from_fd_all(&service.piped, ends[0], LARGE, NEED);
	close(ends[0]);
	return r;
}

static int draw(void)
{
	return mg_secret_random(&service.drawn, SMALL, NEED);
}

static int freeze(void)
{
	return mg_secret_freeze(service.writable);
}

static int melt(void)
{
	return mg_secret_melt(service.writable);
}

static int melt_small(void)
{
	return mg_secret_melt(service.small);
}

static int melt_large(void)
{
	return mg_secret_melt(service.large);
}

static int seal(void)
{
	return from_copy(take_enclave, &service.sealed, LARGE);
}

static int seal_chance(void)
{
	return mg_enclave_random(&service.chance, SMALL);
}

static int open_sealed(void)
{
	struct mg_secret *secret;
	int r = mg_enclave_open(service.sealed, &secret, NEED);

	if (r == MG_OK)
		expect(mg_secret_equal(secret, bytes, LARGE), "the enclave");
	else
		expect(secret == NULL, "a secret after a failure");
	mg_secret_free(secret);
	return r;
}

static int begin_stream(void)
{
	return mg_stream_new(&service.stream);
}

static int write_stream(void)
{
	return from_copy(take_stream, service.stream, LARGE);
}

static int take_next(void)
{
	struct mg_secret *secret;
	size_t before = mg_stream_size(service.stream);
	int r = mg_stream_next(service.stream, &secret, NEED);

	if (r == MG_OK)
		expect(mg_secret_equal(secret, bytes, mg_secret_size(secret)), "the chunk");
	else
		expect(mg_stream_size(service.stream) == before, "a chunk that was not read");
	mg_secret_free(secret);
	return r;
}

static int flush_stream(void)
{
	struct mg_secret *secret;
	size_t left = mg_stream_size(service.stream);
	int r = mg_stream_flush(service.stream, &secret, NEED);

	if (r == MG_OK)
		expect(mg_secret_equal(secret, bytes + LARGE - left, left), "the stream");
	else
		expect(mg_stream_size(service.stream) == left, "a stream that was not read");
	mg_secret_free(secret);
	return r;
}

static int purge(void)
{
	struct mg_secret *secret;
	int r;

	mg_purge_local();
	expect(!mg_secret_data(service.small) && !mg_secret_data(service.writable), "a purge");
	r = mg_secret_random(&secret, SMALL, NEED);
	mg_secret_free(secret);
	return r;
}

static void end(void)
{
	mg_stream_free(service.stream);
	mg_enclave_free(service.chance);
	mg_enclave_free(service.sealed);
	mg_secret_free(service.drawn);
	mg_secret_free(service.piped);
	mg_secret_free(service.large);
	mg_secret_free(service.small);
	mg_secret_free(service.writable);
}

int main(void)
{
	static const struct {
		int (*step)(void);
		const char *name;
	} steps[] = { { make_writable, "new" }, { make_small, "from bytes" },
		{ make_large, "from many bytes" }, { make_piped, "from a pipe" },
		{ draw, "random" }, { freeze, "freeze" }, { melt, "melt" },
		{ melt_small, "melt of a shared one" }, { melt_large, "melt of a large one" },
		{ seal, "seal" }, { seal_chance, "seal of chance" }, { open_sealed, "open" },
		{ begin_stream, "stream" }, { write_stream, "write" }, { take_next, "next" },
		{ flush_stream, "flush" }, { purge, "purge" } };

	for (size_t i = 0; i < LARGE; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (was_refused(steps[i].step(), steps[i].name)) {
			if (steps[i].step != purge)
				look_around();
			expect(steps[i].step() == MG_OK, steps[i].name);
		}
		if (steps[i].step != purge)
			look_around();
	}
	end();
	return EXIT_SUCCESS;
}
