/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bare.h"
#include "tests/unit/claims.h"

/*
 * Ten thousand clients that are killed in the middle of everything: with a secret that ends with
 * the session, one that ends with the process, a value half sent, a get that waits and one whose
 * chunks they never take. The daemon is afterwards what it was before.
 */

#define ROUNDS 100
#define ROUNDS_SANITIZED 20 /* memory that grows is not looked for there */
#define CLIENTS 100         /* in a round, all of one process */
#define WARM 10             /* rounds after which the daemon's memory has the size that it keeps */
#define GROWTH ((size_t)512 * 1024)
#define LARGE ((size_t)1 << 20)

static struct bare_daemon house;
static struct bare observer;
static uint8_t large[LARGE];

static void set_up(void)
{
	static const char *const arguments[] = { NULL };

	if (sodium_init() < 0)
		abort();
	bare_start(&house, arguments);
	bare_open(&observer, house.path);
	ck_assert_int_eq(bare_set(&observer, "large", large, sizeof(large)), 0);
}

static void tear_down(void)
{
	int status;

	bare_close(&observer);
	status = bare_stop(&house);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool sanitized(void)
{
	const char *value = getenv("SANITIZED");

	return value && *value;
}

/* -- what is looked at --------------------------------------------------------------------- */

struct look {
	uint64_t sessions;
	uint64_t secrets;
	uint64_t ledger;
	size_t locked;
	size_t resident;
	size_t descriptors;
};

static size_t resident_of(pid_t pid)
{
	char path[64];
	unsigned long pages = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
	file = fopen(path, "re");
	ck_assert(file && fscanf(file, "%*u %lu", &pages) == 1);
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* 0 for whoever may not see them: only root looks into a process that is not dumpable. */
static size_t descriptors_of(pid_t pid)
{
	char path[64];
	size_t count = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	folder = opendir(path);
	if (!folder && geteuid() != 0)
		return 0;
	ck_assert_ptr_nonnull(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static struct look look(void)
{
	static uint64_t id = 1u << 20;
	struct request request = { .id = id++, .verb = VERB_STATUS };
	struct reply reply;

	bare_send(&observer, &request, span_of(NULL, 0));
	bare_receive(&observer, &reply);
	ck_assert(reply.code == 0 && reply.body == BODY_STATE && reply.state.counts);
	return (struct look){ .sessions = reply.state.sessions,
		.secrets = reply.state.secrets,
		.ledger = reply.state.ledger,
		.locked = bare_locked(house.pid),
		.resident = resident_of(house.pid),
		.descriptors = descriptors_of(house.pid) };
}

static bool is_as_before(const struct look *now, const struct look *before)
{
	return now->sessions == before->sessions && now->secrets == before->secrets &&
		now->ledger == before->ledger && now->locked == before->locked &&
		now->descriptors == before->descriptors;
}

/* -- clients ------------------------------------------------------------------------------- */

static void send_set(struct bare *bare, uint64_t id, const char *name, size_t size,
	const struct lifetime *lifetime)
{
	static uint8_t sealed[ENCLAVE_CHUNK_SIZE];
	uint8_t key[ENCLAVE_KEY_SIZE];
	bool final = size <= ENCLAVE_CHUNK_PLAIN;
	size_t plain = final ? size : ENCLAVE_CHUNK_PLAIN;
	struct request request = { .id = id,
		.verb = VERB_SET,
		.numbered = true,
		.name = span_text(name),
		.key = key,
		.size = size,
		.lifetime = *lifetime,
		.chunked = true,
		.chunks = { .count = 1, .final = final } };

	enclave_draw_key(key);
	randombytes_buf(request.number, sizeof(request.number));
	enclave_seal_chunk(sealed, large, plain, 0, final, key);
	request.chunks.last = (uint32_t)(plain + ENCLAVE_TAG_SIZE);
	bare_send(bare, &request, span_of(sealed, request.chunks.last));
}

static void expect_stored(struct bare *bare, uint64_t id)
{
	struct reply reply;

	bare_receive(bare, &reply);
	if (reply.id != id || reply.code != 0)
		bare_die("a set was refused");
}

static void begin(struct bare *bare, int number)
{
	const struct lifetime session = { .session = true };
	const struct lifetime process = { .pid = (uint32_t)getpid(), .idle_ms = 3600000 };
	struct request waiting = {
		.id = 4, .verb = VERB_GET, .name = span_text("never"), .wait_ms = 3600000
	};
	struct request fetching = { .id = 5, .verb = VERB_GET, .name = span_text("large") };
	char name[32];

	bare_open(bare, house.path);
	snprintf(name, sizeof(name), "session/%d", number);
	send_set(bare, 1, name, 20, &session);
	expect_stored(bare, 1);
	snprintf(name, sizeof(name), "process/%d", number);
	send_set(bare, 2, name, ENCLAVE_CHUNK_PLAIN, &process);
	expect_stored(bare, 2);
	send_set(bare, 3, "half", LARGE, &process);
	bare_send(bare, &waiting, span_of(NULL, 0));
	bare_send(bare, &fetching, span_of(NULL, 0));
}

/* A process of a hundred clients, killed at the height of it. */
static void abandon(void)
{
	static struct bare clients[CLIENTS];
	int ready[2];
	pid_t child;
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		for (int i = 0; i < CLIENTS; i++)
			begin(&clients[i], i);
		if (write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

/* All of it is over soon, and a look in between serves nothing of it. */
static struct look settle(const struct look *before)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct look now = look();

	for (int i = 0; i < 4000 && !is_as_before(&now, before); i++) {
		nanosleep(&pause, NULL);
		now = look();
	}
	ck_assert_uint_eq(now.sessions, before->sessions);
	ck_assert_uint_eq(now.secrets, before->secrets);
	ck_assert_uint_eq(now.ledger, before->ledger);
	ck_assert_uint_eq(now.locked, before->locked);
	ck_assert_uint_eq(now.descriptors, before->descriptors);
	return now;
}

/* Pages of the ledger go back a step at a time, behind the last of what was abandoned. */
static size_t resident_within(size_t most)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	size_t resident = look().resident;

	for (int i = 0; i < 4000 && resident > most; i++) {
		nanosleep(&pause, NULL);
		resident = look().resident;
	}
	return resident;
}

START_TEST(ten_thousand_abandoned_clients_leave_nothing)
{
	struct look before = look();
	int rounds = sanitized() ? ROUNDS_SANITIZED : ROUNDS;
	size_t warm = 0;

	for (int i = 0; i < rounds; i++) {
		struct look now;

		abandon();
		now = settle(&before);
		if (i == WARM)
			warm = now.resident;
		if (i > WARM && !sanitized())
			ck_assert_uint_le(resident_within(warm + GROWTH), warm + GROWTH);
	}
}
END_TEST

/* What the test above compares does change while the clients are there. */
START_TEST(clients_that_are_there_are_seen)
{
	static struct bare clients[CLIENTS];
	struct look before = look();
	struct look now;

	for (int i = 0; i < CLIENTS; i++)
		begin(&clients[i], i);
	now = look();
	ck_assert_uint_eq(now.sessions, before.sessions + CLIENTS);
	ck_assert_uint_eq(now.secrets, before.secrets + 2 * (uint64_t)CLIENTS);
	ck_assert_uint_gt(now.ledger, before.ledger + CLIENTS * ENCLAVE_CHUNK_PLAIN);
	/* A session is one or two descriptors, the process one for all of them. */
	if (before.descriptors > 0)
		ck_assert_uint_ge(now.descriptors, before.descriptors + CLIENTS + 1);
	else
		puts("SKIP: descriptors of abandoned clients: only root sees the daemon's");
	for (int i = 0; i < CLIENTS; i++)
		bare_close(&clients[i]);
	while (look().sessions > before.sessions)
		usleep(1000);
	/* What hangs on this process, which lives on, stays. */
	while (look().secrets > before.secrets + CLIENTS)
		usleep(1000);
	ck_assert_uint_eq(look().secrets, before.secrets + CLIENTS);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("claims");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 200);
	tcase_add_test(claims, ten_thousand_abandoned_clients_leave_nothing);
	tcase_add_test(claims, clients_that_are_there_are_seen);
	return claims_run(claims, "abandoned");
}
