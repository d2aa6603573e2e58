/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>

#include "tests/unit/started.h"

/* A listener that the service manager made, and hands over as sd_listen_fds(3) says. */

static void words_are_for_nobody_behind_us(void)
{
	MUST(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
}

static void it_is_taken(void)
{
	MUST(open_listener(&listener) == 0);
	words_are_for_nobody_behind_us();
	MUST(listener.inherited && listener.fd == FIRST && listener.lock == -1);
	MUST(strcmp(listener.endpoint.path, beside) == 0);
	MUST(fcntl(FIRST, F_GETFD) == FD_CLOEXEC);
	MUST((fcntl(FIRST, F_GETFL) & O_NONBLOCK) != 0);
	/* The configured place is nobody's. */
	MUST(!is_there(place) && !is_there(lock));
	MUST(try_connect(beside) == 0);
	listener_close(&listener);
	MUST(is_there(beside));
	MUST(fcntl(FIRST, F_GETFD) < 0);
}

START_TEST(an_inherited_listener_is_taken_and_left)
{
	int fd = serve_at(beside, SOCK_STREAM, 8);

	hand_over(fd);
	when_started(it_is_taken);
	/* It is the service manager's: another daemon may have it next. */
	ck_assert_int_eq(try_connect(beside), 0);
	when_started(it_is_taken);
	close(fd);
}
END_TEST

static void it_is_its_owners_alone(void)
{
	MUST(open_listener(&listener) == 0);
	MUST(listener.own_only);
}

static void it_is_for_all(void)
{
	MUST(open_listener(&listener) == 0);
	MUST(!listener.own_only);
}

START_TEST(an_inherited_listeners_rights_are_its_files)
{
	int fd = serve_at(beside, SOCK_STREAM, 8);

	hand_over(fd);
	/* Whatever the configuration says about a place of our own. */
	config.socket_mode = 0666;
	ck_assert_int_eq(chmod(beside, 0600), 0);
	when_started(it_is_its_owners_alone);
	config.socket_mode = 0600;
	ck_assert_int_eq(chmod(beside, 0666), 0);
	when_started(it_is_for_all);
	ck_assert_int_eq(chmod(beside, 0660), 0);
	when_started(it_is_for_all);
	close(fd);
}
END_TEST

START_TEST(an_inherited_listener_shows_who_made_it)
{
	struct sockaddr_un address = address_of(beside);
	int fd = serve_at(beside, SOCK_STREAM, 8);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred maker;
	socklen_t size = sizeof(maker);

	hand_over(fd);
	when_started(it_is_taken);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &maker, &size), 0);
	ck_assert_int_eq(maker.pid, getpid());
	close(client);
	close(fd);
}
END_TEST

static void it_needs_no_place(void)
{
	MUST(open_listener(&listener) == 0);
	MUST(listener.fd == FIRST);
}

START_TEST(with_an_inherited_listener_no_place_is_needed)
{
	int fd = serve_at(beside, SOCK_STREAM, 8);

	hand_over(fd);
	config.socket.path[0] = '\0';
	config.socket_given = false;
	when_started(it_needs_no_place);
	close(fd);
}
END_TEST

static void it_has_no_path(void)
{
	MUST(open_listener(&listener) == 0);
	MUST(listener.fd == FIRST && listener.endpoint.path[0] == '\0' && !listener.own_only);
	listener_close(&listener);
}

START_TEST(an_inherited_listener_without_a_file_is_taken)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	hand_over(fd);
	when_started(it_has_no_path);
	close(fd);
}
END_TEST

static void it_makes_its_own(void)
{
	struct stat before, behind;

	MUST(fstat(FIRST, &before) == 0);
	MUST(open_listener(&listener) == 0);
	words_are_for_nobody_behind_us();
	MUST(!listener.inherited && listener.fd != FIRST && listener.lock >= 0);
	MUST(try_connect(place) == 0);
	MUST(fstat(FIRST, &behind) == 0 && behind.st_ino == before.st_ino);
	listener_close(&listener);
	MUST(fcntl(FIRST, F_GETFD) >= 0 && !is_there(place));
}

START_TEST(descriptors_for_another_process_are_not_ours)
{
	static const char *const others[] = { "1", "0", "-1", "", "none", "99999999999999999999" };
	char text[32];
	int fd = serve_at(beside, SOCK_STREAM, 8);

	hand_over(fd);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		start.pid = others[i];
		when_started(it_makes_its_own);
	}
	/* Its parent's. */
	snprintf(text, sizeof(text), "%ld", (long)getpid());
	start.pid = text;
	when_started(it_makes_its_own);
	close(fd);
}
END_TEST

