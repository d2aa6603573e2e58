/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MGCLIENT_H
#define MGCLIENT_H

#include <mgclient-memory.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * libmgclient: store secrets in memguardd and fetch them from it. What needs no daemon stands in
 * mgclient-memory.h.
 *
 * Values are sealed and opened here, in the calling process: the daemon keeps them sealed. They
 * come back in guarded, locked, read-only memory. The library touches nothing of its host: no
 * signals, no resource limits, no exit, no output.
 *
 * Functions return MG_OK (0) or one of enum mg_status. mg_last_error tells more in words. A handle
 * may be used from several threads; calls on it are served one after the other, and the wait counts
 * against the call's time limit. After fork the child cannot use the parent's handles or secrets.
 */

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility push(default)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* -- connection ---------------------------------------------------------------------------- */

/* A connection to a daemon, with 40 KiB of guarded memory of its own. */
struct mg_client;

struct mg_options {
	/*
	 * "unix:/path" or an absolute path. NULL: $MEMGUARD_SOCKET (unless the process is setuid or
	 * setgid), else the user's own daemon if its socket exists, else the system's.
	 */
	const char *endpoint;
	unsigned timeout_ms; /* milliseconds for a call, without what callbacks take; 0: 5000 */
	enum mg_memory memory;
	bool expect_uid; /* the daemon must run as daemon_uid, and nothing else is accepted */
	uid_t daemon_uid;
};

/*
 * Opens a handle and connects. `options` may be NULL. Before anything is sent, the daemon must
 * prove to be root's, our own user's, or that of the owner of the socket's folder where every
 * folder above belongs to root and is writable by root alone; else MG_UNREACHABLE. The handle is
 * the caller's: mg_close. Errors: MG_INVALID, MG_UNREACHABLE, MG_TIMEOUT, MG_PROTOCOL, MG_LIMIT.
 */
int mg_open(struct mg_client **clientp, const struct mg_options *options);

/* Wipes and frees; takes NULL. No other thread may be using the handle. */
void mg_close(struct mg_client *client);

/* MG_AUTO_CLIENT struct mg_client *client = NULL; */
void mg_client_cleanup(struct mg_client **clientp);
#if defined(__GNUC__) || defined(__clang__)
#define MG_AUTO_CLIENT __attribute__((__cleanup__(mg_client_cleanup)))
#endif

/* Sets the time limit for later calls, in milliseconds; 0: 5000. */
void mg_set_timeout(struct mg_client *client, unsigned timeout_ms);

/*
 * Says why later calls are made, to the audit log and to a policy that wants a reason: at most 256
 * bytes of UTF-8 without control characters, copied; NULL or "": nothing more is said. MG_INVALID.
 */
int mg_set_reason(struct mg_client *client, const char *reason);

/* Asks the daemon for a sign of life. */
int mg_ping(struct mg_client *client);

/* -- storing and fetching ------------------------------------------------------------------ */

struct mg_tag {
	const char *key;   /* 1 to 64 bytes of UTF-8 without '=' */
	const char *value; /* at most 256 bytes of UTF-8 */
};

/*
 * When a secret ends by itself, whichever comes first; all zero: it does not. It belongs to the
 * version: the next one brings its own, unless it is a rotation's. Time goes on while the machine
 * is suspended.
 */
struct mg_lifetime {
	uint64_t ttl_ms;    /* milliseconds after it is stored, at most a hundred years */
	uint64_t idle_ms;   /* milliseconds after it was fetched last, to the second */
	uint32_t max_reads; /* with that many fetches: after them the name says MG_GONE for a day */
	pid_t bind_pid;     /* with this process */
	bool session;       /* with the handle's connection, which mg_close ends, or a crash */
};

/* All zero: store whatever there was before. */
struct mg_set_options {
	bool create_only; /* MG_CONFLICT when the name exists */
	bool compare;     /* MG_CONFLICT when the current version is not `version` (0: absent) */
	uint64_t version;
	const struct mg_tag *tags; /* replace the tags of the version before */
	size_t tag_count;          /* at most 16 */
	struct mg_lifetime lifetime;
	bool freeze; /* frozen from the beginning: mg_freeze */
	/*
	 * MG_NOT_FOUND unless there is a version before. Its tags, and what is left of its
	 * lifetime, are the new one's: with others, with freeze and create_only MG_INVALID.
	 */
	bool rotate;
	uint64_t grace_ms; /* with rotate: so many milliseconds it can be fetched by its number */
};

