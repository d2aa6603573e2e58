/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/memory/enclave.h"
#include "client/lib/memory/strongroom.h"
#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"
#include "tests/unit/world.h"

/* A service that wipes everything it has. */

#define SMALL 32
#define LARGE 5000

static struct mg_secret *writable, *frozen, *shared;
static struct mg_enclave *enclave;
static struct mg_stream *stream;

static struct mg_secret *drawn(size_t size)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_secret_random(&secret, size, MG_MEMORY_PREFER_LOCK), MG_OK);
	return secret;
}

static void make_all(void)
{
	uint8_t bytes[SMALL] = { 1 };

	ck_assert_int_eq(mg_secret_new(&writable, SMALL, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_int_eq(mg_secret_scramble(writable), MG_OK);
	frozen = drawn(LARGE);
	shared = drawn(SMALL);
	ck_assert_int_eq(mg_enclave_random(&enclave, SMALL), MG_OK);
	ck_assert_int_eq(mg_stream_new(&stream), MG_OK);
	ck_assert_int_eq(mg_stream_write(stream, bytes, SMALL), MG_OK);
}

static void free_all(void)
{
	mg_secret_cleanup(&writable);
	mg_secret_cleanup(&frozen);
	mg_secret_cleanup(&shared);
	mg_enclave_cleanup(&enclave);
	mg_stream_cleanup(&stream);
}

static void is_dead(struct mg_secret *secret)
{
	uint8_t byte = 0;

	ck_assert(!mg_secret_alive(secret));
	ck_assert(!mg_secret_mutable(secret));
	ck_assert_uint_eq(mg_secret_size(secret), 0);
	ck_assert_ptr_null(mg_secret_data(secret));
	ck_assert_ptr_null(mg_secret_writable(secret));
	ck_assert_ptr_null(mg_secret_items(secret, 1, 1, NULL));
	ck_assert_int_eq(mg_secret_freeze(secret), MG_GONE);
	ck_assert_int_eq(mg_secret_melt(secret), MG_GONE);
	ck_assert_int_eq(mg_secret_read_at(secret, 0, &byte, 1), MG_GONE);
	ck_assert_int_eq(mg_secret_copy_at(secret, 0, &byte, 1), MG_GONE);
	ck_assert_int_eq(mg_secret_scramble(secret), MG_GONE);
	ck_assert_int_eq(mg_enclave_seal(&(struct mg_enclave *){ NULL }, secret), MG_GONE);
	ck_assert(strstr(mg_last_error(), "purged"));
	ck_assert(!mg_secret_equal(secret, "", 0));
}

START_TEST(a_purge_kills_secrets_enclaves_and_streams)
{
	struct mg_secret *opened = NULL;
	uint8_t bytes[SMALL];
	size_t size = 1;

	make_all();
	mg_purge_local();
	is_dead(writable);
	is_dead(frozen);
	is_dead(shared);
	ck_assert_int_eq(mg_enclave_open(enclave, &opened, MG_MEMORY_PREFER_LOCK), MG_GONE);
	ck_assert_ptr_null(opened);
	ck_assert_int_eq(mg_stream_read(stream, bytes, SMALL, &size), MG_GONE);
	ck_assert_uint_eq(size, 0);
	ck_assert_int_eq(mg_stream_write(stream, bytes, SMALL), MG_GONE);
	ck_assert_uint_eq(mg_stream_size(stream), 0);
	free_all();
}
END_TEST

START_TEST(who_reads_on_meets_zeros_and_no_fault)
{
	const uint8_t *seen[3];

	make_all();
	seen[0] = mg_secret_data(writable);
	seen[1] = mg_secret_data(frozen);
	seen[2] = mg_secret_data(shared);
	for (size_t i = 0; i < 3; i++)
		ck_assert(!all_are(seen[i], SMALL, 0));
	mg_purge_local();
	for (size_t i = 0; i < 3; i++)
		ck_assert(all_are(seen[i], i == 1 ? LARGE : SMALL, 0));
	free_all();
}
END_TEST

/* Not the number tells that it is dead: the masters are really others. */
START_TEST(no_enclave_opens_that_pretends_to_be_new)
{
	struct mg_secret *opened = NULL;

	make_all();
	mg_purge_local();
	enclave->generation = strongroom_generation();
	ck_assert_int_eq(mg_enclave_open(enclave, &opened, MG_MEMORY_PREFER_LOCK), MG_INTEGRITY);
	free_all();
}
END_TEST

START_TEST(what_is_made_afterwards_works)
{
	struct mg_secret *opened = NULL;
	size_t before;

	make_all();
	free_all();
	before = status_kb("VmLck:");
	for (int i = 0; i < 3; i++) {
		make_all();
		ck_assert(mg_secret_alive(frozen));
		ck_assert_int_eq(mg_enclave_open(enclave, &opened, MG_MEMORY_PREFER_LOCK), MG_OK);
		mg_secret_cleanup(&opened);
		ck_assert_uint_eq(mg_stream_size(stream), SMALL);
		mg_purge_local();
		free_all();
	}
	/* What was dead has been given back. */
	ck_assert_uint_eq(status_kb("VmLck:"), before);
}
END_TEST

/* A kernel that does not let pages be written to again does not save what is in them. */
START_TEST(what_cannot_be_wiped_goes_altogether)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *pages;

	make_all();
	pages = (void *)((uintptr_t)mg_secret_data(frozen) & ~(uintptr_t)(page - 1));
	ck_assert_int_eq(msync(pages, page, MS_ASYNC), 0);
	deny(SYS_mprotect, ENOMEM);
	mg_purge_local();
	is_dead(frozen);
	ck_assert_int_eq(msync(pages, page, MS_ASYNC), -1);
	ck_assert_int_eq(errno, ENOMEM);
	free_all();
	/* The sanitizer's own end needs that call. */
	_exit(0);
}
END_TEST

START_TEST(a_child_purges_nothing_of_its_parents)
{
	uint8_t before[SMALL];
	pid_t child;
	int status;

	make_all();
	memcpy(before, mg_secret_data(writable), SMALL);
	child = fork();
	if (child == 0) {
		struct mg_enclave *own = NULL;

		mg_purge_local();
		_exit(mg_enclave_random(&own, SMALL));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), MG_OK);
	ck_assert(mg_secret_equal(writable, before, SMALL));
	ck_assert(mg_secret_alive(shared));
	free_all();
}
END_TEST

