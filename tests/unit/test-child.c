/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/*
 * After a fork the child has the parent's secrets, enclaves and streams by name only: every call on
 * one is refused, and whatever the child does, the parent's are as they were.
 */

#define SIZE 32
#define NEED MG_MEMORY_PREFER_LOCK

static const uint8_t bytes[SIZE] = "thirty-two bytes of a password.";

static struct mg_secret *own, *shared;
static struct mg_enclave *enclave;
static struct mg_stream *stream;

static void set_up(void)
{
	uint8_t copy[SIZE];

	memcpy(copy, bytes, SIZE);
	ck_assert_int_eq(mg_secret_new(&own, SIZE, NEED), MG_OK);
	ck_assert_int_eq(mg_secret_copy(own, bytes, SIZE), MG_OK);
	ck_assert_int_eq(mg_secret_from_bytes(&shared, copy, SIZE, NEED), MG_OK);
	memcpy(copy, bytes, SIZE);
	ck_assert_int_eq(mg_enclave_new(&enclave, copy, SIZE), MG_OK);
	memcpy(copy, bytes, SIZE);
	ck_assert_int_eq(mg_stream_new(&stream), MG_OK);
	ck_assert_int_eq(mg_stream_write(stream, copy, SIZE), MG_OK);
}

static void tear_down(void)
{
	mg_secret_free(own);
	mg_secret_free(shared);
	mg_enclave_free(enclave);
	mg_stream_free(stream);
}

/* Everything in the parent is as it was. */
static void must_be_whole(void)
{
	MG_AUTO_SECRET struct mg_secret *opened = NULL, *next = NULL;

	ck_assert(mg_secret_equal(own, bytes, SIZE) && mg_secret_mutable(own));
	ck_assert(mg_secret_equal(shared, bytes, SIZE) && !mg_secret_mutable(shared));
	ck_assert_int_eq(mg_enclave_open(enclave, &opened, NEED), MG_OK);
	ck_assert(mg_secret_equal(opened, bytes, SIZE));
	ck_assert_int_eq(mg_stream_next(stream, &next, NEED), MG_OK);
	ck_assert(mg_secret_equal(next, bytes, SIZE));
}

/* The number of what goes wrong in a child that does that; 0: nothing. */
static int fault_of(int (*act)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(act());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* -- calls --------------------------------------------------------------------------------- */

static uint8_t room[SIZE];

static int seal(struct mg_secret *secret)
{
	struct mg_enclave *sealed = enclave;
	int r = mg_enclave_seal(&sealed, secret);

	/* After a failure there is none. */
	if ((r == MG_OK) != (sealed != NULL))
		abort();
	mg_enclave_free(sealed);
	return r;
}

static int read_it(struct mg_secret *secret)
{
	return mg_secret_read_at(secret, 0, room, SIZE);
}

static int copy_it(struct mg_secret *secret)
{
	return mg_secret_copy(secret, room, SIZE);
}

static int copy_one(struct mg_secret *secret)
{
	return mg_secret_copy_at(secret, 1, room, 1);
}

static int move_it(struct mg_secret *secret)
{
	return mg_secret_move(secret, room, SIZE);
}

static int move_one(struct mg_secret *secret)
{
	return mg_secret_move_at(secret, 1, room, 1);
}

static int (*const calls[])(struct mg_secret *secret) = { mg_secret_freeze, mg_secret_melt,
	mg_secret_scramble, mg_secret_wipe, seal, read_it, copy_it, copy_one, move_it, move_one };

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static int call_all(struct mg_secret *secret)
{
	for (size_t i = 0; i < CALLS; i++) {
		memset(room, 1, sizeof(room));
		if (calls[i](secret) != MG_INVALID || !all_are(room, SIZE, 1))
			return (int)i + 1;
	}
	return 0;
}

static int call_own(void)
{
	return call_all(own);
}

static int call_shared(void)
{
	return call_all(shared);
}

static int open_it(void)
{
	struct mg_secret *secret = own;
	int r = mg_enclave_open(enclave, &secret, NEED);

	if ((r == MG_OK) != (secret != NULL))
		abort();
	mg_secret_free(secret);
	return r == MG_INVALID ? 0 : 1;
}

static int use_stream(void)
{
	struct mg_secret *secret = own;
	size_t got;

	if (mg_stream_write(stream, room, 1) != MG_INVALID)
		return 1;
	if (mg_stream_read(stream, room, SIZE, &got) != MG_INVALID)
		return 2;
	if (mg_stream_next(stream, &secret, NEED) != MG_INVALID || secret)
		return 3;
	if (mg_stream_flush(stream, &secret, NEED) != MG_INVALID || secret)
		return 4;
	return mg_stream_size(stream) == 0 && mg_stream_source(stream, room, SIZE) < 0 ? 0 : 5;
}

/* What a child may do with them is to end them, twice, too. */
static int end_all(void)
{
	mg_secret_destroy(own);
	mg_secret_destroy(own);
	tear_down();
	return 0;
}

/* Its own are its own, also when it ends or purges them. */
static int begin_anew(void)
{
	set_up();
	must_be_whole();
	mg_purge_local();
	tear_down();
	set_up();
	must_be_whole();
	return 0;
}

static int (*const acts[])(
	void) = { call_own, call_shared, open_it, use_stream, end_all, begin_anew };

#define ACTS ((int)(sizeof(acts) / sizeof(acts[0])))

START_TEST(a_child_can_use_none_of_it_and_harms_nothing)
{
	ck_assert_int_eq(fault_of(acts[_i]), 0);
	must_be_whole();
}
END_TEST

/* A child's child is no nearer to them. */
static int fork_again(void)
{
	for (size_t i = 0; i < 4; i++)
		if (fault_of(acts[i]) != 0)
			return 1;
	return 0;
}

START_TEST(nor_can_a_childs_child)
{
	ck_assert_int_eq(fault_of(fork_again), 0);
	must_be_whole();
}
END_TEST

/* The control: what is refused in a child is none of that here. */
START_TEST(who_made_it_is_refused_nothing)
{
	ck_assert_int_eq(mg_secret_melt(shared), MG_OK);
	for (size_t i = 0; i < CALLS; i++) {
		ck_assert_int_ne(calls[i](own), MG_INVALID);
		ck_assert_int_ne(calls[i](shared), MG_INVALID);
	}
	ck_assert_int_ne(open_it(), 0);
	ck_assert_int_eq(use_stream(), 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("child");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_loop_test(claims, a_child_can_use_none_of_it_and_harms_nothing, 0, ACTS);
	tcase_add_test(claims, nor_can_a_childs_child);
	tcase_add_test(claims, who_made_it_is_refused_nothing);
	return claims_run(claims, "a forked child");
}
