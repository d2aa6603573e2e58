/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "common/status.h"
#include "daemon/vault/vault_inside.h"

/*
 * Versions that a rotation has left for a while. No name leads to them: they are found by the
 * secret's number, which stays when the secret gets another name, and end with the secret.
 */
struct former {
	struct former *next;
	uint64_t version;
	uint64_t offset;
};

/* All of one secret; there is at least one. */
struct family {
	uint64_t secret; /* first: what families are found by */
	struct family *next;
	struct family *previous;
	struct former *formers;
	size_t count;
	uint64_t current; /* where the version after them is; 0: not known yet */
	/* While they are adopted: the latest record under the secret's name. */
	uint64_t latest; /* its sequence number; 0: none was seen */
	uint64_t version;
	bool consumed;
};

static int by_secret(const void *a, const void *b)
{
	uint64_t x = ((const struct family *)a)->secret;
	uint64_t y = ((const struct family *)b)->secret;

	return (x > y) - (x < y);
}

static struct family *find_family(const struct vault *vault, uint64_t secret)
{
	const struct family key = { .secret = secret };
	struct family **found =
		vault->families ? tfind(&key, &vault->family_tree, by_secret) : NULL;

	return found ? *found : NULL;
}

/* The family of a secret, made if need be; NULL without memory. */
static struct family *take_family(struct vault *vault, uint64_t secret)
{
	struct family *family = find_family(vault, secret);

	if (family)
		return family;
	family = calloc(1, sizeof(*family));
	if (!family)
		return NULL;
	family->secret = secret;
	if (!tsearch(family, &vault->family_tree, by_secret)) {
		free(family);
		return NULL;
	}
	family->next = vault->families;
	if (family->next)
		family->next->previous = family;
	vault->families = family;
	return family;
}

static void drop_family(struct vault *vault, struct family *family)
{
	(void)tdelete(family, &vault->family_tree, by_secret);
	if (family->next)
		family->next->previous = family->previous;
	if (family->previous)
		family->previous->next = family->next;
	else
		vault->families = family->next;
	free(family);
}

static uint64_t secret_at(const struct vault *vault, uint64_t offset)
{
	return get_number(record_header(vault, offset)->secret);
}

int former_add(struct vault *vault, uint64_t offset)
{
	struct former *former = calloc(1, sizeof(*former));
	struct family *family = former ? take_family(vault, secret_at(vault, offset)) : NULL;

	if (!family) {
		free(former);
		return -ENOMEM;
	}
	former->version = get_number(record_header(vault, offset)->version);
	former->offset = offset;
	former->next = family->formers;
	family->formers = former;
	family->count++;
	return 0;
}

bool formers_are_full(const struct vault *vault, uint64_t offset)
{
	const struct family *family = find_family(vault, secret_at(vault, offset));

	return family && family->count >= FORMERS_MAX;
}

void former_drop(struct vault *vault, uint64_t offset)
{
	struct family *family = find_family(vault, secret_at(vault, offset));
	struct former **at = &family->formers;
	struct former *former;

	while ((*at)->offset != offset)
		at = &(*at)->next;
	former = *at;
	*at = former->next;
	free(former);
	family->count--;
	if (!family->formers)
		drop_family(vault, family);
}

void former_move(struct vault *vault, uint64_t offset, uint64_t to)
{
	struct former *former = find_family(vault, secret_at(vault, to))->formers;

	while (former->offset != offset)
		former = former->next;
	former->offset = to;
}

static struct former *find_former(const struct family *family, uint64_t version)
{
	struct former *former = family->formers;

	while (former && former->version != version)
		former = former->next;
	return former;
}

uint64_t former_find(const struct vault *vault, uint64_t secret, uint64_t version)
{
	const struct family *family = find_family(vault, secret);
	const struct former *former = family ? find_former(family, version) : NULL;

	return former ? former->offset : 0;
}

static void free_formers(struct family *family)
{
	while (family->formers) {
		struct former *former = family->formers;

		family->formers = former->next;
		free(former);
	}
}

static void end_family(struct vault *vault, struct family *family,
	bool (*sound)(const struct vault *vault, uint64_t offset))
{
	for (const struct former *former = family->formers; former; former = former->next)
		record_retire(vault, former->offset, sound(vault, former->offset));
	free_formers(family);
	drop_family(vault, family);
}

void formers_end(struct vault *vault, uint64_t secret)
{
	struct family *family = find_family(vault, secret);

	if (family)
		end_family(vault, family, record_intact);
}

