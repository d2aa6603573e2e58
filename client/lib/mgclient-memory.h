/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MGCLIENT_MEMORY_H
#define MGCLIENT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * libmgclient: secrets, enclaves and streams in the service's own memory, which need no daemon, and
 * how calls end. mgclient.h includes this.
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

/* How strongly memory must be protected. */
enum mg_memory {
	MG_MEMORY_PREFER_LOCK = 0, /* the best there is; plain memory where none can be locked */
	MG_MEMORY_REQUIRE_LOCK = 1,
	MG_MEMORY_REQUIRE_SECRET = 2 /* memfd_secret(2) or nothing */
};

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
#if defined(__GNUC__) || defined(__clang__)
#define MG_AUTO_SECRET __attribute__((__cleanup__(mg_secret_cleanup)))
#define MG_AUTO_ENCLAVE __attribute__((__cleanup__(mg_enclave_cleanup)))
#define MG_AUTO_STREAM __attribute__((__cleanup__(mg_stream_cleanup)))
#endif

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif

#endif
