/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/enclave.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "common/bytes.h"

_Static_assert(ENCLAVE_KEY_SIZE == crypto_secretbox_KEYBYTES, "a data key is a secretbox key");
_Static_assert(ENCLAVE_TAG_SIZE == crypto_secretbox_MACBYTES, "a tag is a secretbox tag");
_Static_assert(ENCLAVE_SALT_SIZE == crypto_generichash_blake2b_SALTBYTES, "BLAKE2b's own salt");

static const uint8_t wrap_personal[crypto_generichash_blake2b_PERSONALBYTES] = "mg wrapping key";

#define BLOCK_SIZE 64 /* bytes of key stream that XSalsa20 makes at a time */

/*
 * What fits beside the tag's key in the first block of key stream. crypto_secretbox_open_easy makes
 * that block twice, to check and to decrypt, which is most of what it takes for a key.
 */
#define SHORT_PLAIN (BLOCK_SIZE - crypto_onetimeauth_KEYBYTES)

static int open_short(uint8_t *out, const uint8_t *box, size_t size, const uint8_t *nonce,
	const uint8_t key[static ENCLAVE_KEY_SIZE])
{
	const uint8_t *sealed = box + ENCLAVE_TAG_SIZE;
	size_t plain = size - ENCLAVE_TAG_SIZE;
	uint8_t block[BLOCK_SIZE];
	int r;

	crypto_stream_xsalsa20(block, sizeof(block), nonce, key);
	r = crypto_onetimeauth_verify(box, sealed, plain, block);
	for (size_t i = 0; r == 0 && i < plain; i++)
		out[i] = sealed[i] ^ block[crypto_onetimeauth_KEYBYTES + i];
	sodium_memzero(block, sizeof(block));
	return r == 0 ? 0 : -EBADMSG;
}

/* Opens a secretbox of `size` bytes, more than its tag. Returns 0 or -EBADMSG. */
static int open_box(uint8_t *out, const uint8_t *box, size_t size, const uint8_t *nonce,
	const uint8_t key[static ENCLAVE_KEY_SIZE])
{
	if (size <= ENCLAVE_TAG_SIZE + SHORT_PLAIN)
		return open_short(out, box, size, nonce, key);
	return crypto_secretbox_open_easy(out, box, size, nonce, key) == 0 ? 0 : -EBADMSG;
}

/* No message, so that the hash is one block: its key. */
static int wrapping_key(uint8_t key[ENCLAVE_KEY_SIZE], const uint8_t salt[ENCLAVE_SALT_SIZE],
	struct coffer *coffer, enum coffer_master master)
{
	const uint8_t *bytes = coffer_master(coffer, master);

	if (!bytes)
		return -EKEYEXPIRED;
	crypto_generichash_blake2b_salt_personal(
		key, ENCLAVE_KEY_SIZE, NULL, 0, bytes, COFFER_KEY_SIZE, salt, wrap_personal);
	return 0;
}

/* Unique whatever it is: the salt is fresh, so every wrapping key is used once. */
static void wrap_nonce(uint8_t nonce[crypto_secretbox_NONCEBYTES], struct enclave_binding binding)
{
	memset(nonce, 0, crypto_secretbox_NONCEBYTES);
	bytes_put64(nonce, binding.secret);
	bytes_put64(nonce + 8, binding.version);
}

int enclave_wrap(uint8_t *out, const uint8_t *secret, size_t size, struct enclave_binding binding,
	struct coffer *coffer, enum coffer_master master)
{
	uint8_t nonce[crypto_secretbox_NONCEBYTES];
	uint8_t key[ENCLAVE_KEY_SIZE];
	int r;

	randombytes_buf(out, ENCLAVE_SALT_SIZE);
	r = wrapping_key(key, out, coffer, master);
	wrap_nonce(nonce, binding);
	if (r == 0)
		crypto_secretbox_easy(out + ENCLAVE_SALT_SIZE, secret, size, nonce, key);
	sodium_memzero(key, sizeof(key));
	return r;
}

int enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master)
{
	uint8_t nonce[crypto_secretbox_NONCEBYTES];
	uint8_t key[ENCLAVE_KEY_SIZE];
	int r = wrapping_key(key, wrapped, coffer, master);

	wrap_nonce(nonce, binding);
	if (r == 0)
		r = open_box(out, wrapped + ENCLAVE_SALT_SIZE, ENCLAVE_TAG_SIZE + size, nonce, key);
	sodium_memzero(key, sizeof(key));
	return r;
}

