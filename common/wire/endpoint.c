/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

_Static_assert(ENDPOINT_PATH_MAX <= sizeof(((struct sockaddr_un *)0)->sun_path),
	"a path that fits an endpoint fits the kernel's address");

const char *endpoint_parse(struct endpoint *endpoint, const char *text)
{
	size_t size;

	if (strncmp(text, "unix:", 5) == 0)
		text += 5;
	else if (strncmp(text, "npipe:", 6) == 0)
		return "named pipes are for Windows; here it is unix:/path";
	if (text[0] != '/')
		return "is neither unix:/path nor an absolute path";
	size = strlen(text);
	/* The kernel would cut it off silently on some platforms, and name another socket. */
	if (size >= sizeof(endpoint->path))
		return "is longer than the 107 bytes that a socket's path may have";
	memcpy(endpoint->path, text, size + 1);
	return NULL;
}

int endpoint_user(struct endpoint *endpoint)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	const char *home = getenv("HOME");
	int size;

	if (runtime && runtime[0] == '/')
		size = snprintf(
			endpoint->path, sizeof(endpoint->path), "%s/memguardd/socket", runtime);
	else if (home && home[0] == '/')
		size = snprintf(
			endpoint->path, sizeof(endpoint->path), "%s/.memguardd/socket", home);
	else
		return -ENOENT;
	return size < 0 || (size_t)size >= sizeof(endpoint->path) ? -ENAMETOOLONG : 0;
}
