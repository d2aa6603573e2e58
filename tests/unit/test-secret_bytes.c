/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/unit/claims.h"
#include "tests/unit/process.h"

/* What a secret's bytes may be used for, and when not. */

/* Deaths are expected here: the sanitizer must let the signal through. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used)) const char *__asan_default_options(void)
{
	return "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_leaks=0";
}

static struct mg_secret *secret;

static void set_up(void)
{
	ck_assert_int_eq(mg_secret_new(&secret, 16, MG_MEMORY_PREFER_LOCK), MG_OK);
}

static void tear_down(void)
{
	mg_secret_cleanup(&secret);
}

static void holds(const char *text)
{
	ck_assert(mg_secret_equal(secret, text, 16));
	ck_assert_mem_eq(mg_secret_data(secret), text, 16);
}

START_TEST(a_copy_fills_the_secret_exactly_or_not_at_all)
{
	ck_assert_int_eq(mg_secret_copy(secret, "yellow submarine", 16), MG_OK);
	holds("yellow submarine");
	ck_assert_int_eq(mg_secret_copy(secret, "green submarines!", 17), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy(secret, "green submarine", 15), MG_INVALID);
	holds("yellow submarine");
	ck_assert_ptr_nonnull(strstr(mg_last_error(), "15 bytes"));
}
END_TEST

START_TEST(a_copy_at_an_offset_changes_its_own_bytes_alone)
{
	ck_assert_int_eq(mg_secret_copy_at(secret, 0, "1234", 4), MG_OK);
	holds("1234\0\0\0\0\0\0\0\0\0\0\0\0");
	ck_assert_int_eq(mg_secret_copy_at(secret, 4, "5678", 4), MG_OK);
	ck_assert_int_eq(mg_secret_copy_at(secret, 8, "9abcdefg", 8), MG_OK);
	holds("123456789abcdefg");
	ck_assert_int_eq(mg_secret_copy_at(secret, 13, "XXXX", 4), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy_at(secret, 17, "", 0), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy_at(secret, SIZE_MAX, "XX", 2), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy_at(secret, 2, "XX", SIZE_MAX), MG_INVALID);
	ck_assert_int_eq(mg_secret_copy_at(secret, 16, "", 0), MG_OK);
	holds("123456789abcdefg");
}
END_TEST

START_TEST(bytes_are_read_as_asked_or_not_at_all)
{
	char out[17] = "................";

	ck_assert_int_eq(mg_secret_copy(secret, "yellow submarine", 16), MG_OK);
	ck_assert_int_eq(mg_secret_read_at(secret, 7, out, 9), MG_OK);
	ck_assert_str_eq(out, "submarine.......");
	ck_assert_int_eq(mg_secret_read_at(secret, 8, out, 9), MG_INVALID);
	ck_assert_int_eq(mg_secret_read_at(secret, 17, out, 0), MG_INVALID);
	ck_assert_int_eq(mg_secret_read_at(secret, 1, out, SIZE_MAX), MG_INVALID);
	ck_assert_str_eq(out, "submarine.......");
}
END_TEST

START_TEST(what_moves_is_zero_where_it_was)
{
	char source[] = "yellow submarine";

	ck_assert_int_eq(mg_secret_move(secret, source, 16), MG_OK);
	holds("yellow submarine");
	ck_assert(all_are((uint8_t *)source, 16, 0));
	memcpy(source, "green  umbrellas", 16);
	ck_assert_int_eq(mg_secret_move_at(secret, 8, source + 8, 8), MG_OK);
	holds("yellow smbrellas");
	ck_assert_mem_eq(source, "green  u\0\0\0\0\0\0\0\0", 16);
	/* What does not fit stays where it is. */
	ck_assert_int_eq(mg_secret_move(secret, source, 8), MG_INVALID);
	ck_assert_int_eq(mg_secret_move_at(secret, 9, source, 8), MG_INVALID);
	ck_assert_mem_eq(source, "green  u", 8);
}
END_TEST

