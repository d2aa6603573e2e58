/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/locked_stack.h"

#include <check.h>
#include <fenv.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory/coffer.h"
#include "common/memory/enclave.h"
#include "common/memory/os_memory.h"

/* What must be left of the stack below the deepest path, for paths that nobody measured. */
#define SPARE 1536

/* How far below the caller residue is looked for, in bytes. */
#define REACH 65536

/* Looks at memory that the sanitizer guards byte by byte. */
#define UNCHECKED __attribute__((noinline, no_sanitize("address"), no_sanitize("undefined")))

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* Deaths are expected here: the sanitizer must let the signal through. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used)) const char *__asan_default_options(void)
{
	return "handle_segv=0:handle_abort=0";
}

static struct os_memory memory;
static struct locked_stack stack;

static void set_up(void)
{
	memory = (struct os_memory){ .count = 1 };
	memory.regions[0].size = locked_stack_size();
	ck_assert_int_eq(os_memory_map(&memory, OS_MEMORY_PREFER_LOCK), 0);
	locked_stack_init(&stack, memory.regions[0].data, memory.regions[0].size);
}

static void tear_down(void)
{
	os_memory_unmap(&memory);
}

/* Tests of the switch make no claim where there is none. */
static bool switches(void)
{
	if (!locked_stack_switches())
		printf("skipped: this machine has no stack switch\n");
	return locked_stack_switches();
}

static bool lies_on_stack(const void *address)
{
	return (const uint8_t *)address >= stack.base &&
		(const uint8_t *)address < stack.base + stack.size;
}

UNCHECKED static bool stack_is_zero(void)
{
	for (size_t i = 0; i < stack.size; i++)
		if (((volatile uint8_t *)stack.base)[i] != 0)
			return false;
	return true;
}

/* Whether `size` bytes of `value` in a row lie on the locked stack. */
UNCHECKED static bool stack_holds(uint8_t value, size_t size)
{
	size_t run = 0;

	for (size_t i = 0; i < stack.size && run < size; i++)
		run = ((volatile uint8_t *)stack.base)[i] == value ? run + 1 : 0;
	return run == size;
}

/* -- the switch ---------------------------------------------------------------------------- */

struct visit {
	int times;
	bool on_stack;
	bool aligned;
	const void *frame;
};

static void visit(void *argument)
{
	struct visit *v = argument;
	_Alignas(16) volatile uint8_t local = 1;

	v->times++;
	v->frame = __builtin_frame_address(0);
	v->on_stack = lies_on_stack(v->frame);
	v->aligned = (uintptr_t)&local % 16 == 0 && (uintptr_t)v->frame % 16 == 0;
}

START_TEST(a_call_runs_once_and_on_the_locked_stack)
{
	struct visit inside = { 0 };
	struct visit outside = { 0 };

	if (!switches())
		return;
	visit(&outside);
	ck_assert(!outside.on_stack);
	locked_stack_call(&stack, visit, &inside);
	ck_assert_int_eq(inside.times, 1);
	ck_assert(inside.on_stack);
	ck_assert(inside.aligned);
	/* It starts at the top: nothing of the stack is given away. */
	if (!SANITIZED)
		ck_assert_ptr_eq(inside.frame, stack.base + stack.size - 16);
	ck_assert(!stack.busy);
	visit(&outside);
	ck_assert(!outside.on_stack);
}
END_TEST

struct planting {
	bool seen;
};

UNCHECKED static void plant(void *argument)
{
	struct planting *p = argument;
	volatile uint8_t local[512];

	for (size_t i = 0; i < sizeof(local); i++)
		local[i] = 0xb7;
	p->seen = stack_holds(0xb7, sizeof(local));
}

START_TEST(what_a_call_leaves_on_the_stack_is_wiped)
{
	struct planting p = { 0 };

	if (!switches())
		return;
	locked_stack_call(&stack, plant, &p);
	ck_assert(p.seen);
	ck_assert(stack_is_zero());
}
END_TEST

struct nesting {
	int depth;
	int reached;   /* nested calls that ran on the locked stack */
	int untouched; /* of them, those that left their callers' bytes alone */
	bool busy;
};

