/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/memory/enclave.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "tests/unit/rig.h"

/*
 * Requests a second against a bare ping-pong: a process that reads as many bytes as our request has
 * and writes as many as our answer has, over the same kind of socket, driven by the same loop, in
 * alternating rounds of one run. Figures are for reading; only the ratios travel between machines.
 */

#define ROUNDS 7
#define ROUND_NS 400000000ull
#define CLIENTS_MAX 50

/* One connection of the driver, to the daemon or to the ping-pong. */
struct link {
	int fd;
	bool sealed; /* speaks our protocol */
	struct channel channel;
	struct channel_keys keys;
	uint8_t *input;
	size_t have;
};

struct measure {
	double rate;   /* requests a second */
	double server; /* microseconds of the server's processor time a request */
};

static struct rig rig;
static char folder[] = "/tmp/memguardd-bench-XXXXXX";
static char socket_path[64];
static pid_t daemon_pid, pong_pid;
static size_t request_size, answer_size;

static void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	if (daemon_pid > 0)
		kill(daemon_pid, SIGTERM);
	if (pong_pid > 0)
		kill(pong_pid, SIGTERM);
	exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0)
		die("clock_gettime");
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_ns(pid_t pid)
{
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0)
		die("clock_getcpuclockid");
	return clock_ns(clock);
}

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t r = write(fd, bytes, size);

		if (r < 0 && errno != EINTR)
			die("write");
		bytes += r > 0 ? r : 0;
		size -= r > 0 ? (size_t)r : 0;
	}
}

static void read_all(int fd, uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t r = read(fd, bytes, size);

		if (r == 0 || (r < 0 && errno != EINTR))
			die("read");
		bytes += r > 0 ? r : 0;
		size -= r > 0 ? (size_t)r : 0;
	}
}

/* -- our side of the protocol -------------------------------------------------------------- */

static int connect_to_daemon(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	if (fd < 0)
		die("socket");
	for (int i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
		if (i == 200)
			die("the daemon does not come up");
		usleep(10000);
	}
	return fd;
}

static void shake_hands(struct link *link)
{
	uint8_t ours[HELLO_SIZE], theirs[HELLO_SIZE];
	struct channel_pair pair;

	channel_draw(&pair);
	hello_write(ours, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, pair.open);
	write_all(link->fd, ours, sizeof(ours));
	read_all(link->fd, theirs, sizeof(theirs));
	if (channel_agree(&link->keys, &pair, false, span_of(ours, sizeof(ours)),
		    span_of(theirs, sizeof(theirs))) < 0)
		die("handshake");
}

/* Seals a request, with a value's only chunk behind it when there is one. */
static size_t seal_request(
	struct link *link, uint8_t *out, struct request *request, struct span chunk)
{
	uint8_t plain[512];
	size_t used = 0;
	size_t size;

	if (message_append_request(plain, &used, sizeof(plain), request) < 0)
		die("request");
	size = channel_seal(&link->channel, &link->keys, span_of(plain, used), chunk.size, out);
	if (chunk.size > 0)
		memcpy(out + size, chunk.data, chunk.size);
	return size + chunk.size;
}

static void send_get(struct link *link)
{
	uint8_t out[600];
	struct request get = { .id = 1, .verb = VERB_GET, .name = span_text("bench/value") };

	request_size = seal_request(link, out, &get, span_of(NULL, 0));
	write_all(link->fd, out, request_size);
}

/* Opens an answer as a library would: frame, message, chunk. */
static void open_answer(struct link *link, const struct frame *frame)
{
	static uint8_t plain[FRAME_PLAIN_MAX], value[ENCLAVE_CHUNK_PLAIN];
	struct messages messages = { .chunks = frame->chunks };
	struct reply reply;
	int r = channel_open(&link->channel, &link->keys, frame, plain);

	if (r < 0)
		die("an answer does not open");
	messages.plain = span_of(plain, (size_t)r);
	if (message_next_reply(&reply, &messages, &rig.bench) <= 0 || reply.code != 0)
		die("not the answer expected");
	if (reply.body == BODY_VALUE &&
		enclave_open_chunk(value, reply.bytes.data, reply.bytes.size, 0, true, reply.key) <
			0)
		die("a value does not open");
	workbench_wipe(&rig.bench);
}

