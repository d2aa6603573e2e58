/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/memory/enclave.h"
#include "common/status.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "daemon/session_inside.h"
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
	/* Whoever runs the test may store under any name. */
	door.daemon.policy.own = geteuid();
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
	sessions_accept(&sessions, ends[1], "");
	return ends[0];
}

static struct channel_pair pair;
static uint8_t hello[HELLO_SIZE];

static void greet(int client, size_t size)
{
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

/* -- a client that shakes hands ------------------------------------------------------------ */

static struct channel_keys keys;

/* Turns the loop until the client has something to read. */
static void wait_for_answer(int client)
{
	struct pollfd news = { .fd = client, .events = POLLIN };

	for (int i = 0; i < 10000 && poll(&news, 1, 1) == 0; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(news.revents, POLLIN);
}

static void shake_hands(int client)
{
	uint8_t answer[HELLO_SIZE];

	greet(client, HELLO_SIZE);
	wait_for_answer(client);
	ck_assert_int_eq(read(client, answer, sizeof(answer)), HELLO_SIZE);
	ck_assert_int_eq(channel_agree(&keys, &pair, false, span_of(hello, sizeof(hello)),
				 span_of(answer, sizeof(answer))),
		0);
}

/* Announces a chunk of a longer value and sends it; the rest does not follow. */
static void begin_set(int client)
{
	static uint8_t plain[FRAME_PLAIN_MAX], frame[FRAME_SIZE_MAX];
	static const uint8_t value[ENCLAVE_CHUNK_PLAIN], key[ENCLAVE_KEY_SIZE] = { 1 };
	struct request request = { .id = 7,
		.verb = VERB_SET,
		.numbered = true,
		.name = span_text("half"),
		.key = key,
		.chunked = true,
		.chunks = { .count = 1, .last = ENCLAVE_CHUNK_SIZE } };
	struct channel channel = { 0 };
	size_t size = 0;

	ck_assert_int_eq(message_append_request(plain, &size, sizeof(plain), &request), 0);
	size = channel_seal(&channel, &keys, span_of(plain, size), ENCLAVE_CHUNK_SIZE, frame);
	enclave_seal_chunk(frame + size, value, sizeof(value), 0, false, key);
	size += ENCLAVE_CHUNK_SIZE;
	ck_assert_int_eq(write(client, frame, size), (ssize_t)size);
}

/* The code of the one answer that is there. */
static int answered(int client)
{
	static uint8_t bytes[FRAME_SIZE_MAX], plain[FRAME_PLAIN_MAX];
	ssize_t size = read(client, bytes, sizeof(bytes));
	struct span input = span_of(bytes, size > 0 ? (size_t)size : 0);
	struct channel channel = { 0 };
	struct messages messages = { 0 };
	struct frame frame;
	struct reply reply;

	ck_assert_int_gt(frame_next(&frame, &input), 0);
	size = channel_open(&channel, &keys, &frame, plain);
	ck_assert_int_gt(size, 0);
	messages.plain = span_of(plain, (size_t)size);
	ck_assert_int_gt(message_next_reply(&reply, &messages, &door.daemon.bench), 0);
	ck_assert_uint_eq(reply.id, 7);
	workbench_wipe(&door.daemon.bench);
	return reply.code;
}

START_TEST(a_set_whose_writer_has_stopped_is_given_up_and_leaves_nothing)
{
	int client = come();

	door.daemon.upload_ms = 100;
	shake_hands(client);
	begin_set(client);
	wait_for_answer(client);
	ck_assert_int_eq(answered(client), STATUS_TIMEOUT);
	ck_assert_uint_eq(vault_bytes(door.daemon.vault), 0);
	/* The session goes on. */
	ck_assert_uint_eq(sessions.count, 1);
	close(client);
}
END_TEST

/* -- several users ------------------------------------------------------------------------- */

/* As if the last one had come as somebody else. */
static struct session *come_from(uint32_t uid)
{
	struct session *session = sessions.first;

	user_leave(session->user);
	session->user = user_enter(&door.daemon.users, uid, 1);
	ck_assert_ptr_nonnull(session->user);
	return session;
}

/* As if his share of the round that begins were used up already, by others of his connections. */
static void use_up_next(struct user *user)
{
	user->round = door.daemon.users.round;
	user->spent_ns = USER_SHARE_NS;
}

/* Whoever is busy on some connections comes in with others, too, but with one at a time. */
START_TEST(who_has_had_his_share_waits_for_the_next_round_and_nobody_else)
{
	int greedy[2] = { come(), -1 };
	struct session *waiting;
	struct user *user = come_from(60001)->user;
	int other = come();

	ck_assert_ptr_ne(sessions.first->user, user);
	greedy[1] = come();
	waiting = come_from(60001);
	ck_assert_ptr_eq(waiting->user, user);
	greet(greedy[0], HELLO_SIZE);
	greet(greedy[1], HELLO_SIZE);
	greet(other, HELLO_SIZE);
	use_up_next(user);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(sessions.line_count, 3);
	sessions_go_on(&sessions.busy);
	/* It is the same round until sockets are looked at again: half of a handshake. */
	sessions_go_on(&sessions.busy);
	ck_assert_uint_eq(sessions.line_count, 3);
	ck_assert(!waiting->served.drawn);
	users_begin_round(&door.daemon.users);
	sessions_go_on(&sessions.busy);
	sessions_go_on(&sessions.busy);
	sessions_flush(&sessions);
	ck_assert_int_eq(heard(other), HELLO_SIZE);
	ck_assert_int_eq(heard(greedy[0]), -EAGAIN);
	ck_assert_int_eq(heard(greedy[1]), -EAGAIN);
	ck_assert(waiting->served.drawn);
	ck_assert(!waiting->open);
	ck_assert(!waiting->reading);
	look();
	ck_assert(waiting->open);
	ck_assert_int_eq(heard(greedy[0]), HELLO_SIZE);
	ck_assert_int_eq(heard(greedy[1]), HELLO_SIZE);
	ck_assert_ptr_null(sessions.line);
	close(greedy[0]);
	close(greedy[1]);
	close(other);
}
END_TEST

static void send_ping(int client)
{
	static uint8_t plain[FRAME_PLAIN_MAX], frame[FRAME_SIZE_MAX];
	struct request request = { .id = 7, .verb = VERB_PING };
	struct channel channel = { 0 };
	size_t size = 0;

	ck_assert_int_eq(message_append_request(plain, &size, sizeof(plain), &request), 0);
	size = channel_seal(&channel, &keys, span_of(plain, size), 0, frame);
	ck_assert_int_eq(write(client, frame, size), (ssize_t)size);
}

/* Whatever there is to be read on the user's other connections by then. */
START_TEST(who_was_put_off_is_served_before_sockets_are_looked_at_again)
{
	int greedy = come();
	struct session *session = come_from(60001);
	int other = come();

	shake_hands(greedy);
	look();
	send_ping(greedy);
	use_up_next(session->user);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert(session->put_off);
	ck_assert(!session->reading);
	ck_assert_int_eq(heard(greedy), -EAGAIN);
	sessions_go_on(&sessions.busy);
	sessions_flush(&sessions);
	ck_assert_int_eq(answered(greedy), 0);
	ck_assert(!session->put_off);
	ck_assert(session->reading);
	ck_assert_ptr_null(sessions.line);
	close(greedy);
	close(other);
}
END_TEST

START_TEST(who_is_put_off_and_goes_is_forgotten)
{
	int greedy[3];
	struct user *user = NULL;
	int other = come();

	for (int i = 0; i < 3; i++) {
		greedy[i] = come();
		user = come_from(60001)->user;
		greet(greedy[i], HELLO_SIZE);
	}
	use_up_next(user);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(sessions.line_count, 3);
	session_close(sessions.line->behind_it);
	ck_assert_uint_eq(sessions.line_count, 2);
	ck_assert_uint_eq(user->connections, 2);
	session_close(sessions.line_end);
	session_close(sessions.line);
	ck_assert_ptr_null(sessions.line);
	ck_assert_ptr_null(sessions.line_end);
	ck_assert_uint_eq(door.daemon.users.count, 1);
	look();
	for (int i = 0; i < 3; i++)
		close(greedy[i]);
	close(other);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("session");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_set_timeout(claims, 60);
	tcase_add_test(claims, a_hello_that_is_there_in_time_counts_however_late_it_is_looked_at);
	tcase_add_test(claims, who_has_had_his_share_waits_for_the_next_round_and_nobody_else);
	tcase_add_test(claims, who_was_put_off_is_served_before_sockets_are_looked_at_again);
	tcase_add_test(claims, who_is_put_off_and_goes_is_forgotten);
	tcase_add_test(claims, a_set_whose_writer_has_stopped_is_given_up_and_leaves_nothing);
	return claims_run(claims, "sessions");
}
