/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/span.h"
#include "common/wire/message.h"
#include "daemon/admin_file.h"
#include "daemon/config_quota.h"
#include "daemon/config_reason.h"
#include "daemon/ini_text.h"
#include "daemon/quantity.h"

#define MAX_VALUE_DEFAULT ((uint64_t)1 << 20)
#define REKEY_DEFAULT_MS 500
#define REKEY_LEAST_MS 10
#define REKEY_MOST_MS 60000

/* More than services and scripts of one user need. */
#define QUOTA_SESSIONS_DEFAULT 256
#define QUOTA_INFLIGHT_DEFAULT 256
#define QUOTA_HANDSHAKES_DEFAULT 200

/* -- values: each reader gives NULL, or what would be right -------------------------------- */

static const char *read_socket(struct config *config, const char *text)
{
	const char *fault = endpoint_parse(&config->socket, text);

	if (!fault)
		config->socket_given = true;
	return fault;
}

static const char *read_socket_mode(struct config *config, const char *text)
{
	config->socket_mode_given = true;
	return config_read_mode(text, &config->socket_mode);
}

/* The name of a group is looked up where system calls are allowed: in config_load. */
static const char *read_socket_group(struct config *config, const char *text)
{
	if (text[0] == '\0' || strlen(text) >= sizeof(config->socket_group_name))
		return "is no group";
	strcpy(config->socket_group_name, text);
	return NULL;
}

static const char *read_memory(struct config *config, const char *text)
{
	static const char *const needs[] = {
		[OS_MEMORY_PREFER_LOCK] = "prefer-lock",
		[OS_MEMORY_REQUIRE_LOCK] = "require-lock",
		[OS_MEMORY_REQUIRE_SECRET] = "require-secretmem",
	};

	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		if (strcmp(text, needs[i]) == 0) {
			config->memory = (enum os_memory_need)i;
			return NULL;
		}
	}
	return "is none of prefer-lock, require-lock, require-secretmem";
}

static const char *read_max_value(struct config *config, const char *text)
{
	static const struct unit sizes[] = { { "", 1 }, { "k", 1 << 10 }, { "m", 1 << 20 },
		{ "g", 1 << 30 } };
	uint64_t size = quantity_read(text, sizes, sizeof(sizes) / sizeof(sizes[0]));

	if (size == 0 || size > MESSAGE_VALUE_MAX)
		return "is no size from 1 to 1g, such as 64k or 1m";
	config->max_value = size;
	return NULL;
}

static const char *read_rekey(struct config *config, const char *text)
{
	static const struct unit times[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 } };
	uint64_t time = quantity_read(text, times, sizeof(times) / sizeof(times[0]));

	if (time < REKEY_LEAST_MS || time > REKEY_MOST_MS)
		return "is no time from 10ms to 60s, such as 500ms or 2s";
	config->rekey_ms = (uint32_t)time;
	return NULL;
}

static const char *read_keep(struct config *config, const char *text)
{
	config->keep = strcmp(text, "yes") == 0;
	return config->keep || strcmp(text, "no") == 0 ? NULL : "is neither yes nor no";
}

static const char *read_bundle(struct config *config, const char *text)
{
	return bundle_setting_parse(&config->bundle, text);
}

static const char *read_policy_dir(struct config *config, const char *text)
{
	bool none = strcmp(text, "no") == 0;

	if (!none && (text[0] != '/' || strlen(text) >= sizeof(config->policy_dir)))
		return "is neither no nor an absolute path of at most 255 bytes";
	strcpy(config->policy_dir, none ? "" : text);
	config->policy_dir_given = true;
	return NULL;
}

static const char *read_audit(struct config *config, const char *text)
{
	static const char *const levels[] = {
		[AUDIT_OFF] = "off",
		[AUDIT_DENIES] = "denies",
		[AUDIT_WRITES] = "writes",
		[AUDIT_ALL] = "all",
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(text, levels[i]) == 0) {
			config->audit = (enum audit_level)i;
			return NULL;
		}
	}
	return "is none of off, denies, writes, all";
}

