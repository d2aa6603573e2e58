/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"
#include "tests/unit/world.h"

/*
 * What libmgclient leaves of a value in its host: nothing, after every way to store and to fetch
 * it. The test reads all of its own memory. memfd_secret is refused here, because what lies in such
 * memory could not be seen; the controls show that what is there is found.
 */
#define VALUE_SIZE 100000
#define SMALL 1000
#define WINDOW 8 /* bytes */
#define MASK 0x5a
#define LOOK 65536

/* The value exists here only under a mask, so that the scan does not find what it looks for. */
static uint8_t masked[VALUE_SIZE];
static struct bare_daemon house;
static struct mg_client *client;
static size_t poured;
static size_t seen; /* windows in pieces that were handed over */

static void set_up(void)
{
	struct mg_options options = { .endpoint = house.path };

	deny(SYS_memfd_secret, ENOSYS);
	randombytes_buf(masked, sizeof(masked));
	bare_start(&house, NULL);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
}

static void tear_down(void)
{
	mg_close(client);
	ck_assert_int_eq(bare_stop(&house), 0);
}

/* -- the scan ------------------------------------------------------------------------------ */

/* The beginning, the end, both sides of where chunks meet, and some of the midst. */
static const size_t places[] = { 0, 777, 16376, 16380, 16384, 40000, 65536, 98304,
	VALUE_SIZE - WINDOW };

static bool is_window(const uint8_t *bytes, size_t place)
{
	uint8_t difference = 0;

	for (size_t i = 0; i < WINDOW; i++)
		difference |= (uint8_t)(bytes[i] ^ MASK ^ masked[place + i]);
	return difference == 0;
}

static size_t hits_in(const uint8_t *bytes, size_t size)
{
	size_t hits = 0;

	for (size_t i = 0; i + WINDOW <= size; i++)
		for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++)
			hits += is_window(bytes + i, places[k]);
	return hits;
}

/* One mapping, as far as it can be read. The bytes that we look through are wiped, not counted. */
static size_t hits_from(int memory, unsigned long begin, unsigned long end)
{
	static uint8_t look[LOOK];
	unsigned long own = (unsigned long)(uintptr_t)look;
	size_t hits = 0;

	for (unsigned long at = begin; at < end; at += LOOK - WINDOW + 1) {
		size_t want = end - at < LOOK ? end - at : LOOK;
		ssize_t got;

		if (at < own + LOOK && at + want > own)
			continue;
		got = pread(memory, look, want, (off_t)at);
		if (got > 0)
			hits += hits_in(look, (size_t)got);
		sodium_memzero(look, sizeof(look));
	}
	return hits;
}

static size_t scan(void)
{
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	size_t hits = 0;

	ck_assert(memory >= 0 && maps);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long begin, end;

		/* Addresses of the kernel's own page do not fit a file offset. */
		if (sscanf(line, "%lx-%lx", &begin, &end) == 2 && !strstr(line, "[vsyscall]"))
			hits += hits_from(memory, begin, end);
	}
	fclose(maps);
	close(memory);
	return hits;
}

/* -- the ways ------------------------------------------------------------------------------ */

static ssize_t pour(void *context, void *buffer, size_t capacity)
{
	size_t size = VALUE_SIZE - poured < capacity ? VALUE_SIZE - poured : capacity;

	(void)context;
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buffer)[i] = masked[poured + i] ^ MASK;
	poured += size;
	return (ssize_t)size;
}

static ssize_t pour_half(void *context, void *buffer, size_t capacity)
{
	return poured > VALUE_SIZE / 2 ? -1 : pour(context, buffer, capacity);
}

/* Sees the pieces, and says stop where it is told to. */
static int swallow(void *context, const struct mg_info *info, const void *bytes, size_t size)
{
	(void)info;
	seen += hits_in(bytes, size);
	return *(const int *)context;
}

static void store(void)
{
	poured = 0;
	ck_assert_int_eq(mg_set_from(client, "v", pour, NULL, NULL, NULL), MG_OK);
}

START_TEST(a_value_that_is_there_is_found)
{
	MG_AUTO_SECRET struct mg_secret *secret = NULL;

	store();
	ck_assert_int_eq(mg_get(client, "v", NULL, &secret), MG_OK);
	ck_assert_uint_eq(scan(), sizeof(places) / sizeof(places[0]));
}
END_TEST

START_TEST(storing_in_pieces_leaves_nothing)
{
	store();
	ck_assert_uint_eq(scan(), 0);
	poured = 0;
	ck_assert_int_eq(mg_set_from(client, "v", pour_half, NULL, NULL, NULL), MG_INVALID);
	ck_assert_uint_eq(scan(), 0);
}
END_TEST

