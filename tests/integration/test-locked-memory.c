/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bare.h"
#include "tests/unit/claims.h"

/*
 * Locked memory is constant: at most 64 KiB, whatever the number of secrets and sessions and
 * whatever is on its way. The daemon runs under `ulimit -l 64` without CAP_IPC_LOCK, because root
 * with that capability is held to no limit.
 */

#define LIMIT ((size_t)64 * 1024)
#define LARGE ((size_t)64 * 1024 * 1024)
#define MANY_SECRETS 100000
#define MANY_SESSIONS 1000
#define HALF_FRAMES 50

static struct bare_daemon house;
static uint8_t *large, *fetched;

static bool sanitized(void)
{
	const char *value = getenv("SANITIZED");

	return value && *value;
}

static void set_up(void)
{
	static const char *const arguments[] = { "--max-value", "64m", NULL };
	struct rlimit limit = { LIMIT, LIMIT };

	if (sodium_init() < 0)
		abort();
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(prctl(PR_CAPBSET_DROP, 14 /* CAP_IPC_LOCK */), 0);
	bare_start(&house, arguments);
	large = malloc(LARGE);
	fetched = malloc(LARGE);
	ck_assert(large && fetched);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
}

static void tear_down(void)
{
	int status = bare_stop(&house);

	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	free(large);
	free(fetched);
}

/* Above 0 and at most 64 KiB, or skipped where the sanitizers fake mlock. Returns the figure. */
static size_t locked(void)
{
	size_t bytes = bare_locked(house.pid);

	ck_assert_uint_gt(bytes, 0);
	ck_assert_uint_le(bytes, LIMIT);
	return bytes;
}

START_TEST(a_hundred_thousand_secrets_lock_no_more_than_none)
{
	struct bare bare;
	size_t before;
	char name[32];
	uint8_t value[64];

	if (sanitized()) {
		printf("SKIP: a_hundred_thousand_secrets_lock_no_more_than_none: sanitizers\n");
		return;
	}
	before = locked();
	bare_open(&bare, house.path);
	for (int i = 0; i < MANY_SECRETS; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		memset(value, i, sizeof(value));
		ck_assert_int_eq(bare_set(&bare, name, value, sizeof(value)), 0);
	}
	ck_assert_uint_eq(locked(), before);
	bare_close(&bare);
}
END_TEST

START_TEST(a_thousand_sessions_lock_no_more_than_none)
{
	static struct bare sessions[MANY_SESSIONS];
	struct rlimit limit;
	size_t before, size;
	uint8_t value[16];

	if (sanitized()) {
		printf("SKIP: a_thousand_sessions_lock_no_more_than_none: sanitizers\n");
		return;
	}
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < 2 * MANY_SESSIONS + 100) {
		printf("SKIP: a_thousand_sessions_lock_no_more_than_none: the limit of descriptors "
		       "is "
		       "%lu\n",
			(unsigned long)limit.rlim_max);
		return;
	}
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	before = locked();
	for (int i = 0; i < MANY_SESSIONS; i++)
		bare_open(&sessions[i], house.path);
	ck_assert_uint_eq(locked(), before);
	ck_assert_int_eq(bare_set(&sessions[0], "a", (const uint8_t *)"0123456789abcdef", 16), 0);
	for (int i = 0; i < MANY_SESSIONS; i++) {
		ck_assert_int_eq(bare_get(&sessions[i], "a", value, sizeof(value), &size), 0);
		ck_assert_mem_eq(value, "0123456789abcdef", 16);
	}
	ck_assert_uint_eq(locked(), before);
	for (int i = 0; i < MANY_SESSIONS; i++)
		bare_close(&sessions[i]);
}
END_TEST

/* Watches the figure while the parent stores and fetches; ends with 0 when it never changed. */
static pid_t watch(size_t expected)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	for (;;) {
		if (bare_locked(house.pid) != expected)
			_exit(1);
		usleep(1000);
	}
}

static void watched_well(pid_t watcher)
{
	int status;

	kill(watcher, SIGKILL);
	ck_assert_int_eq(waitpid(watcher, &status, 0), watcher);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

START_TEST(sixty_four_mebibytes_in_and_out_lock_no_more_than_nothing)
{
	struct bare bare;
	pid_t watcher;
	size_t size;

	if (sanitized()) {
		printf("SKIP: sixty_four_mebibytes_in_and_out_lock_no_more_than_nothing: "
		       "sanitizers\n");
		return;
	}
	watcher = watch(locked());
	bare_open(&bare, house.path);
	ck_assert_int_eq(bare_set(&bare, "large", large, LARGE), 0);
	ck_assert_int_eq(bare_get(&bare, "large", fetched, LARGE, &size), 0);
	watched_well(watcher);
	ck_assert_uint_eq(size, LARGE);
	ck_assert(memcmp(large, fetched, LARGE) == 0);
	bare_close(&bare);
}
END_TEST

START_TEST(half_sent_frames_lock_nothing_and_hold_nobody_up)
{
	static struct bare halves[HALF_FRAMES];
	static uint8_t out[FRAME_SIZE_MAX], chunks[FRAME_CHUNKS_MAX];
	uint8_t key[ENCLAVE_KEY_SIZE] = { 1 };
	struct request set = { .id = 1,
		.verb = VERB_SET,
		.numbered = true,
		.name = span_text("half"),
		.key = key,
		.chunked = true,
		.chunks = { .count = 4, .last = ENCLAVE_CHUNK_SIZE } };
	struct bare other;
	uint8_t value[5];
	size_t before, size;

	if (sanitized()) {
		printf("SKIP: half_sent_frames_lock_nothing_and_hold_nobody_up: sanitizers\n");
		return;
	}
	before = locked();
	for (int i = 0; i < HALF_FRAMES; i++) {
		bare_open(&halves[i], house.path);
		size = bare_seal(&halves[i], out, &set, span_of(chunks, sizeof(chunks)));
		bare_write(halves[i].fd, out, size / 2);
	}
	bare_open(&other, house.path);
	ck_assert_int_eq(bare_set(&other, "other", (const uint8_t *)"value", 5), 0);
	ck_assert_int_eq(bare_get(&other, "other", value, sizeof(value), &size), 0);
	ck_assert_mem_eq(value, "value", 5);
	ck_assert_uint_eq(locked(), before);
	for (int i = 0; i < HALF_FRAMES; i++)
		bare_close(&halves[i]);
	bare_close(&other);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("locked memory");

	tcase_set_timeout(claims, 120);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_hundred_thousand_secrets_lock_no_more_than_none);
	tcase_add_test(claims, a_thousand_sessions_lock_no_more_than_none);
	tcase_add_test(claims, sixty_four_mebibytes_in_and_out_lock_no_more_than_nothing);
	tcase_add_test(claims, half_sent_frames_lock_nothing_and_hold_nobody_up);
	return claims_run(claims, "locked memory");
}