void formers_follow(struct vault *vault, uint64_t offset)
{
	struct family *family = find_family(vault, secret_at(vault, offset));

	if (family)
		family->current = offset;
}

void formers_end_behind(struct vault *vault, uint64_t offset)
{
	struct family *family = vault->families;

	while (family && family->current != offset)
		family = family->next;
	if (family)
		end_family(vault, family, record_intact);
}

void formers_doom(struct vault *vault, uint64_t secret)
{
	const struct family *family = find_family(vault, secret);

	for (const struct former *former = family ? family->formers : NULL; former;
		former = former->next)
		record_doom(vault, former->offset);
}

int formers_of(struct vault *vault, uint64_t secret, int (*visit)(void *context, uint64_t offset),
	void *context)
{
	const struct family *family = find_family(vault, secret);
	int r = 0;

	for (const struct former *former = family ? family->formers : NULL; former && r == 0;
		former = former->next)
		r = visit(context, former->offset);
	return r;
}

static bool is_nothing(const struct vault *vault, uint64_t offset)
{
	(void)vault;
	(void)offset;
	return false;
}

void formers_purge(struct vault *vault)
{
	while (vault->families)
		end_family(vault, vault->families, is_nothing);
}

void formers_leave(struct vault *vault)
{
	while (vault->families) {
		free_formers(vault->families);
		drop_family(vault, vault->families);
	}
}

/* -- adopting them ------------------------------------------------------------------------- */

static uint64_t sequence_of(const struct vault *vault, uint64_t offset)
{
	return get_number(record_header(vault, offset)->sequence);
}

/* Of two headers of one version the later one counts. */
static int adopt_former(struct vault *vault, uint64_t offset, struct offsets *surplus)
{
	uint64_t version = get_number(record_header(vault, offset)->version);
	struct family *family = find_family(vault, secret_at(vault, offset));
	struct former *former = family ? find_former(family, version) : NULL;
	uint64_t worse = offset;

	if (!former)
		return former_add(vault, offset);
	if (sequence_of(vault, former->offset) < sequence_of(vault, offset)) {
		worse = former->offset;
		former->offset = offset;
	}
	return offsets_add(surplus, worse);
}

/* What is under a name now, if it is of a secret with versions from before. */
static void see_current(const struct vault *vault, uint64_t offset)
{
	const struct header *header = record_header(vault, offset);
	struct family *family = find_family(vault, get_number(header->secret));
	uint64_t suspect;

	if (!family || get_number(header->sequence) < family->latest)
		return;
	/* What its name does not lead to is older, or was restored over. */
	if (index_find(vault->index, record_name(header), &suspect) != offset)
		return;
	family->latest = get_number(header->sequence);
	family->version = get_number(header->version);
	family->current = offset;
	family->consumed = header->flags & RECORD_CONSUMED;
}

/*
 * Whether the family's secret is still there, in a later version: the step that published that one
 * may not have been made, and then this one is under its name as well.
 */
static bool is_of_family(const struct family *family, const struct former *former)
{
	return family->latest > 0 && !family->consumed && former->version < family->version;
}

/* Takes those out that are not of their family any more. Whoever follows has been looked up. */
static int sift_family(struct vault *vault, struct family *family, struct offsets *surplus)
{
	struct former **at = &family->formers;

	while (*at) {
		struct former *former = *at;

		if (is_of_family(family, former)) {
			at = &former->next;
			continue;
		}
		if (offsets_add(surplus, former->offset) < 0)
			return -ENOMEM;
		*at = former->next;
		free(former);
		family->count--;
	}
	if (!family->formers)
		drop_family(vault, family);
	return 0;
}

int formers_adopt(struct vault *vault, const struct offsets *formers, const struct offsets *records,
	struct offsets *surplus)
{
	struct family *next;
	int r = 0;

	for (size_t i = 0; i < formers->count && r == 0; i++)
		r = adopt_former(vault, formers->at[i], surplus);
	for (size_t i = 0; i < records->count && vault->families && r == 0; i++)
		see_current(vault, records->at[i]);
	for (struct family *family = vault->families; family && r == 0; family = next) {
		next = family->next;
		r = sift_family(vault, family, surplus);
	}
	return r;
}

int formers_each(struct vault *vault, int (*visit)(void *context, uint64_t offset), void *context)
{
	int r = 0;

	for (const struct family *family = vault->families; family && r == 0; family = family->next)
		for (const struct former *former = family->formers; former && r == 0;
			former = former->next)
			r = visit(context, former->offset);
	return r;
}
