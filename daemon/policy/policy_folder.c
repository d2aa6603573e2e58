/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/policy/policy_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/admin_file.h"

static bool find_user(const char *name, uid_t *uidp)
{
	struct passwd *user = getpwnam(name);

	if (user)
		*uidp = user->pw_uid;
	return user != NULL;
}

static bool find_group(const char *name, gid_t *gidp)
{
	struct group *group = getgrnam(name);

	if (group)
		*gidp = group->gr_gid;
	return group != NULL;
}

static const struct policy_names names = { find_user, find_group };

static int is_ours(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return entry->d_name[0] != '.' && size > 5 &&
		strcmp(entry->d_name + size - 5, ".conf") == 0;
}

/* Whoever may write to the folder may take a file with a deny away. */
static int check_folder(const char *path, bool optional, struct config_fault *fault)
{
	struct stat status;
	const char *wrong = NULL;

	if (stat(path, &status) < 0) {
		if (optional && errno == ENOENT)
			return -ENOENT;
		wrong = strerror(errno);
	} else if (!S_ISDIR(status.st_mode)) {
		wrong = "is no folder";
	} else if ((status.st_uid != 0 && status.st_uid != geteuid()) || (status.st_mode & 0022)) {
		wrong = "others may write to it; let only root or the daemon's user";
	}
	if (wrong)
		config_fault_say(fault, "policy-dir: %s: %s", admin_file_shown(path), wrong);
	return wrong ? -EBADMSG : 0;
}

static int read_one(
	struct policy_book *book, const char *folder, const char *name, struct config_fault *fault)
{
	cleanup(freep) char *text = NULL;
	char path[PATH_MAX];
	size_t size;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path)) {
		config_fault_say(fault, "%s: the name is too long", admin_file_shown(path));
		return -EBADMSG;
	}
	if (admin_file_read(path, &text, &size, fault) < 0)
		return -EBADMSG;
	return policy_book_read(book, text, size, admin_file_shown(path), &names, fault);
}

static int read_all(struct policy_book *book, const char *path, struct config_fault *fault)
{
	struct dirent **entries;
	int count = scandir(path, &entries, is_ours, alphasort);
	int r = 0;

	if (count < 0) {
		config_fault_say(
			fault, "policy-dir: %s: %s", admin_file_shown(path), strerror(errno));
		return -EBADMSG;
	}
	for (int i = 0; i < count; i++) {
		if (r == 0)
			r = read_one(book, path, entries[i]->d_name, fault);
		free(entries[i]);
	}
	free(entries);
	return r == 0 ? policy_book_seal(book, fault) : r;
}

int policy_folder_read(
	struct policy_book **bookp, const char *path, bool optional, struct config_fault *fault)
{
	struct policy_book *book;
	int r = check_folder(path, optional, fault);

	*bookp = NULL;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	book = policy_book_new();
	r = book ? read_all(book, path, fault) : -ENOMEM;
	if (r == -ENOMEM)
		config_fault_say(fault, "policy-dir: %s: out of memory", admin_file_shown(path));
	if (r < 0)
		policy_book_free(book);
	else
		*bookp = book;
	return r;
}
