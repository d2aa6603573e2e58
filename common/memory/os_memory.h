/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Pages that hold keys and plaintext: mapped, locked, kept out of dumps and forgotten again. One
 * header for every platform; the file behind it differs. Nothing here logs, aborts or purges: a
 * failure to lock is a return value.
 */

/* What keeps the pages from leaking, strongest last. */
enum os_memory_backend {
	OS_MEMORY_PLAIN,  /* not locked: may be swapped out */
	OS_MEMORY_LOCKED, /* mlock: never swapped, but root reads it */
	OS_MEMORY_SECRET, /* memfd_secret(2): unmapped from the kernel too, root reads EIO */
};

/* What the administrator insists on. */
enum os_memory_need {
	OS_MEMORY_PREFER_LOCK,    /* take the best there is */
	OS_MEMORY_REQUIRE_LOCK,   /* fail rather than go on unlocked */
	OS_MEMORY_REQUIRE_SECRET, /* fail rather than go on without memfd_secret */
};

enum os_memory_access { OS_MEMORY_NONE, OS_MEMORY_READ, OS_MEMORY_WRITE };

#define OS_MEMORY_REGIONS_MAX 8

/* One run of whole pages with an inaccessible page on each side. */
struct os_region {
	size_t size; /* bytes wanted; rounded up to pages by os_memory_map */
	uint8_t *data;
	enum os_memory_access access; /* in force now, at `data` */
	bool mirrored;                /* wanted: the same pages a second time, read-only */
	bool inherited;               /* wanted: a forked child has them too, the very same */
	const uint8_t *mirror;        /* there; counts as locked memory once more */
};

/*
 * A set of regions that share one reservation, one backend and one fate. Embedded by its owner;
 * all zero is a valid, empty set.
 */
struct os_memory {
	enum os_memory_backend backend;
	int secret_error; /* errno with which memfd_secret was refused, 0 if it was not */
	int lock_error;   /* errno with which mlock was refused, 0 if it was not */
	bool sealed;      /* mseal(2) holds the mappings in place */
	size_t locked;    /* bytes that count as locked memory */
	struct os_region regions[OS_MEMORY_REGIONS_MAX];
	size_t count;
	uint8_t *reservation;
	size_t reserved; /* bytes of address space */
};

/* Bytes in a page. */
size_t os_memory_page(void);

/*
 * Maps the first `count` regions of `memory`, whose sizes the caller has filled in, zeroed and
 * writable. All of them get the same backend: the best one that takes all of them. Tells in
 * secret_error and lock_error why a better one was not to be had. Returns 0, -EPERM when `need`
 * asks for more than there is, -EINVAL for no or too many regions or a size of 0, -ENOSYS where
 * nothing can be mapped twice, or -ENOMEM; after a failure nothing is mapped.
 */
int os_memory_map(struct os_memory *memory, enum os_memory_need need);

/*
 * The same in a file that whoever gets its descriptor maps, too: for a process that is to go on
 * with these pages. *fdp is the caller's to close, and soon: until then root takes it and reads.
 * -1 after a failure. Returns what os_memory_map does; -ENOSYS where there are no such files.
 */
int os_memory_map_open(struct os_memory *memory, enum os_memory_need need, int *fdp);

/*
 * Maps the very pages of another process's os_memory_map_open, whose sizes the caller has filled
 * in. Closes `fd` in any case. Returns what os_memory_map does, -EBADMSG when the file is not of
 * that making or has another size; after a failure nothing is mapped.
 */
int os_memory_open(struct os_memory *memory, enum os_memory_need need, int fd);

/*
 * The bytes of a set to another one of the same sizes, both readable and `to` writable, by words
 * that pass through no vector register and over no stack.
 */
void os_memory_copy(struct os_memory *to, const struct os_memory *from);

/* Unmaps all and wipes nothing: another process goes on with the pages. Takes an empty set. */
void os_memory_release(struct os_memory *memory);

/*
 * In a forked child that has inherited all regions: they are locked for it, too, and kept from its
 * own children. Returns 0, or -EPERM when `need` asks for more than there is.
 */
int os_memory_take_over(struct os_memory *memory, enum os_memory_need need);

/* Changes what may be done with one region. Returns 0 or a negative errno; -EPERM once sealed. */
int os_memory_protect(struct os_memory *memory, size_t region, enum os_memory_access access);

/*
 * Asks the kernel to refuse every later change of the mappings (mseal(2), Linux 6.10). Returns 0,
 * or -ENOSYS and the like where it cannot; nothing is lost then.
 */
int os_memory_seal(struct os_memory *memory);

/* Wipes what is writable and unmaps all. A sealed set is wiped only: it goes with the process. */
void os_memory_unmap(struct os_memory *memory);

/*
 * One page of ordinary memory that a forked child finds zeroed, whoever forks and however. NULL
 * where the kernel has no such thing, or no memory. The caller owns it; os_memory_unmap_zeroing
 * gives it back.
 */
void *os_memory_map_zeroing(void);
void os_memory_unmap_zeroing(void *page);

/* A sentence part for people: what is in force, e.g. "memfd_secret". */
const char *os_memory_backend_name(enum os_memory_backend backend);

/*
 * Why the backend is not the strongest and what would mend it, as one line without a newline; the
 * empty string when there is nothing to mend. Also after os_memory_map has refused.
 */
const char *os_memory_advice(const struct os_memory *memory);
