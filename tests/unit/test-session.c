/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/wire/channel.h"
#include "tests/unit/claims.h"
#include "tests/unit/door.h"

/* Sessions on a loop that the test turns by hand: a daemon that is slow to look. */

/* Milliseconds: more than a Hello may take. */
#define TOO_LATE 5200

static uv_loop_t loop;
static struct door door;
static struct sessions sessions;

static void set_up(void)
{
	door_open(&door, 0);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(sessions_init(&sessions, &loop, &door.daemon), 0);
}

static void tear_down(void)
{
	sessions_close(&sessions);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	sessions_finish(&sessions);
	door_close(&door);
}

/* A client whose daemon has not heard of anything yet. */
static int come(void)
{
	int ends[2];

	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	sessions_accept(&sessions, ends[1]);
	return ends[0];
}

static void greet(int client, size_t size)
{
	uint8_t hello[HELLO_SIZE];
	struct channel_pair pair;

	channel_draw(&pair);
	hello_write(hello, CHANNEL_VERSION, CHANNEL_VERSION, CHANNEL_CIPHERS, pair.open);
	ck_assert_int_eq(write(client, hello, size), (ssize_t)size);
}

/* Some rounds, as many as any deadline needs; no round waits. */
static void look(void)
{
	for (int i = 0; i < 10; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		(void)poll(NULL, 0, 2);
	}
}

/* What a client finds: the bytes of an answer, 0 at the end, -EAGAIN for nothing yet. */
static ssize_t heard(int client)
{
	uint8_t answer[2 * HELLO_SIZE];
	ssize_t r = read(client, answer, sizeof(answer));

	return r < 0 ? -errno : r;
}

START_TEST(a_hello_that_is_there_in_time_counts_however_late_it_is_looked_at)
{
	int early = come();
	int silent = come();
	int halfway = come();

	look();
	greet(early, HELLO_SIZE);
	greet(halfway, HELLO_SIZE - 1);
	(void)poll(NULL, 0, TOO_LATE);
	look();
	ck_assert_int_eq(heard(early), HELLO_SIZE);
	ck_assert_int_eq(heard(silent), 0);
	ck_assert_int_eq(heard(early), -EAGAIN);
	/* It is looked at once more, not waited for. */
	ck_assert_int_eq(heard(halfway), 0);
	ck_assert_uint_eq(sessions.count, 1);
	close(early);
	close(silent);
	close(halfway);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("session");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, a_hello_that_is_there_in_time_counts_however_late_it_is_looked_at);
	return claims_run(claims, "sessions");
}
