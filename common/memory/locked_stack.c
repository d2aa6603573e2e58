/* SPDX-License-Identifier: Apache-2.0 */
#include "common/memory/locked_stack.h"

#include <sodium.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define LOCKED_STACK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LOCKED_STACK_ASAN 1
#endif
#endif
#ifndef LOCKED_STACK_ASAN
#define LOCKED_STACK_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define LOCKED_STACK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOCKED_STACK_TSAN 1
#endif
#endif
#ifndef LOCKED_STACK_TSAN
#define LOCKED_STACK_TSAN 0
#endif

#if LOCKED_STACK_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if LOCKED_STACK_ASAN || LOCKED_STACK_TSAN
#define STACK_PAGES 64 /* instrumented frames are many times larger */
#else
#define STACK_PAGES 2 /* the deepest path takes about 6 KiB: tests/unit/test-depth.c */
#endif

/*
 * The assembly below changes registers that the compiler cannot see, so it must not look through
 * these functions and keep a value in one of them: every caller takes the whole of the calling
 * convention's losses for granted. gcc does look, even into what it does not inline.
 */
#if defined(__has_attribute)
#if __has_attribute(noipa)
#define OPAQUE __attribute__((noipa))
#endif
#endif
#ifndef OPAQUE
#define OPAQUE __attribute__((noinline))
#endif

#define STACK_PAGE 4096
#define STACK_PATTERN 0xa5

/* Below the caller, where there is no switch: as deep as libsodium was seen to go, and some. */
#define STACK_ZERO 16384

size_t locked_stack_size(void)
{
	return STACK_PAGES * STACK_PAGE;
}

void locked_stack_init(struct locked_stack *stack, void *memory, size_t size)
{
	*stack = (struct locked_stack){ .base = memory, .size = size };
}

#if defined(__x86_64__)

/*
 * Calls function(argument) with the stack pointer at `top` and comes back. The frame pointer keeps
 * the old stack; it is callee-saved, so the function gives it back as it was.
 */
OPAQUE __attribute__((naked)) static void switch_and_call(
	__attribute__((unused)) void (*function)(void *), __attribute__((unused)) void *argument,
	__attribute__((unused)) void *top)
{
	__asm__("endbr64\n\t"
		"push %rbp\n\t"
		"mov %rsp, %rbp\n\t"
		"mov %rdi, %rax\n\t"
		"mov %rsi, %rdi\n\t"
		"mov %rdx, %rsp\n\t"
		"call *%rax\n\t"
		"mov %rbp, %rsp\n\t"
		"pop %rbp\n\t"
		"ret");
}

/*
 * What a function may leave in registers that nobody saves. vzeroall reaches ymm0 to ymm15 and the
 * upper halves of zmm0 to zmm15; zmm16 to zmm31, which memcpy uses, need instructions of their own.
 */
OPAQUE static void scrub_avx512(void)
{
	__asm__ volatile("vpxorq %%zmm16, %%zmm16, %%zmm16\n\t"
			 "vpxorq %%zmm17, %%zmm17, %%zmm17\n\t"
			 "vpxorq %%zmm18, %%zmm18, %%zmm18\n\t"
			 "vpxorq %%zmm19, %%zmm19, %%zmm19\n\t"
			 "vpxorq %%zmm20, %%zmm20, %%zmm20\n\t"
			 "vpxorq %%zmm21, %%zmm21, %%zmm21\n\t"
			 "vpxorq %%zmm22, %%zmm22, %%zmm22\n\t"
			 "vpxorq %%zmm23, %%zmm23, %%zmm23\n\t"
			 "vpxorq %%zmm24, %%zmm24, %%zmm24\n\t"
			 "vpxorq %%zmm25, %%zmm25, %%zmm25\n\t"
			 "vpxorq %%zmm26, %%zmm26, %%zmm26\n\t"
			 "vpxorq %%zmm27, %%zmm27, %%zmm27\n\t"
			 "vpxorq %%zmm28, %%zmm28, %%zmm28\n\t"
			 "vpxorq %%zmm29, %%zmm29, %%zmm29\n\t"
			 "vpxorq %%zmm30, %%zmm30, %%zmm30\n\t"
			 "vpxorq %%zmm31, %%zmm31, %%zmm31" ::
				 : "memory");
}

