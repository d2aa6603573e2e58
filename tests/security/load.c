/* SPDX-License-Identifier: Apache-2.0 */

/*
 * load SOCKET FACTS [LARGE]: a client that keeps a daemon busy with values that the scan knows.
 * It opens two sessions, writes what it knows to FACTS, says "ready", and then does what stdin
 * says, a line at a time: "rounds N" stores, overwrites and fetches every value N times and says
 * "done"; "loop" does so until the next line comes. It ends with stdin. LARGE is the size of the
 * largest value in bytes, 1 MiB when not given. Where FACTS is there already, a load before this
 * one was cut off: this one goes on with the values that it had, over sessions of its own.
 *
 * One session is the anchor: it has exchanged one frame each way and then keeps still, so that its
 * counters tell where the daemon keeps it. The value named "anchor" is stored once.
 */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/memory/guard.h"
#include "common/memory/workbench.h"
#include "common/wire/message.h"
#include "tests/security/facts.h"

#define BENCH_SIZE 65536
#define BUFFER_SIZE (2 * FRAME_SIZE_MAX)
#define LARGE_DEFAULT 1048576
#define GETS_PER_SET 2

/* One connection, in ordinary memory: the client is not what is scanned here. */
struct client {
	int fd;
	uint64_t next_id;
	struct channel channel;
	struct channel_keys keys;
	struct guard guard;
	struct workbench bench;
	uint8_t out[FRAME_HEADER_SIZE + FRAME_SEALED_MAX];
	uint8_t in[BUFFER_SIZE];
	size_t used;  /* bytes of `in` */
	size_t taken; /* of those, the frame that was handed out last */
	uint8_t plain[FRAME_PLAIN_MAX];
	uint8_t memory[BENCH_SIZE] __attribute__((aligned(16)));
};