static void nest(void *argument)
{
	struct nesting *n = argument;
	volatile uint8_t local[64];
	bool whole = true;

	for (size_t i = 0; i < sizeof(local); i++)
		local[i] = (uint8_t)n->depth;
	n->reached += lies_on_stack(__builtin_frame_address(0));
	if (n->depth > 0) {
		int depth = n->depth--;

		locked_stack_call(&stack, nest, n);
		n->busy &= stack.busy;
		for (size_t i = 0; i < sizeof(local); i++)
			whole &= local[i] == depth;
	}
	n->untouched += whole;
}

START_TEST(nested_calls_run_at_once_and_only_the_outermost_wipes)
{
	struct nesting n = { .depth = _i, .busy = true };

	if (!switches())
		return;
	locked_stack_call(&stack, nest, &n);
	ck_assert_int_eq(n.reached, _i + 1);
	ck_assert_int_eq(n.untouched, _i + 1);
	ck_assert(n.busy);
	ck_assert(!stack.busy);
	ck_assert(stack_is_zero());
}
END_TEST

__attribute__((noinline)) static int eat(size_t bytes)
{
	volatile uint8_t page[512];

	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = 1;
	return bytes < sizeof(page) ? page[0] : eat(bytes - sizeof(page)) + page[1];
}

static void eat_argument(void *argument)
{
	if (eat(*(size_t *)argument) < 1)
		abort();
}

START_TEST(the_stack_can_be_used_almost_to_its_end)
{
	size_t bytes = stack.size / 2;

	locked_stack_call(&stack, eat_argument, &bytes);
	if (switches())
		ck_assert_uint_gt(locked_stack_measure(&stack, eat_argument, &bytes), bytes);
}
END_TEST

START_TEST(running_over_the_end_kills)
{
	size_t bytes = stack.size + 4096;

	if (!switches())
		raise(SIGSEGV);
	locked_stack_call(&stack, eat_argument, &bytes);
	exit(EXIT_FAILURE);
}
END_TEST

/* -- registers ----------------------------------------------------------------------------- */

#if defined(__x86_64__)

/* General registers that a function need not keep, then those that it must. */
enum { SCRATCH = 9, KEPT = 6 };

struct registers {
	uint64_t scratch[SCRATCH]; /* rax rcx rdx rsi rdi r8 r9 r10 r11 */
	uint64_t kept[KEPT];       /* rbx rbp r12 r13 r14 r15 */
};

#define PATTERN 0x5ec4e75ec4e75ec4

typedef void (*call_fn)(struct locked_stack *, void (*)(void *), void *);

void fill_xmm(void *pattern);
void fill_ymm(void *pattern);
void fill_zmm(void *pattern);
void fill_general(void *pattern);
void dump_xmm(void *out);
void dump_ymm(void *out);
void dump_zmm(void *out);
void plain_call(struct locked_stack *unused, void (*function)(void *), void *argument);
void call_and_dump(call_fn call, struct locked_stack *on, void (*function)(void *), void *argument,
	struct registers *out);

/*
 * In assembly, because a compiler between the call and the look would use registers itself.
 * call_and_dump marks the registers that a function must keep, calls, and stores all of them.
 */
