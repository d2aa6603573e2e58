/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bare.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/memory/workbench.h"

#define ARGUMENTS_MAX 32

static struct guard guard;
static struct workbench bench;
static uint8_t bench_memory[65536] __attribute__((aligned(64)));

_Noreturn void bare_die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "not as expected");
	exit(1);
}

/* -- the daemon ---------------------------------------------------------------------------- */

static void become_daemon(const struct bare_daemon *daemon, const char *const *arguments)
{
	const char *program = getenv("MEMGUARDD");
	const char *argv[ARGUMENTS_MAX] = { program, "--socket", daemon->path };
	int count = 3;

	while (arguments && *arguments && count + 1 < ARGUMENTS_MAX)
		argv[count++] = *arguments++;
	execv(program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

void bare_start(struct bare_daemon *daemon, const char *const *arguments)
{
	if (!getenv("MEMGUARDD"))
		bare_die("$MEMGUARDD must name the daemon");
	strcpy(daemon->folder, "/tmp/memguardd-XXXXXX");
	if (!mkdtemp(daemon->folder))
		bare_die("mkdtemp");
	snprintf(daemon->path, sizeof(daemon->path), "%s/socket", daemon->folder);
	fflush(NULL);
	daemon->pid = fork();
	if (daemon->pid < 0)
		bare_die("fork");
	if (daemon->pid == 0)
		become_daemon(daemon, arguments);
	close(bare_connect(daemon->path));
}

int bare_stop(struct bare_daemon *daemon)
{
	int status = -1;

	kill(daemon->pid, SIGTERM);
	if (waitpid(daemon->pid, &status, 0) < 0)
		bare_die("waitpid");
	rmdir(daemon->folder);
	return status;
}

size_t bare_locked(pid_t pid)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
	file = fopen(path, "r");
	if (!file)
		bare_die(path);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, "VmLck:", 6) == 0)
			kib = strtoul(line + 6, NULL, 10);
	fclose(file);
	return kib * 1024;
}

/* -- the connection ------------------------------------------------------------------------ */

int bare_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0)
		bare_die("socket");
	for (int i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
		if (i == 1000)
			bare_die("the daemon does not come up");
		usleep(10000);
	}
	return fd;
}

void bare_write(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t r = send(fd, bytes, size, MSG_NOSIGNAL);

		if (r < 0 && errno != EINTR)
			bare_die("send");
		bytes += r > 0 ? r : 0;
		size -= r > 0 ? (size_t)r : 0;
	}
}

static void read_all(int fd, uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t r = read(fd, bytes, size);

		if (r == 0 || (r < 0 && errno != EINTR))
			bare_die("read");
		bytes += r > 0 ? r : 0;
		size -= r > 0 ? (size_t)r : 0;
	}
}

void bare_open(struct bare *bare, const char *path)
{
	uint8_t ours[HELLO_SIZE], theirs[HELLO_SIZE];
	struct channel_pair pair;

	if (!bench.base)
		workbench_init(&bench, bench_memory, sizeof(bench_memory), &guard);
	*bare = (struct bare){ .fd = bare_connect(path), .input = malloc(FRAME_SIZE_MAX) };
	if (!bare->input)
		bare_die("malloc");
	channel_draw(&pair);
	hello_write(ours, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, pair.open);
	bare_write(bare->fd, ours, sizeof(ours));
	read_all(bare->fd, theirs, sizeof(theirs));
	if (channel_agree(&bare->keys, &pair, false, span_of(ours, sizeof(ours)),
		    span_of(theirs, sizeof(theirs))) < 0)
		bare_die("handshake");
}

void bare_close(struct bare *bare)
{
	close(bare->fd);
	free(bare->input);
}

size_t bare_seal(struct bare *bare, uint8_t *out, const struct request *request, struct span chunks)
{
	uint8_t plain[1024];
	size_t used = 0;
	size_t size;

	if (message_append_request(plain, &used, sizeof(plain), request) < 0)
		bare_die("request");
	size = channel_seal(&bare->channel, &bare->keys, span_of(plain, used), chunks.size, out);
	if (chunks.size > 0)
		memcpy(out + size, chunks.data, chunks.size);
	return size + chunks.size;
}

void bare_send(struct bare *bare, const struct request *request, struct span chunks)
{
	static uint8_t out[FRAME_SIZE_MAX];

	bare_write(bare->fd, out, bare_seal(bare, out, request, chunks));
}

/* Makes room of the frame that was open, once its messages have been read. */
static void drop_frame(struct bare *bare)
{
	memmove(bare->input, bare->input + bare->taken, bare->have - bare->taken);
	bare->have -= bare->taken;
	bare->taken = 0;
}

static bool is_whole(const struct bare *bare)
{
	int64_t size = frame_size(span_of(bare->input, bare->have));

	return size > 0 && (size_t)size <= bare->have;
}

