/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/enclave.h"
#include "daemon/request/transfer.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A candidate that is compared with a secret. It waits in the ledger, sealed as it came, its key
 * wrapped under the vault master, until its sender's turn comes; then both are opened on the
 * workbench, a part at a time and in steps, so that others have their turns. The time that it takes
 * hangs on the candidate's size alone.
 */
struct trial;

/* What is to be compared. The value becomes the trial's. */
struct candidate {
	uint64_t id;
	uint32_t uid;
	struct span name; /* filed; copied */
	struct value *value;
	const uint8_t *wrapped; /* the data key */
	struct enclave_binding binding;
};

/* Returns 0, or STATUS_LIMIT and the value is still the caller's. */
int trial_begin(struct transfers *transfers, const struct candidate *candidate);

/* NULL when there is none with this id; and the id of the oldest, or 0. */
struct trial *trial_find(const struct transfers *transfers, uint64_t id);
uint64_t trial_first(const struct transfers *transfers);
void trial_end(struct transfers *transfers, struct daemon *daemon, struct trial *trial);

/* A step of each whose turn it is, and the answer to what is done. Returns 0 or a negative errno.
 */
int trials_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/*
 * Nobody reads their answers now: those that have begun give their uid's turn back, and go on where
 * they stood when they have it again.
 */
void trials_pause(struct transfers *transfers, struct daemon *daemon);

/* Whether one has its turn. */
bool trials_running(const struct transfers *transfers);

/* When the first of those that wait is looked at again; 0: none waits. */
uint64_t trials_deadline(const struct transfers *transfers);
