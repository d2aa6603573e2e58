/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/error.h"
#include "client/lib/memory/bell.h"
#include "client/lib/memory/own.h"
#include "client/lib/mgclient.h"

/*
 * A signal's handler may do next to nothing: it only notes the signal and wakes a thread, which
 * wipes and calls the host's handler in peace.
 */

/* As many as there are bits to note them. */
#define SIGNALS 64

static struct own own = OWN_INIT;
static struct sigaction former[SIGNALS + 1]; /* what the host had before */
static uint64_t caught;                      /* bits of the signals that are ours now */

static _Atomic uint64_t noted;
static _Atomic pid_t watched; /* the process that has the thread; not its forked child */
static void (*_Atomic host_handler)(int number);

static uint64_t bit_of(int number)
{
	return (uint64_t)1 << (number - 1);
}

/* -- in the signal's handler --------------------------------------------------------------- */

static const struct sigaction standard = { .sa_handler = SIG_DFL };

/* A forked child has nobody to wake, and nothing to wipe. */
static void on_signal(int number)
{
	int before = errno;

	if (atomic_load(&watched) == getpid()) {
		atomic_fetch_or(&noted, bit_of(number));
		bell_ring();
	} else {
		sigaction(number, &standard, NULL);
		raise(number);
	}
	errno = before;
}

/* -- in the thread ------------------------------------------------------------------------- */

/* Whether the signal's own effect is the end of the process. */
static bool is_end(int number)
{
	static const int others[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGTSTP, SIGTTIN,
		SIGTTOU };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (number == others[i])
			return false;
	return true;
}

/* Lets the signal have its own effect, so that whoever waits for the process sees what it was. */
static void take_effect(int number)
{
	struct sigaction ours;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	sigaction(number, &standard, &ours);
	raise(number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	/* The first process of a container is spared by the kernel. */
	if (is_end(number))
		_exit(128 + number);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(number, &ours, NULL);
}

static void deal_with(int number)
{
	void (*handler)(int);

	mg_purge_local();
	handler = atomic_load(&host_handler);
	if (handler)
		handler(number);
	take_effect(number);
}

static void *watch(void *unused)
{
	for (;;) {
		uint64_t due;

		bell_wait();
		due = atomic_exchange(&noted, 0);
		for (int number = 1; number <= SIGNALS; number++)
			if (due & bit_of(number))
				deal_with(number);
	}
	return unused;
}

/* -- setting up ---------------------------------------------------------------------------- */

/* One thread a process, as soon as there is something to catch. No signal is ever its own. */
static int post_watch(pid_t self)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	if (atomic_load(&watched) == self)
		return MG_OK;
	r = -bell_hang();
	if (r == 0) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		r = pthread_create(&thread, NULL, watch, NULL);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (r != 0)
		return error_say(MG_LIMIT, "no thread to wait for signals: %s", strerror(r));
	pthread_detach(thread);
	atomic_store(&watched, self);
	return MG_OK;
}

static void give_back(void)
{
	for (int number = 1; number <= SIGNALS; number++)
		if (caught & bit_of(number))
			sigaction(number, &former[number], NULL);
	caught = 0;
}

static int take(const int *set)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK };

	sigfillset(&action.sa_mask);
	for (; *set != 0; set++) {
		if (caught & bit_of(*set))
			continue; /* named twice */
		if (sigaction(*set, &action, &former[*set]) < 0) {
			give_back();
			return error_say(MG_INVALID, "signal %d cannot be caught", *set);
		}
		caught |= bit_of(*set);
	}
	return MG_OK;
}

static bool is_fault(int number)
{
	static const int faults[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (number == faults[i])
			return true;
	return false;
}

/* A fault cannot wait for a thread. Its core file holds nothing of a secret as it is. */
/* The C library keeps some to itself: it does not even tell of them. */
static int check(const int *set)
{
	struct sigaction now;

	for (; *set != 0; set++) {
		if (*set < 0 || *set > SIGNALS || sigaction(*set, NULL, &now) < 0)
			return error_say(MG_INVALID, "there is no signal %d", *set);
		if (is_fault(*set))
			return error_say(MG_INVALID, "signal %d is a fault and cannot wait", *set);
		if (*set == SIGKILL || *set == SIGSTOP)
			return error_say(MG_INVALID, "signal %d cannot be caught", *set);
	}
	return MG_OK;
}

/* The dispositions that a child has are its parent's: they stay noted as ours. */
static void renew(void)
{
	atomic_store(&noted, 0);
}

int mg_catch_signals(const int *set, void (*handler)(int signal))
{
	pid_t self = getpid();
	int r = set ? check(set) : MG_OK;

	if (r != MG_OK)
		return r;
	own_enter(&own, self, renew);
	give_back();
	atomic_store(&host_handler, handler);
	r = set ? post_watch(self) : MG_OK;
	if (r == MG_OK && set)
		r = take(set);
	own_leave(&own);
	return r;
}
