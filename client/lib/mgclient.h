/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MGCLIENT_H
#define MGCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * libmgclient: store secrets in memguardd and fetch them from it.
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
#define MG_NORETURN __attribute__((__noreturn__))
#else
#define MG_NORETURN
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* How a call ended. The numbers are mgctl's exit statuses and never change. */
enum mg_status {
	MG_OK = 0,
	MG_NO = 1,          /* the answer to a question is no */
	MG_INVALID = 2,     /* the call itself is wrong: a bad name, an empty value */
	MG_NOT_FOUND = 3,   /* no such secret, or it has expired */
	MG_DENIED = 4,      /* policy says no */
	MG_LOCKED = 5,      /* the vault is locked */
	MG_UNREACHABLE = 6, /* no daemon, or not the one expected */
	MG_CONFLICT = 7,    /* exists already, or another version */
	MG_LIMIT = 8,       /* a limit, a quota or memory is used up */
	MG_TIMEOUT = 9,     /* not within the time given */
	MG_PROTOCOL = 10,   /* the two sides do not speak the same language */
	MG_INTEGRITY = 11,  /* sealed bytes that do not open */
	MG_GONE = 12,       /* consumed, revoked or purged */
	MG_FROZEN = 13,     /* immutable */
	MG_INTERNAL = 70    /* our fault */
};

/* The short name of a status ("not_found"); never NULL. */
const char *mg_status_name(int status);

/*
 * One sentence part about the last call in this thread that did not return MG_OK, e.g. "no daemon
 * at /run/memguardd/socket: Connection refused". Never NULL, never a value; valid until the next
 * call of this thread.
 */
const char *mg_last_error(void);

/* The version of the library, e.g. "0.1.0". */
const char *mg_version(void);

/* -- connection ---------------------------------------------------------------------------- */

/* A connection to a daemon, with 40 KiB of guarded memory of its own. */
struct mg_client;

/* How strongly memory must be protected. */
enum mg_memory {
	MG_MEMORY_PREFER_LOCK = 0, /* the best there is; plain memory where none can be locked */
	MG_MEMORY_REQUIRE_LOCK = 1,
	MG_MEMORY_REQUIRE_SECRET = 2 /* memfd_secret(2) or nothing */
};

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

/* Sets the time limit for later calls, in milliseconds; 0: 5000. */
void mg_set_timeout(struct mg_client *client, unsigned timeout_ms);

/* Asks the daemon for a sign of life. */
int mg_ping(struct mg_client *client);

/* -- secrets in memory --------------------------------------------------------------------- */

/*
 * A run of bytes in locked memory between guard pages or canaries, and kept out of children and
 * core files: what MemGuard calls a LockedBuffer. One that was made by mg_secret_new can be written
 * to; all others come read-only, and a direct store to them raises SIGSEGV. Small ones that are
 * read-only share pages with each other: 1,000 of 32 bytes take 32 pages of locked memory. A
 * secret may be used by several threads as long as they only read.
 *
 * Functions that change a secret answer MG_FROZEN when it is read-only, MG_GONE when it is
 * destroyed or purged, MG_INVALID for NULL or in a forked child.
 */
struct mg_secret;

/*
 * `size` zeroed, writable bytes. *secretp is the caller's: mg_secret_free. MG_INVALID for 0 bytes,
 * MG_LIMIT when the memory cannot be had or, with a `memory` that requires it, not be locked. After
 * a failure *secretp is NULL. The same goes for the functions below unless they say otherwise.
 */
int mg_secret_new(struct mg_secret **secretp, size_t size, enum mg_memory memory);

/* Takes over the bytes: they are wiped where they were. After a failure they are as they were. */
int mg_secret_from_bytes(
	struct mg_secret **secretp, void *bytes, size_t size, enum mg_memory memory);

/* `size` random bytes. */
int mg_secret_random(struct mg_secret **secretp, size_t size, enum mg_memory memory);

/*
 * Fills `buffer`, which is guarded memory, with up to `capacity` bytes. Returns the bytes, 0 at the
 * end, or a negative number to give up.
 */
typedef ssize_t (*mg_source)(void *context, void *buffer, size_t capacity);

/*
 * Reads a secret from a source, straight into guarded memory: exactly `size` bytes; up to a
 * delimiter, which is taken and dropped, and not a byte further; everything to the end. Where there
 * is nothing to read, because `size` is 0, the delimiter comes first or the end does, *secretp is
 * NULL, which is as good as an empty secret. MG_NO when the end comes before all of it, or before
 * the delimiter: *secretp holds what came. MG_INTERNAL when the source gives up: the same. MG_LIMIT
 * when there are more than `most` bytes.
 */
