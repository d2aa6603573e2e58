/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/peer_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/peer.h"
#include "daemon/peer_process.h"

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif

/* Longer than all hierarchies of one process are: a path has 4 KiB at most. */
#define TEXT_MAX 16384

/* -- files of /proc ------------------------------------------------------------------------ */

/*
 * All of a file, until the next call; empty when it cannot be read, or is too long. A NUL stands
 * behind it. The daemon has one thread.
 */
static struct span read_about(const char *who, long number, const char *file)
{
	static char text[TEXT_MAX];
	char path[64];
	size_t used = 0;
	ssize_t size = 1;
	cleanup(closep) int fd = -1;

	snprintf(path, sizeof(path), "/proc/%s%ld%s", who, number, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && size > 0 && used < sizeof(text) - 1) {
		size = read(fd, text + used, sizeof(text) - 1 - used);
		used += size > 0 ? (size_t)size : 0;
	}
	if (fd < 0 || size != 0)
		used = 0;
	text[used] = '\0';
	return span_of(text, used);
}

/*
 * The number of a process in the very /proc that is read here, which may number them otherwise than
 * our pid namespace does. 0: it has none there, or has ended.
 */
static long number_of(int pidfd)
{
	struct span text = read_about("self/fdinfo/", pidfd, "");
	const char *line = text.size > 0 ? strstr((const char *)text.data, "\nPid:") : NULL;
	long number = line ? strtol(line + strlen("\nPid:"), NULL, 10) : 0;

	return number > 0 ? number : 0;
}

/* The cgroup of the unified hierarchy, until the next file is read; empty when it is not told. */
static struct span read_cgroup(long number)
{
	return peer_place_path(read_about("", number, "/cgroup"));
}

/* The same as peer_process_is_led where the kernel has only text: the state behind the name. */
static bool is_led_by_text(long number)
{
	struct span text = read_about("", number, "/stat");
	const char *end = text.size > 0 ? strrchr((const char *)text.data, ')') : NULL;

	return end && end[1] == ' ' && end[2] != '\0' && !strchr("ZXx", end[2]);
}

/* -- whose names they are ------------------------------------------------------------------ */

/*
 * Whether the root that paths begin at is the service manager's: it keeps itself, process 1, in a
 * cgroup of this name there. In a cgroup namespace that somebody else has made, in a container
 * without a manager, and under another init, names like its own may be anybody's. 1, 0, or -1: that
 * is not told.
 */
static int is_managers_root(void)
{
	static int known = -1;
	struct span path;

	if (known >= 0)
		return known;
	path = read_cgroup(1);
	if (path.size > 0)
		known = span_equal(path, span_text("/init.scope"));
	return known;
}

/* Whether the path leads to the cgroup of that number. No other one ever gets it. */
static bool is_path_of(struct span path, uint64_t cgroup)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	static char file[TEXT_MAX + 64];
	struct statfs system;
	struct stat status;

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		if (statfs(roots[i], &system) < 0 || system.f_type != CGROUP2_SUPER_MAGIC)
			continue;
		snprintf(file, sizeof(file), "%s%.*s", roots[i], (int)path.size,
			(const char *)path.data);
		return stat(file, &status) == 0 && (uint64_t)status.st_ino == cgroup;
	}
	return false;
}

/* -- where somebody is --------------------------------------------------------------------- */

/*
 * Reads it of a process that lives on afterwards, and so had the number meanwhile, as had its first
 * thread, without which the text would be of a time gone by. `asked`: its kernel tells more of it.
 */
static void look(struct peer_place *place, int pidfd, uid_t uid, bool asked)
{
	int managed = is_managers_root();
	long number = number_of(pidfd);
	struct span path;

	if (managed < 0 || number == 0)
		return;
	path = read_cgroup(number);
	peer_place_read(place, path, uid);
	if (place->known && managed == 0)
		peer_place_read(place, span_text("/"), uid);
	if (asked && place->known && is_path_of(path, place->now))
		place->cgroup = place->now;
	if (!(asked ? peer_process_is_led(pidfd) : is_led_by_text(number)) ||
		peer_process_has_ended(pidfd))
		place->known = false;
}

/* One that holds the process for the moment, where none is kept. -1: there is none. */
static int hold(const struct peer *peer, struct peer_place *place)
{
	int pidfd = peer->pid > 0 ? peer_process_connected(peer->socket) : -ESRCH;

	place->pinned = pidfd >= 0;
	if (pidfd == -ENOPROTOOPT)
		pidfd = peer_process_open(peer->pid);
	return pidfd < 0 ? -1 : pidfd;
}

void peer_locate(const struct peer *peer)
{
	struct peer_place *place = peer->place;
	bool kept = peer->pidfd >= 0;
	int pidfd;

	if (!place)
		return;
	if (kept && place->cgroup != 0 && place->cgroup == place->now &&
		peer_process_is_led(peer->pidfd))
		return;
	*place = (struct peer_place){ .now = place->now, .pinned = kept };
	pidfd = kept ? peer->pidfd : hold(peer, place);
	if (pidfd < 0)
		return;
	look(place, pidfd, peer->uid, kept);
	if (!kept)
		close(pidfd);
	if (!place->known)
		*place = (struct peer_place){ .now = place->now, .pinned = place->pinned };
}
