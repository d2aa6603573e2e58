/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/request/repeat.h"
#include "daemon/request/transfer.h"
#include "daemon/vault/vault_restore.h"

/*
 * A restore: secrets are staged one by one, as sets come in, and appear with one commit, all of
 * them or none. A session has one at a time. It goes in steps, so that others have their turns,
 * however much there is; what was not committed ends with its session, what was is finished without
 * it.
 */
struct restore;

/*
 * The batch that secrets are staged in; begins a restore if there is none. Returns 0;
 * STATUS_CONFLICT while a commit is under way; STATUS_LIMIT.
 */
int restore_open(struct transfers *transfers, struct daemon *daemon, struct batch **batchp);

/*
 * Begins the commit of what was staged. Returns 0, and the answer comes later; or a status:
 * STATUS_NOT_FOUND when nothing was staged, STATUS_INTEGRITY when it was another number of secrets,
 * and nothing is staged any more then; STATUS_CONFLICT while another one is under way.
 */
int restore_commit(struct transfers *transfers, const struct request *request, uint32_t uid,
	const uint8_t digest[static REPEAT_DIGEST_SIZE]);

/*
 * Whether the commit with this id is under way; and whether it can still be called off, because
 * nothing was committed.
 */
bool restore_has(const struct transfers *transfers, uint64_t id);
bool restore_is_open(const struct transfers *transfers, uint64_t id);

/* Whether there is a commit under way, and so something to do. */
bool restore_running(const struct transfers *transfers);

/* A step of it, and the answer when it is done. Returns 0 or a negative errno. */
int restore_go_on(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/*
 * The vault is locked: a commit that is under way ends, with an answer that says so unless it was
 * committed. Returns 0 or a negative errno.
 */
int restore_refuse(struct transfers *transfers, struct daemon *daemon, struct answers *answers);

/* What was not committed is wiped, and what was is published, without its session. */
void restore_end(struct transfers *transfers);

/* By when the next secret, or the commit, must come, in ms of CLOCK_BOOTTIME; 0: nothing is staged.
 */
uint64_t restore_deadline(const struct transfers *transfers);

/* What is told while a commit is under way. */
#define RESTORE_RUNNING "a restore is being made on this connection"