__asm__(".text\n"
	".macro begin name\n"
	".globl \\name\n"
	".hidden \\name\n"
	".type \\name, @function\n"
	"\\name:\n"
	"endbr64\n"
	".endm\n"

	"begin fill_xmm\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"movdqu (%rdi), %xmm\\n\n"
	".endr\n"
	"ret\n"
	"begin fill_ymm\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"vmovdqu (%rdi), %ymm\\n\n"
	".endr\n"
	"ret\n"
	"begin fill_zmm\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"vmovdqu64 (%rdi), %zmm\\n\n"
	".endr\n"
	".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n"
	"vmovdqu64 (%rdi), %zmm\\n\n"
	".endr\n"
	"ret\n"
	"begin fill_general\n"
	"mov (%rdi), %rax\n"
	".irp r, rcx, rdx, rsi, rdi, r8, r9, r10, r11\n"
	"mov %rax, %\\r\n"
	".endr\n"
	"ret\n"

	"begin dump_xmm\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"movdqu %xmm\\n, 64*\\n(%rdi)\n"
	".endr\n"
	"ret\n"
	"begin dump_ymm\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"vmovdqu %ymm\\n, 64*\\n(%rdi)\n"
	".endr\n"
	"ret\n"
	"begin dump_zmm\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"vmovdqu64 %zmm\\n, 64*\\n(%rdi)\n"
	".endr\n"
	".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n"
	"vmovdqu64 %zmm\\n, 64*\\n(%rdi)\n"
	".endr\n"
	"ret\n"

	"begin plain_call\n"
	"mov %rsi, %rax\n"
	"mov %rdx, %rdi\n"
	"jmp *%rax\n"

	"begin call_and_dump\n"
	".irp r, rbx, rbp, r12, r13, r14, r15\n"
	"push %\\r\n"
	".endr\n"
	"push %r8\n"
	"mov $0x101, %ebx\n"
	"mov $0x102, %ebp\n"
	"mov $0x103, %r12d\n"
	"mov $0x104, %r13d\n"
	"mov $0x105, %r14d\n"
	"mov $0x106, %r15d\n"
	"mov %rdi, %rax\n"
	"mov %rsi, %rdi\n"
	"mov %rdx, %rsi\n"
	"mov %rcx, %rdx\n"
	"call *%rax\n"
	"xchg %rax, (%rsp)\n"
	"mov %rcx, 8(%rax)\n"
	"mov %rdx, 16(%rax)\n"
	"mov %rsi, 24(%rax)\n"
	"mov %rdi, 32(%rax)\n"
	"mov %r8, 40(%rax)\n"
	"mov %r9, 48(%rax)\n"
	"mov %r10, 56(%rax)\n"
	"mov %r11, 64(%rax)\n"
	"mov %rbx, 72(%rax)\n"
	"mov %rbp, 80(%rax)\n"
	"mov %r12, 88(%rax)\n"
	"mov %r13, 96(%rax)\n"
	"mov %r14, 104(%rax)\n"
	"mov %r15, 112(%rax)\n"
	"pop %rcx\n"
	"mov %rcx, (%rax)\n"
	".irp r, r15, r14, r13, r12, rbp, rbx\n"
	"pop %\\r\n"
	".endr\n"
	"ret\n");

#define PATTERN_8 PATTERN, PATTERN, PATTERN, PATTERN, PATTERN, PATTERN, PATTERN, PATTERN

static uint64_t pattern[8] = { PATTERN_8 };

/* What the processor has of vector registers, each set with its size and its two helpers. */
static const struct vector_set {
	const char *name;
	size_t count;
	size_t words; /* 8-byte words in a register */
	void (*fill)(void *);
	void (*dump)(void *);
} vector_sets[] = {
	{ "xmm", 16, 2, fill_xmm, dump_xmm },
	{ "ymm", 16, 4, fill_ymm, dump_ymm },
	{ "zmm", 32, 8, fill_zmm, dump_zmm },
};

static bool has_vectors(int set)
{
	bool has = set == 0 || (set == 1 && __builtin_cpu_supports("avx")) ||
		(set == 2 && __builtin_cpu_supports("avx512f"));

	if (!has)
		printf("skipped: no %s registers\n", vector_sets[set].name);
	return has;
}

/* How many words of the set's registers hold the pattern, and how many anything at all. */
static void count_words(const struct vector_set *set, call_fn call, size_t *marked, size_t *filled)
{
	_Alignas(64) uint64_t words[32][8] = { 0 };

	call(&stack, set->fill, pattern);
	set->dump(words);
	*marked = *filled = 0;
	for (size_t i = 0; i < set->count; i++) {
		for (size_t j = 0; j < set->words; j++) {
			*marked += words[i][j] == PATTERN;
			*filled += words[i][j] != 0;
		}
	}
}

START_TEST(no_vector_register_keeps_what_a_call_left_in_it)
{
	const struct vector_set *set = &vector_sets[_i];
	size_t marked;
	size_t filled;

	if (!has_vectors(_i))
		return;
	count_words(set, plain_call, &marked, &filled);
	ck_assert_uint_eq(marked, set->count * set->words);
	count_words(set, locked_stack_call, &marked, &filled);
	ck_assert_uint_eq(marked, 0);
	ck_assert_uint_eq(filled, 0);
}
END_TEST

/* For whoever has only copied: the scrub alone. */
static void scrubbed_call(struct locked_stack *on, void (*function)(void *), void *argument)
{
	plain_call(on, function, argument);
	locked_stack_scrub();
}

START_TEST(a_scrub_alone_clears_every_vector_register)
{
	const struct vector_set *set = &vector_sets[_i];
	size_t marked;
	size_t filled;

	if (!has_vectors(_i))
		return;
	count_words(set, scrubbed_call, &marked, &filled);
	ck_assert_uint_eq(marked, 0);
	ck_assert_uint_eq(filled, 0);
}
END_TEST

