/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/signals.h"

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* -- what each one does -------------------------------------------------------------------- */

/* A reader that has gone is an error of write; a file that may not grow is one, too. */
static const int ignored[] = { SIGPIPE, SIGUSR1, SIGXFSZ };

static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };

/* What does not end a process, and what nobody can catch. */
static const int left[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU, SIGSTOP,
	SIGKILL };

static void take_out(sigset_t *set, const int *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sigdelset(set, numbers[i]);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Whatever else there is would end the process: then it ends in order. */
sigset_t signals_set(void)
{
	sigset_t set;

	sigfillset(&set);
	take_out(&set, ignored, COUNT(ignored));
	take_out(&set, faults, COUNT(faults));
	take_out(&set, left, COUNT(left));
	return set;
}

void signals_block(void)
{
	sigset_t set = signals_set();

	sigprocmask(SIG_SETMASK, &set, NULL);
	for (size_t i = 0; i < COUNT(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

bool signals_end_waits(void)
{
	sigset_t waiting;

	return sigpending(&waiting) == 0 &&
		(sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1 ||
			sigismember(&waiting, SIGQUIT) == 1);
}

/* -- faults -------------------------------------------------------------------------------- */

/* Bytes below the frame of the function that wipes: what it needs itself. */
#define WINDOW_SIZE 256

/* The sanitizer would see stacks where we see memory to be wiped. */
#define BARE __attribute__((noinline, no_sanitize("address")))

/* What is wiped; `bench` is one of the regions. */
static struct os_memory *memory;
static const uint8_t *bench;

/* By hand: whatever the C library has may be spoilt by now. */
BARE static void wipe(uint8_t *from, const uint8_t *to)
{
	for (volatile uint8_t *at = from; at < to; at++)
		*at = 0;
}

/*
 * The handler's stack is the workbench: all is wiped but what is in use of it, from `low` up to
 * `high`, above which lie only the way back and the registers that the kernel saved. So there is no
 * way back.
 */
BARE static void wipe_around(uint8_t *from, uint8_t *to, uint8_t *low, uint8_t *high)
{
	if (low < from || high >= to) {
		wipe(from, to);
		return;
	}
	wipe(from, low);
	wipe(high, to);
}

BARE static void wipe_all(uint8_t *low, uint8_t *high)
{
	for (size_t i = 0; i < memory->count; i++) {
		struct os_region *region = &memory->regions[i];
		uint8_t *end = region->data + region->size;

		if (region->data == bench)
			wipe_around(region->data, end, low, high);
		else
			wipe(region->data, end);
	}
}

/* Its own frame covers the window. */
BARE static void wipe_window(void)
{
	volatile uint8_t window[2 * WINDOW_SIZE];

	for (size_t i = 0; i < sizeof(window); i++)
		window[i] = 0;
}

/*
 * Of what was on the bench no more is left than the words that the compiler leaves empty here.
 * SA_RESETHAND has given the signal its own effect back, and SA_NODEFER lets it through. The kernel
 * spares the first process of a container: that one exits.
 */
BARE static void on_fault(int number)
{
	uint8_t *high = __builtin_frame_address(0);

	wipe_all(high - WINDOW_SIZE, high);
	wipe_window();
	raise(number);
	_exit(128 + number);
}

void signals_wipe_on_fault(struct daemon *daemon)
{
	struct sigaction action = { .sa_handler = on_fault,
		.sa_flags = (int)(SA_ONSTACK | SA_NODEFER | SA_RESETHAND) };
	stack_t stack = { .ss_sp = daemon->bench.base, .ss_size = daemon->bench.size };

	memory = &daemon->memory;
	bench = daemon->bench.base;
	/* Where it is too small, the handler runs wherever the fault was. */
	(void)sigaltstack(&stack, NULL);
	sigfillset(&action.sa_mask);
	take_out(&action.sa_mask, faults, COUNT(faults));
	for (size_t i = 0; i < COUNT(faults); i++)
		sigaction(faults[i], &action, NULL);
}
