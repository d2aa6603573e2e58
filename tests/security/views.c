/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Linked into the daemon and into a service, this watches what they do while they have the masters
 * in one piece: from coffer_view, coffer_master or coffer_lock_secret to the end of the function
 * that uses them (the linker puts a watch in front of those, --wrap), and on to coffer_forget.
 * Taking or giving memory, writing to a descriptor and replacing a master are counted. At the end
 * the counts go to the file VIEWS_REPORT:
 * "<views used> <calls during a use> <calls while joined> <allocations while joined>". VIEWS_PLANT
 * allocates during each use; VIEWS_REFUSE is the number of an allocation while joined that is to
 * fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/memory/coffer.h"
#include "common/memory/enclave.h"

const struct coffer_view *__real_coffer_view(struct coffer *coffer);
const struct coffer_view *__wrap_coffer_view(struct coffer *coffer);
const uint8_t *__real_coffer_master(struct coffer *coffer, enum coffer_master master);
const uint8_t *__wrap_coffer_master(struct coffer *coffer, enum coffer_master master);
const uint8_t *__real_coffer_lock_secret(struct coffer *coffer);
const uint8_t *__wrap_coffer_lock_secret(struct coffer *coffer);
void __real_coffer_lock(struct coffer *coffer, const uint8_t secret[static COFFER_KEY_SIZE]);
void __wrap_coffer_lock(struct coffer *coffer, const uint8_t secret[static COFFER_KEY_SIZE]);
void __real_coffer_unlock(struct coffer *coffer, const uint8_t master[static COFFER_KEY_SIZE]);
void __wrap_coffer_unlock(struct coffer *coffer, const uint8_t master[static COFFER_KEY_SIZE]);
int __real_crypto_secretbox_open_easy(unsigned char *out, const unsigned char *box,
	unsigned long long size, const unsigned char *nonce, const unsigned char *key);
int __wrap_crypto_secretbox_open_easy(unsigned char *out, const unsigned char *box,
	unsigned long long size, const unsigned char *nonce, const unsigned char *key);
void __real_coffer_forget(struct coffer *coffer);
void __wrap_coffer_forget(struct coffer *coffer);
void __real_coffer_replace(struct coffer *coffer, enum coffer_master master);
void __wrap_coffer_replace(struct coffer *coffer, enum coffer_master master);
int __real_enclave_wrap(uint8_t *out, const uint8_t *secret, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master);
int __wrap_enclave_wrap(uint8_t *out, const uint8_t *secret, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master);
int __real_enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master);
int __wrap_enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master);
int __real_crypto_generichash_final(
	crypto_generichash_state *state, unsigned char *out, const size_t size);
int __wrap_crypto_generichash_final(
	crypto_generichash_state *state, unsigned char *out, const size_t size);

/* Source: the C library's own names for its allocator. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static bool used, joined;
static size_t uses, during_use, while_joined, allocations;
static size_t refuse; /* 0: none */

/* -- what is not to be done ---------------------------------------------------------------- */

static void seen(void)
{
	during_use += used;
	while_joined += joined;
}

/* Whether this allocation is the one that is to fail. */
static bool refused(void)
{
	seen();
	allocations += joined;
	if (!joined || allocations != refuse)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	return refused() ? NULL : __libc_realloc(block, size);
}

void free(void *block)
{
	if (block)
		seen();
	__libc_free(block);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	seen();
	return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

int munmap(void *address, size_t size)
{
	seen();
	return (int)syscall(SYS_munmap, address, size);
}

int mprotect(void *address, size_t size, int protection)
{
	seen();
	return (int)syscall(SYS_mprotect, address, size, protection);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
	seen();
	return syscall(SYS_write, fd, bytes, size);
}

void __wrap_coffer_replace(struct coffer *coffer, enum coffer_master master)
{
	during_use += used;
	__real_coffer_replace(coffer, master);
	used = joined = false;
}

/* -- a view's life ------------------------------------------------------------------------- */

static void begin_use(void)
{
	used = joined = true;
	uses++;
	if (getenv("VIEWS_PLANT"))
		free(malloc(1));
}

const struct coffer_view *__wrap_coffer_view(struct coffer *coffer)
{
	const struct coffer_view *view = __real_coffer_view(coffer);

	if (view)
		begin_use();
	return view;
}

const uint8_t *__wrap_coffer_master(struct coffer *coffer, enum coffer_master master)
{
	const uint8_t *bytes = __real_coffer_master(coffer, master);

	if (bytes)
		begin_use();
	return bytes;
}

const uint8_t *__wrap_coffer_lock_secret(struct coffer *coffer)
{
	const uint8_t *bytes = __real_coffer_lock_secret(coffer);

	if (bytes)
		begin_use();
	return bytes;
}

void __wrap_coffer_lock(struct coffer *coffer, const uint8_t secret[static COFFER_KEY_SIZE])
{
	__real_coffer_lock(coffer, secret);
	used = joined = false;
}

void __wrap_coffer_unlock(struct coffer *coffer, const uint8_t master[static COFFER_KEY_SIZE])
{
	__real_coffer_unlock(coffer, master);
	used = joined = false;
}

/* The end of a try to unlock. */
int __wrap_crypto_secretbox_open_easy(unsigned char *out, const unsigned char *box,
	unsigned long long size, const unsigned char *nonce, const unsigned char *key)
{
	int r = __real_crypto_secretbox_open_easy(out, box, size, nonce, key);

	used = false;
	return r;
}

void __wrap_coffer_forget(struct coffer *coffer)
{
	__real_coffer_forget(coffer);
	used = joined = false;
}

int __wrap_enclave_wrap(uint8_t *out, const uint8_t *secret, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master)
{
	int r = __real_enclave_wrap(out, secret, size, binding, coffer, master);

	used = false;
	return r;
}

int __wrap_enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master)
{
	int r = __real_enclave_unwrap(out, wrapped, size, binding, coffer, master);

	used = false;
	return r;
}

/* The end of a record's tag. */
int __wrap_crypto_generichash_final(
	crypto_generichash_state *state, unsigned char *out, const size_t size)
{
	int r = __real_crypto_generichash_final(state, out, size);

	used = false;
	return r;
}

__attribute__((destructor)) static void report(void)
{
	const char *path = getenv("VIEWS_REPORT");
	FILE *file = path ? fopen(path, "we") : NULL;

	if (file) {
		fprintf(file, "%zu %zu %zu %zu\n", uses, during_use, while_joined, allocations);
		fclose(file);
	}
}

__attribute__((constructor)) static void begin(void)
{
	const char *number = getenv("VIEWS_REFUSE");

	refuse = number ? strtoul(number, NULL, 10) : 0;
}
