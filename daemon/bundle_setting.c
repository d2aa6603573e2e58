/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/bundle_setting.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/span.h"

#define CREDENTIAL "credential:"
#define DESCRIPTOR "fd:"

/* -- words --------------------------------------------------------------------------------- */

static const char *read_file_name(struct bundle_setting *setting, struct span name)
{
	if (name.size == 0 || name.data[0] != '/')
		return "names no file by an absolute path";
	if (name.size >= sizeof(setting->file))
		return "has a path that is too long";
	memcpy(setting->file, name.data, name.size);
	return NULL;
}

/* A name in the service manager's folder, and not a way out of it. */
static const char *read_credential(struct bundle_setting *setting, const char *name)
{
	size_t size = strlen(name);

	if (size == 0 || size >= sizeof(setting->credential) || strchr(name, '/') ||
		strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return "names no credential";
	memcpy(setting->credential, name, size);
	return NULL;
}

static const char *read_descriptor(struct bundle_setting *setting, const char *text)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
		number < BUNDLE_KEY_FD_MIN || number > INT_MAX)
		return "names no descriptor from 3 on";
	setting->fd = (int)number;
	return NULL;
}

static const char *read_key(struct bundle_setting *setting, const char *word)
{
	struct span text = span_text(word);

	if (span_starts_with(text, span_text(CREDENTIAL)))
		return read_credential(setting, word + strlen(CREDENTIAL));
	if (span_starts_with(text, span_text(DESCRIPTOR)))
		return read_descriptor(setting, word + strlen(DESCRIPTOR));
	return "does not end in credential:NAME or fd:N, which says where the key is";
}

const char *bundle_setting_parse(struct bundle_setting *setting, const char *text)
{
	struct bundle_setting draft = { .fd = -1 };
	const char *blank = strrchr(text, ' ');
	size_t size = blank ? (size_t)(blank - text) : 0;
	const char *fault = NULL;

	if (strcmp(text, "no") != 0) {
		while (size > 0 && text[size - 1] == ' ')
			size--;
		fault = read_key(&draft, blank ? blank + 1 : text);
		if (!fault)
			fault = read_file_name(&draft, span_of(text, size));
	}
	if (!fault)
		*setting = draft;
	return fault;
}

bool bundle_setting_equal(const struct bundle_setting *a, const struct bundle_setting *b)
{
	if (strcmp(a->file, b->file) != 0)
		return false;
	return a->file[0] == '\0' || (strcmp(a->credential, b->credential) == 0 && a->fd == b->fd);
}

/* -- the descriptor ------------------------------------------------------------------------ */

static bool has_descriptor(const struct bundle_setting *setting)
{
	return setting->file[0] != '\0' && setting->fd >= 0;
}

/* Whoever closes the number later closes nothing that was opened since. */
static int leave_nothing(int fd)
{
	cleanup(closep) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return null < 0 || dup3(null, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int bundle_setting_hold(struct bundle_setting *setting)
{
	struct stat status;
	int fd;
	int r;

	if (!has_descriptor(setting))
		return 0;
	if (fstat(setting->fd, &status) < 0)
		return -errno;
	if (S_ISSOCK(status.st_mode))
		return -EINVAL;
	fd = fcntl(setting->fd, F_DUPFD_CLOEXEC, BUNDLE_KEY_FD_MIN);
	if (fd < 0)
		return -errno;
	r = leave_nothing(setting->fd);
	setting->fd = fd;
	return r;
}

void bundle_setting_drop(struct bundle_setting *setting)
{
	if (has_descriptor(setting))
		close(setting->fd);
	setting->fd = -1;
}
