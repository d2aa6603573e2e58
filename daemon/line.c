/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"

/* In front of the text: word and number. */
#define HEAD_SIZE 8

/* The rights of one packet, aligned as the kernel wants it. */
union rights {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(LINE_FDS_MAX * sizeof(int))];
};

int line_open(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}

static void attach(struct msghdr *message, union rights *rights, const int *fds, size_t count)
{
	struct cmsghdr *head;

	if (count == 0)
		return;
	memset(rights, 0, sizeof(*rights));
	message->msg_control = rights->bytes;
	message->msg_controllen = CMSG_SPACE(count * sizeof(int));
	head = CMSG_FIRSTHDR(message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(head), fds, count * sizeof(int));
}

int line_say(int fd, const struct line_packet *packet)
{
	uint8_t head[HEAD_SIZE];
	struct iovec parts[] = { { .iov_base = head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)(uintptr_t)packet->text,
			.iov_len = strnlen(packet->text, LINE_TEXT_MAX - 1) } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	union rights rights;

	if (packet->count > LINE_FDS_MAX)
		return -EINVAL;
	bytes_put32(head, (uint32_t)packet->word);
	bytes_put32(head + 4, packet->number);
	attach(&message, &rights, packet->fds, packet->count);
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int line_say_word(int fd, enum line_word word, uint32_t number)
{
	struct line_packet packet = { .word = word, .number = number };

	return line_say(fd, &packet);
}

int line_say_text(int fd, enum line_word word, const char *text)
{
	struct line_packet packet = { .word = word };

	snprintf(packet.text, sizeof(packet.text), "%s", text);
	return line_say(fd, &packet);
}

/* Takes what came along, as many as there were. */
static void detach(struct msghdr *message, struct line_packet *packet)
{
	for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head;
		head = CMSG_NXTHDR(message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		packet->count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(packet->fds, CMSG_DATA(head), packet->count * sizeof(int));
	}
}

static int hear(int fd, struct line_packet *packet, int flags)
{
	uint8_t head[HEAD_SIZE];
	struct iovec parts[] = { { .iov_base = head, .iov_len = sizeof(head) },
		{ .iov_base = packet->text, .iov_len = LINE_TEXT_MAX - 1 } };
	union rights rights;
	struct msghdr message = { .msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof(rights.bytes) };
	ssize_t size;

	memset(packet, 0, sizeof(*packet));
	size = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
	/* It has ended without hearing us: the kernel tells that once, before its last words. */
	if (size < 0 && errno == ECONNRESET) {
		message.msg_controllen = sizeof(rights.bytes);
		size = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
	}
	if (size < 0)
		return -errno;
	detach(&message, packet);
	/* An empty packet looks like the end, and may bring descriptors all the same. */
	if (size == 0) {
		line_drop(packet);
		return -EPIPE;
	}
	if (size < HEAD_SIZE || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		line_drop(packet);
		return -EBADMSG;
	}
	packet->word = (enum line_word)bytes_get32(head);
	packet->number = bytes_get32(head + 4);
	return 0;
}

int line_hear(int fd, struct line_packet *packet)
{
	int r;

	do
		r = hear(fd, packet, 0);
	while (r == -EINTR);
	return r;
}

int line_look(int fd, struct line_packet *packet)
{
	return hear(fd, packet, MSG_DONTWAIT);
}

void line_drop(struct line_packet *packet)
{
	for (size_t i = 0; i < packet->count; i++)
		if (packet->fds[i] >= 0)
			close(packet->fds[i]);
	packet->count = 0;
}
