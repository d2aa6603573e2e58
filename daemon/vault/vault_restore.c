/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_restore.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/vault/vault_commit.h"
#include "daemon/vault/vault_quota.h"

/* Secrets that one step looks at, or publishes: a fraction of a millisecond. */
#define STEP_LOOKS 64

/*
 * As often is a batch looked through from the beginning, because there was no memory to note what
 * was changed meanwhile, or no room for it in the list.
 */
#define CHECKS_MAX 16

struct batch {
	struct batch *next;
	struct vault *vault;
	struct index *index; /* of its records; those that are ready are staged */
	uint64_t looked;     /* records that were looked at since the beginning */
	uint64_t commit;     /* the block that lists them; 0: it is not committed */
	bool left;           /* nobody waits for it */
	bool purged;
	bool disturbed; /* what was found may not be so any more: from the beginning again */
	unsigned checks;
	struct span after;     /* where the look stands */
	struct offsets again;  /* records whose names were changed since they were looked at */
	struct listed *listed; /* as they became ready; what comes later of one counts */
	size_t listed_count;
	size_t listed_capacity;
	char last[NAME_FILED_MAX];
};

_Static_assert(BATCH_MAX < COMMIT_MAX, "a list has room for more than a batch");

/* -- its life ------------------------------------------------------------------------------ */

static struct span apart_name(void *context, uint64_t reference)
{
	const struct vault *vault = ((const struct batch *)context)->vault;

	if (!record_fits(vault, reference))
		return span_of(NULL, 0);
	return record_name(record_header(vault, reference));
}

/* Where its record of a name is, or 0. */
static uint64_t find_in(const struct batch *batch, struct span name)
{
	uint64_t suspect;

	return index_find(batch->index, name, &suspect);
}

/*
 * What was overwritten meanwhile is passed over. Once it is committed it has its turn as long as
 * its name is what it was: whoever asks for it is told that it is damaged.
 */
static bool apart_sound(void *context, uint64_t reference)
{
	const struct batch *batch = context;

	return record_proved(batch->vault, reference) ||
		(batch->commit != 0 && find_in(batch, apart_name(context, reference)) == reference);
}

int batch_new(struct vault *vault, struct batch **batchp)
{
	struct index_source source = { .name = apart_name, .sound = apart_sound };
	struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return STATUS_LIMIT;
	batch->vault = vault;
	source.context = batch;
	if (index_new(&batch->index, &source) < 0) {
		free(batch);
		return STATUS_LIMIT;
	}
	batch->next = vault->batches;
	vault->batches = batch;
	*batchp = batch;
	return 0;
}

static void wipe_apart(void *context, uint64_t offset)
{
	record_retire(context, offset, record_proved(context, offset));
}

/* Without a ledger key: whoever purges gives back what is not a record's any more. */
static void purge_apart(void *context, uint64_t offset)
{
	record_retire(context, offset, false);
}

static void forget_list(struct batch *batch)
{
	free(batch->listed);
	batch->listed = NULL;
	batch->listed_count = batch->listed_capacity = 0;
}

/* All records that are left. */
static void wipe_rest(
	struct vault *vault, struct batch *batch, void (*wipe)(void *context, uint64_t offset))
{
	if (batch->commit != 0)
		index_withdraw(vault->index, index_count(batch->index));
	index_each(batch->index, wipe, vault);
	index_clear(batch->index);
}

/* Without its commit none of it counts. */
static void empty_batch(
	struct vault *vault, struct batch *batch, void (*wipe)(void *context, uint64_t offset))
{
	wipe_rest(vault, batch, wipe);
	if (batch->commit != 0)
		vault_give(vault, batch->commit);
	batch->commit = 0;
	batch->again.count = 0;
	forget_list(batch);
}

static void forget_batch(struct vault *vault, struct batch *batch)
{
	struct batch **at = &vault->batches;

	while (*at != batch)
		at = &(*at)->next;
	*at = batch->next;
	index_free(batch->index);
	free(batch->again.at);
	free(batch->listed);
	free(batch);
}

void batch_free(struct vault *vault, struct batch *batch)
{
	if (!batch)
		return;
	empty_batch(vault, batch, wipe_apart);
	forget_batch(vault, batch);
}

uint64_t batch_count(const struct batch *batch)
{
	return index_count(batch->index);
}

void batches_purge(struct vault *vault)
{
	for (struct batch *batch = vault->batches; batch; batch = batch->next) {
		empty_batch(vault, batch, purge_apart);
		batch->purged = true;
	}
}

void batches_each(struct vault *vault, void (*visit)(void *context, uint64_t offset), void *context)
{
	for (struct batch *batch = vault->batches; batch; batch = batch->next)
		index_each(batch->index, visit, context);
}

