/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/mgclient.h"
#include "tests/bench/measure.h"

/*
 * What a service pays for a value that it keeps as a closed enclave: mg_enclave_open and
 * mg_secret_free, beside getppid(2) and crypto_secretbox_open alone in the same run.
 */
static struct mg_enclave *enclave;
static unsigned char plain[16384], box[16384 + crypto_secretbox_MACBYTES];
static const unsigned char nonce[crypto_secretbox_NONCEBYTES], key[crypto_secretbox_KEYBYTES];
static size_t size;

static void run_open(void)
{
	struct mg_secret *secret;

	if (mg_enclave_open(enclave, &secret, MG_MEMORY_PREFER_LOCK) != MG_OK)
		abort();
	mg_secret_free(secret);
}

static void run_seal(void)
{
	struct mg_enclave *other;

	if (mg_enclave_new(&other, plain, size) != MG_OK)
		abort();
	mg_enclave_free(other);
}

static void run_make(void)
{
	struct mg_secret *secret;

	if (mg_secret_from_bytes(&secret, plain, size, MG_MEMORY_PREFER_LOCK) != MG_OK)
		abort();
	mg_secret_free(secret);
}

static void run_secretbox(void)
{
	if (crypto_secretbox_open_easy(plain, box, size + crypto_secretbox_MACBYTES, nonce, key) !=
		0)
		abort();
}

static void run_system_call(void)
{
	(void)getppid();
}

static void row(size_t bytes)
{
	int calls = bytes > 4096 ? 1000 : 20000;
	double opened, sealed, made, boxed;

	size = bytes;
	if (mg_enclave_random(&enclave, size) != MG_OK ||
		crypto_secretbox_easy(box, plain, size, nonce, key) != 0)
		abort();
	opened = measure(run_open, calls);
	sealed = measure(run_seal, calls);
	made = measure(run_make, calls);
	boxed = measure(run_secretbox, calls);
	printf("%6zu B %8.2f us %8.2f us %8.2f us %8.2f us %8.2f us %8.2f\n", size, opened, sealed,
		made, boxed, measure(run_system_call, calls), opened / boxed);
	mg_enclave_free(enclave);
}

int main(void)
{
	if (sodium_init() < 0)
		return 1;
	puts("a service's own enclaves: open and free, seal and free, a secret made and freed");
	puts("   value        open        seal      secret   secretbox  system call  "
	     "open/secretbox");
	row(32);
	row(64);
	row(1024);
	row(16384);
	return 0;
}
