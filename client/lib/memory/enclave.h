/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/lib/mgclient.h"
#include "common/memory/enclave.h"

#include <sys/types.h>

/* A value at rest in the service's own process: ciphertext, in the ordinary heap. */
struct mg_enclave {
	pid_t owner;         /* after a fork the masters are not there */
	uint64_t generation; /* another one than the process's: purged */
	uint64_t number;     /* binds the wrapped key to this enclave */
	size_t size;         /* bytes of the value */
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t sealed[]; /* chunks */
};

/* One for a value of `size` bytes, whose key and chunks are still to be filled in; `self` is
 * own_self(). */
int enclave_new(struct mg_enclave **enclavep, size_t size, pid_t self);

/*
 * Seals bytes, which stay as they are; mg_enclave_free. Reads `size` bytes at `offset` of an
 * enclave of one chunk. Both return a status, with the words said.
 */
int enclave_seal(struct mg_enclave **enclavep, const uint8_t *plain, size_t size);
int enclave_read(const struct mg_enclave *enclave, size_t offset, uint8_t *out, size_t size);

/* Wraps the data key that opens the chunks. Returns a status. */
int enclave_keep_key(struct mg_enclave *enclave, const uint8_t key[static ENCLAVE_KEY_SIZE]);
