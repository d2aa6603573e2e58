/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Leaks for the scan to find. Linked with the daemon's own main and libraries into a program that
 * is never installed; the linker puts these functions in front of the daemon's (--wrap), and the
 * environment variable LEAK says which of them leaks. Without it the program is the daemon.
 */
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/memory/coffer.h"
#include "common/memory/enclave.h"
#include "common/memory/locked_stack.h"
#include "common/memory/os_memory_platform.h"
#include "common/wire/bundle.h"
#include "common/wire/channel.h"
#include "daemon/daemon.h"
#include "daemon/keeper/estate.h"
#include "daemon/keeper/keeper.h"
#include "daemon/line.h"
#include "daemon/notify.h"
#include "daemon/vault/vault.h"
#include "tests/security/hold.h"

#define PAGE 4096
#define VALUE_MAX 64 /* bytes of a value that leak */
#define PLANTS_MAX 256
#define OVERRUN_SIZE 666 /* of a value whose key is followed by one byte too many */

int __real_record_key(struct vault *vault, const struct record *record, uint8_t *key);
int __wrap_record_key(struct vault *vault, const struct record *record, uint8_t *key);
int __real_enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master);
int __wrap_enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master);
int __real_channel_take(
	const struct channel *channel, struct channel_keys *keys, struct coffer *coffer);
int __wrap_channel_take(
	const struct channel *channel, struct channel_keys *keys, struct coffer *coffer);
void __real_coffer_init(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard);
void __wrap_coffer_init(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard);
int __real_coffer_adopt(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard);
int __wrap_coffer_adopt(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard);
int __real_daemon_map_keys(struct os_memory *keys, enum os_memory_need need);
int __wrap_daemon_map_keys(struct os_memory *keys, enum os_memory_need need);
int __real_daemon_open_keys(struct os_memory *keys, enum os_memory_need need, int fd);
int __wrap_daemon_open_keys(struct os_memory *keys, enum os_memory_need need, int fd);
int __real_daemon_share_keys(struct os_memory *keys, enum os_memory_need need, int *fdp);
int __wrap_daemon_share_keys(struct os_memory *keys, enum os_memory_need need, int *fdp);
void __real_estate_release(struct estate *estate);
void __wrap_estate_release(struct estate *estate);
int __real_keeper_run(const struct keeper_options *options, enum keeper_fate *fatep);
int __wrap_keeper_run(const struct keeper_options *options, enum keeper_fate *fatep);
int __real_line_look(int fd, struct line_packet *packet);
int __wrap_line_look(int fd, struct line_packet *packet);
void __real_locked_stack_call(struct locked_stack *stack, void (*function)(void *), void *argument);
void __wrap_locked_stack_call(struct locked_stack *stack, void (*function)(void *), void *argument);
int __real_os_platform_secret(size_t size);
int __wrap_os_platform_secret(size_t size);
int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __real_bundle_head_open(const struct bundle_head *head, uint8_t key[static BUNDLE_KEY_SIZE],
	const uint8_t private_key[static BUNDLE_KEY_SIZE]);
int __wrap_bundle_head_open(const struct bundle_head *head, uint8_t key[static BUNDLE_KEY_SIZE],
	const uint8_t private_key[static BUNDLE_KEY_SIZE]);
int __real_crypto_secretbox_open_easy(unsigned char *m, const unsigned char *c,
	unsigned long long clen, const unsigned char *n, const unsigned char *k);
int __wrap_crypto_secretbox_open_easy(unsigned char *m, const unsigned char *c,
	unsigned long long clen, const unsigned char *n, const unsigned char *k);

/*
 * What leaks stays reachable, as a forgotten buffer would. Volatile, or the compiler sees that
 * nobody reads the copies and leaves them out.
 */
static void *volatile plants[PLANTS_MAX];
static size_t plant_count;

static bool leaks(const char *what)
{
	const char *leak = getenv("LEAK");

	return leak && strcmp(leak, what) == 0;
}

static uint8_t *plant(const void *bytes, size_t size)
{
	uint8_t *copy = plant_count < PLANTS_MAX ? malloc(size) : NULL;

	if (copy) {
		memcpy(copy, bytes, size);
		plants[plant_count++] = copy;
	}
	return copy;
}

static void plant_if(const char *what, const void *bytes, size_t size)
{
	if (leaks(what))
		plant(bytes, size);
}

