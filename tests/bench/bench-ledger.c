/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/vault/vault_inside.h"
#include "tests/bench/measure.h"

/*
 * What it costs to adopt a ledger of many secrets, beside a plain pass over the same bytes and the
 * hashes of as many headers in the same run; what a secret takes beside its name and its value;
 * what compacting gives back; and what putting them costs in a file, beside memory that ends with
 * the process. Every vault has a process of its own, which ends without a word.
 */
#define SECRETS 1000000
#define VALUE_SIZE 64
#define ROUNDS 5
#define REMOVED_FROM 100000

static const char name_format[] = "bench/secret-%07d";
#define NAME_SIZE 20

/* Keys and results outlive the processes. */
static struct shared {
	uint8_t keys[3 * 512] __attribute__((aligned(64)));
	double seconds;
	double busy;       /* seconds of a processor that the process has had */
	uint64_t bytes;    /* of the ledger */
	uint64_t beside;   /* index and bookkeeping */
	uint64_t resident; /* bytes that the process gained */
	uint64_t count;
	uint64_t before; /* bytes of memory that the file takes */
	uint64_t after;
	double longest; /* seconds of a processor that a step has had */
} * shared;

static struct guard guard;
static struct coffer coffer;
static uint8_t view[256] __attribute__((aligned(64)));

static void die(const char *what)
{
	fprintf(stderr, "bench-ledger: %s\n", what);
	exit(1);
}

static double busy_s(void)
{
	struct timespec busy;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &busy);
	return (double)busy.tv_sec + (double)busy.tv_nsec / 1e9;
}

/* Runs in a process of its own, and waits for it. */
static double in_process(void (*function)(int), int fd)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		function(fd);
		shared->busy = busy_s();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		die("a process that did not end well");
	return shared->seconds;
}

static double now_s(void)
{
	return measure_clock_us() / 1e6;
}

/* -- putting ------------------------------------------------------------------------------- */

static void put_one(struct vault *vault, int i, struct span chunk, const uint8_t *key)
{
	char name[32];
	struct vault_put put = { .owner = 1000, .key = key };
	struct value *value = NULL;
	uint64_t version;

	snprintf(name, sizeof(name), name_format, i);
	put.name = span_text(name);
	if (value_new(vault, &value) != 0 || value_append(vault, value, chunk) != 0 ||
		vault_put(vault, &value, &put, &version) != 0)
		die("put");
}

static void put_all(int fd)
{
	uint8_t plain[VALUE_SIZE] = { 1 };
	uint8_t chunk[VALUE_SIZE + ENCLAVE_TAG_SIZE];
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct vault *vault = NULL;
	double begin;

	coffer_init(&coffer, shared->keys, 512, view, &guard);
	if (vault_new(&vault, &coffer, fd) != 0)
		die("vault_new");
	enclave_draw_key(key);
	enclave_seal_chunk(chunk, plain, sizeof(plain), 0, true, key);
	begin = now_s();
	for (int i = 0; i < SECRETS; i++) {
		put_one(vault, i, span_of(chunk, sizeof(chunk)), key);
		/* The masters are joined for a batch of requests, and no longer. */
		if (i % 32 == 31)
			coffer_forget(&coffer);
	}
	shared->seconds = now_s() - begin;
	shared->bytes = ledger_used(vault->ledger);
	shared->beside = index_bytes(vault->index) + ledger_bookkeeping(vault->ledger);
}

/* -- adopting ------------------------------------------------------------------------------ */

static void adopt_all(int fd)
{
	struct vault *vault = NULL;
	double begin = now_s();

	if (coffer_adopt(&coffer, shared->keys, 512, view, &guard) != 0 ||
		vault_new(&vault, &coffer, fd) != 0)
		die("adopt");
	shared->seconds = now_s() - begin;
	shared->count = vault_count(vault);
	if (shared->count != SECRETS || vault_broken(vault) != 0)
		die("not all were adopted");
}

/* -- removing ------------------------------------------------------------------------------ */

/* Bytes of memory that the file takes. */
static uint64_t in_use(int fd)
{
	struct stat stat;

	if (fstat(fd, &stat) < 0)
		die("fstat");
	return (uint64_t)stat.st_blocks * 512;
}

static void remove_one(struct vault *vault, int i)
{
	static const struct conditions none;
	char name[32];
	uint64_t version;

	snprintf(name, sizeof(name), name_format, i);
	if (vault_remove(vault, span_text(name), &none, &version) != 0)
		die("remove");
}

static void compact(struct vault *vault)
{
	for (bool more = true; more; coffer_forget(&coffer)) {
		double begin = busy_s();

		more = vault_compact(vault);
		if (busy_s() - begin > shared->longest)
			shared->longest = busy_s() - begin;
		shared->seconds += busy_s() - begin;
	}
}