START_TEST(no_general_register_keeps_what_a_call_left_in_it)
{
	struct registers after;

	call_and_dump(plain_call, &stack, fill_general, pattern, &after);
	for (size_t i = 0; i < SCRATCH; i++)
		ck_assert_uint_eq(after.scratch[i], PATTERN);
	call_and_dump(locked_stack_call, &stack, fill_general, pattern, &after);
	for (size_t i = 0; i < SCRATCH; i++)
		ck_assert_uint_ne(after.scratch[i], PATTERN);
}
END_TEST

/* A function that uses every register it must give back, as compiled code would. */
static void use_kept(void *argument)
{
	(void)argument;
	__asm__ volatile("mov $1, %%ebx\n\tmov $2, %%r12d\n\tmov $3, %%r13d\n\t"
			 "mov $4, %%r14d\n\tmov $5, %%r15d" ::
				 : "rbx", "r12", "r13", "r14", "r15", "memory");
}

START_TEST(the_callers_registers_survive)
{
	struct registers after;

	call_and_dump(locked_stack_call, &stack, use_kept, NULL, &after);
	for (size_t i = 0; i < KEPT; i++)
		ck_assert_uint_eq(after.kept[i], 0x101 + i);
}
END_TEST

#endif

static void compute(void *argument)
{
	double *number = argument;

	*number = *number / 3.0 + 1.0;
}

/* In upward rounding a third is another number: mode, flags and values are the caller's own. */
START_TEST(the_callers_floating_point_state_survives)
{
	volatile double one = 1.0;
	double before = one / 7.0;
	double inside = one;
	double upward;

	ck_assert_int_eq(fesetround(FE_UPWARD), 0);
	upward = one / 3.0 + 1.0;
	feclearexcept(FE_ALL_EXCEPT);
	feraiseexcept(FE_INEXACT);
	locked_stack_call(&stack, compute, &inside);
	ck_assert_int_eq(fegetround(), FE_UPWARD);
	ck_assert_int_ne(fetestexcept(FE_INEXACT), 0);
	ck_assert(inside == upward);
	ck_assert_int_eq(fesetround(FE_TONEAREST), 0);
	ck_assert(before == one / 7.0);
	ck_assert(upward != one / 3.0 + 1.0);
}
END_TEST

/* -- the depth of the real paths ----------------------------------------------------------- */

/* Everything the paths work on; in ordinary memory, for only their stack is looked at. */
static struct {
	uint8_t key[ENCLAVE_KEY_SIZE];
	uint8_t plain[ENCLAVE_CHUNK_PLAIN];
	uint8_t chunk[ENCLAVE_CHUNK_SIZE];
	uint8_t opened[ENCLAVE_CHUNK_PLAIN];
	size_t size; /* of the plaintext */
	uint8_t wrapped[ENCLAVE_WRAPPED_KEY];
	uint8_t public[crypto_kx_PUBLICKEYBYTES];
	uint8_t secret[crypto_kx_SECRETKEYBYTES];
	uint8_t receive[crypto_kx_SESSIONKEYBYTES];
	uint8_t send[crypto_kx_SESSIONKEYBYTES];
	struct guard guard;
	struct coffer coffer;
	_Alignas(16) uint8_t keys[3 * 4096];
	_Alignas(16) uint8_t view[256];
	int r;
} work;

static const struct enclave_binding binding = { 1, 2 };

static void run_seal(void *unused)
{
	(void)unused;
	enclave_seal_chunk(work.chunk, work.plain, work.size, 0, true, work.key);
}

static void run_open(void *unused)
{
	(void)unused;
	work.r = enclave_open_chunk(
		work.opened, work.chunk, work.size + ENCLAVE_TAG_SIZE, 0, true, work.key);
}

static void run_check(void *unused)
{
	(void)unused;
	work.r = enclave_check_chunk(work.chunk, work.size + ENCLAVE_TAG_SIZE, 0, true, work.key);
}

static void run_keypair(void *unused)
{
	(void)unused;
	work.r = crypto_kx_keypair(work.public, work.secret);
}

static void run_server_keys(void *unused)
{
	(void)unused;
	work.r = crypto_kx_server_session_keys(
		work.receive, work.send, work.public, work.secret, work.public);
}

static void run_client_keys(void *unused)
{
	(void)unused;
	work.r = crypto_kx_client_session_keys(
		work.receive, work.send, work.public, work.secret, work.public);
}

