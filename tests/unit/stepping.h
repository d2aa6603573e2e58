/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Every store into a ledger's file and into the pages of its keys is a step, and what it changes is
 * put down. Both are read-only while they are watched: a store faults, its instruction is let
 * through alone, and the trap behind it shuts the pages again. An instruction that stores in turns
 * traps at each of them. What the kernel changes (the file's length, pages that go back to it) is
 * put down where it is asked for.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

static void *stepping_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
static int stepping_mprotect(void *at, size_t size, int protection);
static int stepping_madvise(void *at, size_t size, int advice);
static int stepping_ftruncate(int fd, off_t size);

#define mmap stepping_mmap
#define mprotect stepping_mprotect
#define madvise stepping_madvise
#define ftruncate stepping_ftruncate
#include "daemon/ledger/ledger_pages.c"
#undef mmap
#undef mprotect
#undef madvise
#undef ftruncate

#include "tests/unit/crash.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#define CAN_STEP false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAN_STEP false
#endif
#endif
#ifndef CAN_STEP
#define CAN_STEP true
#endif

#define KEYS_SIZE 1536 /* bytes: what a coffer takes with pre-keys of 512 */
#define KEYS_ROOM 4096
#define STEPS_MAX (UINT64_C(1) << 21)

/* Around the byte at which a store faults: the widest has 64 bytes. */
#define STEP_BEFORE 64
#define STEP_BYTES 192

enum step_kind { STEP_LEDGER, STEP_KEYS, STEP_LENGTH, STEP_DROP };

struct step {
	enum step_kind kind;
	uint64_t offset;
	uint64_t size;
	uint64_t at; /* where the store began */
	uint8_t bytes[STEP_BYTES];
};

static struct {
	bool on;
	int fd;
	uint8_t *ledger; /* NULL: not yet mapped */
	size_t ledger_size;
	uint8_t *keys; /* KEYS_ROOM bytes of whole pages */
	const uint8_t *fault;
	struct step *steps;
	uint64_t count;
} watch;

/* -- the log ------------------------------------------------------------------------------- */

static struct step *next_step(enum step_kind kind, uint64_t offset, uint64_t size)
{
	struct step *step = &watch.steps[watch.count++];

	if (watch.count >= STEPS_MAX)
		abort();
	step->kind = kind;
	step->offset = offset;
	step->size = size;
	step->at = offset;
	return step;
}

static void put_down(enum step_kind kind, const uint8_t *base, size_t size)
{
	size_t at = (size_t)(watch.fault - base);
	size_t begin = at < STEP_BEFORE ? 0 : at - STEP_BEFORE;
	size_t length = size - begin < STEP_BYTES ? size - begin : STEP_BYTES;
	struct step *step = next_step(kind, begin, length);

	step->at = at;
	memcpy(step->bytes, base + begin, length);
}

/* -- the watch ----------------------------------------------------------------------------- */

static void shut(int protection)
{
	if ((watch.ledger && mprotect(watch.ledger, watch.ledger_size, protection) < 0) ||
		mprotect(watch.keys, KEYS_ROOM, protection) < 0)
		abort();
}

/* One store goes to one place. */
static void shut_one(int protection)
{
	bool of_keys = watch.fault >= watch.keys && watch.fault < watch.keys + KEYS_ROOM;

	if (mprotect(of_keys ? watch.keys : watch.ledger, of_keys ? KEYS_ROOM : watch.ledger_size,
		    protection) < 0)
		abort();
}

static bool is_in(const uint8_t *at, const uint8_t *base, size_t size)
{
	return base && at >= base && at < base + size;
}

#if defined(__x86_64__)
#define TRAP_FLAG 0x100

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	const uint8_t *at = info->si_addr;

	if (!watch.on ||
		(!is_in(at, watch.ledger, watch.ledger_size) &&
			!is_in(at, watch.keys, KEYS_ROOM))) {
		signal(signal_number, SIG_DFL);
		return;
	}
	watch.fault = at;
	shut_one(PROT_READ | PROT_WRITE);
	registers[REG_EFL] |= TRAP_FLAG;
}

static void on_trap(int signal_number, siginfo_t *info, void *context)
{
	(void)signal_number;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	if (is_in(watch.fault, watch.keys, KEYS_ROOM))
		put_down(STEP_KEYS, watch.keys, KEYS_SIZE);
	else
		put_down(STEP_LEDGER, watch.ledger, watch.ledger_size);
	shut_one(PROT_READ);
}
#else
static void on_fault(int signal_number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	signal(signal_number, SIG_DFL);
}
#define on_trap on_fault
#endif

