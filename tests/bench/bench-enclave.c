/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/memory/enclave.h"
#include "daemon/daemon.h"
#include "tests/bench/measure.h"

/*
 * What opening and sealing an enclave costs in process, on the locked stack, in secret memory,
 * beside getpid(2) and crypto_secretbox alone in the same run.
 */

static struct daemon house;
static uint8_t *plain, *key;
static uint8_t chunk[ENCLAVE_CHUNK_SIZE], wrapped[ENCLAVE_WRAPPED_KEY];
static size_t size;

static const struct enclave_binding binding = { 1, 1 };

static void seal(void *unused)
{
	(void)unused;
	enclave_draw_key(key);
	enclave_seal_chunk(chunk, plain, size, 0, true, key);
	enclave_wrap(wrapped, key, ENCLAVE_KEY_SIZE, binding, &house.coffer, COFFER_VAULT);
}

static void open_one(void *unused)
{
	(void)unused;
	if (enclave_unwrap(key, wrapped, ENCLAVE_KEY_SIZE, binding, &house.coffer, COFFER_VAULT) !=
			0 ||
		enclave_open_chunk(plain, chunk, size + ENCLAVE_TAG_SIZE, 0, true, key) != 0)
		abort();
	sodium_memzero(plain, size);
	sodium_memzero(key, ENCLAVE_KEY_SIZE);
}

static void run_seal(void)
{
	locked_stack_call(&house.stack, seal, NULL);
}

static void run_open(void)
{
	locked_stack_call(&house.stack, open_one, NULL);
}

/* The masters are joined anew each time: what an open costs when the last one is long ago. */
static void run_open_cold(void)
{
	coffer_forget(&house.coffer);
	locked_stack_call(&house.stack, open_one, NULL);
}

static void run_secretbox(void)
{
	static const uint8_t nonce[crypto_secretbox_NONCEBYTES], other[32];

	crypto_secretbox_easy(chunk, plain, size, nonce, other);
	if (crypto_secretbox_open_easy(plain, chunk, size + ENCLAVE_TAG_SIZE, nonce, other) != 0)
		abort();
}

static void run_getpid(void)
{
	(void)getppid();
}

static void row(size_t bytes)
{
	int calls = bytes > 4096 ? 2000 : 20000;
	double system_call = measure(run_getpid, calls);
	double opened, cold, sealed, box;

	size = bytes;
	sealed = measure(run_seal, calls);
	opened = measure(run_open, calls);
	cold = measure(run_open_cold, calls);
	box = measure(run_secretbox, calls) / 2;
	printf("%6zu B %8.2f us %8.2f us %8.2f us %8.2f us %8.2f us %8.2f\n", bytes, sealed, opened,
		cold, box, system_call, opened / box);
}

int main(void)
{
	struct daemon_options options = { .max_value = 1 << 20, .rekey_ms = 500, .own = geteuid() };

	if (sodium_init() < 0 || daemon_init(&house, &options) < 0)
		return 1;
	plain = workbench_take(&house.bench, ENCLAVE_CHUNK_PLAIN);
	key = workbench_take(&house.bench, ENCLAVE_KEY_SIZE);
	if (!plain || !key)
		return 1;
	printf("enclaves in process (memory: %s): with the key's wrap, on the locked stack\n",
		os_memory_backend_name(house.memory.backend));
	printf("   value        seal        open   open cold  secretbox  system call  "
	       "open/secretbox\n");
	row(32);
	row(64);
	row(1024);
	row(16384);
	daemon_finish(&house);
	return 0;
}
