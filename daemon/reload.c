/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/admin_file.h"
#include "daemon/line.h"
#include "daemon/log.h"
#include "daemon/policy/policy_folder.h"
#include "daemon/reload_kept.h"

/* -- what was made from a setting, and stays ------------------------------------------------ */

static bool same_socket(const struct config *a, const struct config *b)
{
	return strcmp(a->socket.path, b->socket.path) == 0;
}

static bool same_socket_mode(const struct config *a, const struct config *b)
{
	return a->socket_mode == b->socket_mode;
}

static bool same_socket_group(const struct config *a, const struct config *b)
{
	return a->socket_group == b->socket_group;
}

static bool same_keep(const struct config *a, const struct config *b)
{
	return a->keep == b->keep;
}

static bool same_bundle(const struct config *a, const struct config *b)
{
	return bundle_setting_equal(&a->bundle, &b->bundle);
}

static bool same_memory(const struct config *a, const struct config *b)
{
	return a->memory == b->memory;
}

/* -- what is looked at each time ------------------------------------------------------------ */

static void take_max_value(struct daemon *daemon, const struct config *config)
{
	daemon->max_value = config->max_value;
}

/* The folder is read each time, whether it is another one or not. */
static void take_policy_dir(struct daemon *daemon, const struct config *config)
{
	(void)daemon;
	(void)config;
}

/* Each of them takes all: they stand together. */
static void take_quotas(struct daemon *daemon, const struct config *config)
{
	daemon_set_quotas(daemon, &config->quotas);
}

/* The file is opened each time: it may have been moved away. The three stand together. */
static void take_audit(struct daemon *daemon, const struct config *config)
{
	(void)daemon;
	(void)config;
}

struct policy_reasons reload_reasons(const struct config *config)
{
	unsigned line = config->lines[CONFIG_REQUIRE_REASON];

	return (struct policy_reasons){
		.rights = config->reasons, .file = line > 0 ? config->file : NULL, .line = line
	};
}

static void take_require_reason(struct daemon *daemon, const struct config *config)
{
	daemon->policy.reasons = reload_reasons(config);
}

static void take_rekey_interval(struct daemon *daemon, const struct config *config)
{
	daemon->rekey_ms = config->rekey_ms;
}

/* Each key either has to be what it was, or is taken: one that is in no row is never taken. */
static const struct {
	bool (*same)(const struct config *, const struct config *);
	void (*take)(struct daemon *, const struct config *);
} keys[CONFIG_KEYS] = {
	[CONFIG_SOCKET] = { .same = same_socket },
	[CONFIG_SOCKET_MODE] = { .same = same_socket_mode },
	[CONFIG_SOCKET_GROUP] = { .same = same_socket_group },
	[CONFIG_MEMORY] = { .same = same_memory },
	[CONFIG_KEEP] = { .same = same_keep },
	[CONFIG_BUNDLE] = { .same = same_bundle },
	[CONFIG_MAX_VALUE] = { .take = take_max_value },
	[CONFIG_POLICY] = { .take = take_policy_dir },
	[CONFIG_AUDIT] = { .take = take_audit },
	[CONFIG_AUDIT_FILE] = { .take = take_audit },
	[CONFIG_AUDIT_REQUIRED] = { .take = take_audit },
	[CONFIG_REQUIRE_REASON] = { .take = take_require_reason },
	[CONFIG_QUOTA_COUNT] = { .take = take_quotas },
	[CONFIG_QUOTA_BYTES] = { .take = take_quotas },
	[CONFIG_QUOTA_SESSIONS] = { .take = take_quotas },
	[CONFIG_QUOTA_INFLIGHT] = { .take = take_quotas },
	[CONFIG_QUOTA_HANDSHAKES] = { .take = take_quotas },
	[CONFIG_REKEY_INTERVAL] = { .take = take_rekey_interval },
};

static bool may_be(enum config_key key, const struct config *before, const struct config *after)
{
	return keys[key].take || (keys[key].same && keys[key].same(before, after));
}

/* A key that stands nowhere any more has its default, which is another value, too. */
static void say(struct config_fault *fault, const struct config *config, enum config_key key)
{
	char line[16] = "";

	if (config->lines[key] > 0)
		snprintf(line, sizeof(line), ":%u", config->lines[key]);
	snprintf(fault->text, sizeof(fault->text), "%s%s: another value of '%s' takes a restart",
		config->file, line, config_key_name(key));
}

/* `sources` are the caller's in any case. */
static int read_policy(struct policy_book **bookp, struct policy_sources *sources,
	const struct config *config, struct config_fault *fault)
{
	*bookp = NULL;
	if (config->policy_dir[0] == '\0')
		return 0;
	return policy_folder_read(
		bookp, sources, config->policy_dir, !config->policy_dir_given, fault);
}

int reload_policy(
	struct policy_book **bookp, const struct config *config, struct config_fault *fault)
{
	struct policy_sources sources = { 0 };
	int r = read_policy(bookp, &sources, config, fault);

	policy_sources_finish(&sources);
	return r;
}