static const char *read_audit_file(struct config *config, const char *text)
{
	bool none = strcmp(text, "stderr") == 0;

	if (!none && (text[0] != '/' || strlen(text) >= sizeof(config->audit_file)))
		return "is neither stderr nor an absolute path of at most 255 bytes";
	strcpy(config->audit_file, none ? "" : text);
	return NULL;
}

static const char *read_audit_required(struct config *config, const char *text)
{
	config->audit_required = strcmp(text, "yes") == 0;
	return config->audit_required || strcmp(text, "no") == 0 ? NULL : "is neither yes nor no";
}

static const char *read_require_reason(struct config *config, const char *text)
{
	return config_read_reasons(&config->reasons, text);
}

static const char *read_quota_count(struct config *config, const char *text)
{
	return config_read_quota_count(&config->quotas.count, text);
}

static const char *read_quota_bytes(struct config *config, const char *text)
{
	return config_read_quota_bytes(&config->quotas.bytes, text);
}

static const char *read_quota_sessions(struct config *config, const char *text)
{
	return config_read_quota(&config->quotas.sessions, text);
}

static const char *read_quota_inflight(struct config *config, const char *text)
{
	return config_read_quota(&config->quotas.inflight, text);
}

static const char *read_quota_handshakes(struct config *config, const char *text)
{
	return config_read_quota(&config->quotas.handshakes, text);
}

/* -- the table: one row a key, for the file and for the command line ----------------------- */

static const struct {
	const char *name;
	const char *(*read)(struct config *, const char *);
	const char *argument;
	const char *help;
	const char *alone; /* what it means without a value on the command line; NULL: nothing */
} keys[CONFIG_KEYS] = {
	[CONFIG_SOCKET] = { "socket", read_socket, "PATH",
		"listen here (root: " ENDPOINT_SYSTEM "; others: a place of their own)", NULL },
	[CONFIG_SOCKET_MODE] = { "socket-mode", read_socket_mode, "MODE",
		"rights of the socket file, octal", NULL },
	[CONFIG_SOCKET_GROUP] = { "socket-group", read_socket_group, "GROUP",
		"group of the socket file, name or number", NULL },
	[CONFIG_MEMORY] = { "memory", read_memory, "NEED",
		"prefer-lock, require-lock or require-secretmem", NULL },
	[CONFIG_MAX_VALUE] = { "max-value", read_max_value, "SIZE",
		"largest value that is stored (1m)", NULL },
	[CONFIG_REKEY_INTERVAL] = { "rekey-interval", read_rekey, "TIME",
		"time between two re-masks of the masters (500ms)", NULL },
	[CONFIG_KEEP] = { "keep", read_keep, "", "a crash of the daemon loses nothing (yes or no)",
		"yes" },
	[CONFIG_BUNDLE] = { "bundle", read_bundle, "WHAT",
		"open this at the start: FILE credential:NAME or FILE fd:N", NULL },
	[CONFIG_POLICY] = { "policy-dir", read_policy_dir, "PATH",
		"who may do what (root: " CONFIG_POLICY_DIR "; others: no)", NULL },
	[CONFIG_AUDIT] = { "audit", read_audit, "WHAT",
		"decisions to be logged: off, denies, writes or all (off)", NULL },
	[CONFIG_AUDIT_FILE] = { "audit-file", read_audit_file, "PATH",
		"where they are logged (stderr)", NULL },
	[CONFIG_AUDIT_REQUIRED] = { "audit-required", read_audit_required, "",
		"nothing is done that cannot be logged (yes or no)", "yes" },
	[CONFIG_REQUIRE_REASON] = { "require-reason", read_require_reason, "WHAT",
		"what nobody does without a reason: get,rm or * for all (no)", NULL },
	[CONFIG_QUOTA_COUNT] = { "quota-count", read_quota_count, "N",
		"secrets of one user at most (no)", NULL },
	[CONFIG_QUOTA_BYTES] = { "quota-bytes", read_quota_bytes, "SIZE",
		"bytes of one user's secrets at most (no)", NULL },
	[CONFIG_QUOTA_SESSIONS] = { "quota-sessions", read_quota_sessions, "N",
		"connections of one user at most (256)", NULL },
	[CONFIG_QUOTA_INFLIGHT] = { "quota-inflight", read_quota_inflight, "N",
		"requests of one user under way at most (256)", NULL },
	[CONFIG_QUOTA_HANDSHAKES] = { "quota-handshakes", read_quota_handshakes, "N",
		"connections of one user in a second at most (200)", NULL },
};