static void run_init(void *unused)
{
	(void)unused;
	coffer_init(&work.coffer, work.keys, 4096, work.view, &work.guard);
}

static void run_remask(void *unused)
{
	(void)unused;
	coffer_remask(&work.coffer);
}

static void run_replace(void *unused)
{
	(void)unused;
	coffer_replace(&work.coffer, COFFER_VAULT);
}

static void run_view(void *unused)
{
	(void)unused;
	coffer_forget(&work.coffer);
	work.r = coffer_view(&work.coffer) ? 0 : -1;
}

static void run_wrap(void *unused)
{
	(void)unused;
	coffer_forget(&work.coffer);
	work.r = enclave_wrap(
		work.wrapped, work.key, ENCLAVE_KEY_SIZE, binding, &work.coffer, COFFER_VAULT);
}

static void run_unwrap(void *unused)
{
	(void)unused;
	coffer_forget(&work.coffer);
	work.r = enclave_unwrap(
		work.receive, work.wrapped, ENCLAVE_KEY_SIZE, binding, &work.coffer, COFFER_VAULT);
}

static void run_draw(void *unused)
{
	(void)unused;
	enclave_draw_key(work.key);
}

static void run_frame(void *unused)
{
	static const uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	unsigned long long size;

	(void)unused;
	work.r = crypto_aead_chacha20poly1305_ietf_encrypt(
		work.chunk, &size, work.plain, 8192, NULL, 0, NULL, nonce, work.key);
	work.r |= crypto_aead_chacha20poly1305_ietf_decrypt(
		work.opened, NULL, NULL, work.chunk, size, NULL, 0, nonce, work.key);
}

/* In an order in which each finds what it needs. */
static const struct path {
	const char *name;
	void (*run)(void *);
} paths[] = {
	{ "enclave_draw_key", run_draw },
	{ "enclave_seal_chunk, 16 KiB", run_seal },
	{ "enclave_open_chunk, 16 KiB", run_open },
	{ "enclave_check_chunk, 16 KiB", run_check },
	{ "crypto_kx_keypair", run_keypair },
	{ "crypto_kx_server_session_keys", run_server_keys },
	{ "crypto_kx_client_session_keys", run_client_keys },
	{ "coffer_init", run_init },
	{ "coffer_remask", run_remask },
	{ "coffer_replace", run_replace },
	{ "coffer_view", run_view },
	{ "enclave_wrap with its view", run_wrap },
	{ "enclave_unwrap with its view", run_unwrap },
	{ "chacha20poly1305, 8 KiB both ways", run_frame },
};

START_TEST(the_deepest_path_leaves_room_on_the_stack)
{
	size_t deepest = 0;

	if (!switches())
		return;
	guard_init(&work.guard);
	work.size = ENCLAVE_CHUNK_PLAIN;
	randombytes_buf(work.plain, sizeof(work.plain));
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		size_t depth = locked_stack_measure(&stack, paths[i].run, NULL);

		printf("%5zu bytes of stack: %s\n", depth, paths[i].name);
		ck_assert_int_eq(work.r, 0);
		ck_assert_uint_gt(depth, 0);
		deepest = depth > deepest ? depth : deepest;
	}
	printf("%5zu is the deepest of %zu\n", deepest, locked_stack_size());
	ck_assert_uint_le(deepest + SPARE, locked_stack_size());
	ck_assert_mem_eq(work.receive, work.key, sizeof(work.key));
}
END_TEST

/* The control of the figures: a known depth is measured as what it is. */
static void use_a_known_depth(void *argument)
{
	volatile uint8_t local[1000];

	for (size_t i = 0; i < sizeof(local); i++)
		local[i] = 1;
	*(bool *)argument = lies_on_stack((const void *)(uintptr_t)local) || SANITIZED;
}

START_TEST(a_known_depth_is_measured)
{
	bool on_stack = false;
	size_t depth;

	if (!switches())
		return;
	depth = locked_stack_measure(&stack, use_a_known_depth, &on_stack);
	ck_assert(on_stack);
	ck_assert_uint_ge(depth, 1000);
	ck_assert_uint_le(depth, SANITIZED ? 4096 : 1200);
}
END_TEST

/* -- residue ------------------------------------------------------------------------------- */

static uint8_t picture[REACH];
static uint64_t windows[ENCLAVE_CHUNK_PLAIN];

