/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/memory/enclave.h"
#include "common/wire/message.h"
#include "tests/bare.h"
#include "tests/bench/measure.h"

/*
 * What one user waits for an answer while another one asks for as much as he can: quiet and flooded
 * rounds alternate in one run, and the ratio of the two is what counts. Those who flood are of
 * another uid, which takes root, and have the lowest priority; the daemon and who waits have one in
 * real time, where it can be had: what the kernel's scheduler makes of more programs than
 * processors is not ours. Nor is what a processor takes to wake up, which would make the quiet
 * rounds slow: each of them has something to do all the time.
 */

#define ROUNDS 9
#define ASKED 2000   /* gets a round */
#define PAUSE_US 200 /* between two of them */
#define FLOOD_UID 60001
#define FLOOD_CLIENTS 16  /* connections */
#define FLOOD_PIPELINE 32 /* requests sent at once on each */
#define FLOOD_NAMES 1000  /* that are listed */
#define FLOOD_CHUNK 16384 /* bytes of the value that comes with a request */
#define FLOOD_DRAWN 4096  /* of one that is drawn */

/*
 * Bytes that a system call of those who flood reads, or writes without a pause: a kernel that is
 * not preemptible takes no processor away in the midst of one, whoever waits for it.
 */
#define FLOOD_PIECE 8192

static struct bare_daemon house;

/* -- who floods ---------------------------------------------------------------------------- */

struct flood {
	const char *name;
	enum verb verb;
	size_t value;       /* bytes of what lies there */
	void (*come)(void); /* anew, again and again; NULL: it stays */
	bool limited;       /* by the quotas that there are by default */
};

/* A flood's request, with a value where it takes one. */
struct asked {
	struct request request;
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint8_t chunk[ENCLAVE_CHUNK_SIZE];
	struct span bytes; /* of it; or none */
};

static void fill(struct asked *asked, enum verb verb)
{
	struct request *request = &asked->request;

	*request = (struct request){ .verb = verb, .name = span_text("~/flood") };
	request->numbered = verb == VERB_SET || verb == VERB_GENERATE;
	randombytes_buf(request->number, sizeof(request->number));
	request->size = verb == VERB_GENERATE ? FLOOD_DRAWN : FLOOD_CHUNK;
	request->charset = CHARSET_ALNUM;
	request->details = true;
	asked->bytes = span_of(NULL, 0);
	if (verb != VERB_SET && verb != VERB_VERIFY)
		return;
	enclave_draw_key(asked->key);
	enclave_seal_chunk(asked->chunk, asked->chunk, FLOOD_CHUNK, 0, true, asked->key);
	request->key = asked->key;
	request->chunked = true;
	request->chunks =
		(struct chunks){ .count = 1, .last = sizeof(asked->chunk), .final = true };
	asked->bytes = span_of(asked->chunk, sizeof(asked->chunk));
}

/* Somebody else reads all answers and throws them away: who asks never waits for one. */
static void discard_answers(const struct bare *bare)
{
	static uint8_t in[FLOOD_PIECE];
	pid_t pid = fork();

	if (pid < 0)
		bare_die("fork");
	if (pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(bare->fd, in, sizeof(in)) > 0)
		;
	_exit(0);
}

/* Asks as often as the daemon takes it. */
static void ask_on(struct bare *bare, enum verb verb)
{
	static uint8_t out[FLOOD_PIPELINE * (600 + ENCLAVE_CHUNK_SIZE)];
	static struct asked asked;

	discard_answers(bare);
	fill(&asked, verb);
	for (;;) {
		size_t size = 0;

		for (int i = 0; i < FLOOD_PIPELINE; i++) {
			asked.request.id++;
			memcpy(asked.request.number, &asked.request.id, sizeof(asked.request.id));
			size += bare_seal(bare, out + size, &asked.request, asked.bytes);
		}
		bare_write(bare->fd, out, size);
	}
}

/* What is larger than a frame takes, one after another. */
static void set_on(struct bare *bare, size_t size)
{
	uint8_t *value = calloc(1, size);

	while (value && bare_set(bare, "~/flood", value, size) == 0)
		;
}

