/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The one run of memory in which the vault keeps its records and chunks: ciphertext and clear
 * metadata, never a bare key. Everything in it is named by its offset (0: none), so that the bytes
 * mean the same wherever they are mapped. It grows in place and never moves what is mapped.
 *
 * Blocks are multiples of 16 bytes. Which ones are taken, and how long they are, is told by two
 * bit maps outside of it; the free lists inside the free blocks only save searching. What a list
 * says is held against the maps before it is used, and a list that lies is made anew from them.
 */
struct ledger;

#define LEDGER_UNIT 16                          /* bytes */
#define LEDGER_MAX (UINT64_C(64) << 30)         /* bytes: a unit's number has 32 bits */
#define LEDGER_BLOCK_MAX (UINT64_C(16) << 20)   /* bytes in one block */
#define LEDGER_GROWTH_MIN (UINT64_C(1) << 20)   /* bytes made writable at a time, at least */
#define LEDGER_RESERVE_MIN (UINT64_C(64) << 20) /* bytes of address space, at least */

/*
 * A file in memory for a ledger: whoever holds its descriptor keeps the bytes when a process that
 * maps them has ended. It can grow and not shrink. Returns the descriptor, the caller's to close,
 * or a negative errno; -ENOSYS where the system has no such files.
 */
int ledger_file(void);

/* Gives all that is in such a file back to the system, which nobody maps. */
void ledger_empty(int fd);

/*
 * The format of the files that this program writes and reads: of their head, and of the blocks that
 * others keep in them. A test builds a program with another one.
 */
#ifndef LEDGER_FORMAT
#define LEDGER_FORMAT 4
#endif

/*
 * Whether ledger_new would take the file, as far as its head tells: 0, or -EBADMSG. One that nobody
 * has used yet is fine.
 */
int ledger_check(int fd);

/*
 * Reserves address space: LEDGER_MAX bytes, or half of what the process may have, halved on until
 * the kernel agrees. `fd` is a file of ledger_file's, which outlives the ledger; -1 for memory that
 * ends with the process. A file that is not empty is another ledger's, which is to be adopted.
 * Returns 0, -ENOMEM, or -EBADMSG for a file that is no ledger of this format.
 */
int ledger_new(struct ledger **ledgerp, int fd);

/* Wipes what is taken, unless it is not settled yet; unmaps and frees; takes NULL. */
void ledger_free(struct ledger *ledger);

/* The same, but a file keeps what is in it. */
void ledger_leave(struct ledger *ledger);

/* -- adopting ------------------------------------------------------------------------------ */

/*
 * Whether it is to be adopted: what was taken is not known then. Until ledger_settle blocks can
 * only be looked at and claimed, and every offset may begin one that goes on to the end. Before
 * ledger_let_write the kernel sees to it that not a byte is changed.
 */
bool ledger_is_adopted(const struct ledger *ledger);

/* The next run of bytes from `offset` on that were ever written. Returns false at the end. */
bool ledger_written(const struct ledger *ledger, uint64_t offset, uint64_t *beginp, uint64_t *endp);

/* A block of `size` bytes is there. Returns 0, or -EINVAL when that cannot be; nothing is changed.
 */
int ledger_claim(struct ledger *ledger, uint64_t offset, uint64_t size);

/* Whether something that was claimed covers the byte there. */
bool ledger_is_claimed(const struct ledger *ledger, uint64_t offset);

/*
 * Whether the unit there says that it begins a free run, and the next run says so too. Its words
 * are numbers, and may look like anything.
 */
bool ledger_is_link(const struct ledger *ledger, uint64_t offset);

/* From here on there is no way back to what the other process has left. Returns 0 or -ENOMEM. */
int ledger_let_write(const struct ledger *ledger);

/* All was claimed, and may be written to: the rest is wiped and free. */
void ledger_settle(struct ledger *ledger);

/* -- blocks -------------------------------------------------------------------------------- */

/*
 * A block of `size` bytes (1 to LEDGER_BLOCK_MAX) whose bytes are unspecified. Returns 0,
 * -EINVAL for another size, or -ENOMEM; nothing is changed then.
 */
int ledger_take(struct ledger *ledger, size_t size, uint64_t *offsetp);

/* Wipes a block and gives it back; a large one's pages go back to the kernel. */
void ledger_give(struct ledger *ledger, uint64_t offset);

/*
 * From now on a large block that is given back is no block any more and keeps its bytes until
 * ledger_wipe_some comes to it: nobody has to wait for many of them. Else what is left is wiped
 * now. Returns what was so before.
 */
bool ledger_wipe_later(struct ledger *ledger, bool later);

/* Wipes 16 KiB of what was given back. Whether there was something. */
bool ledger_wipe_some(struct ledger *ledger);
void ledger_wipe_all(struct ledger *ledger);
bool ledger_has_waste(const struct ledger *ledger);

/* Gives back the end of a block, of which nothing was used: it keeps its first `size` bytes. */
void ledger_trim(struct ledger *ledger, uint64_t offset, size_t size);

/*
 * Bytes of the taken block that begins at `offset`; 0 when none does. For offsets that come out of
 * the ledger itself and may be anything.
 */
size_t ledger_block(const struct ledger *ledger, uint64_t offset);

/* The first taken block behind `offset`; 0 when there is none. */
uint64_t ledger_next(const struct ledger *ledger, uint64_t offset);

/* The bytes there. A range that is not in the ledger ends the process. */
void *ledger_at(const struct ledger *ledger, uint64_t offset, size_t size);

/* -- compacting ---------------------------------------------------------------------------- */

/*
 * Small blocks share their pages: where most of them were given back, the rest keep nearly all
 * pages in use. They are brought together before a line, as far to the front as they have room,
 * and the pages behind it go back to the kernel. The ledger knows where there is room; only who
 * holds the offset of a block can copy it, point to the copy, and give the block back. A large
 * block has pages of its own and stays where it is.
 *
 * Every step costs little, and as much as one likes may happen between two of them.
 */
#define LEDGER_LARGE 65536u                    /* bytes in a large block, at least */
#define LEDGER_COMPACT_MIN (UINT64_C(1) << 20) /* bytes that are worth a pass, at least */

/*
 * Whether there are blocks to be moved, or it is to be looked whether there are: a pass is begun
 * when an eighth of what is taken, and a MiB, were given back since the last one.
 */
bool ledger_wants_compacting(const struct ledger *ledger);

/*
 * Begins a pass if it gives back a third of the memory in use, and a MiB. Looks once at each 64
 * KiB. Whether there is one now.
 */
bool ledger_begin_compacting(struct ledger *ledger);

/* Whether the block at an offset is to be moved. */
bool ledger_is_behind(const struct ledger *ledger, uint64_t offset);

/*
 * A small block in front of the line, as far to the front as there is room. Returns 0; -ENOMEM when
 * there is none; or -EAGAIN when looking for it takes long, and is to be gone on with later.
 */
int ledger_take_before(struct ledger *ledger, size_t size, uint64_t *offsetp);

/* Where the line is, in bytes. */
uint64_t ledger_line(const struct ledger *ledger);

/* All was moved that could be: gives some pages back. False once the pass is over. */
bool ledger_sweep(struct ledger *ledger);

/* Ends a pass, however far it is. */
void ledger_end_compacting(struct ledger *ledger);

/* Bytes taken, and bytes writable. */
uint64_t ledger_used(const struct ledger *ledger);
uint64_t ledger_mapped(const struct ledger *ledger);

/* Bytes of bookkeeping outside of the ledger. */
uint64_t ledger_bookkeeping(const struct ledger *ledger);