/* Where nothing names one, the system's is meant, whoever asks. */
static int read_checked(struct policy_book **bookp, struct policy_sources *sources,
	const struct config *config, const char **pathp, struct config_fault *fault)
{
	bool named = config->policy_dir_given || config->policy_dir[0];

	*bookp = NULL;
	if (config->checked)
		return policy_path_read(bookp, sources, *pathp = config->checked, fault);
	*pathp = named ? config->policy_dir : CONFIG_POLICY_DIR;
	if (*pathp[0] == '\0')
		return 0;
	return policy_folder_read(bookp, sources, *pathp, !config->policy_dir_given, fault);
}

int reload_check_policy(
	const struct config *config, char said[static RELOAD_SAID_MAX], struct config_fault *fault)
{
	struct policy_sources sources = { 0 };
	struct policy_book *book = NULL;
	const char *path;
	int r = read_checked(&book, &sources, config, &path, fault);
	size_t rules = book ? policy_book_rules(book) : 0;

	if (book)
		snprintf(said, RELOAD_SAID_MAX, "%s: %zu rule%s", admin_file_shown(path), rules,
			rules == 1 ? "" : "s");
	else
		snprintf(said, RELOAD_SAID_MAX, "there is no policy");
	policy_sources_finish(&sources);
	policy_book_free(book);
	return r;
}

void reload_init(struct reload *reload, int argc, char **argv, const struct config *config)
{
	*reload = (struct reload){ .argc = argc, .argv = argv, .config = *config, .line = -1 };
}

static int check_fixed(
	const struct reload *reload, const struct config *config, struct config_fault *fault)
{
	for (enum config_key key = 0; key < CONFIG_KEYS; key++) {
		if (may_be(key, &reload->config, config))
			continue;
		say(fault, config, key);
		return -EBUSY;
	}
	if (!config_listeners_equal(&reload->config.listeners, &config->listeners)) {
		snprintf(fault->text, sizeof(fault->text),
			"%s: other sections [listener NAME] take a restart", config->file);
		return -EBUSY;
	}
	return 0;
}

/*
 * Before any of it is in force: a worker that died in between would be followed by one that knows
 * nothing of it.
 */
static int tell_keeper(const struct reload *reload, const struct config *config,
	const struct policy_sources *policy, struct config_fault *fault)
{
	struct line_packet packet = { .word = LINE_SETTINGS, .count = 1 };
	int r;

	if (reload->line < 0)
		return 0;
	packet.fds[0] = reload_kept_write(config, policy);
	r = packet.fds[0] < 0 ? packet.fds[0] : line_say(reload->line, &packet);
	if (packet.fds[0] >= 0)
		close(packet.fds[0]);
	if (r < 0)
		config_fault_say(fault, "the settings cannot be kept: %s", strerror(-r));
	return r;
}

int reload_open_audit(const struct daemon *daemon, const struct config *config,
	struct audit_file *file, struct config_fault *fault)
{
	*file = AUDIT_FILE_NONE;
	return config->audit == AUDIT_OFF
		? 0
		: audit_file_open(file, config->audit_file, audit_file_now(daemon->audit), fault);
}

/* Policy and file are the daemon's from then on. */
static void take(struct reload *reload, struct daemon *daemon, const struct config *config,
	struct policy_book *policy, struct audit_file *file)
{
	daemon_audit(daemon, config, file);
	policy_book_free(daemon->policy.book);
	daemon->policy.book = policy;
	for (enum config_key key = 0; key < CONFIG_KEYS; key++)
		if (keys[key].take)
			keys[key].take(daemon, config);
	reload->config = *config;
}

/*
 * Whatever becomes of the settings: a file that was moved away is left, since what is written to it
 * may be gone with it.
 */
static void reopen_audit(const struct reload *reload, struct daemon *daemon)
{
	struct config_fault fault;
	struct audit_file file;

	if (reload_open_audit(daemon, &reload->config, &file, &fault) < 0)
		log_error("%s", fault.text);
	else
		daemon_audit(daemon, &reload->config, &file);
	audit_file_close(&file);
}

int reload_settings(struct reload *reload, struct daemon *daemon, struct config_fault *fault)
{
	struct policy_sources sources = { 0 };
	struct audit_file file = AUDIT_FILE_NONE;
	struct policy_book *policy = NULL;
	struct config config;
	int r = config_load(&config, reload->argc, reload->argv, fault);

	if (r == 0)
		r = check_fixed(reload, &config, fault);
	if (r == 0)
		r = read_policy(&policy, &sources, &config, fault);
	if (r == 0)
		r = reload_open_audit(daemon, &config, &file, fault);
	if (r == 0)
		r = tell_keeper(reload, &config, policy ? &sources : NULL, fault);
	policy_sources_finish(&sources);
	if (r == 0) {
		take(reload, daemon, &config, policy, &file);
	} else {
		policy_book_free(policy);
		audit_file_close(&file);
		reopen_audit(reload, daemon);
	}
	return r;
}

int reload_resume(struct reload *reload, struct daemon *daemon, int fd, struct config_fault *fault)
{
	struct policy_book *policy;
	struct audit_file file;
	struct config config;
	int r = reload_kept_read(fd, &config, &policy, fault);

	close(fd);
	if (r < 0)
		return r;
	/* The daemon goes on, and tries again. */
	if (reload_open_audit(daemon, &config, &file, fault) < 0)
		log_error("%s", fault->text);
	take(reload, daemon, &config, policy, &file);
	return 0;
}
