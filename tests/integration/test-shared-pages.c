/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/*
 * Wherever a small read-only secret comes from, it shares its pages with others; what can be
 * written to has some of its own.
 */

#define MANY 100
#define SIZE 32
#define NEED MG_MEMORY_PREFER_LOCK

static struct bare_daemon house;
static struct mg_client *client;
static struct mg_enclave *enclave;
static const uint8_t bytes[SIZE] = "thirty-two bytes of a password.";

static void set_up(void)
{
	struct mg_options options = { .endpoint = house.path };
	uint8_t copy[SIZE];

	memcpy(copy, bytes, SIZE);
	bare_start(&house, NULL);
	ck_assert_int_eq(mg_open(&client, &options), MG_OK);
	ck_assert_int_eq(mg_set(client, "small", bytes, SIZE, NULL, NULL), MG_OK);
	ck_assert_int_eq(mg_enclave_new(&enclave, copy, SIZE), MG_OK);
}

static void tear_down(void)
{
	mg_enclave_free(enclave);
	mg_close(client);
	ck_assert_int_eq(bare_stop(&house), 0);
}

static int from_bytes(struct mg_secret **secretp)
{
	uint8_t copy[SIZE];

	memcpy(copy, bytes, SIZE);
	return mg_secret_from_bytes(secretp, copy, SIZE, NEED);
}

static int from_fd(struct mg_secret **secretp)
{
	int ends[2], r;

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(write(ends[1], bytes, SIZE), SIZE);
	close(ends[1]);
	r = mg_secret_from_fd(secretp, ends[0], SIZE, NEED);
	close(ends[0]);
	return r;
}

static int from_chance(struct mg_secret **secretp)
{
	return mg_secret_random(secretp, SIZE, NEED);
}

static int from_daemon(struct mg_secret **secretp)
{
	return mg_get(client, "small", NULL, secretp);
}

static int from_enclave(struct mg_secret **secretp)
{
	return mg_enclave_open(enclave, secretp, NEED);
}

static int from_nothing(struct mg_secret **secretp)
{
	return mg_secret_new(secretp, SIZE, NEED);
}

static const struct {
	int (*make)(struct mg_secret **secretp);
	bool shares;
} rows[] = {
	{ from_bytes, true },
	{ from_fd, true },
	{ from_chance, true },
	{ from_daemon, true },
	{ from_enclave, true },
	{ from_nothing, false },
};

#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

/* Of 32 bytes with their canaries, 127 fit into the two pages that are taken at a time. */
START_TEST(a_small_secret_that_is_read_only_shares_its_pages)
{
	static struct mg_secret *many[MANY];
	size_t page = (size_t)sysconf(_SC_PAGESIZE) / 1024;
	size_t before, grown;

	/* The first may take what is then there for all, such as the masters for enclaves. */
	ck_assert_int_eq(rows[_i].make(&many[0]), MG_OK);
	before = status_kb("VmLck:");
	for (size_t i = 1; i < MANY; i++) {
		ck_assert_int_eq(rows[_i].make(&many[i]), MG_OK);
		ck_assert(mg_secret_mutable(many[i]) == !rows[_i].shares);
	}
	grown = status_kb("VmLck:") - before;
	if (rows[_i].shares)
		ck_assert_uint_le(grown, 4 * page);
	else
		ck_assert_uint_ge(grown, (MANY - 1) * page);
	for (size_t i = 0; i < MANY; i++)
		mg_secret_free(many[i]);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("shared-pages");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_loop_test(claims, a_small_secret_that_is_read_only_shares_its_pages, 0, ROWS);
	return claims_run(claims, "shared pages");
}