START_TEST(scrambling_twice_gives_two_things_and_wiping_nothing)
{
	char once[16], twice[16];

	ck_assert_int_eq(mg_secret_scramble(secret), MG_OK);
	ck_assert_int_eq(mg_secret_read_at(secret, 0, once, 16), MG_OK);
	ck_assert_int_eq(mg_secret_scramble(secret), MG_OK);
	ck_assert_int_eq(mg_secret_read_at(secret, 0, twice, 16), MG_OK);
	ck_assert_mem_ne(once, twice, 16);
	ck_assert(!all_are((uint8_t *)once, 16, 0) && !all_are((uint8_t *)twice, 16, 0));
	ck_assert_int_eq(mg_secret_wipe(secret), MG_OK);
	ck_assert(all_are(mg_secret_data(secret), 16, 0));
}
END_TEST

/* All that changes a secret's bytes, on nothing but itself. */
static int change(int which)
{
	static char bytes[16] = "0123456789abcdef";

	switch (which) {
	case 0:
		return mg_secret_copy(secret, bytes, 16);
	case 1:
		return mg_secret_copy_at(secret, 0, bytes, 1);
	case 2:
		return mg_secret_move(secret, bytes, 16);
	case 3:
		return mg_secret_move_at(secret, 0, bytes, 1);
	case 4:
		return mg_secret_scramble(secret);
	default:
		return mg_secret_wipe(secret);
	}
}

#define CHANGES 6

START_TEST(a_frozen_secret_refuses_every_change_until_it_is_melted)
{
	ck_assert_int_eq(mg_secret_copy(secret, "yellow submarine", 16), MG_OK);
	ck_assert(mg_secret_mutable(secret));
	for (int twice = 0; twice < 2; twice++)
		ck_assert_int_eq(mg_secret_freeze(secret), MG_OK);
	ck_assert(!mg_secret_mutable(secret));
	for (int i = 0; i < CHANGES; i++)
		ck_assert_int_eq(change(i), MG_FROZEN);
	holds("yellow submarine");
	for (int twice = 0; twice < 2; twice++)
		ck_assert_int_eq(mg_secret_melt(secret), MG_OK);
	ck_assert(mg_secret_mutable(secret));
	holds("yellow submarine");
	for (int i = 0; i < CHANGES; i++)
		ck_assert_int_eq(change(i), MG_OK);
	*(char *)mg_secret_writable(secret) = 'x';
	ck_assert_int_eq(*(const char *)mg_secret_data(secret), 'x');
}
END_TEST

