/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

/* Runs a target over every file of a folder: the corpus is a test that every build passes. */

#define FILE_MAX ((size_t)1 << 20)

static int replay_file(const char *path)
{
	static uint8_t bytes[FILE_MAX];
	FILE *file = fopen(path, "rb");
	uint8_t *copy;
	size_t size;

	if (!file)
		return -1;
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	/* A copy of its exact size, so that the sanitizer sees a read past the end. */
	copy = malloc(size ? size : 1);
	if (!copy)
		return -1;
	memcpy(copy, bytes, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	return 0;
}

static int replay_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int replayed = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (replay_file(path) < 0) {
			closedir(dir);
			return -1;
		}
		replayed++;
	}
	closedir(dir);
	return replayed;
}

int main(int argc, char **argv)
{
	int replayed = argc == 2 ? replay_folder(argv[1]) : -1;

	if (replayed <= 0) {
		fprintf(stderr, "replay: no corpus in %s\n", argc == 2 ? argv[1] : "(no folder)");
		return 1;
	}
	printf("%d inputs replayed\n", replayed);
	return 0;
}