/* What follows is put down. `ledger` is NULL when it is mapped meanwhile, out of `fd`. */
static void watch_begin(int fd, uint8_t *ledger, size_t size, uint8_t *keys)
{
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	struct sigaction trap = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	if (!watch.steps)
		watch.steps = mmap(NULL, STEPS_MAX * sizeof(*watch.steps), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(watch.steps, MAP_FAILED);
	ck_assert_int_eq(sigaction(SIGSEGV, &fault, NULL), 0);
	ck_assert_int_eq(sigaction(SIGTRAP, &trap, NULL), 0);
	watch.fd = fd;
	watch.ledger = ledger;
	watch.ledger_size = size;
	watch.keys = keys;
	watch.count = 0;
	watch.on = true;
	shut(PROT_READ);
}

static void watch_end(void)
{
	shut(PROT_READ | PROT_WRITE);
	watch.on = false;
	signal(SIGSEGV, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
}

/* -- what the kernel does ------------------------------------------------------------------ */

static void *stepping_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *mapped = mmap(at, size, protection, flags, fd, offset);

	if (!watch.on || fd != watch.fd || mapped == MAP_FAILED)
		return mapped;
	if (!watch.ledger)
		watch.ledger = mapped;
	watch.ledger_size = (size_t)offset + size;
	shut(PROT_READ);
	return mapped;
}

/* What may be written to from now on is watched like the rest. */
static int stepping_mprotect(void *at, size_t size, int protection)
{
	int r = mprotect(at, size, protection);

	if (watch.on && r == 0 && is_in(at, watch.ledger, watch.ledger_size))
		shut(PROT_READ);
	return r;
}

/* The kernel drops pages of a file only where they may be written. */
static int stepping_madvise(void *at, size_t size, int advice)
{
	bool watched = watch.on && is_in(at, watch.ledger, watch.ledger_size);
	int r;

	if (watched)
		shut(PROT_READ | PROT_WRITE);
	r = madvise(at, size, advice);
	if (watched && r == 0 && advice == MADV_REMOVE)
		next_step(STEP_DROP, (uint64_t)((uint8_t *)at - watch.ledger), size);
	if (watched)
		shut(PROT_READ);
	return r;
}

static int stepping_ftruncate(int fd, off_t size)
{
	int r = ftruncate(fd, size);

	if (watch.on && fd == watch.fd && r == 0)
		next_step(STEP_LENGTH, 0, (uint64_t)size);
	return r;
}

/* -- what is left at a step ---------------------------------------------------------------- */

#define SCENE_PAGE 4096
#define SCENE_PAGES 1024

/* The file and the keys; pages that nobody wrote to are holes. */
struct scene {
	uint64_t size;
	bool written[SCENE_PAGES];
	uint8_t ledger[SCENE_PAGES * SCENE_PAGE];
	uint8_t keys[KEYS_SIZE];
};

static void scene_mark(struct scene *scene, uint64_t begin, uint64_t end, bool written)
{
	ck_assert_uint_le(end, sizeof(scene->ledger));
	for (uint64_t page = begin / SCENE_PAGE; page * SCENE_PAGE < end; page++)
		scene->written[page] = written;
}

static struct scene *scene_of(int fd, const uint8_t *keys)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct stat stat;
	off_t begin = 0;

	ck_assert_ptr_nonnull(scene);
	ck_assert_int_eq(fstat(fd, &stat), 0);
	scene->size = (uint64_t)stat.st_size;
	memcpy(scene->keys, keys, KEYS_SIZE);
	while ((begin = lseek(fd, begin, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, begin, SEEK_HOLE);

		scene_mark(scene, (uint64_t)begin, (uint64_t)end, true);
		ck_assert_int_eq(pread(fd, scene->ledger + begin, (size_t)(end - begin), begin),
			end - begin);
		begin = end;
	}
	return scene;
}

static void scene_apply(struct scene *scene, const struct step *step)
{
	uint64_t end = step->offset + step->size;

	switch (step->kind) {
	case STEP_LEDGER:
		memcpy(scene->ledger + step->offset, step->bytes, step->size);
		scene_mark(scene, step->offset, end, true);
		break;
	case STEP_KEYS:
		memcpy(scene->keys + step->offset, step->bytes, step->size);
		break;
	case STEP_LENGTH:
		scene->size = step->size;
		break;
	case STEP_DROP:
		memset(scene->ledger + step->offset, 0, step->size);
		scene_mark(scene, step->offset, end, false);
		break;
	}
}

/* What the next process would be given. */
static struct remains *remains_of(const struct scene *scene)
{
	struct remains *remains = calloc(1, sizeof(*remains));

	ck_assert_ptr_nonnull(remains);
	memcpy(remains->keys, scene->keys, KEYS_SIZE);
	remains->fd = ledger_file();
	ck_assert_int_ge(remains->fd, 0);
	ck_assert_int_eq(ftruncate(remains->fd, (off_t)scene->size), 0);
	for (size_t page = 0, end; page < SCENE_PAGES; page = end + 1) {
		for (end = page; end < SCENE_PAGES && scene->written[end]; end++)
			;
		if (end > page)
			ck_assert_int_eq(
				pwrite(remains->fd, scene->ledger + page * SCENE_PAGE,
					(end - page) * SCENE_PAGE, (off_t)(page * SCENE_PAGE)),
				(ssize_t)((end - page) * SCENE_PAGE));
	}
	return remains;
}
