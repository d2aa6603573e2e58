/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/memory/enclave.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/memory/own.h"
#include "client/lib/memory/secret.h"
#include "client/lib/memory/strongroom.h"

/* -- its life ------------------------------------------------------------------------------ */

int enclave_new(struct mg_enclave **enclavep, size_t size, pid_t self)
{
	static _Atomic uint64_t last_number;
	struct mg_enclave *enclave = NULL;

	*enclavep = NULL;
	if (size <= SIZE_MAX / 4)
		enclave = calloc(1, sizeof(*enclave) + (size_t)enclave_sealed_size(size));
	if (!enclave)
		return error_say(MG_LIMIT, "out of memory for an enclave of %zu bytes", size);
	enclave->owner = self;
	enclave->generation = strongroom_generation();
	enclave->number = atomic_fetch_add(&last_number, 1) + 1;
	enclave->size = size;
	*enclavep = enclave;
	return MG_OK;
}

void mg_enclave_free(struct mg_enclave *enclave)
{
	/* Ciphertext is worth nothing without its wrapped key. */
	if (enclave)
		sodium_memzero(enclave->wrapped, sizeof(enclave->wrapped));
	free(enclave);
}

void mg_enclave_cleanup(struct mg_enclave **enclavep)
{
	mg_enclave_free(*enclavep);
	*enclavep = NULL;
}

size_t mg_enclave_size(const struct mg_enclave *enclave)
{
	return enclave ? enclave->size : 0;
}

/* MG_OK while the masters are those it was sealed under; what had failed is said otherwise. */
static int check_generation(const struct mg_enclave *enclave, int r)
{
	if (enclave->generation == strongroom_generation())
		return r;
	return error_say(MG_GONE, "the enclave was purged");
}

static struct enclave_binding binding_of(const struct mg_enclave *enclave)
{
	return (struct enclave_binding){ .secret = enclave->number };
}

/* -- chunk by chunk ------------------------------------------------------------------------ */

/* An enclave and the plaintext that goes into it or comes out. */
struct passage {
	struct mg_enclave *enclave;
	uint8_t *plain;
	uint64_t number; /* of the next chunk */
};

/* Where the next chunk stands. */
struct place {
	uint8_t *plain;
	uint8_t *sealed;
	size_t size; /* of the plaintext */
	bool final;
};

static struct place next_place(const struct passage *passage)
{
	size_t at = (size_t)passage->number * ENCLAVE_CHUNK_PLAIN;
	size_t left = passage->enclave->size - at;

	return (struct place){ .plain = passage->plain + at,
		.sealed = passage->enclave->sealed + passage->number * ENCLAVE_CHUNK_SIZE,
		.size = left < ENCLAVE_CHUNK_PLAIN ? left : ENCLAVE_CHUNK_PLAIN,
		.final = left <= ENCLAVE_CHUNK_PLAIN };
}

static int seal_chunk(struct coffer *coffer, uint8_t key[static ENCLAVE_KEY_SIZE], void *argument)
{
	struct passage *passage = argument;
	struct place place = next_place(passage);
	int r = 0;

	if (passage->number == 0) {
		enclave_draw_key(key);
		r = enclave_wrap(passage->enclave->wrapped, key, ENCLAVE_KEY_SIZE,
			binding_of(passage->enclave), coffer, COFFER_VAULT);
	}
	if (r < 0)
		return r;
	enclave_seal_chunk(
		place.sealed, place.plain, place.size, passage->number++, place.final, key);
	return place.final;
}

static int unwrap(uint8_t *key, const struct mg_enclave *enclave, struct coffer *coffer)
{
	return enclave_unwrap(
		key, enclave->wrapped, ENCLAVE_KEY_SIZE, binding_of(enclave), coffer, COFFER_VAULT);
}

static int open_chunk(struct coffer *coffer, uint8_t key[static ENCLAVE_KEY_SIZE], void *argument)
{
	struct passage *passage = argument;
	struct place place = next_place(passage);
	int r = 0;

	if (passage->number == 0)
		r = unwrap(key, passage->enclave, coffer);
	if (r == 0)
		r = enclave_open_chunk(place.plain, place.sealed, place.size + ENCLAVE_TAG_SIZE,
			passage->number++, place.final, key);
	return r < 0 ? r : place.final;
}

/* -- sealing ------------------------------------------------------------------------------- */

