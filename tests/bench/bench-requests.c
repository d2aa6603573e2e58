/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/memory/enclave.h"
#include "common/wire/message.h"
#include "tests/bare.h"

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
	struct bare bare;
	bool sealed; /* speaks our protocol */
};

struct measure {
	double rate;   /* requests a second */
	double server; /* microseconds of the server's processor time a request */
};

static struct bare_daemon house;
static pid_t pong_pid;
static size_t request_size, answer_size;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0)
		bare_die("clock_gettime");
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_ns(pid_t pid)
{
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0)
		bare_die("clock_getcpuclockid");
	return clock_ns(clock);
}

static void send_get(struct link *link)
{
	uint8_t out[600];
	struct request get = { .id = 1, .verb = VERB_GET, .name = span_text("bench/value") };

	request_size = bare_seal(&link->bare, out, &get, span_of(NULL, 0));
	bare_write(link->bare.fd, out, request_size);
}

/* Opens an answer as a library would: frame, message, chunk. */
static void open_answer(struct link *link)
{
	static uint8_t value[ENCLAVE_CHUNK_PLAIN];
	struct reply reply;

	answer_size = link->bare.have;
	bare_receive(&link->bare, &reply);
	if (reply.code != 0 ||
		enclave_open_chunk(value, reply.bytes.data, reply.bytes.size, 0, true, reply.key) <
			0)
		bare_die("an answer");
}

/* -- the driver: a closed loop over any number of connections ------------------------------ */

static void ask(struct link *link)
{
	static const uint8_t zeros[600];

	if (link->sealed)
		send_get(link);
	else
		bare_write(link->bare.fd, zeros, request_size);
}

/* Takes what has come. Returns whether the answer is whole. */
static bool take(struct link *link)
{
	struct bare *bare = &link->bare;
	ssize_t r;

	if (link->sealed) {
		if (!bare_ready(bare))
			return false;
		open_answer(link);
		return true;
	}
	r = read(bare->fd, bare->input + bare->have, FRAME_SIZE_MAX - bare->have);
	if (r <= 0)
		bare_die("read");
	bare->have += (size_t)r;
	if (bare->have < answer_size)
		return false;
	bare->have = 0;
	return true;
}

static struct measure drive(struct link *links, int count, pid_t server)
{
	struct epoll_event events[CLIENTS_MAX];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begin, cpu, done = 0, elapsed;

	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &links[i] };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, links[i].bare.fd, &event) < 0)
			bare_die("epoll");
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
			bare_write(events[i].data.fd, bytes, answer);
		}
	}
}

static void start_pong(struct link *links, int count)
{
	int fds[CLIENTS_MAX];

	for (int i = 0; i < count; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			bare_die("socketpair");
		links[i].bare.fd = pair[0];
		fds[i] = pair[1];
	}
	pong_pid = fork();
	if (pong_pid < 0)
		bare_die("fork");
	if (pong_pid == 0) {
		/* Nobody but us holds the other ends, so that we end with the driver. */
		for (int i = 0; i < count; i++)
			close(links[i].bare.fd);
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
	static const uint8_t value[ENCLAVE_CHUNK_PLAIN] = { 1 };
	static struct link ours[CLIENTS_MAX], theirs[CLIENTS_MAX];
	double rate[ROUNDS], bare[ROUNDS], ratio[ROUNDS], cpu[ROUNDS], bare_cpu[ROUNDS];

	for (int i = 0; i < clients; i++) {
		bare_open(&ours[i].bare, house.path);
		ours[i].sealed = true;
		theirs[i] = (struct link){ .bare.input = malloc(FRAME_SIZE_MAX) };
		if (!theirs[i].bare.input)
			bare_die("malloc");
	}
	if (bare_set(&ours[0].bare, "bench/value", value, size) != 0)
		bare_die("set");
	drive(ours, clients, house.pid); /* warms up, and tells the sizes */
	start_pong(theirs, clients);
	for (int i = 0; i < ROUNDS; i++) {
		struct measure a = drive(ours, clients, house.pid);
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
		bare_close(&ours[i].bare);
		bare_close(&theirs[i].bare);
	}
	waitpid(pong_pid, NULL, 0);
	pong_pid = 0;
}

int main(void)
{
	static const size_t sizes[] = { 64, 16384 };

	if (sodium_init() < 0)
		return 1;
	bare_start(&house, NULL);
	printf("gets, closed loop, median of %d rounds beside a bare read/write ping-pong of the "
	       "same "
	       "sizes\n",
		ROUNDS);
	printf("   value  clients    memguardd    ping-pong  ratio  daemon CPU  ping-pong CPU\n");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		row(sizes[i], 1);
		row(sizes[i], CLIENTS_MAX);
	}
	return bare_stop(&house) == 0 ? 0 : 1;
}
