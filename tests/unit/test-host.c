/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/*
 * A service that keeps secrets, enclaves and streams in its own process, purges included, is what
 * it was before: the library touches nothing of its host unasked.
 */

#define SIGNALS 64
#define NEED MG_MEMORY_PREFER_LOCK

/* What a signal does. */
struct action {
	void (*handler)(int);
	uint64_t blocked;
	int64_t flags;
};

/* All that others can see, or that works differently afterwards. */
struct host {
	struct action actions[SIGNALS + 1];
	sigset_t mask;
	struct rlimit limits[RLIMIT_NLIMITS];
	int dumpable;
	int no_new_privileges;
	int parents_end; /* the signal that comes then */
	mode_t umask;
	size_t threads;
	char descriptors[4096];
};

static size_t count_threads(void)
{
	DIR *folder = opendir("/proc/self/task");
	size_t count = 0;

	ck_assert_ptr_nonnull(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count;
}

/* Of a set of signals the kernel fills in 64 bits, and the rest is anything. */
static struct action action_of(int number)
{
	struct sigaction now;
	struct action action = { 0 };

	if (sigaction(number, NULL, &now) < 0)
		return action; /* the C library keeps that one to itself */
	action.handler = now.sa_handler;
	action.flags = now.sa_flags & ~0x04000000; /* SA_RESTORER, the C library's business */
	memcpy(&action.blocked, &now.sa_mask, sizeof(action.blocked));
	return action;
}

static void look(struct host *host)
{
	memset(host, 0, sizeof(*host));
	for (int number = 1; number <= SIGNALS; number++)
		host->actions[number] = action_of(number);
	sigprocmask(SIG_SETMASK, NULL, &host->mask);
	for (int limit = 0; limit < RLIMIT_NLIMITS; limit++)
		ck_assert_int_eq(getrlimit((__rlimit_resource_t)limit, &host->limits[limit]), 0);
	host->dumpable = prctl(PR_GET_DUMPABLE);
	host->no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	ck_assert_int_eq(prctl(PR_GET_PDEATHSIG, &host->parents_end), 0);
	host->umask = umask(0);
	umask(host->umask);
	host->threads = count_threads();
	list_descriptors(host->descriptors, sizeof(host->descriptors));
}

/* What differs; NULL: nothing does. */
static const char *difference(const struct host *a, const struct host *b)
{
	if (memcmp(a->actions, b->actions, sizeof(a->actions)) != 0)
		return "what signals do";
	if (memcmp(&a->mask, &b->mask, sizeof(a->mask)) != 0)
		return "signals that are blocked";
	if (memcmp(a->limits, b->limits, sizeof(a->limits)) != 0)
		return "limits";
	if (a->dumpable != b->dumpable || a->no_new_privileges != b->no_new_privileges ||
		a->parents_end != b->parents_end || a->umask != b->umask)
		return "what the process is";
	if (strcmp(a->descriptors, b->descriptors) != 0)
		return "descriptors";
	return a->threads == b->threads ? NULL : "threads";
}

static void use_all(void)
{
	MG_AUTO_SECRET struct mg_secret *own = NULL, *shared = NULL, *opened = NULL, *next = NULL;
	MG_AUTO_ENCLAVE struct mg_enclave *enclave = NULL;
	MG_AUTO_STREAM struct mg_stream *stream = NULL;
	uint8_t copy[32] = "thirty-two bytes of a password.";

	ck_assert_int_eq(mg_secret_new(&own, 20000, NEED), MG_OK);
	ck_assert_int_eq(mg_secret_freeze(own), MG_OK);
	ck_assert_int_eq(mg_secret_melt(own), MG_OK);
	ck_assert_int_eq(mg_secret_random(&shared, 32, NEED), MG_OK);
	ck_assert_int_eq(mg_secret_melt(shared), MG_OK);
	ck_assert_int_eq(mg_enclave_seal(&enclave, own), MG_OK);
	ck_assert_int_eq(mg_enclave_open(enclave, &opened, NEED), MG_OK);
	ck_assert_int_eq(mg_stream_new(&stream), MG_OK);
	ck_assert_int_eq(mg_stream_write(stream, copy, sizeof(copy)), MG_OK);
	ck_assert_int_eq(mg_stream_next(stream, &next, NEED), MG_OK);
	/* What fails says nothing aloud either. */
	ck_assert_int_eq(mg_secret_copy(opened, copy, 1), MG_FROZEN);
	mg_purge_local();
	ck_assert_int_eq(mg_enclave_open(enclave, &opened, NEED), MG_GONE);
}

/* Where the process's own words go from now on. */
static int listen_to_itself(void)
{
	int file = memfd_create("words", MFD_CLOEXEC);

	ck_assert_int_ge(file, 0);
	ck_assert_int_ge(dup2(file, STDOUT_FILENO), 0);
	ck_assert_int_ge(dup2(file, STDERR_FILENO), 0);
	return file;
}

START_TEST(what_is_kept_in_process_leaves_the_host_as_it_was)
{
	static struct host before, after;
	int words = listen_to_itself();

	look(&before);
	for (int i = 0; i < 3; i++)
		use_all();
	look(&after);
	ck_assert_pstr_eq(difference(&after, &before), NULL);
	ck_assert_int_eq(lseek(words, 0, SEEK_END), 0);
}
END_TEST

/* The control, and what is only there on request. */
START_TEST(signals_are_caught_on_request_and_given_back)
{
	static struct host before, after;

	look(&before);
	ck_assert_int_eq(mg_catch_signals((const int[]){ SIGUSR1, 0 }, NULL), MG_OK);
	look(&after);
	ck_assert_str_eq(difference(&after, &before), "what signals do");
	ck_assert_uint_gt(after.threads, before.threads);
	ck_assert_int_eq(mg_catch_signals(NULL, NULL), MG_OK);
	look(&after);
	ck_assert_mem_eq(after.actions, before.actions, sizeof(after.actions));
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("host");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_add_test(claims, what_is_kept_in_process_leaves_the_host_as_it_was);
	tcase_add_test(claims, signals_are_caught_on_request_and_given_back);
	return claims_run(claims, "the host");
}