void batches_leave(struct vault *vault)
{
	while (vault->batches)
		forget_batch(vault, vault->batches);
}

/* -- gathering ----------------------------------------------------------------------------- */

/* Until it is published, what is under its name stays: all of it is more. */
static int check_staged(struct vault *vault, const struct vault_put *put, const struct value *value)
{
	const struct growth growth = { .names = 1,
		.bytes = quota_of_version(put->name.size, vault_tags_size(&put->tags), value->size),
		.held = quota_held(value, put->owner) };

	return put->limited ? quota_check(vault, put->owner, &growth) : 0;
}

int batch_add(struct vault *vault, struct batch *batch, struct value **valuep,
	const struct vault_put *put, const struct batch_times *times)
{
	struct header *header;
	uint64_t offset;
	int r;

	if (batch->purged)
		return STATUS_GONE;
	if (find_in(batch, put->name) != 0)
		return STATUS_CONFLICT;
	if (index_count(batch->index) >= BATCH_MAX)
		return STATUS_LIMIT;
	r = check_staged(vault, put, *valuep);
	if (r == 0)
		r = vault_write_apart(vault, valuep, put, times->version, &offset);
	if (r != 0)
		return r;
	header = record_header(vault, offset);
	put_number(header->created, times->created_ms);
	put_number(header->changed, times->changed_ms);
	/* What is overwritten from now on is found before the record counts. */
	r = record_seal(vault, header);
	if (r == 0 && index_insert(batch->index, put->name, offset) < 0)
		r = STATUS_LIMIT;
	if (r != 0)
		record_retire(vault, offset, true);
	return r;
}

/* -- looking ------------------------------------------------------------------------------- */

/*
 * Whether a record may come under the name, and the version of what is there (0: nothing): 0, a
 * status or a negative errno.
 */
static int check_name(struct vault *vault, struct span name, uint64_t *versionp)
{
	uint64_t offset;
	const struct header *old;
	int r = vault_look_up(vault, name, &offset);

	*versionp = 0;
	if (r == STATUS_NOT_FOUND || r == STATUS_GONE)
		return 0;
	if (r != 0)
		return r;
	old = record_header(vault, offset);
	if (old->flags & RECORD_STREAM)
		return STATUS_INVALID;
	if (old->flags & RECORD_FROZEN)
		return STATUS_FROZEN;
	*versionp = get_number(old->version);
	return *versionp >= NUMBER_MAX ? STATUS_LIMIT : 0;
}

/* Whether its life has ended before it was published: its key and its term are gone then. */
static bool has_ended(const struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);

	return header->lifetime_size > 0 &&
		sodium_is_zero(header->wrapped, sizeof(header->wrapped));
}

/* The key is bound to the version: another one wants another wrap. What does not open stays so. */
static void rebind(struct vault *vault, struct header *header, uint64_t version)
{
	uint8_t key[ENCLAVE_KEY_SIZE];
	int r;

	if (get_number(header->version) >= version)
		return;
	r = enclave_unwrap(key, header->wrapped, sizeof(key), record_binding(header), vault->coffer,
		COFFER_VAULT);
	put_number(header->version, version);
	if (r == 0)
		r = enclave_wrap(header->wrapped, key, sizeof(key), record_binding(header),
			vault->coffer, COFFER_VAULT);
	if (r != 0)
		sodium_memzero(header->wrapped, sizeof(header->wrapped));
	sodium_memzero(key, sizeof(key));
}

/* Sees to it that one more record can be listed. Returns 0 or STATUS_LIMIT. */
static int reserve_listed(struct batch *batch)
{
	size_t capacity = batch->listed_capacity * 2 + STEP_LOOKS;
	struct listed *listed;

	if (batch->listed_count < batch->listed_capacity)
		return 0;
	listed = reallocarray(batch->listed, capacity, sizeof(*listed));
	if (!listed)
		return STATUS_LIMIT;
	batch->listed = listed;
	batch->listed_capacity = capacity;
	return 0;
}

static void add_listed(struct batch *batch, uint64_t offset, const struct header *header)
{
	struct listed *listed = &batch->listed[batch->listed_count++];

	bytes_put32(listed->place, (uint32_t)(offset / LEDGER_UNIT));
	memcpy(listed->sequence, header->sequence, sizeof(listed->sequence));
}

