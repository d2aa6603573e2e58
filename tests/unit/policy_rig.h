/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/policy.h"

/* A small world of users and groups, whatever this machine has. */

static inline bool rig_user(void *context, const char *name, uid_t *uidp)
{
	static const struct {
		const char *name;
		uid_t uid;
	} users[] = { { "root", 0 }, { "www", 33 }, { "alice", 1000 }, { "bob", 1001 },
		{ "nobody", 65534 } };

	(void)context;
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		if (strcmp(users[i].name, name) == 0)
			return *uidp = users[i].uid, true;
	return false;
}

static inline bool rig_group(void *context, const char *name, gid_t *gidp)
{
	(void)context;
	if (strcmp(name, "ops") != 0 && strcmp(name, "web") != 0)
		return false;
	*gidp = name[0] == 'o' ? 40 : 33;
	return true;
}

static const struct policy_names rig_names = { .user = rig_user, .group = rig_group };

/* Reads a copy of exactly this size, so that a sanitizer sees a look behind its end. */
static inline int rig_read(struct policy_book *book, const char *text, size_t size,
	const char *path, struct config_fault *fault)
{
	char *copy = malloc(size > 0 ? size : 1);
	int r;

	if (!copy)
		abort();
	memcpy(copy, text, size);
	memset(fault, 0, sizeof(*fault));
	r = policy_book_read(book, copy, size, path, &rig_names, fault);
	free(copy);
	return r;
}

/* A policy from one text, or from several that end with NULL: called a.conf, b.conf and so on. */
static inline struct policy_book *rig_book(const char *const *texts)
{
	struct policy_book *book = policy_book_new();
	struct config_fault fault;
	char path[] = "a.conf";

	ck_assert_ptr_nonnull(book);
	for (; *texts; texts++, path[0]++)
		ck_assert_msg(rig_read(book, *texts, strlen(*texts), path, &fault) == 0, "%s",
			fault.text);
	ck_assert_msg(policy_book_seal(book, &fault) == 0, "%s", fault.text);
	return book;
}
