/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/vault/vault_inside.h"

/* For so long a consumed name says what became of it, and so many names of one owner do. */
#define TOMBSTONE_MS (UINT64_C(24) * 3600 * 1000)
#define TOMBSTONES_MAX 1000

/* A use within so many ms of the one before is not written down. */
#define USE_MS 1000

/* -- how it lies in the ledger ------------------------------------------------------------- */

static uint64_t number_at_most(uint64_t number)
{
	return number < NUMBER_MAX ? number : NUMBER_MAX;
}

/* When a record that was used at `used` ends if nothing happens to it; 0: it does not. */
static uint64_t deadline_after(const struct header *header, uint64_t used)
{
	const struct lifetime_bytes *bytes = lifetime_bytes(header);
	uint64_t end = get_number(bytes->end);
	uint64_t idle = get_number(bytes->idle);

	if (idle == 0)
		return end;
	return end == 0 || used + idle < end ? used + idle : end;
}

static uint64_t deadline_of(const struct header *header)
{
	return deadline_after(header, get_number(lifetime_bytes(header)->used));
}

size_t lifetime_size(const struct vault_put *put, const struct header *old)
{
	if (put->rotation.asked)
		return old->lifetime_size;
	return lifetime_is_limited(&put->lifetime) ? sizeof(struct lifetime_bytes) : 0;
}

/* The times of a lifetime that begins now. */
static void begin_now(struct lifetime_bytes *bytes, const struct vault_put *put, uint64_t now)
{
	const struct lifetime *lifetime = &put->lifetime;

	*bytes = (struct lifetime_bytes){ 0 };
	if (lifetime->ttl_ms > 0)
		put_number(bytes->end, number_at_most(now + lifetime->ttl_ms));
	put_number(bytes->idle, number_at_most(lifetime->idle_ms));
	put_number(bytes->used, now);
	bytes_put32(bytes->reads, lifetime->reads);
	bytes_put32(bytes->pid, lifetime->pid);
	bytes_put64(bytes->started, put->process_started);
}

int lifetime_write(struct vault *vault, struct header *header, const struct vault_put *put,
	const struct header *old)
{
	struct lifetime_bytes *bytes = lifetime_bytes(header);

	if (header->lifetime_size == 0)
		return 0;
	if (put->rotation.asked) {
		header->flags |= old->flags & RECORD_SESSION;
		*bytes = *lifetime_bytes(old);
		put_number(bytes->used, vault->now());
	} else {
		header->flags |= put->lifetime.session ? RECORD_SESSION : 0;
		begin_now(bytes, put, vault->now());
	}
	return terms_reserve(vault->terms) < 0 ? STATUS_LIMIT : 0;
}

/* Reads are counted in the record alone. */
static bool needs_term(const struct term_of *of)
{
	return of->deadline_ms > 0 || of->holders[BOND_SESSION] || of->holders[BOND_PROCESS];
}

void lifetime_begin(struct vault *vault, uint64_t offset, const struct vault_put *put, uint64_t old)
{
	const struct header *header = record_header(vault, offset);
	struct term_of of = {
		.holders = { [BOND_SESSION] = put->session, [BOND_PROCESS] = put->process }
	};

	if (header->lifetime_size == 0)
		return;
	/* It hangs on what the version before hangs on. */
	if (put->rotation.asked)
		(void)terms_look(vault->terms, old, &of);
	of.deadline_ms = deadline_of(header);
	if (needs_term(&of))
		terms_add(vault->terms, offset, &of);
}

void lifetime_shorten(struct vault *vault, struct header *header, uint64_t grace_ms)
{
	struct lifetime_bytes *bytes = lifetime_bytes(header);
	uint64_t end = number_at_most(vault->now() + grace_ms);

	if (get_number(bytes->end) == 0 || end < get_number(bytes->end))
		put_number(bytes->end, end);
}

int lifetime_adopt(struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);
	struct term_of of = { 0 };

	if (header->lifetime_size == 0)
		return 0;
	of.deadline_ms = deadline_of(header);
	if (bytes_get32(lifetime_bytes(header)->pid) > 0 && offsets_add(&vault->bound, offset) < 0)
		return -ENOMEM;
	if (!needs_term(&of))
		return 0;
	if (terms_reserve(vault->terms) < 0)
		return -ENOMEM;
	terms_add(vault->terms, offset, &of);
	return 0;
}