int mg_secret_from_source(struct mg_secret **secretp, mg_source source, void *context, size_t size,
	enum mg_memory memory);
int mg_secret_from_source_until(struct mg_secret **secretp, mg_source source, void *context,
	unsigned char delimiter, size_t most, enum mg_memory memory);
int mg_secret_from_source_all(struct mg_secret **secretp, mg_source source, void *context,
	size_t most, enum mg_memory memory);

/* The same with a descriptor for a source. One that does not block is waited for. */
int mg_secret_from_fd(struct mg_secret **secretp, int fd, size_t size, enum mg_memory memory);
int mg_secret_from_fd_until(struct mg_secret **secretp, int fd, unsigned char delimiter,
	size_t most, enum mg_memory memory);
int mg_secret_from_fd_all(struct mg_secret **secretp, int fd, size_t most, enum mg_memory memory);

/* The bytes; NULL for NULL and when destroyed or purged. Valid until melt, destroy or free. */
const void *mg_secret_data(const struct mg_secret *secret);

/* The same, to write to; NULL when the secret is read-only. */
void *mg_secret_writable(struct mg_secret *secret);

/* Bytes; 0 for NULL and when destroyed or purged. */
size_t mg_secret_size(const struct mg_secret *secret);

/*
 * The bytes as items of a type: as many as lie wholly within, at the beginning of the secret, which
 * is aligned to 16 bytes. Tells the count in *countp unless that is NULL. NULL, and 0, when not
 * even one fits, when the type is aligned to more than 16 bytes, and where the functions above give
 * NULL. They are the secret's own bytes, valid as long as mg_secret_data is.
 */
const void *mg_secret_items(
	const struct mg_secret *secret, size_t item_size, size_t alignment, size_t *countp);
void *mg_secret_items_writable(
	struct mg_secret *secret, size_t item_size, size_t alignment, size_t *countp);

/* const uint32_t *words = MG_ITEMS(uint32_t, secret, &count); */
#ifdef __cplusplus
#define MG_ALIGNMENT(type) alignof(type)
#else
#define MG_ALIGNMENT(type) _Alignof(type)
#endif
#define MG_ITEMS(type, secret, countp) \
	((const type *)mg_secret_items((secret), sizeof(type), MG_ALIGNMENT(type), (countp)))
#define MG_ITEMS_WRITABLE(type, secret, countp) \
	((type *)mg_secret_items_writable((secret), sizeof(type), MG_ALIGNMENT(type), (countp)))

/* struct login *login = MG_VIEW_WRITABLE(struct login, secret); */
#define MG_VIEW(type, secret) MG_ITEMS(type, secret, NULL)
#define MG_VIEW_WRITABLE(type, secret) MG_ITEMS_WRITABLE(type, secret, NULL)

/* Whether the secret is neither destroyed nor purged; whether it can be written to. */
bool mg_secret_alive(const struct mg_secret *secret);
bool mg_secret_mutable(const struct mg_secret *secret);

/*
 * Makes the secret read-only, by the kernel, or writable again. Melting may move it: its former
 * address is stale then. MG_OK when it is so already. MG_LIMIT when there is no memory to move to;
 * nothing has changed then.
 */
int mg_secret_freeze(struct mg_secret *secret);
int mg_secret_melt(struct mg_secret *secret);

/*
 * Copies bytes out of the secret or into it, all that are asked for or none: MG_INVALID when they
 * are not within it. mg_secret_copy fills it exactly. The functions that move wipe the bytes where
 * they were, once they have been copied.
 */
int mg_secret_read_at(const struct mg_secret *secret, size_t offset, void *out, size_t size);
int mg_secret_copy(struct mg_secret *secret, const void *bytes, size_t size);
int mg_secret_copy_at(struct mg_secret *secret, size_t offset, const void *bytes, size_t size);
int mg_secret_move(struct mg_secret *secret, void *bytes, size_t size);
int mg_secret_move_at(struct mg_secret *secret, size_t offset, void *bytes, size_t size);

/* Fills the secret with random bytes, or with zeros. */
int mg_secret_scramble(struct mg_secret *secret);
int mg_secret_wipe(struct mg_secret *secret);

/* In constant time: whether the secret holds exactly these bytes. */
bool mg_secret_equal(const struct mg_secret *secret, const void *bytes, size_t size);

/*
 * Checks the canaries, wipes the bytes and gives the memory back; the secret is dead then and has
 * no bytes. Takes NULL and a dead one. Aborts when somebody wrote past an end.
 */
void mg_secret_destroy(struct mg_secret *secret);

/* The same, and frees the secret itself. */
void mg_secret_free(struct mg_secret *secret);

