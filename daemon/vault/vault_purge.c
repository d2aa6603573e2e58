/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "daemon/vault/vault_adopt_inside.h"
#include "daemon/vault/vault_quota.h"
#include "daemon/vault/vault_token_inside.h"

/*
 * Once the master is another one no header can be checked any more. So none is believed that says
 * where chunks are: all goes that nobody is known to need.
 */

void vault_purge_record(struct vault *vault, struct record *record)
{
	uint64_t offset = record->offset;

	record->purged = true;
	formers_doom(vault, get_number(record_header(vault, offset)->secret));
	vault_take_out(vault, offset, true, EVENT_PURGE);
}

static void purge_record(void *context, uint64_t offset)
{
	record_retire(context, offset, false);
}

static void mark_pinned(struct vault *vault)
{
	for (size_t i = 0; i < PIN_CHAINS; i++)
		for (struct record *at = vault->pinned[i]; at; at = at->next)
			at->purged = true;
	if (vault->spare)
		vault->spare->purged = true;
}

/* -- what is left -------------------------------------------------------------------------- */

/* Of a pinned record: what the last pin gives back. */
static int keep_record(const struct vault *vault, const struct record *record, struct offsets *kept)
{
	struct span table = record_table(vault, record->place, record->size);
	int r = offsets_add(kept, record->offset);

	if (r == 0)
		r = offsets_add(kept, record->place);
	for (size_t at = 0; at < table.size && r == 0; at += sizeof(uint64_t))
		r = offsets_add(kept, bytes_get64(table.data + at));
	return r;
}

/* And what was told of changes, as far as it is remembered; and room for a lock. */
static int keep_needed(const struct vault *vault, struct offsets *kept)
{
	int r = offsets_add(kept, vault->events.ring);

	for (size_t i = 0; i < LOCK_COPIES && r == 0; i++)
		r = offsets_add(kept, vault->lock_rooms[i]);
	for (size_t i = 0; i < PIN_CHAINS; i++)
		for (const struct record *at = vault->pinned[i]; at && r == 0; at = at->next)
			r = keep_record(vault, at, kept);
	offsets_sort(kept);
	return r;
}

/*
 * Who remembers answers knows where they are: to who adopts the ledger they are nothing. Without
 * memory the rest stays where it is, without a key.
 */
static void give_rest(struct vault *vault)
{
	struct ledger *ledger = vault->ledger;
	struct offsets kept = { 0 };
	bool known = keep_needed(vault, &kept) == 0;
	uint64_t next;
	size_t i = 0;

	for (uint64_t at = ledger_next(ledger, 0); at != 0; at = next) {
		next = ledger_next(ledger, at);
		while (i < kept.count && kept.at[i] < at)
			i++;
		if (!answer_purge(vault, at) && known && (i == kept.count || kept.at[i] != at))
			ledger_give(ledger, at);
	}
	free(kept.at);
}

void vault_purge(struct vault *vault)
{
	struct coffer_notes *notes = coffer_notes(vault->coffer);
	bool later;

	/* Who adopts what we leave of it knows that it is no loss. */
	if (notes)
		atomic_store(&notes->purging, 1);
	coffer_replace(vault->coffer, COFFER_VAULT);
	later = ledger_wipe_later(vault->ledger, false);
	mark_pinned(vault);
	for (struct value *value = vault->values; value; value = value->next) {
		value_empty(vault, value);
		value->purged = true;
	}
	batches_purge(vault);
	index_each(vault->index, purge_record, vault);
	index_clear(vault->index);
	formers_purge(vault);
	lock_forget(vault);
	give_rest(vault);
	tokens_purge(vault);
	events_purge(vault);
	quota_clear(vault);
	(void)ledger_wipe_later(vault->ledger, later);
	if (notes)
		atomic_store(&notes->purging, 0);
}