static int bind_record(struct vault *vault, uint64_t offset, struct holder *holder)
{
	struct term_of of = { 0 };

	if (!holder) {
		vault_end_record(vault, offset);
		return 0;
	}
	if (terms_look(vault->terms, offset, &of))
		terms_drop(vault->terms, offset);
	if (terms_reserve(vault->terms) < 0)
		return -ENOMEM;
	of.holders[BOND_PROCESS] = holder;
	terms_add(vault->terms, offset, &of);
	return 0;
}

int vault_bind(struct vault *vault,
	int (*find)(void *context, uint32_t pid, uint64_t started, struct holder **holderp),
	void *context)
{
	int r = 0;

	for (size_t i = 0; i < vault->bound.count && r == 0; i++) {
		const struct lifetime_bytes *bytes =
			lifetime_bytes(record_header(vault, vault->bound.at[i]));
		struct holder *holder = NULL;

		/* It ended with one that was bound before it. */
		if (!record_well_formed(vault, vault->bound.at[i]))
			continue;
		r = find(context, bytes_get32(bytes->pid), bytes_get64(bytes->started), &holder);
		if (r == 0)
			r = bind_record(vault, vault->bound.at[i], holder);
	}
	free(vault->bound.at);
	vault->bound = (struct offsets){ 0 };
	return r;
}

static uint64_t left(uint64_t end, uint64_t now)
{
	return end > now ? end - now : 1;
}

void lifetime_tell(const struct vault *vault, const struct header *header, struct info *info)
{
	const struct lifetime_bytes *bytes = lifetime_bytes(header);
	uint64_t now;

	if (header->lifetime_size == 0)
		return;
	now = vault->now();
	if (get_number(bytes->end) > 0)
		info->left.ttl_ms = left(get_number(bytes->end), now);
	info->left.idle_ms = get_number(bytes->idle);
	if (info->left.idle_ms > 0)
		info->idle_left_ms = left(get_number(bytes->used) + info->left.idle_ms, now);
	info->left.reads = bytes_get32(bytes->reads);
	info->left.pid = bytes_get32(bytes->pid);
	info->left.session = header->flags & RECORD_SESSION;
}

/* -- consumed names ------------------------------------------------------------------------ */

/* Who has names that were consumed: they hang on `holder`, the oldest first. */
struct owner {
	struct owner *next;
	struct vault *vault;
	struct holder *holder;
	uint32_t uid;
};

static void forget_owner(void *context)
{
	struct owner *owner = context;
	struct owner **at = &owner->vault->owners;

	while (*at != owner)
		at = &(*at)->next;
	*at = owner->next;
	holder_free(owner->holder);
	free(owner);
}

/* The one with that uid, made if need be; NULL without memory. */
static struct owner *take_owner(struct vault *vault, uint32_t uid)
{
	struct owner *owner = vault->owners;

	while (owner && owner->uid != uid)
		owner = owner->next;
	if (owner)
		return owner;
	owner = calloc(1, sizeof(*owner));
	if (!owner)
		return NULL;
	owner->holder = holder_new(forget_owner, owner);
	if (!owner->holder) {
		free(owner);
		return NULL;
	}
	owner->vault = vault;
	owner->uid = uid;
	owner->next = vault->owners;
	vault->owners = owner;
	return owner;
}

/* Writes a record that says only that there was one. Returns 0, a status or a negative errno. */
static int write_tombstone(
	struct vault *vault, const struct header *old, uint64_t end, uint64_t *offsetp)
{
	struct span name = record_name(old);
	struct header *header;
	int r;

