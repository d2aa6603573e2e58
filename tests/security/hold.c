/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/hold.h"

#if defined(__x86_64__)

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#define MASK 0x5a
#define SIGNALS_SIZE 8 /* bytes of a set of signals, as the kernel has it */

static uint8_t held[HOLD_SIZE];

void hold(const uint8_t bytes[static HOLD_SIZE])
{
	for (int i = 0; i < HOLD_SIZE; i++)
		held[i] = bytes[i] ^ MASK;
}

/* The registers are loaded as the last thing before the kernel is entered. */
static long wait_holding(
	int fd, struct epoll_event *events, int room, int timeout, const sigset_t *signals)
{
	static const uint8_t mask[HOLD_SIZE / 2] = { MASK, MASK, MASK, MASK, MASK, MASK, MASK, MASK,
		MASK, MASK, MASK, MASK, MASK, MASK, MASK, MASK };
	register long r10 __asm__("r10") = timeout;
	register const sigset_t *r8 __asm__("r8") = signals;
	register long r9 __asm__("r9") = SIGNALS_SIZE;
	long r = SYS_epoll_pwait;

	__asm__ volatile("movdqu (%[held]), %%xmm8\n\t"
			 "movdqu 16(%[held]), %%xmm9\n\t"
			 "movdqu (%[mask]), %%xmm10\n\t"
			 "pxor %%xmm10, %%xmm8\n\t"
			 "pxor %%xmm10, %%xmm9\n\t"
			 "syscall"
			 : "+a"(r)
			 : [held] "b"(held), [mask] "r"(mask), "D"((long)fd), "S"(events),
			 "d"((long)room), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "xmm8", "xmm9", "xmm10");
	return r;
}

/* In front of the C library's, for libuv too: it calls one of the two, as its version has it. */
__attribute__((visibility("default"))) int epoll_pwait(
	int fd, struct epoll_event *events, int room, int timeout, const sigset_t *signals)
{
	long r = wait_holding(fd, events, room, timeout, signals);

	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

__attribute__((visibility("default"))) int epoll_wait(
	int fd, struct epoll_event *events, int room, int timeout)
{
	return epoll_pwait(fd, events, room, timeout, NULL);
}

#else

void hold(const uint8_t bytes[static HOLD_SIZE])
{
	(void)bytes;
}

#endif
