/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MGCLIENT_BACKUP_H
#define MGCLIENT_BACKUP_H

#include <mgclient.h>

/*
 * libmgclient: sealed backups. A bundle holds secrets as they rest in the daemon, sealed under keys
 * of their own, which are sealed under the bundle's. Values are opened nowhere on the way, in
 * either direction. What a bundle looks like stands in proto/PROTOCOL.md.
 */

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility push(default)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MG_BACKUP_KEY_SIZE 32

/* What went into a bundle, or came out of it. */
struct mg_backup_count {
	uint64_t secrets;
	uint64_t bytes;    /* of their values */
	uint64_t left_out; /* mg_backup: secrets that the caller may fetch and were passed over */
};

/* Told behind each secret. */
typedef void (*mg_progress)(void *context, const struct mg_backup_count *so_far);

/* Of passphrase and key one is given. All else may be zero. */
struct mg_backup_options {
	const struct mg_secret *passphrase;
	const unsigned char *recipient;      /* mg_backup: 32 bytes, an X25519 public key */
	const struct mg_secret *private_key; /* mg_restore: 32 bytes, the one that belongs to it */
	const char *prefix; /* only secrets whose names begin with it, as the caller says them */
	mg_progress progress;
	void *context;
};

/*
 * Writes a bundle of all secrets that the caller may fetch to a descriptor: names, values, tags,
 * versions, times, owners, what is left of lives, and whether they are frozen. It is no fetch. Left
 * out, and counted, are those that end with a connection, a process or a number of fetches, and
 * streams; and of what was rotated, former versions that may still be fetched. The time limit
 * counts from the last progress on. *countp may be NULL. MG_INVALID; MG_LIMIT when the descriptor's
 * disk is full; MG_INTERNAL when it takes no more.
 */
int mg_backup(struct mg_client *client, int fd, const struct mg_backup_options *options,
	struct mg_backup_count *countp);

/*
 * Restores a bundle, all of it or nothing: names that exist get a new version. MG_INTEGRITY for
 * what is no bundle, a bundle that was changed or cut, or another passphrase or key; MG_DENIED when
 * the caller may not set one of the names; MG_FROZEN when one is frozen; MG_INVALID when it is a
 * stream's; nothing has changed then. Owners are restored for root and the daemon's own user; of
 * others it is theirs. MG_UNREACHABLE when the daemon ends meanwhile: then it is to be done again.
 */
int mg_restore(struct mg_client *client, int fd, const struct mg_backup_options *options,
	struct mg_backup_count *countp);

/*
 * Draws a pair for backups: the public key for whoever makes them, and the private one for whoever
 * restores, which is the caller's: mg_secret_free. NULL after a failure: MG_LIMIT.
 */
int mg_backup_keypair(unsigned char public_key[MG_BACKUP_KEY_SIZE], struct mg_secret **private_keyp,
	enum mg_memory memory);

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif

#endif