OPAQUE static void scrub_sse(void)
{
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\t"
			 "pxor %%xmm1, %%xmm1\n\t"
			 "pxor %%xmm2, %%xmm2\n\t"
			 "pxor %%xmm3, %%xmm3\n\t"
			 "pxor %%xmm4, %%xmm4\n\t"
			 "pxor %%xmm5, %%xmm5\n\t"
			 "pxor %%xmm6, %%xmm6\n\t"
			 "pxor %%xmm7, %%xmm7\n\t"
			 "pxor %%xmm8, %%xmm8\n\t"
			 "pxor %%xmm9, %%xmm9\n\t"
			 "pxor %%xmm10, %%xmm10\n\t"
			 "pxor %%xmm11, %%xmm11\n\t"
			 "pxor %%xmm12, %%xmm12\n\t"
			 "pxor %%xmm13, %%xmm13\n\t"
			 "pxor %%xmm14, %%xmm14\n\t"
			 "pxor %%xmm15, %%xmm15" ::
				 : "memory");
}

static void scrub_general(void)
{
	__asm__ volatile("xor %%eax, %%eax\n\t"
			 "xor %%ecx, %%ecx\n\t"
			 "xor %%edx, %%edx\n\t"
			 "xor %%esi, %%esi\n\t"
			 "xor %%edi, %%edi\n\t"
			 "xor %%r8d, %%r8d\n\t"
			 "xor %%r9d, %%r9d\n\t"
			 "xor %%r10d, %%r10d\n\t"
			 "xor %%r11d, %%r11d" ::
				 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
			 "cc", "memory");
}

OPAQUE static void scrub_avx(void)
{
	__asm__ volatile("vzeroall" ::: "memory");
}

/* The compiler's own start-up code has asked the processor and the kernel: this reads a word. */
static void scrub(void)
{
	if (__builtin_cpu_supports("avx512f"))
		scrub_avx512();
	if (__builtin_cpu_supports("avx"))
		scrub_avx();
	else
		scrub_sse();
	scrub_general();
}

OPAQUE void locked_stack_scrub(void)
{
	scrub();
}

bool locked_stack_switches(void)
{
	return true;
}

#if LOCKED_STACK_ASAN

/* The sanitizer must know which stack it is on: the announcements wrap both ways of the switch. */
struct crossing {
	void (*function)(void *);
	void *argument;
	const void *old_base;
	size_t old_size;
};

static void cross(void *argument)
{
	struct crossing *crossing = argument;

	__sanitizer_finish_switch_fiber(NULL, &crossing->old_base, &crossing->old_size);
	crossing->function(crossing->argument);
	__sanitizer_start_switch_fiber(NULL, crossing->old_base, crossing->old_size);
}

static void run(struct locked_stack *stack, void (*function)(void *), void *argument)
{
	struct crossing crossing = { .function = function, .argument = argument };
	void *fake = NULL;

	__sanitizer_start_switch_fiber(&fake, stack->base, stack->size);
	switch_and_call(cross, &crossing, stack->base + stack->size);
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

#else

static void run(struct locked_stack *stack, void (*function)(void *), void *argument)
{
	switch_and_call(function, argument, stack->base + stack->size);
}

#endif

static void wipe(struct locked_stack *stack)
{
	sodium_memzero(stack->base, stack->size);
	scrub();
}

#else

static void run(struct locked_stack *stack, void (*function)(void *), void *argument)
{
	(void)stack;
	function(argument);
}

static void wipe(struct locked_stack *stack)
{
	(void)stack;
	sodium_stackzero(STACK_ZERO);
}

void locked_stack_scrub(void)
{
}

bool locked_stack_switches(void)
{
	return false;
}

#endif

OPAQUE void locked_stack_call(struct locked_stack *stack, void (*function)(void *), void *argument)
{
	if (stack->busy) {
		function(argument);
		return;
	}
	stack->busy = true;
	run(stack, function, argument);
	stack->busy = false;
	wipe(stack);
}

OPAQUE size_t locked_stack_measure(
	struct locked_stack *stack, void (*function)(void *), void *argument)
{
	size_t untouched = 0;

	if (stack->busy || !locked_stack_switches())
		return 0;
	memset(stack->base, STACK_PATTERN, stack->size);
	stack->busy = true;
	run(stack, function, argument);
	stack->busy = false;
	while (untouched < stack->size && stack->base[untouched] == STACK_PATTERN)
		untouched++;
	wipe(stack);
	return stack->size - untouched;
}
