/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the kernel says about the process of a test, and how its memory looks. */

/* A line of /proc/self/status in kB. */
static inline size_t status_kb(const char *key)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	size_t kb = SIZE_MAX;

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, key, strlen(key)) == 0)
			kb = strtoul(line + strlen(key), NULL, 10);
	fclose(file);
	ck_assert(kb != SIZE_MAX);
	return kb;
}

/* The line of /proc/self/smaps that begins with `key`, of the mapping that starts at `address`. */
static inline void smaps_line(const void *address, const char *key, char *line, size_t size)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char start[40];
	bool inside = false;

	ck_assert_ptr_nonnull(file);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)address);
	while (fgets(line, (int)size, file)) {
		inside |= strncmp(line, start, strlen(start)) == 0;
		if (inside && strncmp(line, key, strlen(key)) == 0)
			break;
	}
	ck_assert(inside && !feof(file));
	fclose(file);
}

/* Every descriptor that is open now and where it leads, as one text. */
static inline void list_descriptors(char *text, size_t size)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;
	size_t used = 0;

	ck_assert_ptr_nonnull(folder);
	while ((entry = readdir(folder))) {
		char target[128] = { 0 };

		if (readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1) < 0)
			continue;
		used += (size_t)snprintf(
			text + used, size - used, "%s=%s\n", entry->d_name, target);
		ck_assert_uint_lt(used, size);
	}
	closedir(folder);
}

/* Reads our own memory the way root reads it. Returns 0 or an errno. */
static inline int read_from_outside(const void *address, uint8_t *byte)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int error;

	ck_assert_int_ge(fd, 0);
	n = pread(fd, byte, 1, (off_t)(uintptr_t)address);
	error = n == 1 ? 0 : errno;
	close(fd);
	return error;
}

static inline bool all_are(const uint8_t *bytes, size_t size, uint8_t value)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != value)
			return false;
	return true;
}
