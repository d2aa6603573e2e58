/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "common/wire/endpoint.h"
#include "daemon/config_fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Listeners beside the daemon's own, a section [listener NAME] each: by which of them somebody
 * comes in is something that rules can name. Their sockets are as the daemon's own one.
 */
#define CONFIG_LISTENERS_MAX 8

/* Bytes of a name, and of a group's as it is given, with the NUL. */
#define CONFIG_LISTENER_NAME_MAX 32
#define CONFIG_GROUP_MAX 64

struct config_listener {
	char name[CONFIG_LISTENER_NAME_MAX];
	struct endpoint socket;
	mode_t mode; /* 0600 unless given */
	bool mode_given;
	char group_name[CONFIG_GROUP_MAX]; /* as it was given, or "" */
	gid_t group;                       /* (gid_t)-1: leave it as it comes */
	unsigned line;                     /* of the file, where it begins */
	unsigned group_line;
};

struct config_listeners {
	struct config_listener all[CONFIG_LISTENERS_MAX];
	size_t count;
};

/* Begins one by the title of its section: NULL, or what is wrong with it, as a sentence part. */
const char *config_listener_begin(
	struct config_listeners *listeners, struct span title, unsigned line);

/* Takes a key of the last one. Returns whether it is right; else it is said, without the place. */
bool config_listener_set(struct config_listeners *listeners, const char *key, const char *value,
	unsigned line, struct config_fault *fault);

/*
 * Looks at all of them together, and at the daemon's own place ("" for none). Returns 0 or -EBADMSG
 * with the fault said; `path` is the file's for messages.
 */
int config_listeners_check(
	const struct config_listeners *listeners, const char *path, struct config_fault *fault);
int config_listeners_apart(const struct config_listeners *listeners, const struct endpoint *own,
	const char *path, struct config_fault *fault);

/* Whether all of them are the same, in the same order. */
bool config_listeners_equal(const struct config_listeners *a, const struct config_listeners *b);

/* Three octal digits, or four that begin with 0. NULL, or what would be right. */
const char *config_read_mode(const char *text, mode_t *modep);

/* A group by its name, else by its number. Returns whether there is one. Looks names up. */
bool config_find_group(const char *name, gid_t *gidp);