/* What is stored, and how often it changes. */
static const struct kind {
	const char *name;
	size_t size; /* bytes; 0: LARGE */
	unsigned versions;
	bool anchor;
} kinds[] = {
	{ "scan/anchor", 64, 1, true },
	{ "scan/small", 64, 4, false },
	{ "scan/middle", 16384, 3, false },
	{ "scan/large", 0, 2, false },
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

/* -- the wire ------------------------------------------------------------------------------ */

static void write_all(const struct client *client, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(client->fd, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			fail("the daemon does not take it: %s", strerror(errno));
		bytes += sent;
		size -= (size_t)sent;
	}
}

static void read_more(struct client *client)
{
	ssize_t got = read(client->fd, client->in + client->used, BUFFER_SIZE - client->used);

	if (got < 0 && errno == EINTR)
		return;
	if (got <= 0)
		fail("the daemon has closed: %s", got < 0 ? strerror(errno) : "no more bytes");
	client->used += (size_t)got;
}

static void connect_to(struct client *client, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		fail("%s: the path is too long", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 ||
		connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		fail("%s: %s", path, strerror(errno));
	guard_init(&client->guard);
	workbench_init(&client->bench, client->memory, BENCH_SIZE, &client->guard);
	client->next_id = 1;
}

/* What the frame keys come from: the shared secret, and crypto_kx's keys before the transcript. */
static void note_agreement(
	struct facts *facts, const struct channel_pair *pair, const struct hello *theirs)
{
	uint8_t shared[crypto_scalarmult_BYTES];
	uint8_t receive[crypto_kx_SESSIONKEYBYTES];
	uint8_t sent[crypto_kx_SESSIONKEYBYTES];

	if (crypto_scalarmult(shared, pair->secret, theirs->key) != 0 ||
		crypto_kx_client_session_keys(
			receive, sent, pair->open, pair->secret, theirs->key) != 0 ||
		facts_note(facts, "shared-secret", shared) < 0 ||
		facts_note(facts, "kx-key", receive) < 0 || facts_note(facts, "kx-key", sent) < 0)
		fail("the key agreement cannot be noted");
}

static void greet(struct client *client, struct facts *facts)
{
	struct channel_pair pair;
	uint8_t ours[HELLO_SIZE];
	struct hello theirs;
	int size;

	channel_draw(&pair);
	hello_write(ours, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, pair.open);
	write_all(client, ours, sizeof(ours));
	while ((size = hello_read(&theirs, span_of(client->in, client->used))) == 0)
		read_more(client);
	if (size < 0 ||
		channel_agree(
			&client->keys, &pair, false, span_of(ours, sizeof(ours)), theirs.bytes) < 0)
		fail("the Hello is none");
	note_agreement(facts, &pair, &theirs);
	client->taken = (size_t)size;
}

/* The next frame; it stays where it is until the next call. */
static struct frame next_frame(struct client *client)
{
	struct span bytes;
	struct frame frame;
	int r;

	client->used -= client->taken;
	memmove(client->in, client->in + client->taken, client->used);
	client->taken = 0;
	for (;;) {
		bytes = span_of(client->in, client->used);
		r = frame_next(&frame, &bytes);
		if (r != 0)
			break;
		read_more(client);
	}
	if (r < 0)
		fail("a frame has impossible lengths");
	client->taken = client->used - bytes.size;
	return frame;
}

static size_t send_request(
	struct client *client, const struct request *request, const uint8_t *chunks, size_t size)
{
	uint8_t plain[FRAME_PLAIN_MAX];
	size_t used = 0;
	size_t sealed;

	if (message_append_request(plain, &used, sizeof(plain), request) < 0)
		fail("a request does not fit");
	sealed = channel_seal(
		&client->channel, &client->keys, span_of(plain, used), size, client->out);
	write_all(client, client->out, sealed);
	write_all(client, chunks, size);
	return sealed;
}

/* Opens the next frame, which answers one request at a time here. */
static struct frame receive(struct client *client, struct messages *messages)
{
	struct frame frame = next_frame(client);
	int size = channel_open(&client->channel, &client->keys, &frame, client->plain);

	if (size < 0)
		fail("a frame of the daemon does not open");
	*messages = (struct messages){
		.plain = span_of(client->plain, (size_t)size),
		.chunks = frame.chunks,
	};
	workbench_wipe(&client->bench);
	return frame;
}

static bool next_reply(struct client *client, struct messages *messages, struct reply *reply)
{
	int r = message_next_reply(reply, messages, &client->bench);

	if (r < 0)
		fail("the daemon's answer is no message");
	if (r > 0 && reply->code != 0)
		fail("the daemon answers %d: %.*s", reply->code, (int)reply->detail.size,
			(const char *)reply->detail.data);
	return r > 0;
}

static void await(struct client *client)
{
	struct messages messages;
	struct reply reply;

	receive(client, &messages);
	if (!next_reply(client, &messages, &reply))
		fail("a frame without a message");
}

/* -- requests ------------------------------------------------------------------------------ */

/* How many of the chunks in `left` bytes go into one frame, and how many bytes they are. */
static void announce(struct chunks *chunks, size_t left)
{
	size_t size = left < FRAME_CHUNKS_MAX ? left : FRAME_CHUNKS_MAX;

	chunks->count = (uint32_t)((size + ENCLAVE_CHUNK_SIZE - 1) / ENCLAVE_CHUNK_SIZE);
	chunks->last = (uint32_t)(size - (size_t)(chunks->count - 1) * ENCLAVE_CHUNK_SIZE);
	chunks->final = size == left;
}

static void store(struct client *client, const struct fact_value *value)
{
	size_t left;
	cleanup(freep) uint8_t *sealed = fact_value_seal(value, &left);
	const uint8_t *at = sealed;
	struct request request = {
		.id = client->next_id++,
		.numbered = true,
		.chunked = true,
		.verb = VERB_SET,
		.name = span_text(value->name),
		.size = value->size,
		.key = value->key,
	};

	if (!sealed)
		fail("out of memory");
	randombytes_buf(request.number, sizeof(request.number));
	while (left > 0) {
		size_t size;

		announce(&request.chunks, left);
		size = (size_t)chunks_size(&request.chunks);
		send_request(client, &request, at, size);
		at += size;
		left -= size;
		request = (struct request){
			.id = request.id,
			.chunked = true,
			.chunks = { .first = request.chunks.first + request.chunks.count },
		};
	}
	await(client);
}

/* Opens the chunks of one reply and compares them with what was stored. */
static size_t compare(const struct fact_value *value, size_t at, const struct reply *reply)
{
	uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	const uint8_t *chunk = reply->bytes.data;

	for (uint32_t i = 0; reply->chunked && i < reply->chunks.count; i++) {
		bool last = i + 1 == reply->chunks.count;
		size_t size = last ? reply->chunks.last : ENCLAVE_CHUNK_SIZE;

		if (size - ENCLAVE_TAG_SIZE > value->size - at ||
			enclave_open_chunk(plain, chunk, size, reply->chunks.first + i,
				last && reply->chunks.final, value->key) != 0 ||
			memcmp(plain, value->plain + at, size - ENCLAVE_TAG_SIZE) != 0)
			fail("%s comes back changed", value->name);
		chunk += size;
		at += size - ENCLAVE_TAG_SIZE;
	}
	return at;
}

static void fetch(struct client *client, const struct fact_value *value)
{
	struct request request = {
		.id = client->next_id++,
		.verb = VERB_GET,
		.name = span_text(value->name),
	};
	struct messages messages;
	struct reply reply;
	size_t at = 0;

	send_request(client, &request, NULL, 0);
	while (at < value->size) {
		receive(client, &messages);
		while (next_reply(client, &messages, &reply))
			at = compare(value, at, &reply);
	}
}

/* -- what the scan gets to know ------------------------------------------------------------ */

static void keep_frame(struct facts *facts, uint64_t number, const uint8_t *bytes, size_t size)
{
	struct fact_frame *frame = &facts->frames[facts->frame_count];

	if (facts->frame_count == FACTS_FRAMES_MAX || size > sizeof(frame->bytes) ||
		size < FRAME_HEADER_SIZE + FRAME_TAG_SIZE)
		fail("a frame is too large to keep");
	frame->number = number;
	frame->size = size;
	memcpy(frame->bytes, bytes, size);
	facts->frame_count++;
}

/* One frame each way, both kept. */
static void ping(struct client *client, struct facts *facts)
{
	struct request request = { .id = client->next_id++, .verb = VERB_PING };
	uint64_t number = client->channel.sent;
	size_t size = send_request(client, &request, NULL, 0);
	struct messages messages;
	struct frame frame;
	struct reply reply;

	keep_frame(facts, number, client->out, size);
	number = client->channel.received;
	frame = receive(client, &messages);
	if (!next_reply(client, &messages, &reply))
		fail("a ping is not answered");
	keep_frame(facts, number, frame.header.data, frame.header.size + frame.sealed.size);
}

static struct client *client_new(const char *path, struct facts *facts)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		fail("out of memory");
	connect_to(client, path);
	greet(client, facts);
	ping(client, facts);
	if (facts->session_count == FACTS_SESSIONS_MAX)
		fail("too many sessions to know");
	facts->sessions[facts->session_count++] = client->keys;
	return client;
}

static void draw_values(struct facts *facts, size_t large)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (unsigned version = 0; version < kinds[i].versions; version++)
			if (facts_draw(facts, kinds[i].name, kinds[i].size ? kinds[i].size : large,
				    kinds[i].anchor) < 0)
				fail("out of memory");
}

