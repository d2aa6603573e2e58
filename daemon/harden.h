/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The process's own protection: no core file, no reading by others of the same uid. */

/* First line of main: PR_SET_DUMPABLE 0 and a soft core limit of 0. Returns 0 or a negative errno.
 */
int harden_early(void);

/* The part of it that every Unix has: a soft core limit of 0. Returns 0 or a negative errno. */
int harden_no_core(void);

/* Raises the soft limit of descriptors to the hard one. */
void harden_descriptors(void);

/*
 * Whether the kernel gives random bytes, or /dev/urandom does: without either libsodium would abort
 * the process. Returns 0 or a negative errno.
 */
int harden_probe_random(void);

/* What is really in force now. */
bool harden_dumpable(void);
uint64_t harden_core_limit(void); /* soft limit, bytes */