/*
 * Stores `size` bytes under `name` as a new version; tells it in *versionp unless that is NULL.
 * The caller's bytes are only read. When the connection breaks, the same sealed bytes are sent once
 * more under the same number, so that the value is stored once; not one that was to end with that
 * connection. MG_FROZEN when what is there is frozen.
 */
int mg_set(struct mg_client *client, const char *name, const void *value, size_t size,
	const struct mg_set_options *options, uint64_t *versionp);

/*
 * As mg_set for a value of any length that comes piece by piece. Not repeated when the connection
 * breaks. MG_INVALID also when `source` gave up or had nothing; nothing is stored then.
 */
int mg_set_from(struct mg_client *client, const char *name, mg_source source, void *context,
	const struct mg_set_options *options, uint64_t *versionp);

enum mg_charset { MG_ALNUM = 0, MG_HEX = 1, MG_BASE64 = 2, MG_BYTES = 3 };

/* Lets the daemon draw `size` bytes, each uniformly from the set. MG_LIMIT over 4,096. */
int mg_generate(struct mg_client *client, const char *name, size_t size, enum mg_charset charset,
	const struct mg_set_options *options, uint64_t *versionp);

/* One secret's outside. Belongs to the library; valid only where it is handed over. */
struct mg_info {
	const char *name; /* as the caller says it: its own space is ~/ */
	uint64_t version;
	uint64_t size;      /* bytes */
	int64_t created_ms; /* milliseconds since 1970 UTC: the name's first version */
	int64_t changed_ms; /* the same: this version */
	const struct mg_tag *tags;
	size_t tag_count;
	struct mg_lifetime left; /* what is left of it, and idle_ms as it was asked for */
	uint64_t idle_left_ms;   /* what is left of that */
	bool frozen;
	bool stream; /* it is one: `size` is what waits in it, `version` 0 */
};

/* All zero: the current version, now. */
struct mg_get_options {
	uint64_t version; /* MG_NOT_FOUND unless it can be fetched; 0: the current one */
	unsigned wait_ms; /* milliseconds to wait for the name to appear, beside the time limit */
};

/*
 * Fetches a value whole. *secretp is the caller's: mg_secret_free. MG_LIMIT when it does not fit
 * locked memory: mg_get_each has no such limit. MG_TIMEOUT when a wait ended in vain.
 */
int mg_get(struct mg_client *client, const char *name, const struct mg_get_options *options,
	struct mg_secret **secretp);

/*
 * The same as an enclave, to be opened when the value is needed: it is checked, but is plaintext
 * nowhere until then. *enclavep is the caller's: mg_enclave_free.
 */
int mg_get_enclave(struct mg_client *client, const char *name, const struct mg_get_options *options,
	struct mg_enclave **enclavep);

/*
 * Takes `size` bytes at `bytes`, which is guarded memory and is wiped after the call. A result
 * other than 0 ends the fetch; mg_get_each then returns that result when it is positive and
 * MG_INTERNAL when it is negative. `info` tells name, version and size of the whole value only.
 */
typedef int (*mg_sink)(void *context, const struct mg_info *info, const void *bytes, size_t size);

/*
 * As mg_get, in order, in pieces of at most 16,384 bytes. Each piece is authentic when it is handed
 * over; that the value is complete is known only when MG_OK is returned.
 */
int mg_get_each(struct mg_client *client, const char *name, const struct mg_get_options *options,
	mg_sink sink, void *context);

/*
 * Whether a secret is these bytes: MG_OK, or MG_NO when it is others. The comparison is made inside
 * the daemon, and is no fetch. After a wrong answer the next ones of the calling user wait: 100 ms,
 * and twice as long with each further one, up to a minute; MG_TIMEOUT when the time limit is
 * shorter. The candidate is given as to mg_set and mg_set_from.
 */
int mg_verify(struct mg_client *client, const char *name, const void *candidate, size_t size);
int mg_verify_from(struct mg_client *client, const char *name, mg_source source, void *context);

/* -- streams in the daemon: what one process sends, another receives, first in, first out ------ */

/*
 * What one call sends is a segment, which one call receives. The name is a stream's until the last
 * byte is received; mg_remove destroys it. The daemon keeps as many bytes as a value may have; then
 * sending waits. The time limit counts from the last progress on. When the connection breaks, both
 * go on where they were. MG_CONFLICT when another one sends, or receives; MG_INVALID for a secret's
 * name; MG_GONE when it was removed or purged; MG_TIMEOUT when nobody takes, or gives, anything.
 *
 * mg_send_from takes bytes that come piece by piece; four full pieces of 16,384 bytes leave at a
 * time, once there is more. When `source` gives up, the segment's receiver is told so.
 */
