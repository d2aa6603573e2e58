/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/mgclient.h"

#include <stddef.h>
#include <stdint.h>

/*
 * How a passphrase becomes a key, for bundles and for locks: Argon2id, here, so that the daemon
 * sees neither the passphrase nor the memory that this takes.
 */
#define PASSPHRASE_KEY_SIZE 32
#define PASSPHRASE_SALT_SIZE 16

/* What we ask of it: libsodium's MODERATE, 256 MiB and about a second. */
#define PASSPHRASE_OPSLIMIT crypto_pwhash_argon2id_OPSLIMIT_MODERATE
#define PASSPHRASE_MEMLIMIT crypto_pwhash_argon2id_MEMLIMIT_MODERATE

/*
 * Makes the key. It takes 7 KiB of stack: handle_run_deep. Returns 0 or -ENOMEM.
 */
int passphrase_key(uint8_t key[static PASSPHRASE_KEY_SIZE], const struct mg_secret *passphrase,
	const uint8_t salt[static PASSPHRASE_SALT_SIZE], uint64_t opslimit, size_t memlimit);