bool bare_ready(struct bare *bare)
{
	ssize_t r;

	drop_frame(bare);
	r = read(bare->fd, bare->input + bare->have, FRAME_SIZE_MAX - bare->have);
	if (r <= 0)
		bare_die("read");
	bare->have += (size_t)r;
	return is_whole(bare);
}

/* Makes the frame at the beginning of the input the open one. */
static void open_frame(struct bare *bare)
{
	struct span input = span_of(bare->input, bare->have);
	struct frame frame;
	int r;

	if (frame_next(&frame, &input) != 1)
		bare_die("a frame");
	r = channel_open(&bare->channel, &bare->keys, &frame, bare->plain);
	if (r < 0)
		bare_die("an answer does not open");
	bare->taken = bare->have - input.size;
	bare->messages = (struct messages){ .plain = span_of(bare->plain, (size_t)r),
		.chunks = frame.chunks };
}

/* Drops the open frame, and waits until the next one is there. */
static void next_frame(struct bare *bare)
{
	drop_frame(bare);
	while (!is_whole(bare))
		(void)bare_ready(bare);
	open_frame(bare);
}

void bare_receive(struct bare *bare, struct reply *reply)
{
	workbench_wipe(&bench);
	if (bare->messages.plain.size == 0)
		next_frame(bare);
	if (message_next_reply(reply, &bare->messages, &bench) <= 0)
		bare_die("an answer");
}

/* -- values -------------------------------------------------------------------------------- */

/* Seals up to a frame of chunks from `first` on. Returns the bytes. */
static size_t seal_frame(struct chunks *chunks, uint8_t *out, const uint8_t *value, size_t size,
	uint64_t first, const uint8_t *key)
{
	size_t at = (size_t)first * ENCLAVE_CHUNK_PLAIN;
	size_t used = 0;

	*chunks = (struct chunks){ .first = first };
	while (chunks->count < FRAME_CHUNKS && at < size) {
		size_t plain = size - at < ENCLAVE_CHUNK_PLAIN ? size - at : ENCLAVE_CHUNK_PLAIN;

		chunks->final = at + plain == size;
		enclave_seal_chunk(
			out + used, value + at, plain, first + chunks->count, chunks->final, key);
		chunks->last = (uint32_t)(plain + ENCLAVE_TAG_SIZE);
		chunks->count++;
		used += plain + ENCLAVE_TAG_SIZE;
		at += plain;
	}
	return used;
}

int bare_set(struct bare *bare, const char *name, const uint8_t *value, size_t size)
{
	static uint8_t chunks[FRAME_CHUNKS_MAX];
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct request request = { .id = 1,
		.verb = VERB_SET,
		.numbered = true,
		.name = span_text(name),
		.key = key,
		.size = size,
		.chunked = true };
	struct reply reply;

	enclave_draw_key(key);
	randombytes_buf(request.number, sizeof(request.number));
	for (uint64_t at = 0; !request.chunks.final; at += FRAME_CHUNKS) {
		size_t used = seal_frame(&request.chunks, chunks, value, size, at, key);

		bare_send(bare, &request, span_of(chunks, used));
		request = (struct request){ .id = 1, .chunked = true, .chunks = request.chunks };
	}
	bare_receive(bare, &reply);
	return reply.code;
}

/* Opens the chunks of one reply. Returns whether the last one was among them. */
static bool open_chunks(
	const struct reply *reply, const uint8_t *key, uint8_t *value, size_t room, size_t *size)
{
	size_t used = 0;

	for (uint32_t i = 0; reply->chunked && i < reply->chunks.count; i++) {
		bool last = i + 1 == reply->chunks.count;
		size_t chunk = last ? reply->chunks.last : ENCLAVE_CHUNK_SIZE;

		if (chunk - ENCLAVE_TAG_SIZE > room - *size)
			bare_die("a value is too long");
		if (enclave_open_chunk(value + *size, reply->bytes.data + used, chunk,
			    reply->chunks.first + i, last && reply->chunks.final, key) < 0)
			bare_die("a value does not open");
		used += chunk;
		*size += chunk - ENCLAVE_TAG_SIZE;
	}
	return reply->chunked && reply->chunks.final;
}

int bare_get(struct bare *bare, const char *name, uint8_t *value, size_t room, size_t *size)
{
	struct request request = { .id = 1, .verb = VERB_GET, .name = span_text(name) };
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct reply reply;

	*size = 0;
	bare_send(bare, &request, span_of(NULL, 0));
	bare_receive(bare, &reply);
	if (reply.code != 0)
		return reply.code;
	memcpy(key, reply.key, sizeof(key));
	while (!open_chunks(&reply, key, value, room, size)) {
		bare_receive(bare, &reply);
		if (reply.code != 0)
			return reply.code;
	}
	return 0;
}