/* Says Hello, and goes with the answer, whatever that is. */
static void come_again(void)
{
	uint8_t hello[HELLO_SIZE];
	struct channel_pair pair;

	channel_draw(&pair);
	hello_write(hello, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CHACHA20_POLY1305, pair.open);
	for (;;) {
		uint8_t answer[HELLO_SIZE];
		int fd = bare_connect(house.path);

		/* It may have been turned away by now. */
		(void)!send(fd, hello, sizeof(hello), MSG_NOSIGNAL);
		(void)!read(fd, answer, sizeof(answer));
		close(fd);
	}
}

/* The least that one can do. */
static void knock(void)
{
	for (;;)
		close(bare_connect(house.path));
}

static const struct flood floods[] = {
	{ "gets of 64 bytes", VERB_GET, 64, NULL, false },
	{ "gets of 16 KiB", VERB_GET, 16384, NULL, false },
	{ "gets of 1 MiB", VERB_GET, (size_t)1 << 20, NULL, false },
	{ "sets of 16 KiB", VERB_SET, 64, NULL, false },
	{ "sets of 1 MiB", VERB_SET, (size_t)1 << 20, NULL, false },
	{ "generates of 4 KiB", VERB_GENERATE, 64, NULL, false },
	{ "verifies of 16 KiB", VERB_VERIFY, FLOOD_CHUNK, NULL, false },
	{ "lists of 1,000 names", VERB_LIST, 64, NULL, false },
	{ "connections", VERB_NONE, 0, come_again, true },
	{ "connections without quotas", VERB_NONE, 0, come_again, false },
	{ "connections without a Hello", VERB_NONE, 0, knock, true },
};

/* Comes after who waits. */
static pid_t fork_last(void)
{
	pid_t pid = fork();

	if (pid < 0)
		bare_die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 }) < 0)
		bare_die("sched_setscheduler");
	return 0;
}

/* Is somebody else, too. */
static pid_t fork_other(void)
{
	pid_t pid = fork_last();

	if (pid == 0 && (setgid(FLOOD_UID) < 0 || setuid(FLOOD_UID) < 0))
		bare_die("setuid");
	return pid;
}

/* Until we end. */
static void keep_awake(void)
{
	for (long i = sysconf(_SC_NPROCESSORS_ONLN); i > 0; i--)
		if (fork_last() == 0)
			for (volatile unsigned turn = 0;; turn++)
				;
}