int enclave_seal(struct mg_enclave **enclavep, const uint8_t *plain, size_t size)
{
	pid_t self = own_self();
	int r = enclave_new(enclavep, size, self);
	struct passage passage = { .enclave = *enclavep, .plain = (uint8_t *)(uintptr_t)plain };

	if (r == MG_OK) {
		r = strongroom_do(seal_chunk, &passage, self);
		r = check_generation(*enclavep, r);
	}
	if (r != MG_OK)
		mg_enclave_cleanup(enclavep);
	return r;
}

int mg_enclave_new(struct mg_enclave **enclavep, void *bytes, size_t size)
{
	int r;

	*enclavep = NULL;
	if (size == 0 || !bytes)
		return error_say(MG_INVALID, "an enclave has at least one byte");
	r = enclave_seal(enclavep, bytes, size);
	if (r == MG_OK)
		sodium_memzero(bytes, size);
	return r;
}

int mg_enclave_seal(struct mg_enclave **enclavep, struct mg_secret *secret)
{
	int r = secret_check(secret);

	*enclavep = NULL;
	if (r == MG_OK)
		r = enclave_seal(enclavep, secret->data, secret->size);
	if (r == MG_OK)
		mg_secret_destroy(secret);
	return r;
}

int mg_enclave_random(struct mg_enclave **enclavep, size_t size)
{
	MG_AUTO_SECRET struct mg_secret *secret = NULL;
	int r;

	*enclavep = NULL;
	r = mg_secret_random(&secret, size, MG_MEMORY_PREFER_LOCK);
	return r == MG_OK ? mg_enclave_seal(enclavep, secret) : r;
}

struct keeping {
	struct mg_enclave *enclave;
	const uint8_t *key;
};

static int wrap_key(struct coffer *coffer, uint8_t key[static ENCLAVE_KEY_SIZE], void *argument)
{
	struct keeping *keeping = argument;
	int r;

	memcpy(key, keeping->key, ENCLAVE_KEY_SIZE);
	r = enclave_wrap(keeping->enclave->wrapped, key, ENCLAVE_KEY_SIZE,
		binding_of(keeping->enclave), coffer, COFFER_VAULT);
	return r < 0 ? r : 1;
}

int enclave_keep_key(struct mg_enclave *enclave, const uint8_t key[static ENCLAVE_KEY_SIZE])
{
	struct keeping keeping = { .enclave = enclave, .key = key };

	return check_generation(enclave, strongroom_do(wrap_key, &keeping, enclave->owner));
}

/* -- opening ------------------------------------------------------------------------------- */

int mg_enclave_open(
	const struct mg_enclave *enclave, struct mg_secret **secretp, enum mg_memory memory)
{
	struct passage passage = { .enclave = (struct mg_enclave *)(uintptr_t)enclave };
	pid_t self = own_self();
	int r;

	*secretp = NULL;
	if (!enclave)
		return error_say(MG_INVALID, "no enclave");
	if (enclave->owner != self)
		return error_say(MG_INVALID, "an enclave does not go over a fork");
	r = check_generation(enclave, MG_OK);
	if (r == MG_OK)
		r = secret_new_closed(secretp, enclave->size, memory, self);
	if (r != MG_OK)
		return r;
	passage.plain = (*secretp)->data;
	r = check_generation(enclave, strongroom_do(open_chunk, &passage, self));
	if (r == MG_OK)
		r = secret_close(*secretp);
	if (r != MG_OK)
		mg_secret_cleanup(secretp);
	return r;
}

struct excerpt {
	const struct mg_enclave *enclave;
	size_t offset;
	uint8_t *out;
	size_t size;
};

static int open_excerpt(struct coffer *coffer, uint8_t key[static ENCLAVE_KEY_SIZE], void *argument)
{
	struct excerpt *excerpt = argument;
	const struct mg_enclave *enclave = excerpt->enclave;
	int r = unwrap(key, enclave, coffer);

	if (r == 0)
		r = enclave_open_part(excerpt->out, excerpt->offset, excerpt->size, enclave->sealed,
			enclave->size + ENCLAVE_TAG_SIZE, 0, true, key);
	return r < 0 ? r : 1;
}

int enclave_read(const struct mg_enclave *enclave, size_t offset, uint8_t *out, size_t size)
{
	struct excerpt excerpt = { enclave, offset, out, size };

	return check_generation(enclave, strongroom_do(open_excerpt, &excerpt, enclave->owner));
}
