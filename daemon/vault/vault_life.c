/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/status.h"
#include "daemon/vault/vault_quota.h"

/* -- what the index asks for --------------------------------------------------------------- */

static struct span index_name(void *context, uint64_t reference)
{
	const struct vault *vault = context;

	/* What is staged is in it while it is adopted, and just before it is published. */
	if (!record_well_formed(vault, reference) && !record_staged(vault, reference))
		return span_of(NULL, 0);
	return record_name(record_header(vault, reference));
}

static bool index_sound(void *context, uint64_t reference)
{
	return record_shows(context, reference);
}

/* -- its life ------------------------------------------------------------------------------ */

static uint64_t boot_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/*
 * Nobody can tell what is what was written in what another vault has left. Only the lock is looked
 * for there; a ledger of this process's own stands for it, in which there is nothing.
 */
static int go_blind(struct vault *vault)
{
	lock_find(vault);
	ledger_leave(vault->ledger);
	vault->ledger = NULL;
	vault->blind = true;
	return ledger_new(&vault->ledger, -1);
}

/* What another vault has left becomes ours. */
static int take_over(struct vault *vault)
{
	return vault_is_locked(vault) ? go_blind(vault) : vault_adopt(vault);
}

int vault_new(struct vault **vaultp, struct coffer *coffer, int fd)
{
	struct vault *vault = calloc(1, sizeof(*vault));
	struct index_source source = { .name = index_name, .sound = index_sound };
	int r;

	if (!vault)
		return -ENOMEM;
	vault->coffer = coffer;
	vault->now = boot_ms;
	source.context = vault;
	r = terms_new(&vault->terms);
	if (r == 0)
		r = streams_new(vault);
	if (r == 0)
		r = ledger_new(&vault->ledger, fd);
	if (r == 0)
		r = index_new(&vault->index, &source);
	if (r == 0 && ledger_is_adopted(vault->ledger))
		r = take_over(vault);
	if (r < 0) {
		vault_leave(vault);
		return r;
	}
	/* What an adopted ledger had for it is free by now, and nobody has taken it yet. */
	if (!vault->blind)
		(void)lock_keep_room(vault);
	*vaultp = vault;
	return 0;
}

static void free_pinned(struct vault *vault)
{
	for (size_t i = 0; i < PIN_CHAINS; i++)
		while (vault->pinned[i]) {
			struct record *record = vault->pinned[i];

			vault->pinned[i] = record->next;
			free(record);
		}
}

void vault_leave(struct vault *vault)
{
	if (!vault)
		return;
	while (vault->values)
		value_drop(vault, vault->values);
	batches_leave(vault);
	streams_leave(vault);
	formers_leave(vault);
	free_pinned(vault);
	free(vault->spare);
	terms_free(vault->terms);
	tally_finish(&vault->tally);
	index_free(vault->index);
	free(vault->bound.at);
	free(vault->answers.at);
	free(vault->tokens.at);
	ledger_leave(vault->ledger);
	free(vault);
}

void vault_free(struct vault *vault)
{
	if (!vault)
		return;
	while (vault->values)
		value_free(vault, vault->values);
	streams_free(vault);
	ledger_free(vault->ledger);
	vault->ledger = NULL;
	vault_leave(vault);
}

void vault_watch(
	struct vault *vault, void (*on_change)(void *context, struct span name), void *context)
{
	vault->on_change = on_change;
	vault->context = context;
}

uint64_t vault_lost(const struct vault *vault, enum vault_loss loss)
{
	return vault->lost[loss];
}

uint64_t vault_broken(const struct vault *vault)
{
	uint64_t count = 0;

	for (unsigned loss = 0; loss < LOSS_COUNT; loss++)
		count += vault->lost[loss];
	return count;
}

uint64_t vault_count(const struct vault *vault)
{
	return index_count(vault->index) - vault->consumed;
}

uint64_t vault_bytes(const struct vault *vault)
{
	return ledger_used(vault->ledger) - vault->held;
}