START_TEST(storing_whole_leaves_nothing)
{
	struct mg_secret *secret = NULL;

	ck_assert_int_eq(mg_secret_new(&secret, VALUE_SIZE, MG_MEMORY_PREFER_LOCK), MG_OK);
	poured = 0;
	ck_assert_int_eq(pour(NULL, mg_secret_writable(secret), VALUE_SIZE), VALUE_SIZE);
	ck_assert_int_eq(
		mg_set(client, "v", mg_secret_data(secret), VALUE_SIZE, NULL, NULL), MG_OK);
	/* The host's own bytes, and no others. */
	ck_assert_uint_eq(scan(), sizeof(places) / sizeof(places[0]));
	mg_secret_free(secret);
	ck_assert_uint_eq(scan(), 0);
}
END_TEST

START_TEST(fetching_whole_leaves_nothing)
{
	struct mg_secret *secret = NULL;

	store();
	ck_assert_int_eq(mg_get(client, "v", NULL, &secret), MG_OK);
	mg_secret_free(secret);
	ck_assert_uint_eq(scan(), 0);
}
END_TEST

START_TEST(fetching_in_pieces_leaves_nothing)
{
	static const int verdicts[] = { 0, 42, -1 };
	static const int statuses[] = { MG_OK, 42, MG_INTERNAL };

	store();
	ck_assert_int_eq(mg_get_each(client, "v", NULL, swallow, (void *)(uintptr_t)&verdicts[_i]),
		statuses[_i]);
	ck_assert_uint_gt(seen, 0);
	ck_assert_uint_eq(scan(), 0);
}
END_TEST

START_TEST(sending_and_receiving_leave_nothing)
{
	static const int verdicts[] = { 0, 42, -1 };
	static const int statuses[] = { MG_OK, 42, MG_INTERNAL };

	poured = 0;
	ck_assert_int_eq(mg_send_from(client, "s", pour, NULL), MG_OK);
	ck_assert_uint_eq(scan(), 0);
	ck_assert_int_eq(mg_receive_each(client, "s", swallow, (void *)(uintptr_t)&verdicts[_i]),
		statuses[_i]);
	ck_assert_uint_gt(seen, 0);
	ck_assert_uint_eq(scan(), 0);
	poured = 0;
	ck_assert_int_eq(mg_send_from(client, "t", pour_half, NULL), MG_INVALID);
	ck_assert_uint_eq(scan(), 0);
}
END_TEST

#define PLACES (sizeof(places) / sizeof(places[0]))

START_TEST(a_value_that_is_kept_closed_is_nowhere_until_it_is_opened)
{
	struct mg_enclave *enclave = NULL, *again = NULL;
	struct mg_secret *secret = NULL;

	store();
	ck_assert_int_eq(mg_get_enclave(client, "v", NULL, &enclave), MG_OK);
	ck_assert_uint_eq(scan(), 0);
	ck_assert_int_eq(mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_uint_eq(scan(), PLACES);
	ck_assert_int_eq(mg_enclave_seal(&again, secret), MG_OK);
	ck_assert_uint_eq(scan(), 0);
	mg_secret_free(secret);
	mg_enclave_free(again);
	mg_enclave_free(enclave);
}
END_TEST

/* A pipe that holds the first bytes of the value, which are then nowhere else. */
static int pipe_with(size_t size)
{
	uint8_t bytes[SMALL];
	int ends[2];

	poured = 0;
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(pour(NULL, bytes, size), (ssize_t)size);
	ck_assert_int_eq(write(ends[1], bytes, size), (ssize_t)size);
	sodium_memzero(bytes, size);
	close(ends[1]);
	return ends[0];
}

/* Two places lie in so many bytes. */
START_TEST(a_small_secret_is_in_one_place_and_leaves_nothing)
{
	struct mg_secret *secret = NULL;
	int from = pipe_with(SMALL);

	ck_assert_int_eq(mg_secret_from_fd_all(&secret, from, SMALL, MG_MEMORY_PREFER_LOCK), MG_OK);
	/* Its pages are mapped twice. */
	ck_assert_uint_eq(scan(), 2 * 2);
	ck_assert_int_eq(mg_secret_melt(secret), MG_OK);
	ck_assert_uint_eq(scan(), 2);
	ck_assert_int_eq(mg_secret_freeze(secret), MG_OK);
	mg_secret_destroy(secret);
	ck_assert_uint_eq(scan(), 0);
	mg_secret_free(secret);
	close(from);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("client-memory");

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	if (getenv("SANITIZED") && *getenv("SANITIZED")) {
		puts("SKIP: client-memory: the sanitizers keep memory that is larger than a scan");
		return 77;
	}
	tcase_set_timeout(claims, 120);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_value_that_is_there_is_found);
	tcase_add_test(claims, storing_in_pieces_leaves_nothing);
	tcase_add_test(claims, storing_whole_leaves_nothing);
	tcase_add_test(claims, fetching_whole_leaves_nothing);
	tcase_add_loop_test(claims, fetching_in_pieces_leaves_nothing, 0, 3);
	tcase_add_loop_test(claims, sending_and_receiving_leave_nothing, 0, 3);
	tcase_add_test(claims, a_value_that_is_kept_closed_is_nowhere_until_it_is_opened);
	tcase_add_test(claims, a_small_secret_is_in_one_place_and_leaves_nothing);
	return claims_run(claims, "client-memory");
}