const char *config_key_name(enum config_key key)
{
	return keys[key].name;
}

/* The row of a key, or CONFIG_KEYS. */
static size_t find_key(const char *name, size_t size)
{
	size_t i = 0;

	while (i < CONFIG_KEYS &&
		(strlen(keys[i].name) != size || strncmp(keys[i].name, name, size) != 0))
		i++;
	return i;
}

const char *config_help(void)
{
	static char text[4096];
	size_t used = (size_t)snprintf(text, sizeof(text),
		"usage: memguardd [OPTION...] [-- COMMAND [ARGUMENT...]]\n"
		"\n"
		"Holds secrets in guarded, encrypted memory for the processes of this machine.\n"
		"With a COMMAND: serves it alone, on a socket of its own, and ends with it.\n"
		"\n");

	for (size_t i = 0; i < CONFIG_KEYS && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "  --%-16s %-6s %s\n",
			keys[i].name, keys[i].argument, keys[i].help);
	if (used < sizeof(text))
		snprintf(text + used, sizeof(text) - used,
			"  --%-16s %-6s %s\n  --%-23s %s\n  --%-23s %s\n  --%-23s %s\n\n%s",
			"config", "FILE", "read this file, not " CONFIG_FILE, "check-policy[=PATH]",
			"see whether the policies can be read, and end", "help", "say this",
			"version", "say the version",
			"The keys of the configuration file have the same names: "
			"memguardd.conf(5).\n");
	return text;
}

/* -- the file ------------------------------------------------------------------------------ */

struct reading {
	struct config *config;
	struct config_fault *fault;
	const char *path;
	bool in_listener; /* the last section is one */
};

static bool on_section(void *context, struct span title, unsigned line)
{
	struct reading *reading = context;
	const char *wrong;

	reading->in_listener = span_starts_with(title, span_text("listener "));
	if (!reading->in_listener)
		return span_equal(title, span_text("daemon"));
	wrong = config_listener_begin(&reading->config->listeners, title, line);
	if (wrong)
		config_fault_say(reading->fault, "%s:%u: [%.*s] %s", reading->path, line,
			(int)title.size, (const char *)title.data, wrong);
	return !wrong;
}

static bool set_listener(
	struct reading *reading, const char *name, const char *value, unsigned line)
{
	struct config_fault wrong;

	if (config_listener_set(&reading->config->listeners, name, value, line, &wrong))
		return true;
	config_fault_say(reading->fault, "%s:%u: %s", reading->path, line, wrong.text);
	return false;
}

static bool on_pair(void *context, const char *name, const char *value, unsigned line)
{
	struct reading *reading = context;
	unsigned *lines = reading->config->lines;
	size_t key = find_key(name, strlen(name));
	const char *wrong;

	if (reading->in_listener)
		return set_listener(reading, name, value, line);
	if (key == CONFIG_KEYS)
		config_fault_say(
			reading->fault, "%s:%u: unknown key '%s'", reading->path, line, name);
	else if (lines[key] > 0)
		config_fault_say(reading->fault,
			"%s:%u: '%s' is set a second time (first in line %u)", reading->path, line,
			name, lines[key]);
	else if ((wrong = keys[key].read(reading->config, value)))
		config_fault_say(reading->fault, "%s:%u: %s: '%s' %s", reading->path, line, name,
			value, wrong);
	else
		return lines[key] = line, true;
	return false;
}

int config_parse(struct config *config, const char *text, size_t size, const char *path,
	struct config_fault *fault)
{
	struct config draft = *config;
	struct reading reading = { .config = &draft, .fault = fault, .path = path };
	struct ini_text reader = { .path = path,
		.fault = fault,
		.sections = "[daemon] and [listener NAME]",
		.context = &reading,
		.section = on_section,
		.pair = on_pair };
	int r;

