/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/memory/secret.h"
#include "client/lib/mgclient.h"
#include "common/memory/guard.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/*
 * What becomes of a secret whose canary somebody has written over: it is found wherever the secret
 * ends or moves, and until then everybody else's secrets are as they were.
 */

#define SIZE 100
#define NEED MG_MEMORY_PREFER_LOCK

static const uint8_t bytes[SIZE] = "a value, and behind it nothing but zeros";

static struct mg_secret *shared(void)
{
	struct mg_secret *secret = NULL;
	uint8_t copy[SIZE];

	memcpy(copy, bytes, SIZE);
	if (mg_secret_from_bytes(&secret, copy, SIZE, NEED) != MG_OK)
		abort();
	return secret;
}

static struct mg_secret *own(void)
{
	struct mg_secret *secret = NULL;

	if (mg_secret_new(&secret, SIZE, NEED) != MG_OK ||
		mg_secret_copy(secret, bytes, SIZE) != MG_OK)
		abort();
	return secret;
}

/* The library's own way to the bytes: a caller's would meet a page that cannot be written to. */
static void overrun(struct mg_secret *secret)
{
	secret->data[SIZE] ^= 1;
}

static void underrun(struct mg_secret *secret)
{
	secret->data[-1] ^= 1;
}

/* The signal that ends a child in which that is done to a secret; 0: none. */
static int signal_of(struct mg_secret *(*make)(void), void (*spoil)(struct mg_secret *),
	void (*act)(struct mg_secret *))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct mg_secret *secret = make();

		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		if (spoil)
			spoil(secret);
		act(secret);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* -- where a secret ends, or moves --------------------------------------------------------- */

static void melt(struct mg_secret *secret)
{
	if (mg_secret_melt(secret) != MG_OK)
		_exit(1);
}

static void seal(struct mg_secret *secret)
{
	struct mg_enclave *enclave;

	if (mg_enclave_seal(&enclave, secret) != MG_OK)
		_exit(1);
}

/* Others on the same pages come and go. */
static void use_others(struct mg_secret *secret)
{
	struct mg_secret *others[20];

	for (size_t i = 0; i < 20; i++)
		others[i] = shared();
	for (size_t i = 0; i < 20; i++) {
		if (!mg_secret_equal(others[i], bytes, SIZE))
			_exit(1);
		mg_secret_free(others[i]);
	}
	if (!mg_secret_equal(secret, bytes, SIZE))
		_exit(1);
}

/* All bytes of all secrets are wiped, those of the broken one too, and new ones can be made. */
static void purge(struct mg_secret *secret)
{
	struct mg_secret *other = shared();

	mg_purge_local();
	if (!all_are(secret->view, SIZE, 0) || !all_are(other->view, SIZE, 0))
		_exit(1);
	mg_secret_free(other);
	use_others(other = shared());
	mg_secret_free(other);
}

static void purge_and_free(struct mg_secret *secret)
{
	purge(secret);
	mg_secret_free(secret);
}

static const struct {
	struct mg_secret *(*make)(void);
	void (*act)(struct mg_secret *);
	int signal; /* with a broken canary */
} rows[] = {
	{ own, mg_secret_free, SIGABRT },
	{ own, mg_secret_destroy, SIGABRT },
	{ own, seal, SIGABRT },
	{ own, use_others, 0 },
	{ own, purge, 0 },
	{ own, purge_and_free, SIGABRT },
	{ shared, mg_secret_free, SIGABRT },
	{ shared, mg_secret_destroy, SIGABRT },
	{ shared, melt, SIGABRT },
	{ shared, seal, SIGABRT },
	{ shared, use_others, 0 },
	{ shared, purge, 0 },
	{ shared, purge_and_free, SIGABRT },
};

#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

START_TEST(a_broken_canary_is_found_where_the_secret_ends_or_moves_and_harms_no_other)
{
	ck_assert_int_eq(signal_of(rows[_i].make, overrun, rows[_i].act), rows[_i].signal);
	ck_assert_int_eq(signal_of(rows[_i].make, underrun, rows[_i].act), rows[_i].signal);
	ck_assert_int_eq(signal_of(rows[_i].make, NULL, rows[_i].act), 0);
}
END_TEST

/* -- on pages that are shared --------------------------------------------------------------- */

START_TEST(only_the_object_that_was_overrun_is_broken_and_only_it_is_wiped)
{
	static struct arena arena; /* keeps its last slab */
	struct arena_object before, broken, behind, again;

	ck_assert_int_eq(arena_take(&arena, &before, SIZE, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(arena_take(&arena, &broken, SIZE, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_int_eq(arena_take(&arena, &behind, SIZE, OS_MEMORY_PREFER_LOCK), 0);
	memcpy(before.data, bytes, SIZE);
	memcpy(broken.data, bytes, SIZE);
	memcpy(behind.data, bytes, SIZE);
	/* As far as its own canaries go. */
	memset(broken.data - GUARD_SIZE, 0xcc, GUARD_SIZE);
	memset(broken.data + SIZE, 0xcc, GUARD_SIZE);
	ck_assert(arena_intact(&before) && !arena_intact(&broken) && arena_intact(&behind));
	again = broken;
	arena_give(&arena, &broken);
	ck_assert(all_are(again.view - GUARD_SIZE, guard_span(SIZE), 0));
	ck_assert(arena_intact(&before) && arena_intact(&behind));
	ck_assert_mem_eq(before.view, bytes, SIZE);
	ck_assert_mem_eq(behind.view, bytes, SIZE);
	/* Its place is as good as any. */
	ck_assert_int_eq(arena_take(&arena, &broken, SIZE, OS_MEMORY_PREFER_LOCK), 0);
	ck_assert_ptr_eq(broken.view, again.view);
	ck_assert(arena_intact(&broken) && all_are(broken.view, SIZE, 0));
	arena_give(&arena, &before);
	arena_give(&arena, &broken);
	arena_give(&arena, &behind);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("secret_canary");

	tcase_add_loop_test(claims,
		a_broken_canary_is_found_where_the_secret_ends_or_moves_and_harms_no_other, 0,
		ROWS);
	tcase_add_test(claims, only_the_object_that_was_overrun_is_broken_and_only_it_is_wiped);
	return claims_run(claims, "a secret's canaries");
}
