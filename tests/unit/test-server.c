/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/line.h"
#include "daemon/notify.h"
#include "daemon/signals.h"
#include "tests/unit/claims.h"

/* The loop with a keeper at the other end of its line: what it begins, and how it leaves. */

static struct daemon house;
static struct listener listener;
static int line[2];    /* the keeper's end, the loop's */
static int manager[2]; /* what is told to the service manager, who tells */
static struct server_options options;

/* What the loop has called. */
static unsigned upgrades;
static unsigned lines;
static unsigned purged;

static void say(char word)
{
	ck_assert_int_eq(write(line[0], &word, 1), 1);
}

static void be_ready(void *context)
{
	(void)context;
}

static void begin_upgrade(void *context)
{
	(void)context;
	ck_assert(house.upgrades.under_way && !house.upgrades.asked);
	upgrades++;
	say('s');
}

/* 's': stay; 'l': leave; 'a': the same, and somebody asks; 'e': stay, but somebody ends it all. */
static bool hear(void *context)
{
	char word;

	(void)context;
	lines++;
	ck_assert_int_eq(read(line[1], &word, 1), 1);
	house.upgrades.asked |= word == 'a' || word == 'e';
	house.ending |= word == 'e';
	if (word == 's')
		say('l');
	return word == 'l' || word == 'a';
}

static void be_purged(void *context)
{
	(void)context;
	purged++;
}

static int listen_anywhere(void)
{
	struct sockaddr_un place = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	/* An abstract name of the kernel's choice. */
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&place, sizeof(place.sun_family)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static void set_up(void)
{
	struct daemon_options made = { .max_value = 1000, .rekey_ms = 500, .own = geteuid() };

	ck_assert_int_ge(sodium_init(), 0);
	signals_block();
	ck_assert_int_eq(daemon_init(&house, &made), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, manager), 0);
	notify_relay(manager[1]);
	listener = (struct listener){ .fd = listen_anywhere(), .lock = -1 };
	options = (struct server_options){ .daemon = &house,
		.listener = &listener,
		.companion = -1,
		.line = line[1],
		.on_ready = be_ready,
		.on_upgrade = begin_upgrade,
		.on_purged = be_purged,
		.on_line = hear };
}

/* The next state that the service manager is to hear of, or a negative errno. */
static int told(void)
{
	struct line_packet packet;
	int r = line_look(manager[0], &packet);

	return r == 0 && packet.word == LINE_STATE ? (int)packet.number : r;
}

static void tear_down(void)
{
	daemon_finish(&house);
	close(listener.fd);
	for (int i = 0; i < 2; i++) {
		close(line[i]);
		close(manager[i]);
	}
}

START_TEST(an_upgrade_is_begun_once_and_the_keeper_says_when_to_leave)
{
	house.upgrades = (struct upgrades){ .keeper = 2, .asked = true, .under_way = true };
	ck_assert_int_eq(server_run(&options), 0);
	ck_assert_uint_eq(upgrades, 1);
	ck_assert_uint_eq(lines, 2);
	/* The service goes on: nobody is told that it ends. */
	ck_assert_int_eq(told(), -EAGAIN);
}
END_TEST

START_TEST(an_end_is_told)
{
	options.companion = line[1];
	options.line = -1;
	say('l');
	ck_assert_int_eq(server_run(&options), 0);
	ck_assert_uint_eq(lines, 0);
	ck_assert_int_eq(told(), NOTIFY_STOPPING);
	ck_assert_int_eq(told(), -EAGAIN);
}
END_TEST

START_TEST(what_is_asked_while_all_ends_is_not_begun)
{
	static const char ends[] = { 'a', 'e' };

	house.upgrades = (struct upgrades){ .keeper = 2, .under_way = true };
	say(ends[_i]);
	ck_assert_int_eq(server_run(&options), 0);
	ck_assert_uint_eq(lines, 1);
	ck_assert_uint_eq(upgrades, 0);
	ck_assert(!house.upgrades.asked);
}
END_TEST

START_TEST(a_purge_that_a_signal_asks_for_is_told)
{
	purged = 0;
	ck_assert_int_eq(kill(getpid(), SIGUSR2), 0);
	say('l');
	ck_assert_int_eq(server_run(&options), 0);
	ck_assert_uint_eq(purged, 1);
	ck_assert_uint_eq(house.purges, 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("server");

	tcase_set_timeout(claims, 60);
	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, an_upgrade_is_begun_once_and_the_keeper_says_when_to_leave);
	tcase_add_test(claims, an_end_is_told);
	tcase_add_test(claims, a_purge_that_a_signal_asks_for_is_told);
	tcase_add_loop_test(claims, what_is_asked_while_all_ends_is_not_begun, 0, 2);
	return claims_run(claims, "server");
}