START_TEST(a_number_that_is_none_hands_nothing_over)
{
	static const char *const numbers[] = { "0", "-1", "", "one", "1025", "99999999999999999999",
		"-99999999999999999999", "4294967297" };
	int fd = serve_at(beside, SOCK_STREAM, 8);

	hand_over(fd);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		start.said = numbers[i];
		when_started(it_makes_its_own);
	}
	close(fd);
}
END_TEST

static void half_the_words_are_none(void)
{
	MUST(unsetenv("LISTEN_FDS") == 0);
	it_makes_its_own();
	MUST(setenv("LISTEN_FDS", "1", 1) == 0);
	it_makes_its_own();
}

START_TEST(half_the_words_hand_nothing_over)
{
	int fd = serve_at(beside, SOCK_STREAM, 8);

	hand_over(fd);
	when_started(half_the_words_are_none);
	close(fd);
}
END_TEST

static void the_others_are_closed(void)
{
	char said[1024] = "";
	int ends[2];

	MUST(pipe(ends) == 0 && ends[0] > FIRST + 2 && dup2(ends[1], STDERR_FILENO) >= 0);
	MUST(open_listener(&listener) == 0);
	MUST(listener.fd == FIRST && strcmp(listener.endpoint.path, beside) == 0);
	MUST(fcntl(FIRST + 1, F_GETFD) < 0 && fcntl(FIRST + 2, F_GETFD) < 0);
	MUST(fcntl(ends[0], F_GETFD) >= 0);
	MUST(read(ends[0], said, sizeof(said) - 1) > 0);
	MUST(strstr(said, "descriptor 4 ") && strstr(said, "descriptor 5 "));
	MUST(!strstr(said, "descriptor 3 ") && !strstr(said, "descriptor 6 "));
}

START_TEST(of_several_inherited_listeners_the_first_is_taken)
{
	int first = serve_at(beside, SOCK_STREAM, 8);
	int second = serve_at(place, SOCK_STREAM, 8);

	hand_over(first);
	hand_over(second);
	hand_over(second);
	when_started(the_others_are_closed);
	close(first);
	close(second);
}
END_TEST

static void it_is_refused(void)
{
	MUST(open_listener(&listener) == -ENOTSOCK);
	MUST(strstr(fault.text, "descriptor 3"));
	MUST(listener.fd == -1 && listener.lock == -1);
	/* The place of our own is no substitute: the service manager's clients look elsewhere. */
	MUST(!is_there(place) && !is_there(lock));
}

static void one_that_is_closed_is_refused(void)
{
	close(FIRST);
	it_is_refused();
}

static void refuse_inherited(int fd)
{
	ck_assert_int_ge(fd, 0);
	start.count = 0;
	hand_over(fd);
	when_started(it_is_refused);
	close(fd);
}

START_TEST(what_is_no_listening_stream_socket_is_refused)
{
	struct sockaddr_in network = { .sin_family = AF_INET };
	int fd;

	refuse_inherited(open("/dev/null", O_RDWR | O_CLOEXEC));
	refuse_inherited(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	refuse_inherited(serve_at(beside, SOCK_DGRAM, 0));
	ck_assert_int_eq(unlink(beside), 0);
	refuse_inherited(serve_at(beside, SOCK_SEQPACKET, 1));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	network.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&network, sizeof(network)) == 0 &&
		listen(fd, 1) == 0)
		refuse_inherited(fd);
	else
		puts("SKIP: what_is_no_listening_stream_socket_is_refused (TCP): no network");
	start.count = 0;
	hand_over(STDIN_FILENO);
	when_started(one_that_is_closed_is_refused);
}
END_TEST

static void add_claims(TCase *claims)
{
	tcase_add_test(claims, an_inherited_listener_is_taken_and_left);
	tcase_add_test(claims, an_inherited_listeners_rights_are_its_files);
	tcase_add_test(claims, an_inherited_listener_shows_who_made_it);
	tcase_add_test(claims, with_an_inherited_listener_no_place_is_needed);
	tcase_add_test(claims, an_inherited_listener_without_a_file_is_taken);
	tcase_add_test(claims, descriptors_for_another_process_are_not_ours);
	tcase_add_test(claims, a_number_that_is_none_hands_nothing_over);
	tcase_add_test(claims, half_the_words_hand_nothing_over);
	tcase_add_test(claims, of_several_inherited_listeners_the_first_is_taken);
	tcase_add_test(claims, what_is_no_listening_stream_socket_is_refused);
}

int main(void)
{
	TCase *claims = tcase_create("listener_inherited");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	add_claims(claims);
	return claims_run(claims, "listener_inherited");
}
