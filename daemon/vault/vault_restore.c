/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_restore.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/vault/vault_inside.h"

/* Secrets that one step looks at, or publishes: a fraction of a millisecond. */
#define STEP_LOOKS 64

/* As often is a batch looked through from the beginning because something was frozen meanwhile. */
#define CHECKS_MAX 16

struct batch {
	struct batch *next;
	struct index *index; /* of its records */
	bool committed;
	bool left; /* nobody waits for it */
	bool purged;
	bool disturbed; /* since the look at it began: what was found may not be so any more */
	unsigned checks;
	struct span after; /* where the look stands */
	char last[NAME_FILED_MAX];
};

/* -- its life ------------------------------------------------------------------------------ */

static struct span apart_name(void *context, uint64_t reference)
{
	const struct vault *vault = context;

	if (!record_fits(vault, reference))
		return span_of(NULL, 0);
	return record_name(record_header(vault, reference));
}

static bool apart_sound(void *context, uint64_t reference)
{
	return record_fits(context, reference);
}

int batch_new(struct vault *vault, struct batch **batchp)
{
	struct index_source source = { .name = apart_name, .sound = apart_sound, .context = vault };
	struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return STATUS_LIMIT;
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
	record_retire(context, offset, record_fits(context, offset));
}

static void empty_batch(struct vault *vault, struct batch *batch)
{
	if (batch->committed)
		index_withdraw(vault->index, index_count(batch->index));
	batch->committed = false;
	index_each(batch->index, wipe_apart, vault);
	index_clear(batch->index);
}

void batch_free(struct vault *vault, struct batch *batch)
{
	struct batch **at = &vault->batches;

	if (!batch)
		return;
	while (*at != batch)
		at = &(*at)->next;
	*at = batch->next;
	empty_batch(vault, batch);
	index_free(batch->index);
	free(batch);
}

uint64_t batch_count(const struct batch *batch)
{
	return index_count(batch->index);
}

void batches_purge(struct vault *vault)
{
	for (struct batch *batch = vault->batches; batch; batch = batch->next) {
		empty_batch(vault, batch);
		batch->purged = true;
	}
}

void batches_free(struct vault *vault)
{
	while (vault->batches)
		batch_free(vault, vault->batches);
}

/* -- gathering ----------------------------------------------------------------------------- */

static bool holds(const struct batch *batch, struct span name)
{
	uint64_t suspect;

	return index_find(batch->index, name, &suspect) != 0;
}

int batch_add(struct vault *vault, struct batch *batch, struct value **valuep,
	const struct vault_put *put, const struct batch_times *times)
{
	struct header *header;
	uint64_t offset;
	int r;

	if (batch->purged)
		return STATUS_GONE;
	if (holds(batch, put->name))
		return STATUS_CONFLICT;
	r = vault_write_apart(vault, valuep, put, times->version, &offset);
	if (r != 0)
		return r;
	header = record_header(vault, offset);
	put_number(header->created, times->created_ms);
	put_number(header->changed, times->changed_ms);
	if (index_insert(batch->index, put->name, offset) < 0) {
		record_retire(vault, offset, true);
		return STATUS_LIMIT;
	}
	return 0;
}

/* -- looking ------------------------------------------------------------------------------- */

/* Whether a record may come under the name: 0, a status or a negative errno. */
static int check_name(struct vault *vault, struct span name)
{
	uint64_t offset;
	const struct header *old;
	int r = vault_look_up(vault, name, &offset);

	if (r == STATUS_NOT_FOUND || r == STATUS_GONE)
		return 0;
	if (r != 0)
		return r;
	old = record_header(vault, offset);
	if (old->flags & RECORD_STREAM)
		return STATUS_INVALID;
	if (old->flags & RECORD_FROZEN)
		return STATUS_FROZEN;
	return get_number(old->version) >= NUMBER_MAX ? STATUS_LIMIT : 0;
}

/* From the beginning again, unless that was too often. */
static int begin_again(struct batch *batch)
{
	batch->after = span_of(NULL, 0);
	batch->disturbed = false;
	return ++batch->checks < CHECKS_MAX ? 0 : STATUS_CONFLICT;
}

int batch_check(struct vault *vault, struct batch *batch, const struct batch_judge *judge,
	struct span *namep)
{
	if (batch->purged)
		return STATUS_GONE;
	if (batch->disturbed)
		return begin_again(batch);
	for (unsigned i = 0; i < STEP_LOOKS; i++) {
		uint64_t offset = index_next(batch->index, span_of(NULL, 0), batch->after);
		int r;

		if (offset == 0)
			return 1;
		*namep = record_name(record_header(vault, offset));
		memcpy(batch->last, namep->data, namep->size);
		batch->after = span_of(batch->last, namep->size);
		r = judge && !judge->may(judge->context, *namep) ? STATUS_DENIED
								 : check_name(vault, *namep);
		if (r != 0)
			return r;
	}
	return 0;
}

void batches_disturb(struct vault *vault, struct span name)
{
	for (struct batch *batch = vault->batches; batch; batch = batch->next)
		if (!batch->committed && holds(batch, name))
			batch->disturbed = true;
}

int batch_commit(struct vault *vault, struct batch *batch)
{
	uint64_t count = index_count(batch->index);

	if (vault->sequence + count >= NUMBER_MAX || index_promise(vault->index, count) < 0)
		return STATUS_LIMIT;
	batch->committed = true;
	return 0;
}

/* -- publishing ---------------------------------------------------------------------------- */

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

/* Puts the record in the place of what is there under its name. */
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
	found = has_ended(vault, offset) ? -1 : vault_look_up(vault, name, &old);
	if (found == 0)
		rebind(vault, header, get_number(record_header(vault, old)->version) + 1);
	put_number(header->sequence, vault->sequence + 1);
	/* Without a ledger key the daemon is at its end. */
	if (found < 0 || table_seal(vault, header) < 0 ||
		record_tag(vault, header, header->block.tag) < 0) {
		index_withdraw(vault->index, 1);
		record_retire(vault, offset, true);
		return;
	}
	block_set_kind(header, BLOCK_RECORD);
	vault_count_on(vault);
	succeed(vault, name, offset, found, old);
	if (vault->on_change)
		vault->on_change(vault->context, name);
}

bool batch_publish(struct vault *vault, struct batch *batch)
{
	for (unsigned i = 0; i < STEP_LOOKS; i++) {
		uint64_t offset = index_next(batch->index, span_of(NULL, 0), span_of(NULL, 0));

		if (offset == 0)
			return true;
		publish_apart(vault, batch, offset);
	}
	return index_count(batch->index) == 0;
}

void batches_hurry(struct vault *vault, struct span name)
{
	for (struct batch *batch = vault->batches; batch; batch = batch->next) {
		uint64_t suspect;
		uint64_t offset = batch->committed ? index_find(batch->index, name, &suspect) : 0;

		if (offset != 0)
			publish_apart(vault, batch, offset);
	}
}

void batch_leave(struct batch *batch)
{
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
	if (batch_publish(vault, batch))
		batch_free(vault, batch);
	return true;
}
