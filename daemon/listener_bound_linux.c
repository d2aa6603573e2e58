/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/listener_bound.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

/* What sock_diag(7) tells of a Unix socket; more than it says when only the file is asked for. */
#define ANSWER_MAX 512

struct question {
	struct nlmsghdr header;
	struct unix_diag_req request;
};

/* Sockets are known to it by their inode, the one of their descriptors. */
static int ask(int netlink, ino_t inode)
{
	struct question question = {
		.header = { .nlmsg_len = sizeof(question),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST },
		.request = { .sdiag_family = AF_UNIX,
			.udiag_states = UINT32_MAX,
			.udiag_ino = (uint32_t)inode,
			.udiag_show = UDIAG_SHOW_VFS,
			.udiag_cookie = { UINT32_MAX, UINT32_MAX } },
	};

	return send(netlink, &question, sizeof(question), 0) < 0 ? -errno : 0;
}

/* Returns 0, -ENOENT when the kernel says no, or -EBADMSG when it says nothing of a file. */
static int find_file(struct unix_diag_vfs *file, const uint8_t *answer, size_t size)
{
	struct nlmsghdr header;
	struct nlattr attribute;

	if (size < sizeof(header))
		return -EBADMSG;
	memcpy(&header, answer, sizeof(header));
	if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -ENOENT;
	for (size_t at = NLMSG_SPACE(sizeof(struct unix_diag_msg));
		at < size && size - at >= sizeof(attribute); at += NLMSG_ALIGN(attribute.nla_len)) {
		memcpy(&attribute, answer + at, sizeof(attribute));
		if (attribute.nla_len < sizeof(attribute) || attribute.nla_len > size - at)
			break;
		if (attribute.nla_type == UNIX_DIAG_VFS &&
			attribute.nla_len >= sizeof(attribute) + sizeof(*file)) {
			memcpy(file, answer + at + sizeof(attribute), sizeof(*file));
			return 0;
		}
	}
	return -EBADMSG;
}

int listener_bound_to(int fd, const struct stat *file)
{
	cleanup(closep) int netlink =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct unix_diag_vfs bound;
	uint8_t answer[ANSWER_MAX];
	struct stat status;
	ssize_t size;
	int r;

	if (netlink < 0 || fstat(fd, &status) < 0)
		return -errno;
	r = ask(netlink, status.st_ino);
	if (r < 0)
		return r;
	/* The answer is there when the question has been sent. */
	size = recv(netlink, answer, sizeof(answer), MSG_DONTWAIT);
	if (size < 0)
		return -errno;
	r = find_file(&bound, answer, (size_t)size);
	if (r < 0)
		return r;
	/* Layered file systems tell another device than the kernel knows; a file is not reused
	 * while a socket is bound to it, and 32 bits of its number are what is told. */
	return bound.udiag_vfs_ino == (uint32_t)file->st_ino;
}
