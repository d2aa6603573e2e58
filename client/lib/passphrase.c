/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/passphrase.h"

#include <errno.h>
#include <sodium.h>

#include "client/lib/memory/secret.h"

_Static_assert(PASSPHRASE_SALT_SIZE == crypto_pwhash_SALTBYTES, "Argon2id's own salt");

/*
 * The memory that Argon2 works in is libsodium's own, in the ordinary heap. It holds no byte of the
 * passphrase, only what is mixed out of its hash, and is given back to the kernel.
 */
int passphrase_key(uint8_t key[static PASSPHRASE_KEY_SIZE], const struct mg_secret *passphrase,
	const uint8_t salt[static PASSPHRASE_SALT_SIZE], uint64_t opslimit, size_t memlimit)
{
	return crypto_pwhash(key, PASSPHRASE_KEY_SIZE, (const char *)passphrase->data,
		       passphrase->size, salt, opslimit, memlimit,
		       crypto_pwhash_ALG_ARGON2ID13) == 0
		? 0
		: -ENOMEM;
}
