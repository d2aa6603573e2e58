/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/inherited.h"
#include "tests/unit/started.h"

/* What the service manager hands over: its sockets, and what was stored. */

#define LEDGER "memguardd-ledger-7"
#define KEYS "memguardd-keys-7"

static struct inherited inherited;

/* Three files that can be told from each other, handed over in this order. */
static struct stat files[3];

static void hand_over_files(const char *names)
{
	start.names = names;
	start.count = 0;
	for (size_t i = 0; i < 3; i++) {
		char name[80];
		int fd;

		snprintf(name, sizeof(name), "%s/%zu", folder, i);
		fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(fstat(fd, &files[i]), 0);
		hand_over(fd);
	}
}

static bool leads_to(int fd, size_t file)
{
	struct stat status;

	return fstat(fd, &status) == 0 && status.st_ino == files[file].st_ino &&
		status.st_dev == files[file].st_dev;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_one_of(const char *name, const char *expected)
{
	return name && strcmp(name, expected) == 0;
}

static void there_is_nothing(void)
{
	size_t place_in_list = 0;

	MUST(inherited_init(&inherited) == 0);
	MUST(inherited_take_socket(&inherited) == -ENOENT);
	MUST(inherited_take(&inherited, LEDGER) == -ENOENT);
	MUST(inherited_take(&inherited, "") == -ENOENT);
	MUST(inherited_next(&inherited, "", &place_in_list) == NULL);
	inherited_close_rest(&inherited);
	inherited_close_rest(&inherited);
}

START_TEST(without_words_there_is_nothing)
{
	there_is_nothing();
}
END_TEST

static void nothing_of_others_is_touched(void)
{
	MUST(fcntl(FIRST, F_GETFD) == 0);
	there_is_nothing();
	MUST(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
	for (int i = 0; i < 3; i++)
		MUST(leads_to(FIRST + i, (size_t)i) && fcntl(FIRST + i, F_GETFD) == 0);
}

START_TEST(what_is_for_another_process_is_left_alone)
{
	hand_over_files(LEDGER ":" KEYS ":memguardd.socket");
	start.pid = "1";
	when_started(nothing_of_others_is_touched);
	start.pid = NULL;
	start.said = "1025";
	when_started(nothing_of_others_is_touched);
}
END_TEST

/* -- both kinds ---------------------------------------------------------------------------- */

static void it_begins(void)
{
	MUST(inherited_init(&inherited) == 0);
	MUST(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
	for (int i = 0; i < 3; i++)
		MUST(fcntl(FIRST + i, F_GETFD) == FD_CLOEXEC);
}

static void each_is_taken_once(void)
{
	it_begins();
	MUST(inherited_take(&inherited, "memguardd-ledger-6") == -ENOENT);
	MUST(inherited_take(&inherited, "memguardd-ledger-") == -ENOENT);
	MUST(inherited_take(&inherited, LEDGER "7") == -ENOENT);
	MUST(inherited_take(&inherited, LEDGER) == FIRST + 1);
	MUST(inherited_take(&inherited, LEDGER) == -ENOENT);
	MUST(inherited_take_socket(&inherited) == FIRST);
	MUST(inherited_take_socket(&inherited) == -ENOENT);
	MUST(inherited_take(&inherited, KEYS) == FIRST + 2);
	/* What was taken is the caller's. */
	inherited_close_rest(&inherited);
	for (size_t i = 0; i < 3; i++)
		MUST(leads_to(FIRST + (int)i, i));
	MUST(inherited_take(&inherited, KEYS) == -ENOENT);
}

START_TEST(sockets_and_what_was_stored_are_told_apart)
{
	hand_over_files("memguardd.socket:" LEDGER ":" KEYS);
	when_started(each_is_taken_once);
}
END_TEST

static void the_last_is_the_socket(void)
{
	it_begins();
	MUST(inherited_take_socket(&inherited) == FIRST + 2);
	MUST(inherited_take(&inherited, LEDGER) == FIRST);
	MUST(inherited_take(&inherited, KEYS) == FIRST + 1);
}

START_TEST(the_order_does_not_matter)
{
	hand_over_files(LEDGER ":" KEYS ":memguardd.socket");
	when_started(the_last_is_the_socket);
	/* A name that the unit gives, and one that it leaves out. */
	start.names = LEDGER ":" KEYS ":front-door";
	when_started(the_last_is_the_socket);
	start.names = LEDGER ":" KEYS ":";
	when_started(the_last_is_the_socket);
}
END_TEST

static void none_is_a_socket(void)
{
	it_begins();
	MUST(inherited_take_socket(&inherited) == -ENOENT);
	for (int i = 0; i < 3; i++)
		MUST(is_open(FIRST + i));
	MUST(inherited_take(&inherited, LEDGER) == FIRST);
	MUST(inherited_take(&inherited, KEYS) == FIRST + 1);
	MUST(inherited_take(&inherited, "memguardd-") == FIRST + 2);
}

START_TEST(what_was_stored_is_never_a_socket)
{
	hand_over_files(LEDGER ":" KEYS ":memguardd-");
	when_started(none_is_a_socket);
}
END_TEST

static void all_are_sockets(void)
{
	size_t from = 0;

	it_begins();
	MUST(inherited_next(&inherited, "", &from) == NULL);
	MUST(inherited_take(&inherited, LEDGER) == -ENOENT);
	MUST(inherited_take(&inherited, "memguardd") == -ENOENT);
	MUST(inherited_take(&inherited, "") == -ENOENT);
	MUST(inherited_take_socket(&inherited) == FIRST);
	MUST(is_open(FIRST) && !is_open(FIRST + 1) && !is_open(FIRST + 2));
}

START_TEST(names_that_are_not_ours_are_sockets)
{
	hand_over_files("memguardd.socket:memguardd:xmemguardd-a");
	when_started(all_are_sockets);
	start.names = "Memguardd-ledger-7: " LEDGER ":";
	when_started(all_are_sockets);
}
END_TEST

START_TEST(names_that_do_not_match_the_number_are_none)
{
	static const char *const names[] = { NULL, "", LEDGER, LEDGER ":" KEYS,
		LEDGER ":" KEYS ":" LEDGER ":" KEYS, LEDGER ":" KEYS ":" LEDGER ":",
		":::", "::::::" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		hand_over_files(names[i]);
		when_started(all_are_sockets);
	}
}
END_TEST

/* -- several of a name --------------------------------------------------------------------- */

static void the_first_of_a_name_is_taken(void)
{
	it_begins();
	MUST(inherited_take(&inherited, LEDGER) == FIRST);
	MUST(leads_to(FIRST, 0) && is_open(FIRST + 1) && !is_open(FIRST + 2));
	MUST(inherited_take(&inherited, LEDGER) == -ENOENT);
	MUST(inherited_take(&inherited, KEYS) == FIRST + 1);
}

START_TEST(of_several_of_a_name_the_first_is_taken)
{
	hand_over_files(LEDGER ":" KEYS ":" LEDGER);
	when_started(the_first_of_a_name_is_taken);
}
END_TEST

static void the_names_are_told(void)
{
	size_t from = 0;

	it_begins();
	MUST(is_one_of(inherited_next(&inherited, INHERITED_STORED, &from), "memguardd-keys-7"));
	MUST(is_one_of(inherited_next(&inherited, INHERITED_STORED, &from), "memguardd-ledger-6"));
	MUST(is_one_of(inherited_next(&inherited, INHERITED_STORED, &from), "memguardd-ledger-7"));
	MUST(inherited_next(&inherited, INHERITED_STORED, &from) == NULL);
	MUST(inherited_next(&inherited, INHERITED_STORED, &from) == NULL);
	from = 0;
	MUST(inherited_next(&inherited, "memguardd-ledger-8", &from) == NULL);
	/* All of one kind, taken on the way. */
	from = 0;
	for (int i = 1; i < 3; i++) {
		const char *name = inherited_next(&inherited, "memguardd-ledger-", &from);

		MUST(name && inherited_take(&inherited, name) == FIRST + i);
	}
	MUST(inherited_next(&inherited, "memguardd-ledger-", &from) == NULL);
	from = 0;
	MUST(is_one_of(inherited_next(&inherited, INHERITED_STORED, &from), "memguardd-keys-7"));
	MUST(inherited_next(&inherited, INHERITED_STORED, &from) == NULL);
}

START_TEST(names_are_told_by_their_beginning)
{
	hand_over_files("memguardd-keys-7:memguardd-ledger-6:memguardd-ledger-7");
	when_started(the_names_are_told);
}
END_TEST

/* -- the rest ------------------------------------------------------------------------------ */

static void what_is_left_is_closed(void)
{
	char said[1024] = "";
	int ends[2];

	MUST(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0);
	it_begins();
	MUST(inherited_take(&inherited, KEYS) == FIRST + 1);
	inherited_close_rest(&inherited);
	MUST(!is_open(FIRST) && is_open(FIRST + 1) && !is_open(FIRST + 2));
	MUST(read(ends[0], said, sizeof(said) - 1) > 0);
	MUST(strstr(said, "descriptor 3 ") && strstr(said, "descriptor 5 "));
	MUST(!strstr(said, "descriptor 4 ") && !strstr(said, "descriptor 6 "));
	/* The numbers may be somebody else's now. */
	MUST(dup2(FIRST + 1, FIRST) == FIRST);
	inherited_close_rest(&inherited);
	MUST(is_open(FIRST));
}

START_TEST(what_nobody_takes_is_closed_and_told)
{
	hand_over_files("memguardd.socket:" KEYS ":" LEDGER);
	when_started(what_is_left_is_closed);
}
END_TEST

static void what_was_not_open_is_nobodys(void)
{
	close(FIRST + 1);
	close(FIRST + 2);
	MUST(inherited_init(&inherited) == 0);
	/* Something of ours has the numbers now. */
	MUST(dup2(FIRST, FIRST + 1) == FIRST + 1 && dup2(FIRST, FIRST + 2) == FIRST + 2);
	MUST(inherited_take(&inherited, LEDGER) == -ENOENT);
	MUST(inherited_take_socket(&inherited) == FIRST);
	inherited_close_rest(&inherited);
	for (int i = 0; i < 3; i++)
		MUST(is_open(FIRST + i));
}

START_TEST(what_was_not_open_is_never_closed)
{
	hand_over_files("memguardd.socket:" LEDGER ":other.socket");
	when_started(what_was_not_open_is_nobodys);
	start.names = NULL;
	when_started(what_was_not_open_is_nobodys);
}
END_TEST

static void as_many_as_can_be_told(void)
{
	it_begins();
	MUST(inherited_take_socket(&inherited) == FIRST);
	inherited_close_rest(&inherited);
	MUST(!is_open(FIRST + 1) && !is_open(FIRST + 2));
}

START_TEST(more_may_be_said_than_there_are)
{
	hand_over_files(NULL);
	start.said = "1024";
	when_started(as_many_as_can_be_told);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("inherited");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, without_words_there_is_nothing);
	tcase_add_test(claims, what_is_for_another_process_is_left_alone);
	tcase_add_test(claims, sockets_and_what_was_stored_are_told_apart);
	tcase_add_test(claims, the_order_does_not_matter);
	tcase_add_test(claims, what_was_stored_is_never_a_socket);
	tcase_add_test(claims, names_that_are_not_ours_are_sockets);
	tcase_add_test(claims, names_that_do_not_match_the_number_are_none);
	tcase_add_test(claims, of_several_of_a_name_the_first_is_taken);
	tcase_add_test(claims, names_are_told_by_their_beginning);
	tcase_add_test(claims, what_nobody_takes_is_closed_and_told);
	tcase_add_test(claims, what_was_not_open_is_never_closed);
	tcase_add_test(claims, more_may_be_said_than_there_are);
	return claims_run(claims, "inherited");
}