	if (vault->sequence >= NUMBER_MAX || terms_reserve(vault->terms) < 0 ||
		ledger_take(vault->ledger,
			sizeof(*header) + sizeof(struct lifetime_bytes) + name.size, offsetp) < 0)
		return STATUS_LIMIT;
	header = record_header(vault, *offsetp);
	*header = (struct header){ .flags = RECORD_CONSUMED,
		.lifetime_size = sizeof(struct lifetime_bytes) };
	*lifetime_bytes(header) = (struct lifetime_bytes){ 0 };
	put_number(lifetime_bytes(header)->end, end);
	memcpy(header->secret, old->secret, sizeof(header->secret));
	memcpy(header->version, old->version, sizeof(header->version));
	memcpy(header->created, old->created, sizeof(header->created));
	memcpy(header->changed, old->changed, sizeof(header->changed));
	memcpy(header->owner, old->owner, sizeof(header->owner));
	put_number(header->sequence, vault->sequence + 1);
	bytes_put16(header->name_size, (uint16_t)name.size);
	memcpy((uint8_t *)header + record_name_start(header), name.data, name.size);
	r = record_seal(vault, header);
	if (r < 0)
		vault_give(vault, *offsetp);
	else
		block_set_kind(header, BLOCK_RECORD);
	return r;
}

/* The last fetch: what is left under the name says so. Whoever has pinned the record reads on. */
static int consume(struct vault *vault, uint64_t offset)
{
	const struct header *old = record_header(vault, offset);
	struct owner *owner = take_owner(vault, bytes_get32(old->owner));
	struct term_of of = { .deadline_ms = number_at_most(vault->now() + TOMBSTONE_MS) };
	uint64_t tombstone;
	int r;

	event_write(vault, EVENT_EXPIRE, record_name(old), get_number(old->version),
		(struct event_cause){ .by = vault->sequence + 1 });
	r = owner ? write_tombstone(vault, old, of.deadline_ms, &tombstone) : STATUS_LIMIT;
	if (r != 0) {
		events_drop(vault);
		if (owner && holder_count(owner->holder) == 0)
			forget_owner(owner);
		return r;
	}
	vault_count_on(vault);
	events_count(vault);
	index_replace(vault->index, record_name(old), offset, tombstone);
	batches_disturb(vault, record_name(old));
	record_retire(vault, offset, true);
	formers_end(vault, get_number(record_header(vault, tombstone)->secret));
	of.holders[BOND_OWNER] = owner->holder;
	terms_add(vault->terms, tombstone, &of);
	vault->consumed++;
	if (holder_count(owner->holder) > TOMBSTONES_MAX)
		vault_end_record(vault, holder_oldest(owner->holder));
	return 0;
}

int tombstone_adopt(struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);
	struct term_of of = { .deadline_ms = deadline_of(header) };
	struct owner *owner;

	if (terms_reserve(vault->terms) < 0)
		return -ENOMEM;
	owner = take_owner(vault, bytes_get32(header->owner));
	if (!owner)
		return -ENOMEM;
	of.holders[BOND_OWNER] = owner->holder;
	terms_add(vault->terms, offset, &of);
	vault->consumed++;
	return 0;
}

void tombstones_settle(struct vault *vault)
{
	for (struct owner *owner = vault->owners; owner; owner = owner->next)
		while (holder_count(owner->holder) > TOMBSTONES_MAX)
			vault_end_record(vault, holder_oldest(owner->holder));
}

void vault_forget_consumed(struct vault *vault, uint32_t uid)
{
	struct owner *owner = vault->owners;

	while (owner && owner->uid != uid)
		owner = owner->next;
	/* The last one takes the owner with it. */
	for (size_t left = owner ? holder_count(owner->holder) : 0; left > 0; left--)
		vault_end_record(vault, holder_oldest(owner->holder));
}

/* Of a version that was rotated nothing has to be said: its name goes on. */
static int end_with_use(struct vault *vault, uint64_t offset)
{
	if (!(record_header(vault, offset)->flags & RECORD_FORMER))
		return consume(vault, offset);
	vault_end_record(vault, offset);
	return 0;
}

/* -- use ----------------------------------------------------------------------------------- */

/* Whether a fetch at `now` changes what is written down. */
static bool is_use(const struct lifetime_bytes *bytes, uint64_t now)
{
	return bytes_get32(bytes->reads) > 0 ||
		(get_number(bytes->idle) > 0 && now - get_number(bytes->used) >= USE_MS);
}

bool record_counts(const struct record *record)
{
	return record_header(record->vault, record->offset)->lifetime_size > 0;
}