int mg_send(struct mg_client *client, const char *name, const void *bytes, size_t size);
int mg_send_from(struct mg_client *client, const char *name, mg_source source, void *context);

/*
 * Waits for the first sender if need be, and hands one segment to `sink`, in pieces of at most
 * 16,384 bytes; `info` tells the name only. A piece that `sink` refuses, and all after it, stay for
 * the next call. MG_INTEGRITY when a piece does not open (it stays), and when the sender went
 * before its end or another call has received its beginning (what there was has been handed over).
 */
int mg_receive_each(struct mg_client *client, const char *name, mg_sink sink, void *context);

/* Destroys a secret and its key. With `compare`, only that version. `options` may be NULL. */
int mg_remove(struct mg_client *client, const char *name, const struct mg_set_options *options);

/* Another time to live, in milliseconds from now on. `options` as for mg_remove. */
int mg_touch(struct mg_client *client, const char *name, uint64_t ttl_ms,
	const struct mg_set_options *options);

/*
 * The secret has the name `to` from now on; MG_CONFLICT when there is something under it already.
 * All else of it stays: its version, which is told in *versionp unless that is NULL, and one before
 * it that can still be fetched; but it is the caller's own then. `options` as for mg_remove.
 */
int mg_move(struct mg_client *client, const char *name, const char *to,
	const struct mg_set_options *options, uint64_t *versionp);

/*
 * A frozen secret cannot be set, removed, touched or moved until it is melted; its lifetime goes
 * on, and purges reach it. Both are MG_OK when it is so already. `options` as for mg_remove.
 */
int mg_freeze(struct mg_client *client, const char *name, const struct mg_set_options *options);
int mg_melt(struct mg_client *client, const char *name, const struct mg_set_options *options);

/* A result other than 0 ends the listing, as with mg_sink. */
typedef int (*mg_each)(void *context, const struct mg_info *info);

struct mg_list_options {
	/* Fill in all of struct mg_info, not only the name: of those that the caller may stat. */
	bool details;
	const struct mg_tag *tags; /* only secrets that carry all of these, and that it may stat */
	size_t tag_count;
};

/* The names that begin with `prefix` that the caller may list, sorted. `options` may be NULL. */
int mg_list(struct mg_client *client, const char *prefix, const struct mg_list_options *options,
	mg_each each, void *context);

/* Everything about a secret but its value, handed to `each` once. */
int mg_stat(struct mg_client *client, const char *name, mg_each each, void *context);

/* -- being told what changes --------------------------------------------------------------- */

/* What became of a name. A newer daemon may have others: then the name is to be looked at anew. */
enum mg_change {
	MG_CHANGE_LOST = -1, /* there were changes that are not known any more: list anew */
	MG_CHANGE_NONE = 0,  /* all up to `number` has been told, and everything after it will be */
	MG_CHANGE_SET = 1,   /* a version was stored */
	MG_CHANGE_REMOVE = 2, /* also by mg_move; the new name has an MG_CHANGE_SET then */
	MG_CHANGE_EXPIRE = 3, /* its lifetime has ended: time, fetches, connection or process */
	MG_CHANGE_PURGE = 4,  /* `name` is "" when it was everybody's, of all names */
};

/* Belongs to the library; valid only where it is handed over. */
struct mg_event {
	enum mg_change change;
	const char *name; /* as the caller says it: its own space is ~/ */
	uint64_t version; /* that was stored, or was there; 0: it was damaged */
	uint64_t number;  /* microseconds since 1970, but always greater than those before */
};

/* A result other than 0 ends the watch, as with mg_sink. */
typedef int (*mg_on_event)(void *context, const struct mg_event *event);

/* All zero: what happens from now on, for ever. */
struct mg_watch_options {
	uint64_t since;   /* only what came after the event, or mark, of this number; 0: now */
	unsigned wait_ms; /* MG_TIMEOUT when nothing is told for so long; 0: it may be for ever */
};

/*
 * Hands over what changes under names that begin with `prefix` and that the caller may watch, in
 * order, and nothing twice. The first one is an MG_CHANGE_NONE: the watch is on. When the
 * connection breaks, another one goes on after the last number, and the daemon has the time limit
 * to come back. Streams are not told of. `options` may be NULL. Returns only when it is ended; the
 * handle is in use until then. MG_LIMIT when too much is under way.
 */
