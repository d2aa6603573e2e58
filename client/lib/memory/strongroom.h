/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"
#include "common/memory/enclave.h"

#include <stdint.h>
#include <sys/types.h>

/*
 * The process's own masters, for the enclaves that a service keeps: three pages of guarded memory,
 * made when the first enclave is. May be used from any thread; work is done one after the other. A
 * forked child begins with new ones, under which nothing of its parent's opens.
 */

/*
 * A piece of work, on the locked stack; `key` is room for a data key. Returns 0 to be called again,
 * 1 when it is done, or a negative errno.
 */
typedef int (*strongroom_work)(
	struct coffer *coffer, uint8_t key[static ENCLAVE_KEY_SIZE], void *argument);

/*
 * Does the work; `self` is own_self(). Signals come between two pieces of it. At its end, whatever
 * that is, the key is wiped and the masters are parted. Returns a status, with the words said;
 * -EBADMSG of the work is MG_INTEGRITY.
 */
int strongroom_do(strongroom_work work, void *argument, pid_t self);

/*
 * Changes when the process purges: what was made under another number is dead. Costs one look at
 * memory.
 */
uint64_t strongroom_generation(void);

/* Draws new masters, at once with a new generation; no enclave made before opens again. */
void strongroom_purge(pid_t self);
