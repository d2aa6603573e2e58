/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/security/hold.h"

#if defined(__x86_64__)

#include <errno.h>
#include <poll.h>
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
static long enter_holding(long number, const long arguments[6])
{
	static const uint8_t mask[HOLD_SIZE / 2] = { MASK, MASK, MASK, MASK, MASK, MASK, MASK, MASK,
		MASK, MASK, MASK, MASK, MASK, MASK, MASK, MASK };
	register long r10 __asm__("r10") = arguments[3];
	register long r8 __asm__("r8") = arguments[4];
	register long r9 __asm__("r9") = arguments[5];
	long r = number;

	__asm__ volatile("movdqu (%[held]), %%xmm8\n\t"
			 "movdqu 16(%[held]), %%xmm9\n\t"
			 "movdqu (%[mask]), %%xmm10\n\t"
			 "pxor %%xmm10, %%xmm8\n\t"
			 "pxor %%xmm10, %%xmm9\n\t"
			 "syscall"
			 : "+a"(r)
			 : [held] "b"(held), [mask] "r"(mask), "D"(arguments[0]), "S"(arguments[1]),
			 "d"(arguments[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "xmm8", "xmm9", "xmm10");
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* In front of the C library's, for libuv too: it calls one of the two, as its version has it. */
__attribute__((visibility("default"))) int epoll_pwait(
	int fd, struct epoll_event *events, int room, int timeout, const sigset_t *signals)
{
	return (int)enter_holding(SYS_epoll_pwait,
		(const long[]){ fd, (long)events, room, timeout, (long)signals, SIGNALS_SIZE });
}

__attribute__((visibility("default"))) int epoll_wait(
	int fd, struct epoll_event *events, int room, int timeout)
{
	return epoll_pwait(fd, events, room, timeout, NULL);
}

/* This is how a keeper waits. By another name: the C library's header may have one inline. */
__attribute__((visibility("default"))) int poll_holding(
	struct pollfd *polls, nfds_t count, int timeout) __asm__("poll");

int poll_holding(struct pollfd *polls, nfds_t count, int timeout)
{
	return (int)enter_holding(
		SYS_poll, (const long[]){ (long)polls, (long)count, timeout, 0, 0, 0 });
}

#else

void hold(const uint8_t bytes[static HOLD_SIZE])
{
	(void)bytes;
}

#endif
