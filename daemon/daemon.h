/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/memory/coffer.h"
#include "common/memory/guard.h"
#include "common/memory/locked_stack.h"
#include "common/memory/os_memory.h"
#include "common/memory/workbench.h"
#include "daemon/audit/audit.h"
#include "daemon/config.h"
#include "daemon/policy/policy.h"
#include "daemon/process.h"
#include "daemon/request/alarm.h"
#include "daemon/request/penalty.h"
#include "daemon/request/repeat.h"
#include "daemon/request/tokens.h"
#include "daemon/request/wait_queue.h"
#include "daemon/users.h"
#include "daemon/vault/vault.h"
#include "daemon/vault/vault_lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The configuration is read anew: requests ask for it, the loop does it, who asked is told. */
struct reloads {
	bool asked;
	uid_t uid;     /* by this one, last */
	uint64_t done; /* so far, refused ones too */
	bool refused;  /* the last one: why, as UTF-8 without control characters */
	struct config_fault fault;
};

/* The program on disk takes over: requests ask for it, the keeper does it. */
struct upgrades {
	pid_t keeper; /* 0: there is none, and no upgrade */
	bool asked;
	bool under_way;
	uid_t uid;                 /* asked by this one, last */
	uint64_t failed;           /* since the keeper's start */
	struct config_fault fault; /* why the last one failed; UTF-8 without control characters */
};

/*
 * What every request may need and no socket does: secret memory, the vault, the policy, the limits.
 * There is one; tests make their own.
 *
 * All locked memory is mapped once, here: 3 pages of key parts, 1 of views, the locked stack and 10
 * of workbench, 64 KiB in all with pages of 4 KiB.
 */
struct daemon {
	struct os_memory memory;
	struct os_memory *keys; /* NULL: the key parts are in `memory`, too */
	struct guard *guard;    /* on the view page */
	struct locked_stack stack;
	struct workbench bench;
	struct coffer coffer;
	struct policy policy;
	int ledger; /* what the vault lies in; -1: memory of its own */
	struct vault *vault;
	struct processes *processes;
	struct repeats *repeats;
	struct tokens *tokens;
	struct penalties *penalties;
	struct alarms alarms;
	struct wait_queue waits;
	struct users users;
	struct audit *audit;
	uint64_t max_value;    /* bytes of plaintext in one value */
	uint32_t rekey_ms;     /* milliseconds between two re-masks */
	uint32_t upload_ms;    /* milliseconds in which the next chunks of a set must come */
	uint64_t started_ms;   /* CLOCK_BOOTTIME */
	uint64_t sessions;     /* open now */
	uint64_t forgotten_ns; /* daemon_now_ns of the last daemon_forget_in_time that wiped */
	uint64_t turn_ns;      /* daemon_now_ns when the turn is over that is being served */
	uint64_t next_channel; /* binds wrapped channel keys */
	uint64_t next_upload;  /* binds the wrapped data keys of sets under way */
	uint64_t purges;       /* of everything, so far */
	uint64_t told;         /* up to this vault_event_place those who watch were called */
	uint64_t locks;        /* so far */
	struct reloads reloads;
	struct upgrades upgrades;
	char quota_words[192]; /* request/quota.h */
	bool wipes_later;      /* daemon_wipe_later */
	bool adopted;          /* something was there before us, though it be empty */
	bool ending;           /* somebody who may has asked for the end */
};

/* What a daemon is made from. */
struct daemon_options {
	enum os_memory_need memory;
	struct os_memory *keys; /* of daemon_map_keys, and then outlives it; NULL: its own */
	int ledger;             /* with `keys`: a ledger_file that outlives it */
	uint64_t max_value;     /* bytes */
	uint32_t rekey_ms;
	uid_t own; /* the uid that may do everything, beside root */
	struct quotas quotas;
	struct policy_book *policy; /* from then on the daemon's; NULL: none */
	struct policy_reasons reasons;
};

/* Maps pages for key parts that outlive a daemon's process. Returns what os_memory_map does. */
int daemon_map_keys(struct os_memory *keys, enum os_memory_need need);

/* Such pages that another program can be given, and those that another one has given. As
 * os_memory_map_open and os_memory_open. */
int daemon_share_keys(struct os_memory *keys, enum os_memory_need need, int *fdp);
int daemon_open_keys(struct os_memory *keys, enum os_memory_need need, int fd);

/*
 * Maps the memory, draws the masters and makes an empty vault; or adopts what another daemon has
 * left in key pages and ledger. Returns 0; -EPERM when the memory is not as strong as asked for
 * (daemon->memory says why); -ENOMEM; -EBADMSG when keys or ledger are not of our format.
 */