/* -- enclaves: values at rest in the service itself ---------------------------------------- */

/*
 * A value sealed in the service's own process, opened when it is needed, as often as wanted and
 * from any thread. It takes no locked memory but three pages for all enclaves of a process, which
 * hold the masters they are sealed under.
 */
struct mg_enclave;

/*
 * Seals bytes and wipes them where they were; seals a secret and destroys it; seals `size` random
 * bytes. *enclavep is the caller's: mg_enclave_free; NULL after a failure, and the source is as it
 * was then. MG_INVALID for nothing to seal, MG_GONE for a secret that is destroyed, MG_LIMIT
 * without memory.
 */
int mg_enclave_new(struct mg_enclave **enclavep, void *bytes, size_t size);
int mg_enclave_seal(struct mg_enclave **enclavep, struct mg_secret *secret);
int mg_enclave_random(struct mg_enclave **enclavep, size_t size);

/*
 * Opens an enclave into a read-only secret, which is the caller's; the enclave stays. MG_INVALID
 * for NULL or in a forked child, MG_GONE once the process has purged, MG_INTEGRITY when its bytes
 * were changed, MG_LIMIT.
 */
int mg_enclave_open(
	const struct mg_enclave *enclave, struct mg_secret **secretp, enum mg_memory memory);

/* Bytes of the value; 0 for NULL. */
size_t mg_enclave_size(const struct mg_enclave *enclave);

/* Wipes the key and frees; takes NULL. */
void mg_enclave_free(struct mg_enclave *enclave);

/* -- streams: values that come and go in pieces -------------------------------------------- */

/*
 * Bytes in the service's own process, first in, first out: sealed as they are written, in chunks of
 * at most 16,384 bytes with a key each, and opened as they are read. It takes no locked memory. May
 * be used from several threads; what is written at one go is read in one piece of the order.
 *
 * Functions answer MG_INVALID for NULL or in a forked child, MG_GONE once the process has purged,
 * MG_INTEGRITY when sealed bytes were changed, MG_LIMIT without memory. After a failure the stream
 * is as it was, and what could not be read is still in it.
 */
struct mg_stream;

/* An empty one. *streamp is the caller's: mg_stream_free; NULL after a failure. */
int mg_stream_new(struct mg_stream **streamp);

/* Appends the bytes and wipes them where they were; after a failure they are as they were. */
int mg_stream_write(struct mg_stream *stream, void *bytes, size_t size);

/*
 * Takes out up to `size` bytes, as many as there are, and tells how many in *sizep. MG_NO when the
 * stream is empty and something was asked for.
 */
int mg_stream_read(struct mg_stream *stream, void *out, size_t size, size_t *sizep);

/*
 * Takes out the next chunk, or everything, as a read-only secret, which is the caller's. From an
 * empty stream mg_stream_next gets MG_NO, and mg_stream_flush no secret (NULL).
 */
int mg_stream_next(struct mg_stream *stream, struct mg_secret **secretp, enum mg_memory memory);
int mg_stream_flush(struct mg_stream *stream, struct mg_secret **secretp, enum mg_memory memory);

/* Bytes that can be read; 0 where the others fail. */
size_t mg_stream_size(struct mg_stream *stream);

/* An mg_source whose context is a stream: for mg_secret_from_source and mg_set_from. */
ssize_t mg_stream_source(void *stream, void *buffer, size_t capacity);

/* Wipes the keys and frees; takes NULL. No other thread may be using the stream. */
void mg_stream_free(struct mg_stream *stream);

/* -- all of it at once ---------------------------------------------------------------------- */

/*
 * Kills every secret, enclave and stream of the process: the masters that enclaves rest under are
 * drawn anew, the bytes of all secrets are wiped. What is dead says MG_GONE and is still its
 * owner's to free; its pages stay until then, so that a thread that reads them meets zeros and no
 * fault. What is made afterwards works. Handles stay open. Not for a signal's handler.
 */
void mg_purge_local(void);

/* Purges, then exit(3). */
MG_NORETURN void mg_exit_local(int status);

/* Purges, then writes `text` (or nothing, for NULL) and a newline to stderr, then abort(3). */
MG_NORETURN void mg_abort_local(const char *text);

/*
 * From now on each of these signals, whose numbers end with a 0, purges, then calls `handler`
 * (NULL: nothing) in a thread of the library's, where it may do what any function may, then has its
 * own effect, which is the end of the process for most. The last call wins: what an earlier one
 * caught gets back what it had before. NULL: no signals. A forked child's signals are not caught.
 * MG_INVALID, and nothing is caught, for faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP,
 * SIGABRT), SIGKILL and SIGSTOP; MG_LIMIT when there is no thread to be had.
 */
