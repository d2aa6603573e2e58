/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A value at rest: chunks sealed under a data key of their own (crypto_secretbox), and the data key
 * wrapped under a coffer's master. Both are plain bytes in ordinary memory, position-independent.
 *
 * A value's chunks hold 16,384 bytes of plaintext each; the last one is shorter or equal, never
 * empty. The nonce is the chunk's number and whether it is the final one: unique, because the data
 * key is. Whatever touches a key here runs on the locked stack.
 */
#define ENCLAVE_KEY_SIZE 32
#define ENCLAVE_TAG_SIZE 16
#define ENCLAVE_CHUNK_PLAIN 16384
#define ENCLAVE_CHUNK_SIZE (ENCLAVE_CHUNK_PLAIN + ENCLAVE_TAG_SIZE)
#define ENCLAVE_SALT_SIZE 16

/* Bytes that `size` bytes take when wrapped. */
#define ENCLAVE_WRAP_SIZE(size) (ENCLAVE_SALT_SIZE + ENCLAVE_TAG_SIZE + (size))
#define ENCLAVE_WRAPPED_KEY ENCLAVE_WRAP_SIZE(ENCLAVE_KEY_SIZE)

/* What a wrapped key belongs to: it opens with the same two numbers and with no others. */
struct enclave_binding {
	uint64_t secret;
	uint64_t version;
};

/*
 * Wraps `size` bytes under a master: a one-time key is derived from the master and a fresh salt
 * (keyed BLAKE2b with salt and personalisation, of no message), and crypto_secretbox seals under it
 * with the binding as its nonce. `out` has room for ENCLAVE_WRAP_SIZE(size). Returns 0, or
 * -EKEYEXPIRED when the coffer is destroyed, or locked and the master the vault's.
 */
int enclave_wrap(uint8_t *out, const uint8_t *secret, size_t size, struct enclave_binding binding,
	struct coffer *coffer, enum coffer_master master);

/* The reverse; -EBADMSG when the bytes, the binding or the master differ. `out` has `size` bytes.
 */
int enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master);

/* Seals chunk `number`: `out` gets size + ENCLAVE_TAG_SIZE bytes and may be `plain` itself. */
void enclave_seal_chunk(uint8_t *out, const uint8_t *plain, size_t size, uint64_t number,
	bool final, const uint8_t key[static ENCLAVE_KEY_SIZE]);

/* Opens a chunk of `size` bytes, tag included, into size - 16 bytes. Returns 0 or -EBADMSG. */
int enclave_open_chunk(uint8_t *out, const uint8_t *chunk, size_t size, uint64_t number, bool final,
	const uint8_t key[static ENCLAVE_KEY_SIZE]);

/*
 * The same for `size` bytes at `offset` of what is in it: the whole chunk's tag is checked, only
 * those bytes are decrypted. -EBADMSG also when they are not within it.
 */
int enclave_open_part(uint8_t *out, size_t offset, size_t size, const uint8_t *chunk,
	size_t chunk_size, uint64_t number, bool final, const uint8_t key[static ENCLAVE_KEY_SIZE]);

/* Checks a chunk's tag over the ciphertext, without decrypting. Returns 0 or -EBADMSG. */
int enclave_check_chunk(const uint8_t *chunk, size_t size, uint64_t number, bool final,
	const uint8_t key[static ENCLAVE_KEY_SIZE]);

/* Draws a data key. */
void enclave_draw_key(uint8_t key[static ENCLAVE_KEY_SIZE]);

/* Sealed bytes of a value of `size` bytes, all chunks with their tags; 0 for 0. */
uint64_t enclave_sealed_size(uint64_t size);
