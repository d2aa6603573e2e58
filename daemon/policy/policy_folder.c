/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/admin_file.h"

struct reading {
	struct policy_book *book;
	struct policy_sources *sources;
	const char *path; /* of the folder */
	int folder;
	struct config_fault *fault;
};

/* -- the folder ---------------------------------------------------------------------------- */

/* Whoever may write to the folder may take a file with a deny away. */
static const char *folder_fault(int folder)
{
	struct stat status;

	if (fstat(folder, &status) < 0)
		return strerror(errno);
	if ((status.st_uid != 0 && status.st_uid != geteuid()) || (status.st_mode & 0022))
		return "others may write to it; let only root or the daemon's user";
	return NULL;
}

/* A link to nowhere is a folder that should be there. */
static bool is_absent(const char *path)
{
	struct stat status;

	return lstat(path, &status) < 0 && errno == ENOENT;
}

/*
 * What is looked at is what is read, whatever the path leads to a moment later. Returns a
 * descriptor, -ENOENT when there is none and it is optional, or -EBADMSG.
 */
static int open_folder(const char *path, bool optional, struct config_fault *fault)
{
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = errno;
	const char *wrong;

	if (folder < 0 && error == ENOENT && optional && is_absent(path))
		return -ENOENT;
	if (folder < 0)
		wrong = error == ENOTDIR ? "is no folder" : strerror(error);
	else
		wrong = folder_fault(folder);
	if (!wrong)
		return folder;
	config_fault_say(fault, "policy-dir: %s: %s", admin_file_shown(path), wrong);
	if (folder >= 0)
		close(folder);
	return -EBADMSG;
}

/* -- its files ----------------------------------------------------------------------------- */

struct listed {
	char **names; /* owned, and so is each */
	size_t count;
};

static void listed_finish(struct listed *listed)
{
	for (size_t i = 0; i < listed->count; i++)
		free(listed->names[i]);
	free(listed->names);
}

static bool is_ours(const char *name)
{
	size_t size = strlen(name);

	return name[0] != '.' && size > 5 && strcmp(name + size - 5, ".conf") == 0;
}

static int list_one(struct listed *listed, const char *name)
{
	char **names = reallocarray(listed->names, listed->count + 1, sizeof(*names));

	if (!names)
		return -ENOMEM;
	listed->names = names;
	names[listed->count] = strdup(name);
	if (!names[listed->count])
		return -ENOMEM;
	listed->count++;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns 0 or a negative errno. */
static int list_all(struct listed *listed, DIR *stream)
{
	struct dirent *entry;
	int r = 0;

	while (r == 0 && (errno = 0, entry = readdir(stream)))
		if (is_ours(entry->d_name))
			r = list_one(listed, entry->d_name);
	if (r == 0 && errno != 0)
		return -errno;
	/* Which fault is told is the same each time. */
	if (listed->count > 0)
		qsort(listed->names, listed->count, sizeof(*listed->names), compare_names);
	return r;
}

static int list(struct listed *listed, int folder)
{
	int fd = fcntl(folder, F_DUPFD_CLOEXEC, 0);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	int r = stream ? 0 : -errno;

	if (!stream && fd >= 0)
		close(fd);
	if (!stream)
		return r;
	r = list_all(listed, stream);
	closedir(stream);
	return r;
}

/* One that was read: kept, and taken into the book. */
static int take_text(const struct reading *reading, const char *path, const char *text, size_t size)
{
	const struct policy_names names = policy_sources_names(reading->sources);
	const char *shown = admin_file_shown(path);

	if (policy_sources_add(reading->sources, shown, text, size) < 0)
		return -ENOMEM;
	return policy_book_read(reading->book, text, size, shown, &names, reading->fault);
}

static int read_one(const struct reading *reading, const char *name)
{
	cleanup(freep) char *text = NULL;
	char path[PATH_MAX];
	size_t size;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", reading->path, name) >= sizeof(path)) {
		config_fault_say(
			reading->fault, "%s: the name is too long", admin_file_shown(path));
		return -EBADMSG;
	}
	if (admin_file_read_in(reading->folder, path, &text, &size, reading->fault) < 0)
		return -EBADMSG;
	return take_text(reading, path, text, size);
}

static int read_all(const struct reading *reading)
{
	struct listed listed = { 0 };
	int r = list(&listed, reading->folder);

	if (r < 0 && r != -ENOMEM) {
		config_fault_say(reading->fault, "policy-dir: %s: %s",
			admin_file_shown(reading->path), strerror(-r));
		r = -EBADMSG;
	}
	for (size_t i = 0; i < listed.count && r == 0; i++)
		r = read_one(reading, listed.names[i]);
	listed_finish(&listed);
	return r == 0 ? policy_book_seal(reading->book, reading->fault) : r;
}

/* A book that is whole, or none. */
static int read_into(struct policy_book **bookp, struct reading *reading,
	int (*read)(const struct reading *reading))
{
	int r;

	reading->book = policy_book_new();
	r = reading->book ? read(reading) : -ENOMEM;
	if (r == -ENOMEM)
		config_fault_say(reading->fault, "policy-dir: %s: out of memory",
			admin_file_shown(reading->path));
	if (r < 0)
		policy_book_free(reading->book);
	else
		*bookp = reading->book;
	return r;
}

int policy_folder_read(struct policy_book **bookp, struct policy_sources *sources, const char *path,
	bool optional, struct config_fault *fault)
{
	struct reading reading = { .sources = sources, .path = path, .fault = fault };
	int r;

	*bookp = NULL;
	reading.folder = open_folder(path, optional, fault);
	if (reading.folder < 0)
		return reading.folder == -ENOENT ? 0 : reading.folder;
	r = read_into(bookp, &reading, read_all);
	close(reading.folder);
	return r;
}

static int read_file(const struct reading *reading)
{
	cleanup(freep) char *text = NULL;
	size_t size;
	int r;

	if (admin_file_read(reading->path, &text, &size, reading->fault) < 0)
		return -EBADMSG;
	r = take_text(reading, reading->path, text, size);
	return r == 0 ? policy_book_seal(reading->book, reading->fault) : r;
}

int policy_path_read(struct policy_book **bookp, struct policy_sources *sources, const char *path,
	struct config_fault *fault)
{
	struct reading reading = { .sources = sources, .path = path, .fault = fault };
	struct stat status;

	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return policy_folder_read(bookp, sources, path, false, fault);
	*bookp = NULL;
	return read_into(bookp, &reading, read_file);
}
