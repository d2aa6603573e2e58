/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into a program (LD_PRELOAD), this refuses one call that gets, locks or guards memory
 * ("malloc" is its sisters, too): the REFUSE_AT-th of the name REFUSE_CALL, counted from the
 * program's own beginning, so that the loader's calls do not count; or every one from there on when
 * REFUSE_ON is set. REFUSE_ALWAYS names a call that this machine is not to have at all. What was
 * refused is told, a line each, in the file REFUSE_RECORD. The program's children are left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's headers may be older than the kernel. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

/* Source: the C library's own names for its allocator. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

#define WORD 6 /* arguments of a system call */

static struct {
	const char *call;
	const char *always;
	const char *record;
	long at; /* 0: nothing is refused yet */
	bool on;
} order;

static atomic_long count;

/* What a kernel that is short of something says. */
static int error_of(const char *call)
{
	if (strncmp(call, "memfd_", 6) == 0)
		return EMFILE;
	if (strcmp(call, "madvise") == 0)
		return EINVAL;
	return strcmp(call, "mseal") == 0 ? EPERM : ENOMEM;
}

static long raw(long number, const long arguments[static WORD])
{
	static long (*next)(long, ...);

	if (!next)
		next = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
	return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
		arguments[5]);
}

static void note(const char *call)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "%s %ld\n", call, order.at);
	int fd = open(order.record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, line, (size_t)length) != length)
		abort();
	close(fd);
}

/* Whether this call is to fail; errno says how then. */
static bool refused(const char *call)
{
	long number;

	if (order.always && strcmp(call, order.always) == 0) {
		errno = ENOSYS;
		return true;
	}
	if (order.at == 0 || strcmp(call, order.call) != 0)
		return false;
	number = atomic_fetch_add(&count, 1) + 1;
	if (number != order.at && !(order.on && number > order.at))
		return false;
	note(call);
	errno = error_of(call);
	return true;
}

/* -- what the program calls ---------------------------------------------------------------- */

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	const long arguments[WORD] = { (long)address, (long)size, protection, flags, fd, offset };

	return refused("mmap") ? MAP_FAILED : (void *)raw(SYS_mmap, arguments);
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
	return mmap(address, size, protection, flags, fd, offset);
}

int munmap(void *address, size_t size)
{
	const long arguments[WORD] = { (long)address, (long)size };

	return refused("munmap") ? -1 : (int)raw(SYS_munmap, arguments);
}

int mprotect(void *address, size_t size, int protection)
{
	const long arguments[WORD] = { (long)address, (long)size, protection };

	return refused("mprotect") ? -1 : (int)raw(SYS_mprotect, arguments);
}

int madvise(void *address, size_t size, int advice)
{
	const long arguments[WORD] = { (long)address, (long)size, advice };

	return refused("madvise") ? -1 : (int)raw(SYS_madvise, arguments);
}

int mlock(const void *address, size_t size)
{
	const long arguments[WORD] = { (long)address, (long)size };

	return refused("mlock") ? -1 : (int)raw(SYS_mlock, arguments);
}

int memfd_create(const char *name, unsigned int flags)
{
	const long arguments[WORD] = { (long)name, flags };

	return refused("memfd_create") ? -1 : (int)raw(SYS_memfd_create, arguments);
}

int ftruncate(int fd, off_t size)
{
	const long arguments[WORD] = { fd, size };

	return refused("ftruncate") ? -1 : (int)raw(SYS_ftruncate, arguments);
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

void *malloc(size_t size)
{
	return refused("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t items, size_t size)
{
	return refused("malloc") ? NULL : __libc_calloc(items, size);
}

void *realloc(void *block, size_t size)
{
	return refused("malloc") ? NULL : __libc_realloc(block, size);
}

/* The name of a call that is made by its number, or NULL. */
static const char *name_of(long number)
{
	switch (number) {
	case SYS_memfd_secret:
		return "memfd_secret";
	case SYS_mlock:
		return "mlock";
	case SYS_mseal:
		return "mseal";
	default:
		return NULL;
	}
}

long syscall(long number, ...)
{
	const char *name = name_of(number);
	long arguments[WORD];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < WORD; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	return name && refused(name) ? -1 : raw(number, arguments);
}

__attribute__((constructor)) static void begin(void)
{
	const char *at = getenv("REFUSE_AT");

	unsetenv("LD_PRELOAD");
	order.call = getenv("REFUSE_CALL");
	order.always = getenv("REFUSE_ALWAYS");
	order.record = getenv("REFUSE_RECORD");
	order.on = getenv("REFUSE_ON") != NULL;
	if (order.call && order.record && at)
		order.at = strtol(at, NULL, 10);
}
