/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/name.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What stands behind the folder in the word, without slashes; NULL when it does not lie there. */
static const char *below(const char *word, const char *folder)
{
	size_t size = folder ? strlen(folder) : 0;

	if (size == 0 || folder[0] != '/')
		return NULL;
	while (size > 0 && folder[size - 1] == '/')
		size--;
	if (strncmp(word, folder, size) != 0 || (word[size] != '/' && word[size] != '\0'))
		return NULL;
	return word + size + strspn(word + size, "/");
}

/* Shells take $HOME, and without it what the system knows. */
static const char *below_home(const char *word)
{
	const char *home = getenv("HOME");
	const struct passwd *user;

	if (home)
		return below(word, home);
	user = getpwuid(geteuid());
	return user ? below(word, user->pw_dir) : NULL;
}

static char *own(const char *rest)
{
	size_t size = strlen(rest) + sizeof("~/");
	char *name = malloc(size);

	if (name)
		snprintf(name, size, "~/%s", rest);
	return name;
}

char *name_from_shell(const char *word)
{
	const char *rest = word[0] == '/' ? below_home(word) : NULL;

	return rest && rest[0] ? own(rest) : strdup(word);
}

char *name_prefix_from_shell(const char *word)
{
	const char *rest = word[0] == '/' ? below_home(word) : NULL;

	if (strcmp(word, "~") == 0)
		rest = "";
	return rest ? own(rest) : strdup(word);
}