int mg_watch(struct mg_client *client, const char *prefix, const struct mg_watch_options *options,
	mg_on_event on_event, void *context);

/* -- the daemon ---------------------------------------------------------------------------- */

enum mg_backend { MG_BACKEND_PLAIN = 0, MG_BACKEND_LOCKED = 1, MG_BACKEND_SECRET = 2 };

/* What is really in force in the daemon. Owned by the caller; no pointers. */
struct mg_state {
	char version[32];
	uint32_t pid;
	uint64_t uptime_ms;
	enum mg_backend backend;
	char advice[256];  /* why not a stronger backend and what would mend it; may be "" */
	uint64_t locked;   /* bytes of locked memory */
	bool locked_stack; /* keys are used on a stack in secret memory */
	bool sealed;       /* mseal(2) holds the mappings */
	bool dumpable;
	uint64_t core_limit; /* bytes */
	char cipher[32];     /* of this connection */
	uint32_t rekey_ms;   /* milliseconds between two re-masks */
	uint64_t sessions;
	bool counts; /* the next nine are told: to root and the daemon's own user; else 0 or "" */
	uint64_t secrets;
	uint64_t ledger; /* bytes that the records take */
	uint64_t broken; /* secrets that were lost, not being what was written, when it started */
	uint64_t broken_formers;  /* versions in their grace that were lost so */
	uint64_t broken_consumed; /* consumed names; they are as if never stored */
	uint64_t broken_streams;  /* streams, and parts of them */
	uint64_t broken_answers;  /* remembered answers; a repeated request is made anew */
	uint64_t failed_upgrades; /* since the keeper's start */
	char upgrade_fault[512];  /* why the last one of them failed */
	uint64_t max_value;       /* bytes */
	bool pidfd;               /* callers are checked again at every read */
	uint32_t keeper; /* the process that keeps everything while others serve; 0: none */
	bool upgrading;  /* one is under way */
	bool audit;      /* there is an audit log, */
	unsigned char audit_key[32];  /* and this Ed25519 key signs it */
	uint64_t audit_record;        /* number of the last record written; with `counts` */
	uint64_t audit_lost;          /* records that there was no room for; the same */
	unsigned char audit_hash[32]; /* of that record; the same */
	uint64_t tokens;              /* that can be shown; the same */
	uint64_t broken_tokens;       /* that were lost so; the same */
	bool vault_locked;            /* mg_lock: `secrets` and `ledger` may be 0 while it is */
};
int mg_status_of(struct mg_client *client, struct mg_state *state);

#define MG_GROUPS_MAX 256

/* Why a token lets nobody do anything, or not what is asked for. A newer daemon may have others. */
enum mg_token_fault {
	MG_TOKEN_COUNTS = 0, /* there is none, or nothing is in its way */
	MG_TOKEN_ENDED = 1,
	MG_TOKEN_REVOKED = 2, /* or purged */
	MG_TOKEN_USED_UP = 3,
	MG_TOKEN_OTHER_UID = 4,  /* it is for another one */
	MG_TOKEN_OTHER_UNIT = 5, /* likewise */
	MG_TOKEN_UNKNOWN = 6,    /* there is none of that name */
	MG_TOKEN_NO_GRANT = 7,   /* it does not grant this */
	MG_TOKEN_ISSUER = 8      /* its issuer may not do it */
};

/* The calling process as the daemon's kernel tells it. Owned by the caller; no pointers. */
struct mg_caller {
	uint32_t uid;
	uint32_t gid;
	uint32_t pid;
	uint32_t groups[MG_GROUPS_MAX]; /* supplementary, as many as fit */
	size_t group_count;
	char label[256];    /* of a security module; may be "" */
	bool pidfd;         /* held by a descriptor, not by its number */
	bool privileged;    /* root, or the daemon's own user */
	char unit[256];     /* the first one of the system's service manager; may be "" */
	char slice[256];    /* the innermost above any unit; may be "" */
	char userunit[256]; /* the first one of the service manager of `uid`; may be "" */
	bool placed;        /* those three are known */
	char listener[64];  /* the name of the one it came in by; "": the daemon's own */
	char token[272];    /* the name of the token that its handle shows; may be "" */
	enum mg_token_fault token_fault; /* why that does not count any more */
	bool counts;                     /* the rest is told; not by daemons before this one */
	uint64_t secrets;                /* that `uid` owns, streams among them */
	uint64_t bytes;                  /* of those, as quota-bytes counts: memguardd.conf(5) */
	uint64_t quota_count;            /* what holds for the caller, 0: no limit; and all below */
	uint64_t quota_bytes;
	uint64_t quota_sessions;
	uint64_t quota_inflight;
	uint64_t quota_handshakes;
};
int mg_whoami(struct mg_client *client, struct mg_caller *caller);

