/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/line.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/claims.h"

static int ends[2];

static void set_up(void)
{
	ck_assert_int_eq(line_open(ends), 0);
}

static void tear_down(void)
{
	close(ends[0]);
	close(ends[1]);
}

START_TEST(a_word_its_number_and_its_text_come_over)
{
	struct line_packet packet;

	ck_assert_int_eq(line_look(ends[1], &packet), -EAGAIN);
	ck_assert_int_eq(line_say_word(ends[0], LINE_STATE, UINT32_MAX), 0);
	ck_assert_int_eq(line_say_text(ends[0], LINE_FAILED, "why"), 0);
	ck_assert_int_eq(line_hear(ends[1], &packet), 0);
	ck_assert_int_eq(packet.word, LINE_STATE);
	ck_assert_uint_eq(packet.number, UINT32_MAX);
	ck_assert_str_eq(packet.text, "");
	ck_assert_int_eq(line_look(ends[1], &packet), 0);
	ck_assert_int_eq(packet.word, LINE_FAILED);
	ck_assert_str_eq(packet.text, "why");
	ck_assert_uint_eq(packet.count, 0);
}
END_TEST

START_TEST(a_text_that_is_too_long_is_cut)
{
	struct line_packet packet;
	char text[2 * LINE_TEXT_MAX];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(line_say_text(ends[0], LINE_REFUSE, text), 0);
	ck_assert_int_eq(line_hear(ends[1], &packet), 0);
	ck_assert_uint_eq(strlen(packet.text), LINE_TEXT_MAX - 1);
}
END_TEST

/* The descriptors are copies of the same files, closed on exec; the ones that went stay. */
START_TEST(descriptors_come_along)
{
	struct line_packet packet = { .word = LINE_ESTATE, .count = LINE_FDS_MAX };
	struct stat sent[LINE_FDS_MAX];
	int pipes[LINE_FDS_MAX];

	for (size_t i = 0; i < LINE_FDS_MAX; i += 2)
		ck_assert_int_eq(pipe(pipes + i), 0);
	for (size_t i = 0; i < LINE_FDS_MAX; i++)
		packet.fds[i] = pipes[i];
	for (size_t i = 0; i < LINE_FDS_MAX; i++)
		ck_assert_int_eq(fstat(pipes[i], &sent[i]), 0);
	ck_assert_int_eq(line_say(ends[0], &packet), 0);
	ck_assert_int_eq(line_hear(ends[1], &packet), 0);
	ck_assert_uint_eq(packet.count, LINE_FDS_MAX);
	for (size_t i = 0; i < LINE_FDS_MAX; i++) {
		struct stat heard;

		ck_assert_int_ne(packet.fds[i], pipes[i]);
		ck_assert_int_eq(fcntl(packet.fds[i], F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(fstat(packet.fds[i], &heard), 0);
		ck_assert_uint_eq(heard.st_ino, sent[i].st_ino);
	}
	line_drop(&packet);
	ck_assert_uint_eq(packet.count, 0);
	for (size_t i = 0; i < LINE_FDS_MAX; i++)
		ck_assert_int_eq(close(pipes[i]), 0);
	packet.count = LINE_FDS_MAX + 1;
	ck_assert_int_eq(line_say(ends[0], &packet), -EINVAL);
}
END_TEST

/* As many as the kernel lets through, all closed again: one too many could be anything. */
static void say_raw(size_t size, size_t count)
{
	char bytes[2 * LINE_TEXT_MAX] = { 0 };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(4 * LINE_FDS_MAX * sizeof(int))];
	} rights = { 0 };
	struct iovec part = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	int fds[4 * LINE_FDS_MAX];

	for (size_t i = 0; i < count; i++)
		fds[i] = ends[0];
	if (count > 0) {
		message.msg_control = rights.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		rights.head.cmsg_level = SOL_SOCKET;
		rights.head.cmsg_type = SCM_RIGHTS;
		rights.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&rights.head), fds, count * sizeof(int));
	}
	ck_assert_int_eq(sendmsg(ends[0], &message, 0), (ssize_t)size);
}

static const struct {
	size_t size;
	size_t count;
} strange[] = { { 0, 2 }, { 1, 0 }, { 7, 0 }, { 7, 2 }, { 8 + LINE_TEXT_MAX, 0 },
	{ 2 * LINE_TEXT_MAX, 4 }, { 8, LINE_FDS_MAX + 1 }, { 8, 4 * LINE_FDS_MAX } };

START_TEST(what_is_no_packet_is_refused_and_leaves_nothing_open)
{
	struct line_packet packet;
	int before = dup(ends[0]);
	int after;

	close(before);
	say_raw(strange[_i].size, strange[_i].count);
	/* An empty one cannot be told from the end. */
	ck_assert_int_eq(line_look(ends[1], &packet), strange[_i].size > 0 ? -EBADMSG : -EPIPE);
	ck_assert_uint_eq(packet.count, 0);
	after = dup(ends[0]);
	ck_assert_int_eq(after, before);
	close(after);
	/* And the line goes on. */
	ck_assert_int_eq(line_say_word(ends[0], LINE_LEFT, 0), 0);
	ck_assert_int_eq(line_look(ends[1], &packet), 0);
	ck_assert_int_eq(packet.word, LINE_LEFT);
}
END_TEST

START_TEST(the_last_words_of_one_that_has_ended_are_heard)
{
	struct line_packet packet;

	/* It has not heard us: the kernel calls that a reset. */
	ck_assert_int_eq(line_say_word(ends[1], LINE_OFFER, 1), 0);
	ck_assert_int_eq(line_say_text(ends[0], LINE_REFUSE, "why"), 0);
	close(ends[0]);
	ck_assert_int_eq(line_look(ends[1], &packet), 0);
	ck_assert_str_eq(packet.text, "why");
	ck_assert_int_eq(line_look(ends[1], &packet), -EPIPE);
	ck_assert_int_eq(line_hear(ends[1], &packet), -EPIPE);
	ck_assert_int_eq(line_say_word(ends[1], LINE_COMMIT, 0), -EPIPE);
	ends[0] = dup(ends[1]);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("line");

	tcase_add_checked_fixture(claims, set_up, tear_down);
	tcase_add_test(claims, a_word_its_number_and_its_text_come_over);
	tcase_add_test(claims, a_text_that_is_too_long_is_cut);
	tcase_add_test(claims, descriptors_come_along);
	tcase_add_loop_test(claims, what_is_no_packet_is_refused_and_leaves_nothing_open, 0,
		sizeof(strange) / sizeof(strange[0]));
	tcase_add_test(claims, the_last_words_of_one_that_has_ended_are_heard);
	return claims_run(claims, "a line");
}
