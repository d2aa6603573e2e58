/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/signals.h"
#include "tests/unit/backends.h"
#include "tests/unit/claims.h"

/*
 * A daemon that faults with its secret memory full: what is left of it at its last instant. The
 * memory is locked, not memfd_secret, because nobody could look at that.
 */

#define FILL 0x5a

static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };

#define FAULTS (int)(sizeof(faults) / sizeof(faults[0]))

static struct daemon daemon_of_test;

/* -- in the daemon ------------------------------------------------------------------------- */

/* On the locked stack, with registers full as well. */
static void fault(void *argument)
{
	int number = *(int *)argument;
	volatile uint8_t local[512];

	memset((void *)(uintptr_t)local, FILL, sizeof(local));
	if (number == SIGABRT)
		abort();
	raise(number);
	_exit(90);
}

static void fill(void)
{
	for (size_t i = 0; i < daemon_of_test.memory.count; i++)
		memset(daemon_of_test.memory.regions[i].data, FILL,
			daemon_of_test.memory.regions[i].size);
}

static void live(int number, int told)
{
	struct daemon_options options = { .max_value = 1000, .rekey_ms = 500, .own = 4242 };

	deny(SYS_memfd_secret, ENOSYS);
	if (sodium_init() < 0 || daemon_init(&daemon_of_test, &options) < 0)
		_exit(91);
	signals_wipe_on_fault(&daemon_of_test);
	fill();
	if (write(told, &daemon_of_test.memory, sizeof(daemon_of_test.memory)) < 0 ||
		ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(92);
	locked_stack_call(&daemon_of_test.stack, fault, &number);
	_exit(93);
}

/* -- outside ------------------------------------------------------------------------------- */

static int ends[2];
static struct os_memory seen; /* where the daemon's memory is */

static pid_t start(int number)
{
	pid_t child;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	if (child == 0)
		live(number, ends[1]);
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &seen, sizeof(seen)), sizeof(seen));
	close(ends[0]);
	return child;
}

static void stops_with(pid_t child, int number)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(WSTOPSIG(status), number);
}

/* Pairs of bytes of the fill, as they stand side by side in the daemon's secret memory. */
static size_t count_fill(pid_t child)
{
	static uint8_t bytes[1 << 20];
	char path[40];
	size_t found = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	for (size_t i = 0; i < seen.count; i++) {
		size_t size = seen.regions[i].size;

		ck_assert_uint_le(size, sizeof(bytes));
		ck_assert_int_eq(pread(fd, bytes, size, (off_t)(uintptr_t)seen.regions[i].data),
			(ssize_t)size);
		for (size_t at = 0; at + 1 < size; at++)
			found += bytes[at] == FILL && bytes[at + 1] == FILL;
	}
	close(fd);
	return found;
}

START_TEST(a_fault_wipes_all_secret_memory_and_has_its_effect)
{
	int number = faults[_i];
	pid_t child = start(number);
	int status;

	/* Before the handler: everything is there. */
	stops_with(child, number);
	ck_assert_uint_gt(count_fill(child), 50000);
	ck_assert_int_eq(ptrace(PTRACE_CONT, child, NULL, number), 0);
	/* The handler's own raise: nothing is, but a word that the compiler left empty in its
	 * frame: seven pairs, and one more on either side where the next byte happens to be the
	 * same. */
	stops_with(child, number);
	ck_assert_uint_lt(count_fill(child), 10);
	ck_assert_int_eq(ptrace(PTRACE_CONT, child, NULL, number), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), number);
}
END_TEST

static bool is_among(const int *numbers, size_t count, int number)
{
	for (size_t i = 0; i < count; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

/* Told a second time: what each signal of signal(7) is to the daemon. */
START_TEST(whatever_would_end_the_process_is_read_or_a_fault)
{
	static const int others[] = { SIGKILL, SIGSTOP, SIGPIPE, SIGUSR1, SIGXFSZ, SIGCHLD, SIGCONT,
		SIGURG, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU };
	sigset_t set = signals_set();

	for (int number = 1; number <= SIGSYS; number++) {
		bool read = !is_among(faults, FAULTS, number) &&
			!is_among(others, sizeof(others) / sizeof(others[0]), number);

		ck_assert_msg(sigismember(&set, number) == read, "signal %d", number);
	}
	ck_assert_int_eq(sigismember(&set, SIGRTMIN), 1);
	ck_assert_int_eq(sigismember(&set, SIGRTMAX), 1);
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("fault");

	tcase_set_timeout(claims, 60);
	tcase_add_loop_test(claims, a_fault_wipes_all_secret_memory_and_has_its_effect, 0, FAULTS);
	tcase_add_test(claims, whatever_would_end_the_process_is_read_or_a_fault);
	return claims_run(claims, "faults of the daemon");
}
