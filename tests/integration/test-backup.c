/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/lib/mgclient-backup.h"
#include "tests/bare.h"
#include "tests/unit/claims.h"

/* mg_backup and mg_restore as a host calls them. What is in a bundle: test_backup.py. */

static struct bare_daemon house;
static struct mg_client *client;
static struct mg_secret *private_key;
static unsigned char public_key[MG_BACKUP_KEY_SIZE];
static int file;

static void must(int status)
{
	if (status != MG_OK)
		ck_abort_msg("%s: %s", mg_status_name(status), mg_last_error());
}

static void set_up(void)
{
	struct mg_options options = { .endpoint = house.path };

	bare_start(&house, NULL);
	must(mg_open(&client, &options));
	must(mg_backup_keypair(public_key, &private_key, MG_MEMORY_PREFER_LOCK));
	file = memfd_create("bundle", MFD_CLOEXEC);
	ck_assert_int_ge(file, 0);
	must(mg_set(client, "a", "one", 3, NULL, NULL));
	must(mg_set(client, "b/c", "two", 3, NULL, NULL));
}

static void tear_down(void)
{
	close(file);
	mg_secret_free(private_key);
	mg_close(client);
	ck_assert_int_eq(bare_stop(&house), 0);
}

static void rewind_file(void)
{
	ck_assert_int_eq(lseek(file, 0, SEEK_SET), 0);
}

static void back_up(void)
{
	struct mg_backup_options options = { .recipient = public_key };
	struct mg_backup_count count;

	must(mg_backup(client, file, &options, &count));
	ck_assert_uint_eq(count.secrets, 2);
	ck_assert_uint_eq(count.bytes, 6);
	rewind_file();
}

static int keep_version(void *context, const struct mg_info *info)
{
	*(uint64_t *)context = info->version;
	return 0;
}

START_TEST(what_was_saved_comes_back)
{
	struct mg_backup_options options = { .private_key = private_key };
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	struct mg_backup_count count;

	back_up();
	must(mg_purge(client, MG_PURGE_ALL, NULL));
	must(mg_restore(client, file, &options, &count));
	ck_assert_uint_eq(count.secrets, 2);
	ck_assert_uint_eq(count.bytes, 6);
	must(mg_get(client, "b/c", NULL, &secret));
	ck_assert(mg_secret_equal(secret, "two", 3));
	/* The handle goes on to serve. */
	must(mg_ping(client));
}
END_TEST

/* -- a bundle that is another one ---------------------------------------------------------- */

static void must_be_refused(const char *how, size_t place, unsigned byte)
{
	struct mg_backup_options options = { .private_key = private_key };
	struct mg_backup_count count = { 0 };
	int status;

	rewind_file();
	status = mg_restore(client, file, &options, &count);
	if (status != MG_INTEGRITY || count.secrets != 0)
		ck_abort_msg("%s at %zu (0x%02x): %s", how, place, byte, mg_status_name(status));
}

static void must_be_version(const char *name, uint64_t version)
{
	uint64_t held = 0;

	must(mg_stat(client, name, keep_version, &held));
	ck_assert_uint_eq(held, version);
}

/* The file's bytes; their number is returned. */
static size_t read_bundle(unsigned char *bytes, size_t room)
{
	ssize_t size = pread(file, bytes, room, 0);

	ck_assert_int_gt(size, 100);
	ck_assert_int_lt(size, (ssize_t)room);
	return (size_t)size;
}

static void must_be_refused_with(size_t place, unsigned char was, unsigned char byte)
{
	if (byte == was)
		return;
	ck_assert_int_eq(pwrite(file, &byte, 1, (off_t)place), 1);
	must_be_refused("a byte that is another", place, byte);
}

/* With one bit turned, whichever it is, and with all of them off and on. */
START_TEST(a_bundle_with_any_one_byte_changed_is_refused)
{
	struct mg_backup_options options = { .private_key = private_key };
	unsigned char bytes[4096];
	size_t size;

	back_up();
	size = read_bundle(bytes, sizeof(bytes));
	for (size_t place = 0; place < size; place++) {
		for (unsigned bit = 0; bit < 8; bit++)
			must_be_refused_with(
				place, bytes[place], (unsigned char)(bytes[place] ^ (1u << bit)));
		must_be_refused_with(place, bytes[place], 0x00);
		must_be_refused_with(place, bytes[place], 0xff);
		ck_assert_int_eq(pwrite(file, bytes + place, 1, (off_t)place), 1);
	}
	must_be_version("a", 1);
	must_be_version("b/c", 1);
	rewind_file();
	must(mg_restore(client, file, &options, NULL));
	must_be_version("a", 2);
	must_be_version("b/c", 2);
}
END_TEST

START_TEST(a_bundle_that_ends_anywhere_else_is_refused)
{
	unsigned char bytes[4096];
	size_t size;

	back_up();
	size = read_bundle(bytes, sizeof(bytes));
	for (size_t left = size; left-- > 0;) {
		ck_assert_int_eq(ftruncate(file, (off_t)left), 0);
		must_be_refused("an end", left, 0);
	}
	for (unsigned byte = 0; byte < 256; byte++) {
		bytes[size] = (unsigned char)byte;
		ck_assert_int_eq(pwrite(file, bytes, size + 1, 0), (ssize_t)size + 1);
		must_be_refused("one byte more", size, byte);
	}
	must_be_version("a", 1);
	must_be_version("b/c", 1);
}
END_TEST