static void chunk_nonce(uint8_t nonce[crypto_secretbox_NONCEBYTES], uint64_t number, bool final)
{
	memset(nonce, 0, crypto_secretbox_NONCEBYTES);
	bytes_put64(nonce, number);
	nonce[8] = final;
}

void enclave_seal_chunk(uint8_t *out, const uint8_t *plain, size_t size, uint64_t number,
	bool final, const uint8_t key[static ENCLAVE_KEY_SIZE])
{
	uint8_t nonce[crypto_secretbox_NONCEBYTES];

	chunk_nonce(nonce, number, final);
	crypto_secretbox_easy(out, plain, size, nonce, key);
}

int enclave_open_chunk(uint8_t *out, const uint8_t *chunk, size_t size, uint64_t number, bool final,
	const uint8_t key[static ENCLAVE_KEY_SIZE])
{
	uint8_t nonce[crypto_secretbox_NONCEBYTES];

	/* A chunk is never empty, to whoever opens it as to whoever checks it. */
	if (size <= ENCLAVE_TAG_SIZE)
		return -EBADMSG;
	chunk_nonce(nonce, number, final);
	return open_box(out, chunk, size, nonce, key);
}

/*
 * secretbox is XSalsa20, whose first 32 bytes of key stream are the key of Poly1305 over the
 * ciphertext: the tag can be checked with those alone, and nothing is decrypted.
 */
int enclave_check_chunk(const uint8_t *chunk, size_t size, uint64_t number, bool final,
	const uint8_t key[static ENCLAVE_KEY_SIZE])
{
	uint8_t nonce[crypto_secretbox_NONCEBYTES];
	uint8_t tag_key[crypto_onetimeauth_KEYBYTES];
	int r;

	if (size <= ENCLAVE_TAG_SIZE)
		return -EBADMSG;
	chunk_nonce(nonce, number, final);
	crypto_stream_xsalsa20(tag_key, sizeof(tag_key), nonce, key);
	r = crypto_onetimeauth_verify(
		chunk, chunk + ENCLAVE_TAG_SIZE, size - ENCLAVE_TAG_SIZE, tag_key);
	sodium_memzero(tag_key, sizeof(tag_key));
	return r == 0 ? 0 : -EBADMSG;
}

/* Bytes before the next whole block of key stream: what is skipped of theirs is thrown away. */
static size_t open_first(uint8_t *out, const uint8_t *sealed, size_t size, uint64_t at,
	const uint8_t *nonce, const uint8_t *key)
{
	uint8_t block[BLOCK_SIZE] = { 0 };
	size_t skip = at % BLOCK_SIZE;

	if (skip == 0)
		return 0;
	if (size > BLOCK_SIZE - skip)
		size = BLOCK_SIZE - skip;
	memcpy(block + skip, sealed, size);
	crypto_stream_xsalsa20_xor_ic(block, block, skip + size, nonce, at / BLOCK_SIZE, key);
	memcpy(out, block + skip, size);
	sodium_memzero(block, sizeof(block));
	return size;
}

int enclave_open_part(uint8_t *out, size_t offset, size_t size, const uint8_t *chunk,
	size_t chunk_size, uint64_t number, bool final, const uint8_t key[static ENCLAVE_KEY_SIZE])
{
	const uint8_t *sealed = chunk + ENCLAVE_TAG_SIZE + offset;
	uint64_t at = crypto_onetimeauth_KEYBYTES + offset;
	uint8_t nonce[crypto_secretbox_NONCEBYTES];
	size_t first;
	int r = enclave_check_chunk(chunk, chunk_size, number, final, key);

	if (r < 0)
		return r;
	if (offset > chunk_size - ENCLAVE_TAG_SIZE || size > chunk_size - ENCLAVE_TAG_SIZE - offset)
		return -EBADMSG;
	chunk_nonce(nonce, number, final);
	first = open_first(out, sealed, size, at, nonce, key);
	if (first < size)
		crypto_stream_xsalsa20_xor_ic(out + first, sealed + first, size - first, nonce,
			(at + first) / BLOCK_SIZE, key);
	return 0;
}

void enclave_draw_key(uint8_t key[static ENCLAVE_KEY_SIZE])
{
	randombytes_buf(key, ENCLAVE_KEY_SIZE);
}

uint64_t enclave_sealed_size(uint64_t size)
{
	uint64_t chunks = size / ENCLAVE_CHUNK_PLAIN + (size % ENCLAVE_CHUNK_PLAIN != 0);

	return size + chunks * ENCLAVE_TAG_SIZE;
}