/* The next number, and the tag of the record that it is once it is published. */
static int stage(struct vault *vault, struct batch *batch, uint64_t offset)
{
	struct header *header = record_header(vault, offset);
	int r;

	put_number(header->sequence, vault->sequence + 1);
	r = table_seal(vault, header);
	if (r == 0)
		r = record_seal(vault, header);
	if (r < 0)
		return r;
	block_set_kind(header, BLOCK_STAGED);
	vault_count_on(vault);
	add_listed(batch, offset, header);
	return 0;
}

/* A record of the batch is not what was added: what it is called is not known any more. */
static int damaged(struct span *namep)
{
	*namep = span_of(NULL, 0);
	return STATUS_INTEGRITY;
}

/*
 * Makes a record ready to follow what is under its name now: nothing has to be changed in it later
 * but its kind. 0, a status or a negative errno.
 */
static int make_ready(struct vault *vault, struct batch *batch, uint64_t offset,
	const struct batch_judge *judge, struct span *namep)
{
	struct header *header = record_header(vault, offset);
	uint64_t version;
	int r;

	if (!record_proved(vault, offset))
		return damaged(namep);
	block_set_kind(header, BLOCK_NOTHING);
	*namep = record_name(header);
	r = judge && !judge->may(judge->context, *namep, header->flags & RECORD_FROZEN)
		? STATUS_DENIED
		: check_name(vault, *namep, &version);
	if (r != 0 || has_ended(vault, offset))
		return r;
	r = vault->sequence >= NUMBER_MAX ? STATUS_LIMIT : reserve_listed(batch);
	if (r != 0)
		return r;
	rebind(vault, header, version + 1);
	return stage(vault, batch, offset);
}

/* What was disturbed since: that costs no more than was done to disturb it. */
static int make_ready_again(struct vault *vault, struct batch *batch,
	const struct batch_judge *judge, struct span *namep)
{
	int r = 0;

	while (batch->again.count > 0 && r == 0) {
		r = make_ready(vault, batch, batch->again.at[batch->again.count - 1], judge, namep);
		if (r == 0)
			batch->again.count--;
	}
	return r;
}

/* From the beginning again, unless that was too often. */
static int begin_again(struct batch *batch)
{
	batch->after = span_of(NULL, 0);
	batch->disturbed = false;
	batch->again.count = 0;
	batch->listed_count = 0;
	batch->looked = 0;
	return ++batch->checks < CHECKS_MAX ? 0 : STATUS_CONFLICT;
}

static struct batch *find_committed(const struct vault *vault)
{
	struct batch *batch = vault->batches;

	while (batch && batch->commit == 0)
		batch = batch->next;
	return batch;
}

/*
 * Whether it can be committed at once. One batch is published at a time: of two that have a name in
 * common the later one follows the other under all of them.
 */
static int is_ready(struct vault *vault, const struct batch *batch)
{
	struct batch *committed = find_committed(vault);

	if (committed) {
		(void)batch_publish(vault, committed);
		return 0;
	}
	return batch->again.count == 0 && !batch->disturbed;
}

int batch_check(struct vault *vault, struct batch *batch, const struct batch_judge *judge,
	struct span *namep)
{
	int r;

	if (batch->purged)
		return STATUS_GONE;
	if (batch->disturbed || batch->listed_count + batch->again.count + STEP_LOOKS > COMMIT_MAX)
		return begin_again(batch);
	r = make_ready_again(vault, batch, judge, namep);
	for (unsigned i = 0; i < STEP_LOOKS && r == 0; i++) {
		uint64_t offset = index_next(batch->index, span_of(NULL, 0), batch->after);

		if (offset == 0 && batch->looked < index_count(batch->index))
			return damaged(namep);
		if (offset == 0)
			return is_ready(vault, batch);
		r = make_ready(vault, batch, offset, judge, namep);
		if (r != 0)
			return r;
		batch->looked++;
		memcpy(batch->last, namep->data, namep->size);
		batch->after = span_of(batch->last, namep->size);
	}
	return r;
}

/* Only what is ready has to be made so again; what is not is looked at anyway. */
static void disturb(struct vault *vault, struct batch *batch, uint64_t offset)
{
	if (!record_staged(vault, offset))
		return;
	block_set_kind(record_header(vault, offset), BLOCK_NOTHING);
	if (offsets_add(&batch->again, offset) < 0)
		batch->disturbed = true;
}

void batches_disturb(struct vault *vault, struct span name)
{
	for (struct batch *batch = vault->batches; batch; batch = batch->next) {
		uint64_t offset = batch->commit == 0 && !batch->left ? find_in(batch, name) : 0;

		if (offset != 0)
			disturb(vault, batch, offset);
	}
}

