/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload_kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

/*
 * In front of the policy's sources. What the configuration points to lies where it lay in the
 * process that all of them were forked of.
 */
struct head {
	struct config config;
	bool policy; /* there is one, with or without a text */
};

#ifdef MFD_ALLOW_SEALING
static int make_file(void)
{
	int fd = memfd_create("memguardd-settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? -errno : fd;
}

static int seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
}
#else
static int make_file(void)
{
	return -ENOSYS;
}

static int seal(int fd)
{
	(void)fd;
	return -1;
}
#endif

/* Returns 0 or a negative errno. */
static int write_whole(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t written = write(fd, at, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		at += written;
		size -= (size_t)written;
	}
	return 0;
}

int reload_kept_write(const struct config *config, const struct policy_sources *policy)
{
	const struct head head = { .config = *config, .policy = policy != NULL };
	int fd = make_file();
	int r;

	if (fd < 0)
		return fd;
	r = write_whole(fd, &head, sizeof(head));
	if (r == 0 && policy)
		r = write_whole(fd, policy->bytes, policy->size);
	if (r == 0 && seal(fd) < 0)
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/* All of it, with its size; NULL when it cannot be read. */
static char *read_whole(int fd, size_t *sizep)
{
	struct stat status;
	char *bytes;
	size_t at = 0;

	if (fstat(fd, &status) < 0)
		return NULL;
	*sizep = (size_t)status.st_size;
	bytes = malloc(*sizep + 1);
	while (bytes && at < *sizep) {
		ssize_t got = pread(fd, bytes + at, *sizep - at, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			free(bytes);
			return NULL;
		}
		at += (size_t)got;
	}
	return bytes;
}

int reload_kept_read(
	int fd, struct config *config, struct policy_book **bookp, struct config_fault *fault)
{
	size_t size = 0;
	cleanup(freep) char *bytes = read_whole(fd, &size);
	struct head head;
	int r;

	*bookp = NULL;
	if (!bytes || size < sizeof(head)) {
		config_fault_say(fault, "the settings that were kept cannot be read");
		return -EBADMSG;
	}
	memcpy(&head, bytes, sizeof(head));
	if (head.policy) {
		r = policy_sources_book(
			span_of(bytes + sizeof(head), size - sizeof(head)), bookp, fault);
		if (r < 0)
			return r;
	}
	*config = head.config;
	return 0;
}
