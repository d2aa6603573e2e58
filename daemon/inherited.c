/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"

/* Where the service manager's descriptors begin (sd_listen_fds(3)). */
#define FIRST_INHERITED 3
#define INHERITED_MAX 1024

/* How many descriptors are ours. */
static size_t told_count(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *fds = getenv("LISTEN_FDS");
	long count = 0;

	if (pid && fds && strtol(pid, NULL, 10) == (long)getpid())
		count = strtol(fds, NULL, 10);
	return count < 0 || count > INHERITED_MAX ? 0 : (size_t)count;
}

static size_t count_names(const char *names)
{
	size_t count = 1;

	for (; *names; names++)
		count += *names == ':';
	return count;
}

/* Cuts the list of names at its colons, one for each descriptor. */
static void name_all(struct inherited *inherited)
{
	char *rest = inherited->names;

	if (count_names(rest) != inherited->count)
		return;
	for (size_t i = 0; i < inherited->count; i++)
		inherited->all[i].name = strsep(&rest, ":");
}

static void take_all(struct inherited *inherited)
{
	for (size_t i = 0; i < inherited->count; i++) {
		int fd = FIRST_INHERITED + (int)i;

		inherited->all[i] = (struct inherited_one){
			.fd = fd, .open = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0, .name = ""
		};
	}
	name_all(inherited);
}

static void close_told(size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(FIRST_INHERITED + (int)i);
}

int inherited_init(struct inherited *inherited)
{
	const char *names = getenv("LISTEN_FDNAMES");
	size_t count = told_count();
	int r = 0;

	*inherited = (struct inherited){ 0 };
	if (count > 0) {
		inherited->all = calloc(count, sizeof(*inherited->all));
		inherited->names = strdup(names ? names : "");
	}
	if (count > 0 && inherited->all && inherited->names) {
		inherited->count = count;
		take_all(inherited);
	} else if (count > 0) {
		close_told(count);
		inherited_close_rest(inherited);
		r = -ENOMEM;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return r;
}

/* -- one of them --------------------------------------------------------------------------- */

static bool is_stored(const struct inherited_one *one)
{
	return strncmp(one->name, INHERITED_STORED, strlen(INHERITED_STORED)) == 0;
}

/* The caller's from now on. */
static int give(struct inherited_one *one)
{
	int fd = one->fd;

	one->fd = -1;
	return fd;
}

static void drop(struct inherited_one *one)
{
	int fd = give(one);

	if (one->open)
		close(fd);
}

static void drop_unused(struct inherited_one *one)
{
	if (one->open)
		log_warning("descriptor %d of the service manager is not used", one->fd);
	drop(one);
}

/* -- taking them --------------------------------------------------------------------------- */

int inherited_take_socket(struct inherited *inherited)
{
	int fd = -ENOENT;

	for (size_t i = 0; i < inherited->count; i++) {
		struct inherited_one *one = &inherited->all[i];

		if (one->fd < 0 || is_stored(one))
			continue;
		if (fd < 0)
			fd = give(one);
		else
			drop_unused(one);
	}
	return fd;
}

static bool is_bound_to(int fd, const char *path)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address) - 1;

	return getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
		address.sun_family == AF_UNIX && strcmp(address.sun_path, path) == 0;
}

int inherited_take_at(struct inherited *inherited, const char *path)
{
	for (size_t i = 0; i < inherited->count; i++) {
		struct inherited_one *one = &inherited->all[i];

		if (one->fd >= 0 && one->open && !is_stored(one) && is_bound_to(one->fd, path))
			return give(one);
	}
	return -ENOENT;
}

/* Whether it can be taken by its name. */
static bool is_here(const struct inherited_one *one)
{
	return one->fd >= 0 && one->open && is_stored(one);
}

int inherited_take(struct inherited *inherited, const char *name)
{
	int fd = -ENOENT;

	for (size_t i = 0; i < inherited->count; i++) {
		struct inherited_one *one = &inherited->all[i];

		if (!is_here(one) || strcmp(one->name, name) != 0)
			continue;
		if (fd < 0)
			fd = give(one);
		else
			drop(one);
	}
	return fd;
}

const char *inherited_next(const struct inherited *inherited, const char *prefix, size_t *place)
{
	while (*place < inherited->count) {
		const struct inherited_one *one = &inherited->all[(*place)++];

		if (is_here(one) && strncmp(one->name, prefix, strlen(prefix)) == 0)
			return one->name;
	}
	return NULL;
}

void inherited_close_rest(struct inherited *inherited)
{
	for (size_t i = 0; i < inherited->count; i++)
		if (inherited->all[i].fd >= 0)
			drop_unused(&inherited->all[i]);
	free(inherited->all);
	free(inherited->names);
	*inherited = (struct inherited){ 0 };
}