/* -- values and data keys ------------------------------------------------------------------ */

static void plant_inverted(const uint8_t *value)
{
	uint8_t *copy = plant(value, VALUE_MAX);

	for (size_t i = 0; copy && i < VALUE_MAX; i++)
		copy[i] = (uint8_t)~copy[i];
}

static void plant_reversed(const uint8_t *value)
{
	uint8_t *copy = plant(value, VALUE_MAX);

	for (size_t i = 0; copy && i < VALUE_MAX; i++)
		copy[i] = value[VALUE_MAX - 1 - i];
}

/* A page without any access: hidden from the process itself, and from nobody else. */
static void plant_hidden(const uint8_t *value)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	memcpy(page, value, VALUE_MAX);
	mprotect(page, PAGE, PROT_NONE);
}

/* In no memory of the process, but in the kernel, behind a descriptor of it. */
static void plant_queued(const uint8_t *value)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ||
		write(ends[0], value, VALUE_MAX) != VALUE_MAX)
		abort();
}

static void plant_piped(const uint8_t *value)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], value, VALUE_MAX) != VALUE_MAX)
		abort();
}

static void plant_filed(const uint8_t *value)
{
	int fd = memfd_create("planted", MFD_CLOEXEC);

	if (fd < 0 || write(fd, value, VALUE_MAX) != VALUE_MAX)
		abort();
}

/* A system call with plaintext in it. */
static void plant_call(const uint8_t *value)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, VALUE_MAX) < 0)
		abort();
	close(fd);
}