	memset(draft.lines, 0, sizeof(draft.lines));
	draft.listeners.count = 0;
	r = ini_text_read(&reader, text, size);
	if (r == 0)
		r = config_listeners_check(&draft.listeners, path, fault);
	if (r == 0)
		*config = draft;
	return r;
}

static int read_file(
	struct config *config, const char *path, bool optional, struct config_fault *fault)
{
	cleanup(freep) char *text = NULL;
	size_t size;
	int r = admin_file_read(path, &text, &size, fault);

	config->file = admin_file_shown(path);
	if (r == -ENOENT && optional) {
		fault->text[0] = '\0';
		return 0;
	}
	return r < 0 ? -EBADMSG : config_parse(config, text, size, config->file, fault);
}

/* -- the command line ---------------------------------------------------------------------- */

/* What the command line says; applied after the file, so that it wins. */
struct arguments {
	const char *values[CONFIG_KEYS];
	const char *file;
};

/* The value of an option: behind '=', or the next word. */
static const char *option_value(const char *name, const char *equals, int *at, int argc,
	char **argv, struct config_fault *fault)
{
	if (equals)
		return equals + 1;
	if (*at + 1 < argc)
		return argv[++*at];
	config_fault_say(fault, "--%s needs a value (try --help)", name);
	return NULL;
}

static int read_option(struct config *config, struct arguments *arguments, int *at, int argc,
	char **argv, struct config_fault *fault)
{
	const char *word = argv[*at];
	const char *name = word + 2;
	const char *equals = strchr(word, '=');
	size_t size = equals ? (size_t)(equals - name) : strlen(name);
	size_t key = find_key(name, size);
	const char **place;

	if (strcmp(word, "--help") == 0)
		return config->help = true, 0;
	if (strcmp(word, "--version") == 0)
		return config->version = true, 0;
	if (size == strlen("check-policy") && strncmp(name, "check-policy", size) == 0) {
		config->check_policy = true;
		config->checked = equals ? equals + 1 : NULL;
		return 0;
	}
	if (key < CONFIG_KEYS)
		place = &arguments->values[key];
	else if (size == strlen("config") && strncmp(name, "config", size) == 0)
		place = &arguments->file;
	else {
		config_fault_say(fault, "unknown option '%s' (try --help)", word);
		return -EINVAL;
	}
	if (key < CONFIG_KEYS && keys[key].alone && !equals)
		*place = keys[key].alone;
	else
		*place = option_value(key < CONFIG_KEYS ? keys[key].name : "config", equals, at,
			argc, argv, fault);
	return *place ? 0 : -EINVAL;
}

static int read_arguments(struct config *config, struct arguments *arguments, int argc, char **argv,
	struct config_fault *fault)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			config->command = argv + i + 1;
			if (*config->command)
				return 0;
			config_fault_say(fault, "no command behind '--'");
			return -EINVAL;
		}
		if (strncmp(argv[i], "--", 2) != 0) {
			config_fault_say(fault, "unknown argument '%s' (try --help)", argv[i]);
			return -EINVAL;
		}
		if (read_option(config, arguments, &i, argc, argv, fault) < 0)
			return -EINVAL;
	}
	return 0;
}

static int apply_arguments(
	struct config *config, const struct arguments *arguments, struct config_fault *fault)
{
	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		const char *wrong =
			arguments->values[i] ? keys[i].read(config, arguments->values[i]) : NULL;

		if (wrong) {
			config_fault_say(
				fault, "--%s: '%s' %s", keys[i].name, arguments->values[i], wrong);
			return -EINVAL;
		}
		if (arguments->values[i])
			config->lines[i] = 0;
	}
	return 0;
}

/* -- what hangs on the user ---------------------------------------------------------------- */

/* A service's account may have no place of its own, and needs none when it is handed a socket. */
static void default_socket(struct config *config)
{
	bool is_system;

	if (!config->socket_given && geteuid() == 0)
		strcpy(config->socket.path, ENDPOINT_SYSTEM);
	else if (!config->socket_given && endpoint_user(&config->socket) < 0)
		config->socket.path[0] = '\0';
	is_system = strcmp(config->socket.path, ENDPOINT_SYSTEM) == 0;
	if (!config->socket_mode_given)
		config->socket_mode = is_system ? 0666 : 0600;
}