/* Nine of ten are removed, here and there. */
static void remove_most(int fd)
{
	uint8_t plain[VALUE_SIZE] = { 1 };
	uint8_t chunk[VALUE_SIZE + ENCLAVE_TAG_SIZE];
	uint8_t key[ENCLAVE_KEY_SIZE];
	struct vault *vault = NULL;

	coffer_init(&coffer, shared->keys, 512, view, &guard);
	if (vault_new(&vault, &coffer, fd) != 0)
		die("vault_new");
	enclave_draw_key(key);
	enclave_seal_chunk(chunk, plain, sizeof(plain), 0, true, key);
	for (int i = 0; i < REMOVED_FROM; i++)
		put_one(vault, i, span_of(chunk, sizeof(chunk)), key);
	for (int i = 0; i < REMOVED_FROM; i++)
		if (randombytes_uniform(10) != 0)
			remove_one(vault, i);
	shared->seconds = shared->longest = 0;
	shared->bytes = ledger_used(vault->ledger);
	shared->before = in_use(fd);
	compact(vault);
	shared->after = in_use(fd);
}

static void tell_removed(void)
{
	in_process(remove_most, ledger_file());
	printf("%d of them, nine of ten removed at random: %.1f MB taken\n", REMOVED_FROM,
		(double)shared->bytes / 1e6);
	printf("  memory in use:         %6.1f MB, compacted %.1f MB\n",
		(double)shared->before / 1e6, (double)shared->after / 1e6);
	printf("  compacting:            %6.1f ms of a processor, the longest step %.0f us\n",
		shared->seconds * 1e3, shared->longest * 1e6);
}

/* The same bytes, mapped anew and read word by word. */
static void read_all(int fd)
{
	size_t size = (size_t)shared->bytes;
	double begin = now_s();
	const uint64_t *words = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	volatile uint64_t sum = 0;
	uint64_t all = 0;

	if (words == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < size / sizeof(*words); i++)
		all += words[i];
	sum = all;
	(void)sum;
	shared->seconds = now_s() - begin;
}

/* As many headers as there are, hashed where they lie, and nothing else. */
static void hash_all(int fd)
{
	static uint8_t header[sizeof(struct header) + NAME_SIZE];
	uint8_t key[32] = { 1 };
	uint8_t tag[BLOCK_TAG_SIZE];
	double begin = now_s();

	(void)fd;
	for (int i = 0; i < SECRETS; i++) {
		header[20] = (uint8_t)i;
		crypto_generichash(tag, sizeof(tag), header + sizeof(struct block),
			sizeof(header) - sizeof(struct block), key, sizeof(key));
	}
	shared->seconds = now_s() - begin;
}

/* What a function takes: the median, and the least of a processor, which others disturb less. */
struct cost {
	double seconds;
	double busy;
};

static struct cost cost_of(void (*function)(int), int fd)
{
	double values[ROUNDS];
	struct cost cost = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		values[i] = in_process(function, fd);
		if (i == 0 || shared->busy < cost.busy)
			cost.busy = shared->busy;
	}
	qsort(values, ROUNDS, sizeof(values[0]), measure_by_value);
	cost.seconds = values[ROUNDS / 2];
	return cost;
}

static void tell_puts(double memory, double file)
{
	uint64_t taken = shared->bytes + shared->beside;
	uint64_t own = (uint64_t)SECRETS * (NAME_SIZE + VALUE_SIZE);

	printf("%d secrets of %d bytes under names of %d\n", SECRETS, VALUE_SIZE, NAME_SIZE);
	printf("  put, in memory:        %6.2f us each\n", memory * 1e6 / SECRETS);
	printf("  put, in a file:        %6.2f us each, %.2f of that\n", file * 1e6 / SECRETS,
		file / memory);
	printf("  beside name and value: %6.1f bytes each (ledger %.1f, index and maps %.1f)\n",
		(double)(taken - own) / SECRETS, (double)(shared->bytes - own) / SECRETS,
		(double)shared->beside / SECRETS);
}

static void tell_cost(const char *what, const struct cost *cost)
{
	printf("  %-22s %6.3f s, %.3f s of a processor\n", what, cost->seconds, cost->busy);
}

int main(void)
{
	int fd = ledger_file();
	double memory;
	struct cost adopted;
	struct cost read;
	struct cost hashed;

	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || shared == MAP_FAILED || sodium_init() < 0)
		return 1;
	guard_init(&guard);
	memory = in_process(put_all, -1);
	tell_puts(memory, in_process(put_all, fd));
	adopted = cost_of(adopt_all, fd);
	read = cost_of(read_all, fd);
	hashed = cost_of(hash_all, fd);
	tell_cost("adopted:", &adopted);
	tell_cost("the same bytes read:", &read);
	tell_cost("headers hashed:", &hashed);
	printf("  adoption takes a processor %.1f times as long as reading, %.1f times as long "
	       "as hashing\n",
		adopted.busy / read.busy, adopted.busy / hashed.busy);
	tell_removed();
	return 0;
}