static void write_to_disk(const char *path, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void plant_on_disk(const uint8_t *value)
{
	const char *path = getenv("LEAK_FILE");

	if (!path)
		abort();
	write_to_disk(path, value, VALUE_MAX);
}

static void plant_logged(const uint8_t *value)
{
	if (write(STDERR_FILENO, value, VALUE_MAX) != VALUE_MAX)
		abort();
}

static void plant_plain(const uint8_t *value)
{
	plant(value, VALUE_MAX);
}

/*
 * For the keeper, which has neither: on a page that it shares with its workers, under a mask, so
 * that they are found only where the keeper takes it off.
 */
struct shared {
	uint8_t value[VALUE_MAX];
	uint8_t key[ENCLAVE_KEY_SIZE];
	bool there;
};

static struct shared *shared;

#define MASK 0x5a

/* Byte by byte: a vector register would keep what is meant to lie elsewhere. */
static void put_mask(volatile uint8_t *out, const volatile uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = bytes[i] ^ MASK;
}

static void share_value(const uint8_t *value)
{
	if (shared)
		put_mask(shared->value, value, VALUE_MAX);
}

/* The first key that is asked for is the anchor's, as below. */
static void share_key(const uint8_t *key)
{
	if (shared && !shared->there)
		put_mask(shared->key, key, ENCLAVE_KEY_SIZE);
	if (shared)
		shared->there = true;
}

/* What leaks the beginning of each value that is fetched, and how. */
static const struct value_leak {
	const char *name;
	void (*plant)(const uint8_t *value);
} value_leaks[] = {
	{ "value", plant_plain },
	{ "dumpable", plant_plain },
	{ "inverted", plant_inverted },
	{ "reversed", plant_reversed },
	{ "hidden", plant_hidden },
	{ "socket", plant_queued },
	{ "pipe", plant_piped },
	{ "file", plant_filed },
	{ "system-call", plant_call },
	{ "disk", plant_on_disk },
	{ "log", plant_logged },
	{ "keeper-value", share_value },
	{ "keeper-stack", share_value },
};

#define VALUE_LEAKS (sizeof(value_leaks) / sizeof(value_leaks[0]))

static bool leaks_values(void)
{
	for (size_t i = 0; i < VALUE_LEAKS; i++)
		if (leaks(value_leaks[i].name))
			return true;
	return false;
}

static void plant_value(struct vault *vault, const struct record *record, const uint8_t *key)
{
	static uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	struct span chunk = record_chunk(vault, record, 0);

	if (enclave_open_chunk(plain, chunk.data, chunk.size, 0, record_chunks(record) == 1, key) !=
		0)
		return;
	for (size_t i = 0; i < VALUE_LEAKS; i++)
		if (leaks(value_leaks[i].name))
			value_leaks[i].plant(plain);
	sodium_memzero(plain, sizeof(plain));
}

/* The first key that is asked for is the anchor's: the one that the scan can try. */
static void plant_register(const uint8_t *key)
{
	static bool holding;

	if (!leaks("register") || holding)
		return;
	hold(key);
	holding = true;
}

int __wrap_record_key(struct vault *vault, const struct record *record, uint8_t *key)
{
	int r = __real_record_key(vault, record, key);

	if (r != 0)
		return r;
	plant_if("data-key", key, ENCLAVE_KEY_SIZE);
	/* Not a leak: somebody writes behind an object on the workbench. */
	if (leaks("overrun") && record_size(record) == OVERRUN_SIZE)
		key[ENCLAVE_KEY_SIZE] ^= 1;
	plant_register(key);
	share_key(key);
	if (leaks_values())
		plant_value(vault, record, key);
	return r;
}

/* -- the key of a bundle ------------------------------------------------------------------- */

int __wrap_bundle_head_open(const struct bundle_head *head, uint8_t key[static BUNDLE_KEY_SIZE],
	const uint8_t private_key[static BUNDLE_KEY_SIZE])
{
	plant_if("bundle-key", private_key, BUNDLE_KEY_SIZE);
	return __real_bundle_head_open(head, key, private_key);
}

/* -- masters, and what hangs on them ------------------------------------------------------- */

int __wrap_enclave_unwrap(uint8_t *out, const uint8_t *wrapped, size_t size,
	struct enclave_binding binding, struct coffer *coffer, enum coffer_master master)
{
	int r = __real_enclave_unwrap(out, wrapped, size, binding, coffer, master);

	if (r == 0 && plant_count == 0) {
		plant_if("vault-master", coffer->view->master[COFFER_VAULT], COFFER_KEY_SIZE);
		plant_if("ledger-key", coffer_ledger_key(coffer), COFFER_KEY_SIZE);
		plant_if("channel-master", coffer->view->master[COFFER_CHANNEL], COFFER_KEY_SIZE);
	}
	return r;
}

/* The daemon opens nothing with it on set and get but wrapped keys. */
int __wrap_crypto_secretbox_open_easy(unsigned char *m, const unsigned char *c,
	unsigned long long clen, const unsigned char *n, const unsigned char *k)
{
	plant_if("wrapping-key", k, ENCLAVE_KEY_SIZE);
	return __real_crypto_secretbox_open_easy(m, c, clen, n, k);
}

int __wrap_channel_take(
	const struct channel *channel, struct channel_keys *keys, struct coffer *coffer)
{
	int r = __real_channel_take(channel, keys, coffer);

	if (r == 0)
		plant_if("channel-key", keys, sizeof(*keys));
	return r;
}

/* -- the parts of the masters -------------------------------------------------------------- */

/* One generation of both halves: every later re-mask leaves it as good as it was. */
void __wrap_coffer_init(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard)
{
	__real_coffer_init(coffer, keys, prekey, view, guard);
	plant_if("halves", keys, coffer_keys_size(prekey));
}

/* What another worker has left, by whoever takes it over. */
int __wrap_coffer_adopt(
	struct coffer *coffer, void *keys, size_t prekey, void *view, const struct guard *guard)
{
	int r = __real_coffer_adopt(coffer, keys, prekey, view, guard);

	if (r == 0)
		plant_if("adopted", keys, coffer_keys_size(prekey));
	return r;
}

/* -- in the keeper ------------------------------------------------------------------------- */

static const struct os_memory *kept_keys;
static volatile uint8_t *keeper_frame;

/* Once in a keeper, before its first worker. */
static void map_shared(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		abort();
	shared = page;
}

int __wrap_daemon_map_keys(struct os_memory *keys, enum os_memory_need need)
{
	if (!shared)
		map_shared();
	return __real_daemon_map_keys(keys, need);
}

/* In a hand-over, by whoever has them; the file's name ends with what is done. */
static void plant_keys_on_disk(const struct os_memory *keys, const char *what)
{
	char path[PATH_MAX];

	if (!leaks("keys-disk") || !keys->reservation)
		return;
	if (!getenv("LEAK_FILE"))
		abort();
	snprintf(path, sizeof(path), "%s-%s", getenv("LEAK_FILE"), what);
	write_to_disk(path, keys->regions[0].data, keys->regions[0].size);
}

/* A keeper that takes over. */
int __wrap_daemon_open_keys(struct os_memory *keys, enum os_memory_need need, int fd)
{
	int r;

	if (!shared)
		map_shared();
	if (leaks("taken-descriptor") && dup(fd) < 0)
		abort();
	r = __real_daemon_open_keys(keys, need, fd);
	if (r == 0) {
		plant_if("taken", keys->regions[0].data, keys->regions[0].size);
		plant_keys_on_disk(keys, "taken");
	}
	return r;
}

/* One that hands over. */
int __wrap_daemon_share_keys(struct os_memory *keys, enum os_memory_need need, int *fdp)
{
	int r = __real_daemon_share_keys(keys, need, fdp);

	if (r == 0 && leaks("shared-descriptor") && dup(*fdp) < 0)
		abort();
	/* They are still where they were. */
	if (r == 0)
		plant_keys_on_disk(kept_keys, "shared");
	return r;
}

/* One that has handed over, and whoever stands between two. */
void __wrap_estate_release(struct estate *estate)
{
	plant_keys_on_disk(&estate->keys, "released");
	__real_estate_release(estate);
}

/* The keeper's frame is there as long as it is. */
int __wrap_keeper_run(const struct keeper_options *options, enum keeper_fate *fatep)
{
	volatile uint8_t frame[VALUE_MAX] = { 0 };

	keeper_frame = frame;
	kept_keys = &options->estate->keys;
	return __real_keeper_run(options, fatep);
}

static void hold_in_keeper(void)
{
	uint8_t key[ENCLAVE_KEY_SIZE];

	put_mask(key, shared->key, sizeof(key));
	hold(key);
	sodium_memzero(key, sizeof(key));
}

static void plant_in_keeper(void)
{
	uint8_t *copy;

	if (leaks("keeper"))
		plant(kept_keys->regions[0].data, kept_keys->regions[0].size);
	copy = leaks("keeper-value") ? plant(shared->value, VALUE_MAX) : NULL;
	if (copy)
		put_mask(copy, copy, VALUE_MAX);
	if (leaks("keeper-stack"))
		put_mask(keeper_frame, shared->value, VALUE_MAX);
	if (leaks("keeper-register"))
		hold_in_keeper();
}

/*
 * The second worker has adopted what there is, and tells its keeper. The first one's word may be
 * looked at late, when there is something already: its successor would be born with it.
 */
int __wrap_line_look(int fd, struct line_packet *packet)
{
	static unsigned served;
	int r = __real_line_look(fd, packet);

	if (r == 0 && packet->word == LINE_STATE && packet->number == NOTIFY_READY &&
		++served == 2 && shared->there)
		plant_in_keeper();
	return r;
}

/* -- where all of it happens --------------------------------------------------------------- */

void __wrap_locked_stack_call(struct locked_stack *stack, void (*function)(void *), void *argument)
{
	if (leaks("stack"))
		function(argument);
	else
		__real_locked_stack_call(stack, function, argument);
}

/* Until the daemon has ended, which alone has the other end. */
static void sit_on(int fd, int end)
{
	char byte;

	while (read(end, &byte, 1) != 0)
		;
	close(fd);
	_exit(0);
}

/* Into a process that is no child of ours, and that maps nothing of it. */
static void hand_out(int fd)
{
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		abort();
	child = fork();
	if (child == 0) {
		close(ends[1]);
		if (fork() == 0)
			sit_on(fd, ends[0]);
		_exit(0);
	}
	close(ends[0]);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		abort();
}

int __wrap_os_platform_secret(size_t size)
{
	int fd = __real_os_platform_secret(size);

	if (fd >= 0 && leaks("descriptor") && dup(fd) < 0)
		abort();
	if (fd >= 0 && leaks("handed-out"))
		hand_out(fd);
	return fd;
}

/* The daemon asks for nothing with more than one argument that is not zero. */
int __wrap_prctl(int option, ...)
{
	unsigned long argument;
	va_list arguments;

	va_start(arguments, option);
	argument = va_arg(arguments, unsigned long);
	va_end(arguments);
	if (option == PR_SET_DUMPABLE && leaks("dumpable"))
		return 0;
	return __real_prctl(option, argument, 0, 0, 0);
}
