/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/os_memory.h"
#include "common/wire/endpoint.h"
#include "daemon/bundle_setting.h"
#include "daemon/config_fault.h"
#include "daemon/config_listener.h"
#include "daemon/users.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The daemon's settings: defaults, then the file, then the command line. Keys are the same in both;
 * one table holds them.
 */
#define CONFIG_FILE "/etc/memguardd/memguardd.conf"
#define CONFIG_POLICY_DIR "/etc/memguardd/policy.d"

/* Bytes of a path, with its NUL. */
#define CONFIG_PATH_MAX 256

enum config_key {
	CONFIG_SOCKET,
	CONFIG_SOCKET_MODE,
	CONFIG_SOCKET_GROUP,
	CONFIG_MEMORY,
	CONFIG_MAX_VALUE,
	CONFIG_REKEY_INTERVAL,
	CONFIG_KEEP,
	CONFIG_BUNDLE,
	CONFIG_POLICY,
	CONFIG_AUDIT,
	CONFIG_AUDIT_FILE,
	CONFIG_AUDIT_REQUIRED,
	CONFIG_REQUIRE_REASON,
	CONFIG_QUOTA_COUNT,
	CONFIG_QUOTA_BYTES,
	CONFIG_QUOTA_SESSIONS,
	CONFIG_QUOTA_INFLIGHT,
	CONFIG_QUOTA_HANDSHAKES,
	CONFIG_KEYS
};

/* Which decisions the audit log tells. */
enum audit_level {
	AUDIT_OFF,
	AUDIT_DENIES,
	AUDIT_WRITES, /* and those about changes */
	AUDIT_ALL
};

struct config {
	struct endpoint socket; /* "" where the user has no place of their own */
	bool socket_given;      /* not the default place */
	mode_t socket_mode;     /* 0666 for the system's place, else 0600, unless given */
	bool socket_mode_given;
	char socket_group_name[CONFIG_GROUP_MAX]; /* as it was given, or "" */
	gid_t socket_group;                       /* (gid_t)-1: leave it as it comes */
	struct config_listeners listeners;        /* beside it; none for a command */
	enum os_memory_need memory;
	uint64_t max_value; /* bytes of plaintext in one value */
	uint32_t rekey_ms;  /* milliseconds between two re-masks; 10 to 60000 */
	bool keep;          /* a keeper holds everything while this process comes and goes */
	struct bundle_setting bundle;     /* opened at the start; file "": none */
	char policy_dir[CONFIG_PATH_MAX]; /* of policies; "": none */
	bool policy_dir_given;            /* else it need not exist */
	enum audit_level audit;
	char audit_file[CONFIG_PATH_MAX]; /* "": stderr, which may lead to the journal */
	bool audit_required; /* what cannot be told there is not done; not with AUDIT_OFF */
	uint32_t reasons; /* rights (RIGHT_BIT): who uses one has to say why, whatever the name */
	struct quotas quotas;
	char **command;   /* after "--": run this and end with it; borrowed from argv, or NULL */
	const char *file; /* its name for messages, borrowed from argv or CONFIG_FILE */
	/* Of the file, where each key stands; 0: nowhere, or the command line says something else.
	 */
	unsigned lines[CONFIG_KEYS];
	bool help;
	bool version;
	bool check_policy;   /* read the policy, and do nothing else */
	const char *checked; /* this one: a file or a folder; borrowed from argv; or NULL */
};

/*
 * Reads the command line, the file it names (or CONFIG_FILE if that exists) and fills in the
 * defaults that depend on the user. Returns 0, -EINVAL for a bad option (exit 2) or -EBADMSG for a
 * bad file (exit 78), with `fault` filled in. The configuration is unchanged after a failure.
 */
int config_load(struct config *config, int argc, char **argv, struct config_fault *fault);

/*
 * Reads one file's text into `config`; `path` is for messages only. All or nothing. Returns 0 or
 * -EBADMSG. No system call: the fuzzer's entrance.
 */
int config_parse(struct config *config, const char *text, size_t size, const char *path,
	struct config_fault *fault);

/* The settings as if the daemon's own socket were this one of its listeners. */
struct config config_of_listener(const struct config *config, size_t listener);

/* How a key is called. */
const char *config_key_name(enum config_key key);

/* The text of --help. */
const char *config_help(void);