static void store_value(struct link *link, size_t size)
{
	static uint8_t plain[ENCLAVE_CHUNK_PLAIN], chunk[ENCLAVE_CHUNK_SIZE],
		out[2 * ENCLAVE_CHUNK_SIZE];
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct request set = { .id = 2,
		.verb = VERB_SET,
		.numbered = true,
		.name = span_text("bench/value"),
		.key = key,
		.size = size,
		.chunked = true,
		.chunks = {
			.count = 1, .last = (uint32_t)(size + ENCLAVE_TAG_SIZE), .final = true } };
	struct span input;
	struct frame frame;
	size_t sealed;

	enclave_draw_key(key);
	randombytes_buf(set.number, sizeof(set.number));
	randombytes_buf(plain, size);
	enclave_seal_chunk(chunk, plain, size, 0, true, key);
	sealed = seal_request(link, out, &set, span_of(chunk, size + ENCLAVE_TAG_SIZE));
	write_all(link->fd, out, sealed);
	link->have = 0;
	do {
		ssize_t r = read(link->fd, link->input + link->have, FRAME_SIZE_MAX - link->have);

		if (r <= 0)
			die("read");
		link->have += (size_t)r;
		input = span_of(link->input, link->have);
	} while (frame_next(&frame, &input) == 0);
	open_answer(link, &frame);
	link->have = 0;
}

/* -- the driver: a closed loop over any number of connections ------------------------------ */

static void ask(struct link *link)
{
	static const uint8_t zeros[600];

	if (link->sealed)
		send_get(link);
	else
		write_all(link->fd, zeros, request_size);
}

/* Takes what has come. Returns whether the answer is whole. */
static bool take(struct link *link)
{
	ssize_t r = read(link->fd, link->input + link->have, FRAME_SIZE_MAX - link->have);
	struct span input;
	struct frame frame;

	if (r <= 0)
		die("read");
	link->have += (size_t)r;
	if (!link->sealed) {
		if (link->have < answer_size)
			return false;
		link->have = 0;
		return true;
	}
	input = span_of(link->input, link->have);
	if (frame_next(&frame, &input) == 0)
		return false;
	open_answer(link, &frame);
	answer_size = link->have;
	link->have = 0;
	return true;
}

static struct measure drive(struct link *links, int count, pid_t server)
{
	struct epoll_event events[CLIENTS_MAX];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begin, cpu, done = 0, elapsed;

	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &links[i] };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, links[i].fd, &event) < 0)
			die("epoll");
	}
	begin = clock_ns(CLOCK_MONOTONIC);
	cpu = cpu_ns(server);
	for (int i = 0; i < count; i++)
		ask(&links[i]);
	for (int waiting = count; waiting > 0;) {
		int ready = epoll_wait(epoll, events, CLIENTS_MAX, -1);
		bool over = clock_ns(CLOCK_MONOTONIC) - begin >= ROUND_NS;

		for (int i = 0; i < ready; i++) {
			if (!take(events[i].data.ptr))
				continue;
			done++;
			if (over)
				waiting--;
			else
				ask(events[i].data.ptr);
		}
	}
	elapsed = clock_ns(CLOCK_MONOTONIC) - begin;
	cpu = cpu_ns(server) - cpu;
	close(epoll);
	return (struct measure){ .rate = (double)done * 1e9 / (double)elapsed,
		.server = (double)cpu / 1e3 / (double)done };
}

/* -- the ping-pong ------------------------------------------------------------------------- */