int record_use(struct vault *vault, struct record *record)
{
	uint64_t offset = record->offset;
	const struct header *header = record_header(vault, offset);
	uint64_t now;
	uint64_t copy;
	struct lifetime_bytes *bytes;
	uint32_t reads;
	int r;

	if (!record_counts(record))
		return 0;
	now = vault->now();
	if (!is_use(lifetime_bytes(header), now)) {
		/* It lives on all the same. */
		terms_defer(vault->terms, offset, deadline_after(header, now));
		return 0;
	}
	reads = bytes_get32(lifetime_bytes(header)->reads);
	if (reads == 1)
		return end_with_use(vault, offset);
	r = record_copy(vault, offset, &(struct copy){ .limited = true }, &copy);
	if (r != 0)
		return r;
	bytes = lifetime_bytes(record_header(vault, copy));
	put_number(bytes->used, now);
	if (reads > 0)
		bytes_put32(bytes->reads, reads - 1);
	r = record_publish_copy(vault, offset, copy);
	if (r == 0)
		terms_defer(vault->terms, copy, deadline_of(record_header(vault, copy)));
	return r;
}

/* -- changes ------------------------------------------------------------------------------- */

void lifetime_renew(struct vault *vault, uint64_t offset)
{
	struct term_of of = { .deadline_ms = deadline_of(record_header(vault, offset)) };
	struct term_of before;

	if (terms_look(vault->terms, offset, &before))
		terms_defer(vault->terms, offset, of.deadline_ms);
	else
		terms_add(vault->terms, offset, &of);
}

int vault_touch(struct vault *vault, struct span name, uint64_t ttl_ms,
	const struct conditions *conditions, uint64_t *versionp)
{
	uint64_t offset;
	uint64_t copy;
	struct lifetime_bytes *bytes;
	uint64_t now = vault->now();
	int r = vault_begin_change(vault, name, conditions, &offset, versionp);

	if (r == 0 && record_header(vault, offset)->flags & RECORD_FROZEN)
		return STATUS_FROZEN;
	if (r == 0 && terms_reserve(vault->terms) < 0)
		return STATUS_LIMIT;
	if (r == 0)
		r = record_copy(vault, offset, &(struct copy){ .limited = true }, &copy);
	if (r != 0)
		return r;
	bytes = lifetime_bytes(record_header(vault, copy));
	put_number(bytes->end, number_at_most(now + ttl_ms));
	put_number(bytes->used, now);
	r = record_publish_copy(vault, offset, copy);
	if (r == 0)
		lifetime_renew(vault, copy);
	return r;
}

/* -- the end ------------------------------------------------------------------------------- */

void vault_end_record(struct vault *vault, uint64_t offset)
{
	/* What was committed has its turn before its end: what was before it goes as well. */
	if (record_staged(vault, offset))
		batches_hurry(vault, record_name(record_header(vault, offset)));
	/* Its name cannot be trusted any more: it goes on saying that it is damaged. */
	if (!record_intact(vault, offset))
		record_lose(vault, offset);
	else
		vault_take_out(vault, offset, true, EVENT_EXPIRE);
}

bool vault_expire(struct vault *vault)
{
	uint64_t offset;

	/* Nothing could be told from what is not what was written. Nobody finds it meanwhile. */
	if (vault_is_locked(vault))
		return ledger_wipe_some(vault->ledger);
	offset = terms_next_over(vault->terms, vault->now());
	if (offset == 0)
		return batches_go_on(vault) || ledger_wipe_some(vault->ledger);
	vault_end_record(vault, offset);
	return true;
}

uint64_t vault_expiry_ms(const struct vault *vault)
{
	if (ledger_has_waste(vault->ledger))
		return 0;
	if (vault_is_locked(vault))
		return UINT64_MAX;
	return batches_left(vault) || ledger_wants_compacting(vault->ledger)
		? 0
		: terms_next_ms(vault->terms);
}

void vault_wipe_later(struct vault *vault)
{
	(void)ledger_wipe_later(vault->ledger, true);
}

void vault_end_holder(struct vault *vault, struct holder *holder)
{
	holder_end(vault->terms, holder);
}