/* Once for all of them: those that flood already would be in the way of the others. */
static void store_flood(const struct flood *flood)
{
	pid_t pid = fork_other();
	uint8_t *value;
	struct bare bare;
	int status;

	if (pid == 0) {
		value = calloc(1, flood->value);
		bare_open(&bare, house.path);
		if (!value || bare_set(&bare, "~/flood", value, flood->value) != 0)
			bare_die("set");
		for (int i = 1; i < FLOOD_NAMES && flood->verb == VERB_LIST; i++) {
			char name[32];

			snprintf(name, sizeof(name), "~/flood/%d", i);
			if (bare_set(&bare, name, value, flood->value) != 0)
				bare_die("set");
		}
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		bare_die("what is to be fetched is not there");
}

/* What is sent: who has filled it sleeps, and goes on in a moment. */
static void keep_short(const struct bare *bare)
{
	int piece = FLOOD_PIECE;

	if (setsockopt(bare->fd, SOL_SOCKET, SO_SNDBUF, &piece, sizeof(piece)) < 0)
		bare_die("setsockopt");
}

static pid_t start_one(const struct flood *flood)
{
	pid_t pid = fork_other();
	struct bare bare;

	if (pid != 0)
		return pid;
	if (flood->come)
		flood->come();
	bare_open(&bare, house.path);
	keep_short(&bare);
	if (flood->verb == VERB_SET && flood->value > FLOOD_CHUNK)
		set_on(&bare, flood->value);
	ask_on(&bare, flood->verb);
	_exit(0);
}

static void start_all(const struct flood *flood, pid_t pids[FLOOD_CLIENTS])
{
	if (flood->value > 0)
		store_flood(flood);
	for (int i = 0; i < FLOOD_CLIENTS; i++)
		pids[i] = start_one(flood);
	usleep(200000);
}

static void end_all(const pid_t pids[FLOOD_CLIENTS])
{
	for (int i = 0; i < FLOOD_CLIENTS; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < FLOOD_CLIENTS; i++)
		waitpid(pids[i], NULL, 0);
	usleep(100000);
}

/* -- who waits ----------------------------------------------------------------------------- */

struct waits {
	double half; /* microseconds that half of the gets take at most */
	double most; /* the same of 99 in 100 */
	double busy; /* part of the time in which the daemon has a processor */
};

/* Microseconds of it that the daemon has had. */
static double daemon_clock_us(void)
{
	struct timespec spent;
	clockid_t clock;

	if (clock_getcpuclockid(house.pid, &clock) != 0 || clock_gettime(clock, &spent) < 0)
		bare_die("the daemon's clock");
	return (double)spent.tv_sec * 1e6 + (double)spent.tv_nsec / 1e3;
}

static struct waits ask(struct bare *bare)
{
	static double took[ASKED];
	double begin_us = measure_clock_us(), spent_us = daemon_clock_us();
	uint8_t value[64];
	size_t size;

	for (int i = 0; i < ASKED; i++) {
		double begin;

		usleep(PAUSE_US);
		begin = measure_clock_us();
		if (bare_get(bare, "bench/value", value, sizeof(value), &size) != 0)
			bare_die("get");
		took[i] = measure_clock_us() - begin;
	}
	spent_us = daemon_clock_us() - spent_us;
	begin_us = measure_clock_us() - begin_us;
	qsort(took, ASKED, sizeof(took[0]), measure_by_value);
	return (struct waits){ took[ASKED / 2], took[ASKED / 100 * 99], spent_us / begin_us };
}

static double middle(double values[ROUNDS])
{
	qsort(values, ROUNDS, sizeof(values[0]), measure_by_value);
	return values[ROUNDS / 2];
}

/* What the daemon says of those who flood it is nothing to read. */
static void start_silently(const char *const *arguments)
{
	int heard = dup(STDERR_FILENO);
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (heard < 0 || nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0)
		bare_die("/dev/null");
	bare_start(&house, arguments);
	(void)dup2(heard, STDERR_FILENO);
	close(heard);
	close(nowhere);
}

/* A daemon with the quotas that the flood is held to, and something in it. */
static void begin(struct bare *bare, const struct flood *flood)
{
	static const uint8_t value[64] = { 1 };
	static const char *const limited[] = { "--socket-mode", "0666", NULL };
	static const char *const unlimited[] = { "--socket-mode", "0666", "--quota-handshakes=no",
		"--quota-inflight=no", "--quota-sessions=no", NULL };

	start_silently(flood->limited ? limited : unlimited);
	/* The others come as somebody else. */
	if (chmod(house.folder, 0755) < 0)
		bare_die("chmod");
	bare_open(bare, house.path);
	if (bare_set(bare, "bench/value", value, sizeof(value)) != 0)
		bare_die("set");
}

static void row(const struct flood *flood)
{
	double half[2][ROUNDS], most[2][ROUNDS], ratio[ROUNDS], busy[ROUNDS];
	pid_t pids[FLOOD_CLIENTS];
	struct bare bare;

	begin(&bare, flood);
	for (int i = 0; i < ROUNDS; i++) {
		struct waits quiet = ask(&bare);
		struct waits flooded;

		start_all(flood, pids);
		flooded = ask(&bare);
		end_all(pids);
		half[0][i] = quiet.half;
		half[1][i] = flooded.half;
		most[0][i] = quiet.most;
		most[1][i] = flooded.most;
		ratio[i] = flooded.most / quiet.most;
		busy[i] = 100 * flooded.busy;
	}
	bare_close(&bare);
	if (bare_stop(&house) != 0)
		bare_die("the daemon's end");
	printf("%-28s %7.0f us %7.0f us %7.0f us %7.0f us %6.2f %9.0f %%\n", flood->name,
		middle(half[0]), middle(most[0]), middle(half[1]), middle(most[1]), middle(ratio),
		middle(busy));
	fflush(stdout);
}

int main(int count, char **words)
{
	if (geteuid() != 0) {
		puts("skipped: a second user takes root");
		return 0;
	}
	if (sodium_init() < 0)
		return 1;
	/* The daemon has it from here; those who flood give it up. */
	if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }) < 0)
		puts("no real-time priority: the scheduler is measured, too");
	keep_awake();
	printf("gets of 64 bytes by one user while %d connections of another one flood the daemon; "
	       "median of %d rounds\n",
		FLOOD_CLIENTS, ROUNDS);
	printf("flood                         quiet p50  quiet p99   flood p50  flood p99  ratio "
	       "of "
	       "p99  daemon busy\n");
	/* With a word, those rows that have it in their name. */
	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++)
		if (count < 2 || strstr(floods[i].name, words[1]))
			row(&floods[i]);
	return 0;
}
