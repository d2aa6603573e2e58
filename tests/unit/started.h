/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <fcntl.h>
#include <sys/wait.h>

#include "tests/unit/listener_rig.h"

/* A process as the service manager starts it, with descriptors from 3 on (sd_listen_fds(3)). */

#define FIRST 3
#define STARTED_MAX 8

typedef void claim_fn(void);

/* What the next process is started with. */
static struct {
	int fds[STARTED_MAX];
	size_t count;
	const char *pid;   /* NULL: its own */
	const char *said;  /* LISTEN_FDS; NULL: as many as there are */
	const char *names; /* LISTEN_FDNAMES; NULL: none */
} start = { .names = "memguardd" };

/* Descriptors as the service manager hands them over: from 3 on, whoever used those numbers. */
static inline void become_started(void)
{
	char text[16];
	int high[STARTED_MAX];

	for (size_t i = 0; i < start.count; i++) {
		high[i] = fcntl(start.fds[i], F_DUPFD, 100);
		MUST(high[i] >= 0);
	}
	for (size_t i = 0; i < start.count; i++) {
		MUST(dup2(high[i], FIRST + (int)i) == FIRST + (int)i);
		close(high[i]);
	}
	snprintf(text, sizeof(text), "%ld", (long)getpid());
	MUST(setenv("LISTEN_PID", start.pid ? start.pid : text, 1) == 0);
	snprintf(text, sizeof(text), "%zu", start.count);
	MUST(setenv("LISTEN_FDS", start.said ? start.said : text, 1) == 0);
	if (start.names)
		MUST(setenv("LISTEN_FDNAMES", start.names, 1) == 0);
}

/* Runs a claim in a process of its own, whose descriptors are none of the test library's. */
static inline void when_started(claim_fn *claim)
{
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		become_started();
		claim();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}

static inline void hand_over(int fd)
{
	ck_assert_uint_lt(start.count, STARTED_MAX);
	start.fds[start.count++] = fd;
}