/* -- in the midst of work ------------------------------------------------------------------ */

static _Atomic bool over;

/* What no thread may meet, as bits. */
enum { WRONG_STATUS = 1, WRONG_BYTES = 2 };

static int visit(const uint8_t *value, size_t size)
{
	uint8_t copy[20000];
	MG_AUTO_ENCLAVE struct mg_enclave *mine = NULL;
	MG_AUTO_SECRET struct mg_secret *opened = NULL;
	int r;

	memcpy(copy, value, size);
	r = mg_enclave_new(&mine, copy, size);
	if (r == MG_OK)
		r = mg_enclave_open(mine, &opened, MG_MEMORY_PREFER_LOCK);
	if (r != MG_OK)
		return r == MG_GONE ? 0 : WRONG_STATUS;
	/* It may die between the two looks; while it lives it is right. */
	if (!mg_secret_equal(opened, value, size) && mg_secret_alive(opened))
		return WRONG_BYTES;
	return 0;
}

static void *work(void *argument)
{
	static const size_t sizes[] = { 1, 32, 1325, 20000 };
	static const uint8_t value[20000] = { 1, 2, 3 };
	uintptr_t wrong = 0;

	(void)argument;
	for (size_t i = 0; !over; i++)
		wrong |= (uintptr_t)visit(value, sizes[i % 4]);
	return (void *)wrong;
}

