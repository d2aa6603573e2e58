/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_inside.h"

static void purge_record(void *context, uint64_t offset)
{
	record_retire(context, offset, record_well_formed(context, offset));
}

void vault_purge_record(struct vault *vault, struct record *record)
{
	uint64_t offset = record->offset;

	record->purged = true;
	formers_doom(vault, get_number(record_header(vault, offset)->secret));
	vault_take_out(vault, offset, true, EVENT_PURGE);
}

static void mark_pinned(struct vault *vault)
{
	for (size_t i = 0; i < PIN_CHAINS; i++)
		for (struct record *at = vault->pinned[i]; at; at = at->next)
			at->purged = true;
	if (vault->spare)
		vault->spare->purged = true;
}

void vault_purge(struct vault *vault)
{
	struct coffer_notes *notes = coffer_notes(vault->coffer);

	/* Who adopts what we leave of it knows that it is no loss. */
	if (notes)
		atomic_store(&notes->purging, 1);
	coffer_replace(vault->coffer, COFFER_VAULT);
	mark_pinned(vault);
	for (struct value *value = vault->values; value; value = value->next) {
		value_empty(vault, value);
		value->purged = true;
	}
	batches_purge(vault);
	/* The headers cannot be checked any more: blocks are held against the ledger's maps. */
	index_each(vault->index, purge_record, vault);
	index_clear(vault->index);
	formers_purge(vault);
	answers_purge(vault);
	events_purge(vault);
	if (notes)
		atomic_store(&notes->purging, 0);
}