/* Copies what lies below the caller's frame, before anybody else runs there. */
UNCHECKED static void photograph(void)
{
	const volatile uint8_t *top = __builtin_frame_address(0);

	for (size_t i = 0; i < REACH; i++)
		picture[i] = *(top - REACH + i);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* How many places of the picture show 8 bytes in a row of the plaintext. */
static size_t count_residue(void)
{
	size_t count = work.size - 7;
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		memcpy(&windows[i], work.plain + i, 8);
	qsort(windows, count, sizeof(windows[0]), compare);
	for (size_t i = 0; i + 8 <= REACH; i++) {
		uint64_t word;

		memcpy(&word, picture + i, 8);
		found += bsearch(&word, windows, count, sizeof(word), compare) != NULL;
	}
	return found;
}

/* What `run` leaves on the ordinary stack, with or without the locked one. */
static size_t residue_of(void (*run)(void *), bool locked)
{
	sodium_stackzero(REACH + 4096);
	if (locked)
		locked_stack_call(&stack, run, NULL);
	else
		run(NULL);
	photograph();
	ck_assert_int_eq(work.r, 0);
	return count_residue();
}

static void seal_a_random_value(size_t size)
{
	work.size = size;
	work.r = 0;
	randombytes_buf(work.key, sizeof(work.key));
	randombytes_buf(work.plain, sizeof(work.plain));
	run_seal(NULL);
}

static void do_nothing(void *unused)
{
	(void)unused;
}

/* A shorter one leaves nothing in either place: enclave.c wipes the block that it makes for it. */
static const size_t residue_sizes[] = { 64, 1000, ENCLAVE_CHUNK_PLAIN };

START_TEST(opening_on_the_locked_stack_leaves_no_plaintext_on_the_ordinary_one)
{
	size_t leak;

	seal_a_random_value(residue_sizes[_i]);
	ck_assert_uint_eq(residue_of(do_nothing, false), 0);
	leak = residue_of(run_open, false);
	printf("%5zu windows of plaintext on the ordinary stack after opening %zu bytes there\n",
		leak, work.size);
	ck_assert_uint_gt(leak, 0);
	ck_assert_mem_eq(work.opened, work.plain, work.size);
	memset(work.opened, 0, sizeof(work.opened));
	ck_assert_uint_eq(residue_of(run_open, true), 0);
	ck_assert_mem_eq(work.opened, work.plain, work.size);
}
END_TEST

/* Opening in the same place does leave some, so that the search would have found it. */
START_TEST(checking_a_chunk_decrypts_nothing)
{
	seal_a_random_value(residue_sizes[_i]);
	memset(work.opened, 0, sizeof(work.opened));
	ck_assert_uint_gt(residue_of(run_open, false), 0);
	ck_assert_uint_eq(residue_of(run_check, false), 0);
}
END_TEST

/* -- all together -------------------------------------------------------------------------- */

static TCase *switch_case(void)
{
	TCase *tc = tcase_create("switch");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_call_runs_once_and_on_the_locked_stack);
	tcase_add_test(tc, what_a_call_leaves_on_the_stack_is_wiped);
	tcase_add_loop_test(tc, nested_calls_run_at_once_and_only_the_outermost_wipes, 0, 4);
	tcase_add_test(tc, the_stack_can_be_used_almost_to_its_end);
	tcase_add_test_raise_signal(tc, running_over_the_end_kills, SIGSEGV);
	tcase_add_test(tc, the_callers_floating_point_state_survives);
#if defined(__x86_64__)
	tcase_add_loop_test(tc, no_vector_register_keeps_what_a_call_left_in_it, 0, 3);
	tcase_add_loop_test(tc, a_scrub_alone_clears_every_vector_register, 0, 3);
	tcase_add_test(tc, no_general_register_keeps_what_a_call_left_in_it);
	tcase_add_test(tc, the_callers_registers_survive);
#endif
	return tc;
}

static TCase *depth_case(void)
{
	TCase *tc = tcase_create("depth and residue");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, the_deepest_path_leaves_room_on_the_stack);
	tcase_add_test(tc, a_known_depth_is_measured);
	tcase_add_loop_test(
		tc, opening_on_the_locked_stack_leaves_no_plaintext_on_the_ordinary_one, 0, 3);
	tcase_add_loop_test(tc, checking_a_chunk_decrypts_nothing, 0, 3);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("locked_stack");
	SRunner *runner;
	int failed;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	suite_add_tcase(suite, switch_case());
	suite_add_tcase(suite, depth_case());
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
