/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/trust.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/lib/error.h"
#include "client/lib/peer.h"
#include "common/cleanup.h"
#include "common/overflow_uid.h"

static int parse(struct endpoint *endpoint, const char *text)
{
	const char *fault = endpoint_parse(endpoint, text);

	return fault ? error_say(MG_INVALID, "'%s' %s", text, fault) : MG_OK;
}

int trust_find(struct endpoint *endpoint, const struct mg_options *options)
{
	/* A program with more rights than its caller does not go where the caller points. */
	const char *named =
		options->endpoint ? options->endpoint : secure_getenv("MEMGUARD_SOCKET");
	struct stat status;

	if (named && *named)
		return parse(endpoint, named);
	if ((secure_getenv("XDG_RUNTIME_DIR") || secure_getenv("HOME")) &&
		endpoint_user(endpoint) == 0 && stat(endpoint->path, &status) == 0 &&
		S_ISSOCK(status.st_mode))
		return MG_OK;
	return parse(endpoint, ENDPOINT_SYSTEM);
}

/* Cuts the last segment off; false when that was the root. */
static bool go_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || path[1] == '\0')
		return false;
	slash[slash == path] = '\0';
	return true;
}

static bool is_roots_alone(const struct stat *folder)
{
	return folder->st_uid == 0 && (!(folder->st_mode & 0022) || (folder->st_mode & S_ISVTX));
}

/* Whether `uid` owns the folder of the socket, and nobody but root could have put it there. */
static bool owns_place(const char *path, uid_t uid)
{
	cleanup(freep) char *place = realpath(path, NULL);
	struct stat status;

	if (!place || !go_up(place) || stat(place, &status) < 0)
		return false;
	if (status.st_uid != uid || (status.st_mode & 0022))
		return false;
	while (go_up(place))
		if (stat(place, &status) < 0 || !is_roots_alone(&status))
			return false;
	return true;
}

int trust_check(int socket, const char *path, const struct mg_options *options)
{
	uid_t uid = 0;
	int r = peer_uid(socket, &uid);

	if (r < 0)
		return error_say(MG_UNREACHABLE, "the kernel does not say who serves %s: %s", path,
			strerror(-r));
	if (options->expect_uid) {
		if (uid == options->daemon_uid)
			return MG_OK;
		return error_say(MG_UNREACHABLE,
			"%s is served by uid %ld, not by uid %ld as expected", path, (long)uid,
			(long)options->daemon_uid);
	}
	if (overflow_uid(uid))
		return error_say(MG_UNREACHABLE,
			"%s is served by somebody for whom this user namespace has no uid of its "
			"own; nothing was sent",
			path);
	if (uid == 0 || uid == geteuid() || owns_place(path, uid))
		return MG_OK;
	return error_say(MG_UNREACHABLE,
		"%s is served by uid %ld, who is neither root, nor you, nor the owner of a safe "
		"folder that it lies in; nothing was sent",
		path, (long)uid);
}