/*
 * Draws them, or takes them from a load before this one. The sessions whose frames that one has
 * captured have ended: their keys are still looked for, and nothing else can open those frames.
 */
static bool know_values(struct facts *facts, const char *path, size_t large)
{
	int r = facts_read(facts, path);

	if (r == -ENOENT)
		draw_values(facts, large);
	else if (r < 0)
		fail("%s cannot be read: %s", path, strerror(-r));
	facts->frame_count = 0;
	return r == 0;
}

/*
 * Every version of every value once. A version that comes again is the same bytes under the same
 * data key, hence the same chunks.
 */
static void run_round(struct client *client, const struct facts *facts)
{
	for (size_t i = 0; i < facts->value_count; i++) {
		const struct fact_value *value = &facts->values[i];

		if (!value->anchor)
			store(client, value);
		for (int j = 0; j < GETS_PER_SET; j++)
			fetch(client, value);
	}
}

static bool line_waits(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&input, 1, 0) != 0;
}

static void obey(struct client *client, const struct facts *facts)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		unsigned long rounds = 0;

		if (strncmp(line, "rounds ", 7) == 0)
			for (rounds = strtoul(line + 7, NULL, 10); rounds > 0; rounds--)
				run_round(client, facts);
		else if (strcmp(line, "loop\n") == 0)
			while (!line_waits())
				run_round(client, facts);
		else
			fail("what is \"%s\"?", line);
		puts("done");
	}
}

int main(int argc, char **argv)
{
	static struct facts facts;
	size_t large = argc > 3 ? strtoul(argv[3], NULL, 10) : LARGE_DEFAULT;
	struct client *anchor;
	struct client *busy;
	bool again;

	if (argc < 3 || large == 0)
		fail("usage: load SOCKET FACTS [LARGE]");
	if (sodium_init() < 0)
		fail("libsodium does not start");
	/* Lines are read with poll in between: what stdio has read ahead would not be seen. */
	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	again = know_values(&facts, argv[2], large);
	anchor = client_new(argv[1], &facts);
	busy = client_new(argv[1], &facts);
	for (size_t i = 0; i < facts.value_count; i++) {
		if (facts.values[i].anchor && !again)
			store(busy, &facts.values[i]);
		if (facts.values[i].anchor)
			fetch(busy, &facts.values[i]);
	}
	if (facts_write(&facts, argv[2]) < 0)
		fail("%s cannot be written", argv[2]);
	puts("ready");
	obey(busy, &facts);
	close(anchor->fd);
	close(busy->fd);
	free(anchor);
	free(busy);
	facts_free(&facts);
	return 0;
}