static int find_group(
	struct config *config, const struct arguments *arguments, struct config_fault *fault)
{
	const char *name = config->socket_group_name;

	if (name[0] == '\0' || config_find_group(name, &config->socket_group))
		return 0;
	if (arguments->values[CONFIG_SOCKET_GROUP]) {
		config_fault_say(fault, "--socket-group: there is no group '%s'", name);
		return -EINVAL;
	}
	config_fault_say(fault, "%s:%u: socket-group: there is no group '%s'", config->file,
		config->lines[CONFIG_SOCKET_GROUP], name);
	return -EBADMSG;
}

static int find_groups_of_listeners(struct config *config, struct config_fault *fault)
{
	for (size_t i = 0; i < config->listeners.count; i++) {
		struct config_listener *listener = &config->listeners.all[i];

		if (!listener->group_name[0] ||
			config_find_group(listener->group_name, &listener->group))
			continue;
		config_fault_say(fault, "%s:%u: group: there is no group '%s'", config->file,
			listener->group_line, listener->group_name);
		return -EBADMSG;
	}
	return 0;
}

struct config config_of_listener(const struct config *config, size_t listener)
{
	const struct config_listener *one = &config->listeners.all[listener];
	struct config as_own = *config;

	as_own.socket = one->socket;
	as_own.socket_given = as_own.socket_mode_given = true;
	as_own.socket_mode = one->mode;
	as_own.socket_group = one->group;
	return as_own;
}

/* Without a log nothing could be done. */
static int check_audit(
	const struct config *config, const struct arguments *arguments, struct config_fault *fault)
{
	if (!config->audit_required || config->audit != AUDIT_OFF)
		return 0;
	if (arguments->values[CONFIG_AUDIT_REQUIRED]) {
		config_fault_say(fault, "--audit-required: 'audit' is off");
		return -EINVAL;
	}
	config_fault_say(fault, "%s:%u: audit-required: 'audit' is off", config->file,
		config->lines[CONFIG_AUDIT_REQUIRED]);
	return -EBADMSG;
}

static int load(struct config *config, int argc, char **argv, struct config_fault *fault)
{
	struct arguments arguments = { 0 };
	int r = read_arguments(config, &arguments, argc, argv, fault);

	if (r < 0 || config->help || config->version)
		return r;
	r = read_file(
		config, arguments.file ? arguments.file : CONFIG_FILE, !arguments.file, fault);
	/* The file's place is the system's daemon's; a command's own has a folder of its own, and
	 * is empty. */
	if (config->command) {
		config->socket_given = false;
		config->bundle.file[0] = '\0';
		config->listeners.count = 0;
		config->policy_dir[0] = '\0';
		config->policy_dir_given = true;
		config->audit = AUDIT_OFF;
		config->audit_required = false;
		config->reasons = 0;
	}
	if (r == 0)
		r = apply_arguments(config, &arguments, fault);
	if (r < 0)
		return r;
	r = check_audit(config, &arguments, fault);
	if (r < 0)
		return r;
	default_socket(config);
	if (!config->policy_dir_given && geteuid() == 0 && !arguments.file)
		strcpy(config->policy_dir, CONFIG_POLICY_DIR);
	r = find_group(config, &arguments, fault);
	if (r == 0)
		r = find_groups_of_listeners(config, fault);
	if (r == 0)
		r = config_listeners_apart(
			&config->listeners, &config->socket, config->file, fault);
	return r;
}

int config_load(struct config *config, int argc, char **argv, struct config_fault *fault)
{
	struct config draft = { .socket_group = (gid_t)-1,
		.max_value = MAX_VALUE_DEFAULT,
		.quotas = { .sessions = QUOTA_SESSIONS_DEFAULT,
			.inflight = QUOTA_INFLIGHT_DEFAULT,
			.handshakes = QUOTA_HANDSHAKES_DEFAULT },
		.rekey_ms = REKEY_DEFAULT_MS };
	int r = load(&draft, argc, argv, fault);

	if (r == 0)
		*config = draft;
	return r;
}