int daemon_init(struct daemon *daemon, const struct daemon_options *options);

/* Wipes and frees everything, key pages and ledger that outlive it included. */
void daemon_finish(struct daemon *daemon);

/* Leaves key pages and ledger as they are to whoever adopts them, and frees the rest. */
void daemon_leave(struct daemon *daemon);

/* The weaker of the memory that there is, with its advice; and bytes that are locked in all. */
const struct os_memory *daemon_memory(const struct daemon *daemon);
size_t daemon_locked(const struct daemon *daemon);

/*
 * Puts the audit log of these settings into force; `file` is what audit_file_open has opened for
 * them, and is the daemon's from then on.
 */
void daemon_audit(struct daemon *daemon, const struct config *config, struct audit_file *file);

/* Says in the log which key signs it, so that it can be held against more than its own word. */
void daemon_tell_audit_key(const struct daemon *daemon);

/* Signs the audit log, if there is something to be signed. */
void daemon_sign_audit(struct daemon *daemon);

/* What one user may have, from now on; nothing of what there is goes. */
void daemon_set_quotas(struct daemon *daemon, const struct quotas *quotas);

/* Draws new parts for the masters. */
void daemon_remask(struct daemon *daemon);

/*
 * A new vault master, and nothing is left of any secret. Returns how many there were, as far as
 * that is known: a locked vault that another process has left does not tell.
 */
uint64_t daemon_purge(struct daemon *daemon);

/* -- locking (daemon_lock.c) --------------------------------------------------------------- */

/*
 * As vault_lock; signs the audit log first, and notes the key that signs it beside the lock. What
 * is under way learns of it by `locks`. On the locked stack.
 */
int daemon_lock(struct daemon *daemon, const struct vault_lock *lock,
	const uint8_t key[static LOCK_KEY_SIZE]);

/*
 * As vault_unlock. Behind it everything is as it was, but what has ended; what the process before
 * this one has left is adopted, and what was not what was written is lost. STATUS_LIMIT when there
 * is no memory for that, and it is locked still. Then the audit log can be signed again. 0 also
 * when it is not locked. On the locked stack.
 */
int daemon_unlock(struct daemon *daemon, const uint8_t key[static LOCK_KEY_SIZE]);

/* The vault's part of daemon_purge. On the locked stack. */
void daemon_purge_vault(struct daemon *daemon);

/* Says in the log what became of what another process had. */
void daemon_tell_adopted(const struct daemon *daemon);

/*
 * What hangs on a vault that has just been made: whoever waits for changes in it, its answers, and
 * the processes that secrets are bound to. Returns 0 or -ENOMEM. On the locked stack.
 */
int daemon_take_up(struct daemon *daemon);

/* Has this vault, and what comes in its place, wipe later (vault_wipe_later): by daemon_expire. */
void daemon_wipe_later(struct daemon *daemon);

/*
 * The configuration has been read anew, or refused: `fault` tells why then, else it is NULL.
 * Whoever has asked for it, and whoever waits for what it may have changed, looks again.
 */
void daemon_reloaded(struct daemon *daemon, const struct config_fault *fault);

/* Whose worker this is, and what was told of its upgrades before; texts may have any bytes. */
void daemon_kept(struct daemon *daemon, const struct upgrades *upgrades);

/* The upgrade that was under way has failed, and everything is as it was: `fault` tells why. */
void daemon_upgrade_failed(struct daemon *daemon, const struct config_fault *fault);

/*
 * Takes out tokens, and secrets whose life is over, for a millisecond at most; then a step of
 * compacting the ledger (vault_compact). Whether there are more, or when there will be, tells
 * daemon_expiry_ms: 0 now, UINT64_MAX never.
 */
void daemon_expire(struct daemon *daemon);
uint64_t daemon_expiry_ms(const struct daemon *daemon);

/* Wipes the masters' view, if there is one. */
void daemon_forget(struct daemon *daemon);

/*
 * The same, once in half the 2 ms that a view may live: for what works longer than that. `now_ns`
 * is daemon_now_ns. On the locked stack.
 */
void daemon_forget_in_time(struct daemon *daemon, uint64_t now_ns);

/* Calls those who watch the names that were changed since they were called last. */
void daemon_tell_watches(struct daemon *daemon);

/* Milliseconds of CLOCK_BOOTTIME: goes on in suspend, and nobody can set it. */
uint64_t daemon_now_ms(void);

/* Nanoseconds of CLOCK_MONOTONIC: measures what we do ourselves. */
uint64_t daemon_now_ns(void);

/* Whether the turn goes on that is being served: what takes long looks between two steps. */
bool daemon_has_time(const struct daemon *daemon);