int mg_catch_signals(const int *set, void (*handler)(int signal));

/* Fills ordinary bytes with zeros, in a way that the compiler keeps, or with random ones. */
void mg_wipe_bytes(void *bytes, size_t size);
int mg_scramble_bytes(void *bytes, size_t size);

/* -- owning locals ------------------------------------------------------------------------- */

/* MG_AUTO_SECRET struct mg_secret *password = NULL; */
void mg_secret_cleanup(struct mg_secret **secretp);
void mg_enclave_cleanup(struct mg_enclave **enclavep);
void mg_stream_cleanup(struct mg_stream **streamp);
void mg_client_cleanup(struct mg_client **clientp);
#if defined(__GNUC__) || defined(__clang__)
#define MG_AUTO_SECRET __attribute__((__cleanup__(mg_secret_cleanup)))
#define MG_AUTO_ENCLAVE __attribute__((__cleanup__(mg_enclave_cleanup)))
#define MG_AUTO_STREAM __attribute__((__cleanup__(mg_stream_cleanup)))
#define MG_AUTO_CLIENT __attribute__((__cleanup__(mg_client_cleanup)))
#endif

/* -- storing and fetching ------------------------------------------------------------------ */

struct mg_tag {
	const char *key;   /* 1 to 64 bytes of UTF-8 without '=' */
	const char *value; /* at most 256 bytes of UTF-8 */
};

/*
 * When a secret ends by itself, whichever comes first; all zero: it does not. It belongs to the
 * version: the next one brings its own. Time goes on while the machine is suspended.
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

/* Lets the daemon draw `size` bytes, each uniformly from the set. MG_LIMIT over 65,536. */
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
	uint64_t version; /* MG_NOT_FOUND unless it is the one held; 0: whichever is */
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
 * A frozen secret cannot be set, removed or touched until it is melted; its lifetime goes on, and
 * purges reach it. Both are MG_OK when it is so already. `options` as for mg_remove.
 */
int mg_freeze(struct mg_client *client, const char *name, const struct mg_set_options *options);
int mg_melt(struct mg_client *client, const char *name, const struct mg_set_options *options);

/* A result other than 0 ends the listing, as with mg_sink. */
typedef int (*mg_each)(void *context, const struct mg_info *info);

struct mg_list_options {
	bool details;              /* fill in all of struct mg_info, not only the name */
	const struct mg_tag *tags; /* only secrets that carry all of these */
	size_t tag_count;
};

/* The names that begin with `prefix` that the caller may list, sorted. `options` may be NULL. */
int mg_list(struct mg_client *client, const char *prefix, const struct mg_list_options *options,
	mg_each each, void *context);

/* Everything about a secret but its value, handed to `each` once. */
int mg_stat(struct mg_client *client, const char *name, mg_each each, void *context);

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
	bool counts; /* the next five are told: to root and the daemon's own user; else 0 or "" */
	uint64_t secrets;
	uint64_t ledger; /* bytes that the records take */
	uint64_t broken; /* secrets that were lost, not being what was written, when it started */
	uint64_t failed_upgrades; /* since the keeper's start */
	char upgrade_fault[512];  /* why the last one of them failed */
	uint64_t max_value;       /* bytes */
	bool pidfd;               /* callers are checked again at every read */
	uint32_t keeper; /* the process that keeps everything while others serve; 0: none */
	bool upgrading;  /* one is under way */
};
int mg_status_of(struct mg_client *client, struct mg_state *state);

#define MG_GROUPS_MAX 256

/* The calling process as the daemon's kernel tells it. Owned by the caller; no pointers. */
struct mg_caller {
	uint32_t uid;
	uint32_t gid;
	uint32_t pid;
	uint32_t groups[MG_GROUPS_MAX]; /* supplementary, as many as fit */
	size_t group_count;
	char label[256]; /* of a security module; may be "" */
	bool pidfd;      /* held by a descriptor, not by its number */
	bool privileged; /* root, or the daemon's own user */
};
int mg_whoami(struct mg_client *client, struct mg_caller *caller);

/*
 * Destroys secrets in the daemon, and ends the gets of them that are under way with MG_GONE: all
 * that are the caller's own, which is its own space ~/ and, for root and the daemon's own user,
 * whatever else it has stored first; or everybody's, which only those two may. That one draws a new
 * vault master: every copy of a record that anybody took is dead, too. Sets that are under way end
 * with MG_GONE then. *countp, unless it is NULL, tells how many secrets there were.
 */
enum mg_purge { MG_PURGE_MINE = 0, MG_PURGE_ALL = 1 };
int mg_purge(struct mg_client *client, enum mg_purge what, uint64_t *countp);

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