START_TEST(a_small_secret_melts_into_pages_of_its_own)
{
	char source[] = "yellow submarine";
	struct mg_secret *neighbour = NULL;
	const void *before;

	mg_secret_cleanup(&secret);
	ck_assert_int_eq(mg_secret_from_bytes(&secret, source, 16, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_int_eq(mg_secret_random(&neighbour, 16, MG_MEMORY_PREFER_LOCK), MG_OK);
	before = mg_secret_data(secret);
	ck_assert_ptr_null(mg_secret_writable(secret));
	ck_assert_int_eq(mg_secret_melt(secret), MG_OK);
	ck_assert_ptr_ne(mg_secret_data(secret), before);
	ck_assert(all_are(before, 16, 0));
	holds("yellow submarine");
	ck_assert_int_eq(mg_secret_copy_at(secret, 0, "Y", 1), MG_OK);
	ck_assert_int_eq(mg_secret_freeze(secret), MG_OK);
	holds("Yellow submarine");
	ck_assert(!all_are(mg_secret_data(neighbour), 16, 0));
	mg_secret_free(neighbour);
}
END_TEST

START_TEST(a_destroyed_secret_has_no_bytes_and_does_not_come_back)
{
	for (int twice = 0; twice < 2; twice++) {
		mg_secret_destroy(secret);
		ck_assert(!mg_secret_alive(secret));
		ck_assert(!mg_secret_mutable(secret));
		ck_assert_uint_eq(mg_secret_size(secret), 0);
		ck_assert_ptr_null(mg_secret_data(secret));
		ck_assert_ptr_null(mg_secret_writable(secret));
		ck_assert(!mg_secret_equal(secret, "", 0));
	}
	for (int i = 0; i < CHANGES; i++)
		ck_assert_int_eq(change(i), MG_GONE);
	ck_assert_int_eq(mg_secret_freeze(secret), MG_GONE);
	ck_assert_int_eq(mg_secret_melt(secret), MG_GONE);
	ck_assert_int_eq(mg_secret_read_at(secret, 0, &(char){ 0 }, 0), MG_GONE);
	mg_secret_destroy(NULL);
	ck_assert(!mg_secret_alive(NULL));
}
END_TEST

/* How a child ends that stores a byte at that address. */
static int signal_of_store(const void *at)
{
	volatile char *byte = (volatile char *)(uintptr_t)at;
	pid_t child = fork();
	int status;

	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		*byte = 1;
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* In this process: a child has the pages of neither. */
START_TEST(a_direct_store_to_a_shared_page_kills)
{
	struct mg_secret *shared = NULL;

	ck_assert_int_eq(mg_secret_random(&shared, 32, MG_MEMORY_PREFER_LOCK), MG_OK);
	*(volatile char *)(uintptr_t)mg_secret_data(shared) = 1;
}
END_TEST

START_TEST(a_child_has_nothing_and_can_make_its_own)
{
	static const uint8_t uninvited[32];
	struct mg_secret *shared = NULL;
	int status;
	pid_t child;

	ck_assert_int_eq(mg_secret_random(&shared, 32, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_int_eq(signal_of_store(mg_secret_data(shared)), SIGSEGV);
	ck_assert_int_eq(signal_of_store(&status), 0);
	child = fork();
	if (child == 0) {
		struct mg_secret *own = NULL;
		int r = mg_secret_melt(shared) == MG_INVALID ? 0 : 1;

		r |= mg_secret_alive(shared) || mg_secret_equal(shared, &r, sizeof(r)) ? 8 : 0;
		r |= mg_secret_equal(shared, uninvited, sizeof(uninvited)) ? 16 : 0;

		mg_secret_free(shared);
		r |= mg_secret_random(&own, 32, MG_MEMORY_PREFER_LOCK) == MG_OK ? 0 : 2;
		r |= all_are(mg_secret_data(own), 32, 0) ? 4 : 0;
		mg_secret_free(own);
		_exit(r);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert(!all_are(mg_secret_data(shared), 32, 0));
	mg_secret_free(shared);
}
END_TEST

START_TEST(a_thousand_small_secrets_charge_at_most_40_pages)
{
	static struct mg_secret *many[1000];
	size_t before = status_kb("VmLck:");
	size_t page = (size_t)sysconf(_SC_PAGESIZE) / 1024;

	for (size_t i = 0; i < 1000; i++)
		ck_assert_int_eq(mg_secret_random(&many[i], 32, MG_MEMORY_PREFER_LOCK), MG_OK);
	ck_assert_uint_le(status_kb("VmLck:") - before, 40 * page);
	for (size_t i = 0; i < 1000; i++)
		mg_secret_free(many[i]);
	ck_assert_uint_le(status_kb("VmLck:") - before, 4 * page);
}
END_TEST

/* -- items --------------------------------------------------------------------------------- */

static size_t count_of(size_t size, size_t item_size)
{
	struct mg_secret *some = NULL;
	const void *items;
	size_t count = SIZE_MAX;

	ck_assert_int_eq(mg_secret_random(&some, size, MG_MEMORY_PREFER_LOCK), MG_OK);
	items = mg_secret_items(some, item_size, item_size, &count);
	ck_assert_ptr_eq(items, count > 0 ? mg_secret_data(some) : NULL);
	mg_secret_free(some);
	return count;
}

START_TEST(items_are_as_many_as_fit_at_the_secrets_own_address)
{
	static const struct {
		size_t size, item_size, count;
	} rows[] = { { 32, 2, 16 }, { 32, 4, 8 }, { 32, 8, 4 }, { 3, 2, 1 }, { 5, 4, 1 },
		{ 9, 8, 1 }, { 1, 2, 0 }, { 3, 4, 0 }, { 7, 8, 0 }, { 32, 16, 2 },
		{ 5000, 8, 625 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_uint_eq(count_of(rows[i].size, rows[i].item_size), rows[i].count);
}
END_TEST

START_TEST(items_are_never_out_of_line)
{
	/* Nothing promises more than 16 bytes, and 3 divides no address. */
	ck_assert_ptr_null(mg_secret_items(secret, 1, 32, NULL));
	ck_assert_ptr_null(mg_secret_items(secret, 1, 3, NULL));
	ck_assert_ptr_null(mg_secret_items(secret, 1, 0, NULL));
	ck_assert_ptr_null(mg_secret_items(secret, 0, 1, NULL));
	ck_assert_ptr_nonnull(mg_secret_items(secret, 3, 1, NULL));
	for (size_t size = 1; size < 200; size++) {
		struct mg_secret *some = NULL;

		ck_assert_int_eq(mg_secret_random(&some, size, MG_MEMORY_PREFER_LOCK), MG_OK);
		ck_assert_uint_eq((uintptr_t)mg_secret_data(some) % 16, 0);
		mg_secret_free(some);
	}
}
END_TEST

struct login {
	uint8_t key[32];
	char user[16];
	uint64_t number;
	uint8_t kind;
};

START_TEST(a_structure_lies_over_the_bytes)
{
	struct mg_secret *room = NULL;
	struct login *login;
	size_t count;

	ck_assert_int_eq(
		mg_secret_new(&room, 3 * sizeof(struct login), MG_MEMORY_PREFER_LOCK), MG_OK);
	login = MG_ITEMS_WRITABLE(struct login, room, &count);
	ck_assert_uint_eq(count, 3);
	login[1].number = 0x1122334455667788;
	ck_assert_int_eq(mg_secret_freeze(room), MG_OK);
	ck_assert_ptr_null(MG_VIEW_WRITABLE(struct login, room));
	ck_assert(MG_VIEW(struct login, room)[1].number == 0x1122334455667788);
	ck_assert_mem_eq((const uint8_t *)mg_secret_data(room) + sizeof(struct login) +
			offsetof(struct login, number),
		&login[1].number, 8);
	ck_assert_ptr_null(MG_VIEW(struct login, secret));
	mg_secret_destroy(room);
	ck_assert_ptr_null(MG_VIEW(struct login, room));
	mg_secret_free(room);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("secret_bytes");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_copy_fills_the_secret_exactly_or_not_at_all);
	tcase_add_test(claims, a_copy_at_an_offset_changes_its_own_bytes_alone);
	tcase_add_test(claims, bytes_are_read_as_asked_or_not_at_all);
	tcase_add_test(claims, what_moves_is_zero_where_it_was);
	tcase_add_test(claims, scrambling_twice_gives_two_things_and_wiping_nothing);
	tcase_add_test(claims, a_frozen_secret_refuses_every_change_until_it_is_melted);
	tcase_add_test(claims, a_small_secret_melts_into_pages_of_its_own);
	tcase_add_test(claims, a_destroyed_secret_has_no_bytes_and_does_not_come_back);
	tcase_add_test_raise_signal(claims, a_direct_store_to_a_shared_page_kills, SIGSEGV);
	tcase_add_test(claims, a_child_has_nothing_and_can_make_its_own);
	tcase_add_test(claims, a_thousand_small_secrets_charge_at_most_40_pages);
	tcase_add_test(claims, items_are_as_many_as_fit_at_the_secrets_own_address);
	tcase_add_test(claims, items_are_never_out_of_line);
	tcase_add_test(claims, a_structure_lies_over_the_bytes);
	return claims_run(claims, "secrets' bytes");
}
