/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_listener.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/quantity.h"

/* -- values -------------------------------------------------------------------------------- */

const char *config_read_mode(const char *text, mode_t *modep)
{
	size_t size = strlen(text);

	if (size < 3 || size > 4 || strspn(text, "01234567") != size ||
		(size == 4 && text[0] != '0'))
		return "is no mode such as 0600 or 0666";
	*modep = (mode_t)strtoul(text, NULL, 8);
	return NULL;
}

bool config_find_group(const char *name, gid_t *gidp)
{
	const struct group *group = getgrnam(name);
	uint32_t id;

	if (group)
		*gidp = group->gr_gid;
	else if (quantity_read_id(name, &id))
		*gidp = (gid_t)id;
	else
		return false;
	return true;
}

static const char *read_path(struct config_listener *listener, const char *text)
{
	if (listener->socket.path[0])
		return "is a second path";
	return endpoint_parse(&listener->socket, text);
}

static const char *read_mode(struct config_listener *listener, const char *text)
{
	if (listener->mode_given)
		return "is a second mode";
	listener->mode_given = true;
	return config_read_mode(text, &listener->mode);
}

/* The name of a group is looked up where system calls are allowed. */
static const char *read_group(struct config_listener *listener, const char *text)
{
	if (listener->group_name[0])
		return "is a second group";
	if (text[0] == '\0' || strlen(text) >= sizeof(listener->group_name))
		return "is no group";
	strcpy(listener->group_name, text);
	return NULL;
}

/* -- sections ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	const char *(*read)(struct config_listener *, const char *);
} keys[] = {
	{ "path", read_path },
	{ "mode", read_mode },
	{ "group", read_group },
};

static bool is_name(struct span name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";

	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] == '\0' || !strchr(letters, name.data[i]))
			return false;
	return name.size > 0 && name.size < CONFIG_LISTENER_NAME_MAX;
}

const char *config_listener_begin(
	struct config_listeners *listeners, struct span title, unsigned line)
{
	const struct span word = span_text("listener ");
	struct span name = span_of(title.data + word.size, title.size - word.size);
	struct config_listener *listener;

	if (!is_name(name))
		return "has no name of 1 to 31 letters, digits, '-', '_' and '.'";
	for (size_t i = 0; i < listeners->count; i++)
		if (span_equal(span_text(listeners->all[i].name), name))
			return "stands there a second time";
	if (listeners->count == CONFIG_LISTENERS_MAX)
		return "is one too many: there may be 8";
	listener = &listeners->all[listeners->count++];
	*listener = (struct config_listener){ .mode = 0600, .group = (gid_t)-1, .line = line };
	memcpy(listener->name, name.data, name.size);
	return NULL;
}

bool config_listener_set(struct config_listeners *listeners, const char *key, const char *value,
	unsigned line, struct config_fault *fault)
{
	struct config_listener *listener = &listeners->all[listeners->count - 1];
	const char *wrong;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].name, key) != 0)
			continue;
		wrong = keys[i].read(listener, value);
		if (wrong)
			config_fault_say(fault, "%s: '%s' %s", key, value, wrong);
		if (strcmp(key, "group") == 0)
			listener->group_line = line;
		return !wrong;
	}
	config_fault_say(
		fault, "unknown key '%s' of a listener; there are path, mode and group", key);
	return false;
}

/* -- all of them --------------------------------------------------------------------------- */

static bool same_path(const struct endpoint *a, const struct endpoint *b)
{
	return strcmp(a->path, b->path) == 0;
}

static int fail_path(const struct config_listener *listener, const char *what, const char *other,
	const char *path, struct config_fault *fault)
{
	config_fault_say(fault, "%s:%u: [listener %s] %s%s", path, listener->line, listener->name,
		what, other);
	return -EBADMSG;
}

int config_listeners_check(
	const struct config_listeners *listeners, const char *path, struct config_fault *fault)
{
	for (size_t i = 0; i < listeners->count; i++) {
		const struct config_listener *one = &listeners->all[i];

		if (!one->socket.path[0])
			return fail_path(one, "has no path", "", path, fault);
		for (size_t j = 0; j < i; j++)
			if (same_path(&one->socket, &listeners->all[j].socket))
				return fail_path(one, "has the path of [listener] ",
					listeners->all[j].name, path, fault);
	}
	return 0;
}

int config_listeners_apart(const struct config_listeners *listeners, const struct endpoint *own,
	const char *path, struct config_fault *fault)
{
	for (size_t i = 0; i < listeners->count; i++)
		if (same_path(&listeners->all[i].socket, own))
			return fail_path(&listeners->all[i],
				"has the path of the daemon's own socket", "", path, fault);
	return 0;
}

static bool is_equal(const struct config_listener *a, const struct config_listener *b)
{
	return strcmp(a->name, b->name) == 0 && same_path(&a->socket, &b->socket) &&
		a->mode == b->mode && a->group == b->group;
}

bool config_listeners_equal(const struct config_listeners *a, const struct config_listeners *b)
{
	for (size_t i = 0; i < a->count && i < b->count; i++)
		if (!is_equal(&a->all[i], &b->all[i]))
			return false;
	return a->count == b->count;
}
