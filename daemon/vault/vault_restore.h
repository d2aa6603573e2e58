/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/vault/vault.h"

/*
 * Secrets that appear together or not at all. They are gathered in a batch: records in the ledger,
 * whole but for their tags, to which no name leads. Once all of them have been looked at and all
 * memory is there, the batch is committed, and from then on nothing can fail: its records are
 * published step by step, and one whose name is asked for before its turn is published at that
 * moment, so that nobody who asks by name sees half of it. Only a listing may.
 *
 * A look makes each record ready to follow what is under its name, and whatever changes that has
 * the record made ready again. A commit is one step in the ledger: who adopts what a process has
 * left finds either a batch that was committed, and publishes the rest of it, or nothing of it.
 */
struct batch;

/* Secrets in one: the block that lists them has room for them, and for what was changed since. */
#define BATCH_MAX 1600000

/* An empty one. Returns 0 or STATUS_LIMIT. */
int batch_new(struct vault *vault, struct batch **batchp);

/* Wipes what was not published, all at once, and frees; takes NULL. Touches the ledger key. */
void batch_free(struct vault *vault, struct batch *batch);

/*
 * Adds a value, which it takes over (*valuep becomes NULL). Of the put it takes all but the
 * conditions and what stands for a connection or a process; version and times are those of
 * `restored`. Returns 0; STATUS_CONFLICT when the name is in it already; STATUS_LIMIT, also when it
 * has BATCH_MAX; STATUS_GONE when the value or the batch was purged; STATUS_INVALID. Touches keys.
 */
struct batch_times {
	uint64_t version; /* the least that it gets: a successor's is greater than its predecessor's
			   */
	uint64_t created_ms;
	uint64_t changed_ms;
};
int batch_add(struct vault *vault, struct batch *batch, struct value **valuep,
	const struct vault_put *put, const struct batch_times *times);

/* How many were added and are not published yet. */
uint64_t batch_count(const struct batch *batch);

/* Who says whether each name may still be stored under. */
struct batch_judge {
	bool (*may)(const void *context, struct span name, bool frozen);
	const void *context;
};

/*
 * A step of the look at what is there under the names, which `judge` is asked about (NULL: nobody).
 * Returns 1 when all are ready; 0 when there is more to look at, or another batch is being
 * published; STATUS_DENIED, STATUS_FROZEN, STATUS_INVALID (a stream), STATUS_INTEGRITY or
 * STATUS_LIMIT (there are no further versions, or no memory) and the name, which lives as long as
 * the batch is not changed; STATUS_INTEGRITY and no name when a record of the batch itself is not
 * what was added any more; STATUS_CONFLICT when the names were changed again and again meanwhile;
 * STATUS_GONE when the batch was purged; or a negative errno. Touches keys.
 */
int batch_check(struct vault *vault, struct batch *batch, const struct batch_judge *judge,
	struct span *namep);

/*
 * Right after batch_check has returned 1: from now on it cannot fail, whoever goes on with it. The
 * answer that vault_promise has asked for tells how many secrets it has, and is there. Returns 0;
 * STATUS_LIMIT; STATUS_CONFLICT when something was changed since the look; STATUS_GONE when the
 * batch was purged. Touches the ledger key.
 */
int batch_commit(struct vault *vault, struct batch *batch);

/* A step of the publishing. Returns whether that was all. Touches keys. */
bool batch_publish(struct vault *vault, struct batch *batch);

/*
 * Nobody waits for a batch any more: step by step vault_expire publishes what is left of one that
 * is committed, or wipes one that is not, and frees it. Takes NULL.
 */
void batch_leave(struct batch *batch);