START_TEST(threads_get_the_right_bytes_or_are_told)
{
	pthread_t threads[8];
	void *wrong;

	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, NULL), 0);
	for (int i = 0; i < 200; i++) {
		mg_purge_local();
		usleep(1000);
	}
	over = true;
	for (size_t i = 0; i < 8; i++) {
		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
}
END_TEST

/* -- the end ------------------------------------------------------------------------------- */

static void tell_at_exit(void)
{
	_exit(mg_secret_alive(shared) ? 99 : 23);
}

START_TEST(an_exit_purges_first)
{
	make_all();
	atexit(tell_at_exit);
	mg_exit_local(7);
}
END_TEST

START_TEST(an_exit_has_the_status_given)
{
	make_all();
	mg_exit_local(7);
}
END_TEST

static void read_stderr_of_abort(const char *text, char *out, size_t size, int *status)
{
	int ends[2];
	pid_t child;
	ssize_t n;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		make_all();
		dup2(ends[1], STDERR_FILENO);
		mg_abort_local(text);
	}
	close(ends[1]);
	n = read(ends[0], out, size - 1);
	ck_assert_int_ge(n, 0);
	out[n] = 0;
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, status, 0), child);
}

START_TEST(an_abort_says_its_text_and_dies_by_sigabrt)
{
	char said[200];
	int status;

	read_stderr_of_abort("the key is wrong", said, sizeof(said), &status);
	ck_assert_str_eq(said, "the key is wrong\n");
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
	read_stderr_of_abort(NULL, said, sizeof(said), &status);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
}
END_TEST

static const uint8_t *last_seen;

static void look_at_abort(int number)
{
	(void)number;
	_exit(all_are(last_seen, SMALL, 0) ? 0 : 1);
}

START_TEST(an_abort_purges_first)
{
	make_all();
	last_seen = mg_secret_data(writable);
	signal(SIGABRT, look_at_abort);
	mg_abort_local(NULL);
}
END_TEST

START_TEST(ordinary_bytes_are_wiped_and_scrambled)
{
	uint8_t bytes[64], again[64];

	memset(bytes, 1, sizeof(bytes));
	mg_wipe_bytes(bytes, sizeof(bytes));
	ck_assert(all_are(bytes, sizeof(bytes), 0));
	ck_assert_int_eq(mg_scramble_bytes(bytes, sizeof(bytes)), MG_OK);
	memcpy(again, bytes, sizeof(bytes));
	ck_assert_int_eq(mg_scramble_bytes(bytes, sizeof(bytes)), MG_OK);
	ck_assert(!all_are(bytes, sizeof(bytes), 0));
	ck_assert_mem_ne(bytes, again, sizeof(bytes));
	mg_wipe_bytes(NULL, 0);
	ck_assert_int_eq(mg_scramble_bytes(NULL, 0), MG_OK);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("purge");

	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, a_purge_kills_secrets_enclaves_and_streams);
	tcase_add_test(claims, who_reads_on_meets_zeros_and_no_fault);
	tcase_add_test(claims, no_enclave_opens_that_pretends_to_be_new);
	tcase_add_test(claims, what_is_made_afterwards_works);
	tcase_add_exit_test(claims, what_cannot_be_wiped_goes_altogether, 0);
	tcase_add_test(claims, a_child_purges_nothing_of_its_parents);
	tcase_add_test(claims, threads_get_the_right_bytes_or_are_told);
	tcase_add_exit_test(claims, an_exit_purges_first, 23);
	tcase_add_exit_test(claims, an_exit_has_the_status_given, 7);
	tcase_add_test(claims, an_abort_says_its_text_and_dies_by_sigabrt);
	tcase_add_exit_test(claims, an_abort_purges_first, 0);
	tcase_add_test(claims, ordinary_bytes_are_wiped_and_scrambled);
	return claims_run(claims, "purges in process");
}
