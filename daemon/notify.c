/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "common/cleanup.h"

static struct sockaddr_un manager;
static socklen_t manager_size;
static int relay = -1; /* to who speaks with the manager; -1: we do */

void notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t size = path ? strlen(path) : 0;

	manager_size = 0;
	if (size > 1 && (path[0] == '/' || path[0] == '@') && size < sizeof(manager.sun_path)) {
		manager.sun_family = AF_UNIX;
		memcpy(manager.sun_path, path, size);
		/* An abstract name is written with '@' and sent with a zero byte. */
		if (path[0] == '@')
			manager.sun_path[0] = '\0';
		manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
	}
	unsetenv("NOTIFY_SOCKET");
}

static int send_text(const char *text)
{
	cleanup(closep) int fd = -1;

	if (manager_size == 0)
		return 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&manager,
		    manager_size) < 0)
		return -errno;
	return 0;
}

/* Type=notify-reload wants the time, to tell this reload from an earlier one. */
static int send_reloading(void)
{
	struct timespec now;
	char text[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		(uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	return send_text(text);
}

int notify_send(enum notify_state state)
{
	static const char *const texts[NOTIFY_STATES] = {
		[NOTIFY_READY] = "READY=1\nSTATUS=Serving",
		[NOTIFY_STOPPING] = "STOPPING=1",
		[NOTIFY_RELOADED] = "READY=1",
	};
	const uint8_t word = (uint8_t)state;

	if (relay >= 0)
		return send(relay, &word, sizeof(word), MSG_NOSIGNAL) < 0 ? -errno : 0;
	return state == NOTIFY_RELOADING ? send_reloading() : send_text(texts[state]);
}

void notify_relay(int fd)
{
	relay = fd;
}

int notify_take(int fd)
{
	uint8_t word[2];
	ssize_t size = recv(fd, word, sizeof(word), MSG_DONTWAIT);

	if (size < 0)
		return -errno;
	if (size == 0)
		return -EPIPE;
	return size == 1 && word[0] < NOTIFY_STATES ? word[0] : -EBADMSG;
}