/* Why policy says what it says. */
enum mg_cause {
	MG_BY_NOTHING = 0, /* nobody says that it may: no */
	MG_BY_DENY = 1,    /* a rule: no */
	MG_BY_PRIVILEGE = 3,
	MG_BY_ALLOW = 4, /* a rule */
	MG_BY_OWNER = 5, /* of the namespace */
	MG_BY_OWN_SPACE = 6,
	MG_BY_SILENCE = 7, /* a reason has to be said, and the handle has none: no */
	MG_BY_TOKEN = 8    /* that the handle shows: its issuer may */
};

struct mg_verdict {
	bool allowed;
	enum mg_cause cause; /* a newer daemon may have others */
	char file[512];      /* of the line that decides, or its end; "": it is none */
	uint32_t line;
	char section[256]; /* with MG_BY_NOTHING: the section, and the line in it, that would */
	char rule[256];    /* allow it; "" where none can be written */
	enum mg_token_fault token_fault; /* of the token that the handle shows, or `as` names */
};

#define MG_AS_MAX 32

/*
 * What policy says to an operation, as a rule calls it ("get", "stream-write"), on a name; whether
 * there is a secret of that name has no influence. For the caller; with `as` for whoever those
 * selectors are, such as "uid:33" and "unit:nginx.service", users and groups by number: MG_DENIED
 * but to root and the daemon's own user.
 */
int mg_explain(struct mg_client *client, const char *operation, const char *name,
	const char *const *as, size_t as_count, struct mg_verdict *verdict);

/*
 * Destroys secrets in the daemon, and ends the gets of them that are under way with MG_GONE: all
 * that are the caller's own, which is its own space ~/ and whatever else it has stored first and
 * may still remove or set; or everybody's, which only root and the daemon's own user may. That one
 * draws a new vault master: every copy of a record that anybody took is dead, too. Sets that are
 * under way end with MG_GONE then. *countp, unless it is NULL, tells how many secrets there were.
 */
enum mg_purge { MG_PURGE_MINE = 0, MG_PURGE_ALL = 1 };
int mg_purge(struct mg_client *client, enum mg_purge what, uint64_t *countp);

/*
 * Locks the daemon: from then on every call but mg_unlock, mg_status_of, mg_ping, mg_purge of
 * everything, mg_shutdown, mg_reload and mg_upgrade is MG_LOCKED, and what is under way ends so,
 * but for values that are being fetched. The daemon has not the key to its secrets any more, but
 * for a copy sealed under one that is made of the passphrase, here, by Argon2id: 256 MiB and about
 * a second. It stays locked over crashes, upgrades and restarts. Lives go on: what ends meanwhile
 * is gone. MG_LOCKED when it is locked already. Only root and the daemon's own user may.
 */
int mg_lock(struct mg_client *client, const struct mg_secret *passphrase);

/*
 * Unlocks it: everything is as it was. MG_OK also when it is not locked. MG_INTEGRITY: the
 * passphrase is another one, or nothing unlocks it any more; mg_last_error tells which. After a
 * wrong passphrase the next ones of the calling user wait, as after mg_verify. For those two alone.
 */
int mg_unlock(struct mg_client *client, const struct mg_secret *passphrase);

/*
 * Lets the daemon read its configuration anew: all of it is in force then, or, after MG_NO, nothing
 * of it; mg_last_error tells file and line. Only root and the daemon's own user may.
 */
int mg_reload(struct mg_client *client);

/*
 * Lets the daemon's keeper start the program on disk and hand everything to it, for those two
 * alone. MG_NO: there is no keeper, or it goes on as before; mg_last_error tells why. MG_TIMEOUT,
 * or MG_UNREACHABLE while nobody serves: it may still be done; the limit should be half a minute.
 */
int mg_upgrade(struct mg_client *client);

/* Ends the daemon and every secret, for those two alone. Returns once the connection is closed. */
int mg_shutdown(struct mg_client *client);

/* Where the handle is connected to, e.g. "unix:/run/memguardd/socket". The handle's own. */
const char *mg_endpoint(const struct mg_client *client);

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif

#endif