int batch_commit(struct vault *vault, struct batch *batch)
{
	uint64_t count = index_count(batch->index);
	int r;

	if (batch->purged)
		return STATUS_GONE;
	if (!is_ready(vault, batch))
		return STATUS_CONFLICT;
	if (index_promise(vault->index, count) < 0)
		return STATUS_LIMIT;
	r = commit_write(
		vault, batch->listed, (uint32_t)batch->listed_count, count, &batch->commit);
	if (r != 0)
		index_withdraw(vault->index, count);
	else
		forget_list(batch);
	return r < 0 ? STATUS_GONE : r;
}

/* -- publishing ---------------------------------------------------------------------------- */

/*
 * Puts the record in the place of what is there under its name, which goes first: until the record
 * is published, the commit speaks for it.
 */
static void succeed(struct vault *vault, struct span name, uint64_t offset, int found, uint64_t old)
{
	if (found == 0) {
		uint64_t secret = get_number(record_header(vault, old)->secret);

		index_withdraw(vault->index, 1);
		index_replace(vault->index, name, old, offset);
		record_retire(vault, old, true);
		/* What was restored is another secret: these were of the one before. */
		formers_end(vault, secret);
		return;
	}
	if (found == STATUS_GONE)
		vault_end_record(vault, old);
	else if (found == STATUS_INTEGRITY)
		vault_take_out_damaged(vault, name, old);
	index_insert_promised(vault->index, name, offset);
}

static void publish_apart(struct vault *vault, struct batch *batch, uint64_t offset)
{
	struct header *header = record_header(vault, offset);
	struct span name = record_name(header);
	uint64_t old;
	int found;

	/* It is none of the batch's now: its name is not looked for there again. */
	index_remove(batch->index, name, offset);
	/* Its life may have ended since: it is nothing then. Another kind was overwritten. */
	if (block_kind(header) != BLOCK_NOTHING)
		block_set_kind(header, BLOCK_STAGED);
	/* Without a ledger key the daemon is at its end. */
	found = record_staged(vault, offset) ? vault_look_up(vault, name, &old) : -ESTALE;
	if (found < 0) {
		index_withdraw(vault->index, 1);
		record_retire(vault, offset, record_proved(vault, offset));
		return;
	}
	event_write(vault, EVENT_SET, name, get_number(header->version),
		(struct event_cause){ .by = get_number(header->sequence) });
	succeed(vault, name, offset, found, old);
	block_set_kind(header, BLOCK_RECORD);
	events_count(vault);
	batches_disturb(vault, name);
	if (vault->on_change)
		vault->on_change(vault->context, name);
}

/* All of it is published: nothing needs the list any more. */
static void finish_batch(struct vault *vault, struct batch *batch)
{
	if (batch->commit != 0)
		vault_give(vault, batch->commit);
	batch->commit = 0;
}

/* Lets so many records go their way. What is left without an order was overwritten. */
static bool take_step(struct vault *vault, struct batch *batch,
	void (*take)(struct vault *vault, struct batch *batch, uint64_t offset))
{
	/* What is committed waits with everything else. */
	if (vault_is_locked(vault))
		return false;
	for (unsigned i = 0; i < STEP_LOOKS && index_count(batch->index) > 0; i++) {
		uint64_t offset = index_next(batch->index, span_of(NULL, 0), span_of(NULL, 0));

		if (offset == 0)
			wipe_rest(vault, batch, wipe_apart);
		else
			take(vault, batch, offset);
	}
	if (index_count(batch->index) > 0)
		return false;
	finish_batch(vault, batch);
	return true;
}

bool batch_publish(struct vault *vault, struct batch *batch)
{
	return take_step(vault, batch, publish_apart);
}

static void take_back(struct vault *vault, struct batch *batch, uint64_t offset)
{
	index_remove(batch->index, record_name(record_header(vault, offset)), offset);
	record_retire(vault, offset, true);
}

void batches_hurry(struct vault *vault, struct span name)
{
	for (struct batch *batch = vault->batches; batch; batch = batch->next) {
		uint64_t offset = batch->commit != 0 ? find_in(batch, name) : 0;

		if (offset != 0)
			publish_apart(vault, batch, offset);
	}
}

void batch_leave(struct batch *batch)
{
	if (batch)
		batch->left = true;
}

bool batches_left(const struct vault *vault)
{
	for (const struct batch *batch = vault->batches; batch; batch = batch->next)
		if (batch->left)
			return true;
	return false;
}

bool batches_go_on(struct vault *vault)
{
	struct batch *batch = vault->batches;

	while (batch && !batch->left)
		batch = batch->next;
	if (!batch)
		return false;
	if (take_step(vault, batch, batch->commit != 0 ? publish_apart : take_back))
		batch_free(vault, batch);
	return true;
}