/* -- what is asked ------------------------------------------------------------------------- */

START_TEST(a_pair_is_a_pair)
{
	unsigned char derived[MG_BACKUP_KEY_SIZE];

	ck_assert_uint_eq(mg_secret_size(private_key), MG_BACKUP_KEY_SIZE);
	ck_assert_int_eq(crypto_scalarmult_base(derived, mg_secret_data(private_key)), 0);
	ck_assert_mem_eq(derived, public_key, sizeof(derived));
	ck_assert_ptr_null(mg_secret_writable(private_key));
}
END_TEST

START_TEST(calls_that_make_no_sense_are_refused)
{
	MG_AUTO_SECRET struct mg_secret *passphrase = NULL;
	MG_AUTO_SECRET struct mg_secret *dead = NULL;
	char text[] = "correct horse";
	struct mg_backup_options both = { .recipient = public_key };
	struct mg_backup_options options = { 0 };

	must(mg_secret_from_bytes(&passphrase, text, sizeof(text) - 1, MG_MEMORY_PREFER_LOCK));
	must(mg_secret_random(&dead, 16, MG_MEMORY_PREFER_LOCK));
	mg_secret_destroy(dead);
	both.passphrase = passphrase;
	ck_assert_int_eq(mg_backup(NULL, file, &both, NULL), MG_INVALID);
	ck_assert_int_eq(mg_restore(NULL, file, &both, NULL), MG_INVALID);
	ck_assert_int_eq(mg_backup(client, file, NULL, NULL), MG_INVALID);
	ck_assert_int_eq(mg_backup(client, file, &both, NULL), MG_INVALID);
	options.passphrase = dead;
	ck_assert_int_eq(mg_backup(client, file, &options, NULL), MG_GONE);
	options.passphrase = NULL;
	options.recipient = public_key;
	options.prefix = "/";
	ck_assert_int_eq(mg_backup(client, file, &options, NULL), MG_INVALID);
	options.prefix = NULL;
	ck_assert_int_eq(mg_backup(client, -1, &options, NULL), MG_INTERNAL);
	ck_assert_int_eq(lseek(file, 0, SEEK_END), 0);
	back_up();
	options = (struct mg_backup_options){ .private_key = passphrase };
	ck_assert_int_eq(mg_restore(client, file, &options, NULL), MG_INVALID);
	rewind_file();
	options = (struct mg_backup_options){ .passphrase = passphrase };
	ck_assert_int_eq(mg_restore(client, file, &options, NULL), MG_INTEGRITY);
	rewind_file();
	ck_assert_int_eq(mg_restore(client, file, NULL, NULL), MG_INVALID);
	options = (struct mg_backup_options){ .private_key = private_key };
	ck_assert_int_eq(mg_restore(client, -1, &options, NULL), MG_INVALID);
	must(mg_ping(client));
}
END_TEST

struct seen {
	uint64_t calls;
	struct mg_backup_count last;
	int inner;
};

static void look(void *context, const struct mg_backup_count *so_far)
{
	struct seen *seen = context;

	seen->calls++;
	seen->last = *so_far;
	seen->inner = mg_ping(client);
}

START_TEST(progress_is_told_behind_each_secret)
{
	struct seen seen = { 0 };
	struct mg_backup_options options = {
		.recipient = public_key, .progress = look, .context = &seen
	};

	must(mg_backup(client, file, &options, NULL));
	ck_assert_uint_eq(seen.calls, 2);
	ck_assert_uint_eq(seen.last.secrets, 2);
	ck_assert_uint_eq(seen.last.bytes, 6);
	ck_assert_int_eq(seen.inner, MG_INVALID);
	rewind_file();
	seen = (struct seen){ 0 };
	options.recipient = NULL;
	options.private_key = private_key;
	must(mg_restore(client, file, &options, NULL));
	ck_assert_uint_eq(seen.calls, 2);
	ck_assert_uint_eq(seen.last.secrets, 2);
}
END_TEST

/* A bundle that comes slowly, and one that is taken slowly, cost no time limit. */
START_TEST(the_descriptors_time_is_its_own)
{
	struct mg_backup_options options = { .private_key = private_key };
	char bytes[4096];
	ssize_t size;
	int ends[2];

	back_up();
	size = read(file, bytes, sizeof(bytes));
	ck_assert_int_gt(size, 100);
	ck_assert_int_eq(pipe(ends), 0);
	mg_set_timeout(client, 500);
	if (fork() == 0) {
		for (ssize_t at = 0; at < size; at += 50) {
			usleep(100000);
			if (write(ends[1], bytes + at, size - at < 50 ? (size_t)(size - at) : 50) <
				0)
				_exit(1);
		}
		_exit(0);
	}
	close(ends[1]);
	must(mg_restore(client, ends[0], &options, NULL));
	close(ends[0]);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("backup");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 100);
	tcase_add_test(claims, what_was_saved_comes_back);
	tcase_add_test(claims, a_bundle_with_any_one_byte_changed_is_refused);
	tcase_add_test(claims, a_bundle_that_ends_anywhere_else_is_refused);
	tcase_add_test(claims, a_pair_is_a_pair);
	tcase_add_test(claims, calls_that_make_no_sense_are_refused);
	tcase_add_test(claims, progress_is_told_behind_each_secret);
	tcase_add_test(claims, the_descriptors_time_is_its_own);
	return claims_run(claims, "backup");
}
