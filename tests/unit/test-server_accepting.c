/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server_accepting.h"

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/wire/channel.h"
#include "daemon/session_inside.h"
#include "tests/unit/claims.h"
#include "tests/unit/door.h"

/* Who comes to a listener on a loop that the test turns by hand, and is nobody who may do all. */

#define NOBODY 65534
#define OWN 4711 /* whose daemon it is */

static uv_loop_t loop;
static struct door door;
static struct sessions sessions;
static struct accepting accepting;
static struct listener listener;
static struct sockaddr_un place;
static socklen_t place_size;

static void listen_anywhere(void)
{
	place = (struct sockaddr_un){ .sun_family = AF_UNIX };
	place_size = sizeof(place);
	listener = (struct listener){ .lock = -1 };
	listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(listener.fd, 0);
	/* An abstract name of the kernel's choice. */
	ck_assert_int_eq(bind(listener.fd, (struct sockaddr *)&place, sizeof(place.sun_family)), 0);
	ck_assert_int_eq(getsockname(listener.fd, (struct sockaddr *)&place, &place_size), 0);
	ck_assert_int_eq(listen(listener.fd, 64), 0);
}

static void set_up(void)
{
	if (geteuid() == 0)
		ck_assert(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	door_open(&door, 0);
	door.daemon.policy.own = OWN;
	listen_anywhere();
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	accepting_init(&accepting, &loop, &sessions, &listener, NULL);
	ck_assert_int_eq(sessions_init(&sessions, &loop, &door.daemon), 0);
	ck_assert_int_eq(accepting_start(&accepting), 0);
}

static void tear_down(void)
{
	accepting_stop(&accepting);
	accepting_close(&accepting);
	sessions_close(&sessions);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	sessions_finish(&sessions);
	users_finish(&door.daemon.users);
	door_close(&door);
	close(listener.fd);
}

static int knock(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&place, place_size), 0);
	return fd;
}

static void knock_often(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fds[i] = knock();
}

/* How many of them have something to read. */
static size_t told(const int *fds, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		struct pollfd entry = { .fd = fds[i], .events = POLLIN };

		found += poll(&entry, 1, 0) > 0;
	}
	return found;
}

static void leave(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

/* The refusal that is there, and the end behind it. */
static int refusal(int fd)
{
	uint8_t bytes[2 * HELLO_SIZE];
	struct hello hello;
	ssize_t size = read(fd, bytes, sizeof(bytes));

	ck_assert_int_eq(size, HELLO_SIZE);
	ck_assert_int_eq(hello_read(&hello, span_of(bytes, (size_t)size)), HELLO_SIZE);
	ck_assert_uint_eq(hello.ciphers, 0);
	ck_assert_int_eq(read(fd, bytes, sizeof(bytes)), 0);
	return hello.refusal;
}

/* Rounds, without any that waits, until there is nobody left to be looked at. */
static void look(int times)
{
	for (int i = 0; i < times; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

/* One connection, with which its user has come as often as he may for a long time. */
static int let_one_in(void)
{
	int fd = knock();

	for (int i = 0; i < 100000 && sessions.count == 0; i++)
		look(1);
	ck_assert_uint_eq(sessions.count, 1);
	door.daemon.users.quotas = (struct quotas){ .handshakes = 1 };
	sessions.first->user->due_us = UINT64_MAX / 2;
	return fd;
}

START_TEST(who_keeps_to_his_quotas_is_let_in)
{
	int fds[8];

	door.daemon.users.quotas = (struct quotas){ .sessions = 4, .handshakes = 8 };
	knock_often(fds, 8);
	look(100);
	ck_assert_uint_eq(sessions.count, 8);
	ck_assert_uint_eq(told(fds, 8), 0);
	leave(fds, 8);
}
END_TEST

START_TEST(who_comes_too_often_is_told_and_nothing_is_made_for_him)
{
	struct users *users = &door.daemon.users;
	int fds[6];

	fds[0] = let_one_in();
	knock_often(fds + 1, 5);
	for (int i = 0; i < 100000 && told(fds, 6) < 5; i++) {
		look(1);
		ck_assert_uint_eq(sessions.count, 1);
		ck_assert_uint_eq(users->first->connections, 1);
	}
	ck_assert_uint_eq(told(fds, 1), 0);
	for (int i = 1; i < 6; i++)
		ck_assert_int_eq(refusal(fds[i]), HELLO_TOO_MANY_HANDSHAKES);
	/* So is whoever has twice as many connections as he may have sessions. */
	users->quotas = (struct quotas){ .sessions = 1 };
	close(fds[1]);
	close(fds[2]);
	knock_often(fds + 1, 2);
	for (int i = 0; i < 100000 && told(fds + 2, 1) < 1; i++)
		look(1);
	ck_assert_uint_eq(sessions.count, 2);
	ck_assert_uint_eq(told(fds + 1, 1), 0);
	ck_assert_int_eq(refusal(fds[2]), HELLO_TOO_MANY_SESSIONS);
	leave(fds, 6);
}
END_TEST

START_TEST(who_was_turned_away_is_not_looked_at_again_at_once)
{
	int fds[20];
	size_t before;

	fds[0] = let_one_in();
	knock_often(fds + 1, 19);
	/* Whoever is turned away behind him brings a pause. */
	for (int i = 0; i < 100000 && accepting.again_ns == 0; i++)
		look(1);
	ck_assert_uint_gt(accepting.again_ns, 0);
	before = told(fds, 20);
	ck_assert_uint_gt(before, 0);
	ck_assert_uint_lt(before, 19);
	accepting.again_ns = UINT64_MAX;
	look(100);
	ck_assert_uint_eq(told(fds, 20), before);
	/* It is for those who are connected: where nobody is, nobody waits. */
	close(fds[0]);
	look(100);
	ck_assert_uint_eq(sessions.count, 0);
	ck_assert_uint_eq(told(fds + 1, 19), 19);
	leave(fds + 1, 19);
}
END_TEST

START_TEST(who_is_let_in_has_his_handshake_in_another_round)
{
	struct user *other = user_enter(&door.daemon.users, 60001, 1);
	struct user *user;
	int fd = knock();

	ck_assert_ptr_nonnull(other);
	for (int i = 0; i < 100000 && sessions.count == 0; i++)
		look(1);
	user = sessions.first->user;
	ck_assert_uint_lt(user_share(user), USER_SHARE_NS);
	ck_assert(!user_let_in(user));
	/* Nobody else pays for it. */
	ck_assert_uint_eq(user_share(other), USER_SHARE_NS);
	users_begin_round(&door.daemon.users);
	ck_assert(user_let_in(user));
	user_leave(other);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("accepting");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, who_keeps_to_his_quotas_is_let_in);
	tcase_add_test(claims, who_comes_too_often_is_told_and_nothing_is_made_for_him);
	tcase_add_test(claims, who_was_turned_away_is_not_looked_at_again_at_once);
	tcase_add_test(claims, who_is_let_in_has_his_handshake_in_another_round);
	return claims_run(claims, "accepting");
}