/* Reads requests and writes answers of fixed sizes, and does nothing else. */
static void pong(int *fds, int count, size_t request, size_t answer)
{
	static uint8_t bytes[FRAME_SIZE_MAX];
	struct epoll_event events[CLIENTS_MAX];
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = fds[i] };

		epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
	}
	for (;;) {
		int ready = epoll_wait(epoll, events, CLIENTS_MAX, -1);

		for (int i = 0; i < ready; i++) {
			if (read(events[i].data.fd, bytes, request) <= 0)
				_exit(0);
			write_all(events[i].data.fd, bytes, answer);
		}
	}
}

static void start_pong(struct link *links, int count)
{
	int fds[CLIENTS_MAX];

	for (int i = 0; i < count; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			die("socketpair");
		links[i].fd = pair[0];
		fds[i] = pair[1];
	}
	pong_pid = fork();
	if (pong_pid < 0)
		die("fork");
	if (pong_pid == 0) {
		/* Nobody but us holds the other ends, so that we end with the driver. */
		for (int i = 0; i < count; i++)
			close(links[i].fd);
		pong(fds, count, request_size, answer_size);
	}
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

/* -- one table row ------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), by_value);
	return values[ROUNDS / 2];
}

static void row(size_t size, int clients)
{
	static struct link ours[CLIENTS_MAX], theirs[CLIENTS_MAX];
	double rate[ROUNDS], bare[ROUNDS], ratio[ROUNDS], cpu[ROUNDS], bare_cpu[ROUNDS];

	for (int i = 0; i < clients; i++) {
		ours[i] = (struct link){ .fd = connect_to_daemon(), .sealed = true };
		ours[i].input = malloc(FRAME_SIZE_MAX);
		theirs[i] = (struct link){ .input = malloc(FRAME_SIZE_MAX) };
		shake_hands(&ours[i]);
	}
	store_value(&ours[0], size);
	drive(ours, clients, daemon_pid); /* warms up, and tells the sizes */
	start_pong(theirs, clients);
	for (int i = 0; i < ROUNDS; i++) {
		struct measure a = drive(ours, clients, daemon_pid);
		struct measure b = drive(theirs, clients, pong_pid);

		rate[i] = a.rate;
		cpu[i] = a.server;
		bare[i] = b.rate;
		bare_cpu[i] = b.server;
		ratio[i] = a.rate / b.rate;
	}
	printf("%6zu B %3d client%s %10.0f/s %10.0f/s %6.2f %9.2f us %9.2f us\n", size, clients,
		clients == 1 ? " " : "s", median(rate), median(bare), median(ratio), median(cpu),
		median(bare_cpu));
	fflush(stdout);
	for (int i = 0; i < clients; i++) {
		close(ours[i].fd);
		close(theirs[i].fd);
		free(ours[i].input);
		free(theirs[i].input);
	}
	waitpid(pong_pid, NULL, 0);
	pong_pid = 0;
}

static void start_daemon(void)
{
	const char *program = getenv("MEMGUARDD");

	if (!program || !mkdtemp(folder)) {
		fprintf(stderr, "bench: MEMGUARDD must name the daemon\n");
		exit(1);
	}
	snprintf(socket_path, sizeof(socket_path), "%s/socket", folder);
	daemon_pid = fork();
	if (daemon_pid == 0) {
		execl(program, program, "--socket", socket_path, (char *)NULL);
		_exit(127);
	}
	close(connect_to_daemon());
}

static void stop_daemon(void)
{
	kill(daemon_pid, SIGTERM);
	waitpid(daemon_pid, NULL, 0);
	rmdir(folder);
}

int main(void)
{
	static const size_t sizes[] = { 64, 16384 };

	rig_init(&rig);
	start_daemon();
	printf("gets, closed loop, median of %d rounds beside a bare read/write ping-pong of the "
	       "same "
	       "sizes\n",
		ROUNDS);
	printf("   value  clients    memguardd    ping-pong  ratio  daemon CPU  ping-pong CPU\n");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		row(sizes[i], 1);
		row(sizes[i], CLIENTS_MAX);
	}
	stop_daemon();
	return 0;
}
