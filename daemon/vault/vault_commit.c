/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_commit.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "common/status.h"

/*
 * What makes a batch happen is one block that lists its records. They are whole by then, but of a
 * kind that counts for nobody; once this block has its kind, each of them counts that is listed by
 * its place and its number, whoever comes to publish it.
 */
struct commit {
	struct block block;
	uint8_t sequence[NUMBER_SIZE]; /* its own, among all that was stored */
	uint8_t count[sizeof(uint32_t)];
	uint8_t digest[crypto_generichash_BYTES]; /* of the list behind it */
	uint8_t again[NUMBER_SIZE]; /* the number: one byte that is overwritten leaves one */
};

_Static_assert(sizeof(struct commit) == COMMIT_SIZE, "the list begins where it is thought to");

static struct commit *commit_at(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct commit));
}

static struct span list_of(const struct vault *vault, uint64_t offset)
{
	size_t size = bytes_get32(commit_at(vault, offset)->count) * sizeof(struct listed);

	if (size == 0)
		return span_of(NULL, 0);
	return span_of(ledger_at(vault->ledger, offset + sizeof(struct commit), size), size);
}

/* The list may be long: it is hashed without the key, of which nobody has a view for long. */
static void digest_list(
	const struct vault *vault, uint64_t offset, uint8_t digest[static crypto_generichash_BYTES])
{
	struct span list = list_of(vault, offset);

	coffer_forget(vault->coffer);
	crypto_generichash(digest, crypto_generichash_BYTES, list.data, list.size, NULL, 0);
}

static int commit_tag(
	const struct vault *vault, uint64_t offset, uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(commit_at(vault, offset), sizeof(struct commit));

	return vault_tag(vault, BLOCK_COMMIT, &rest, 1, tag);
}

/* -- making one ---------------------------------------------------------------------------- */

/* All but its kind. */
static int write_commit(
	struct vault *vault, const struct listed *list, uint32_t count, uint64_t offset)
{
	struct commit *commit = commit_at(vault, offset);
	size_t size = count * sizeof(*list);

	*commit = (struct commit){ 0 };
	put_number(commit->sequence, vault->sequence + 1);
	put_number(commit->again, vault->sequence + 1);
	bytes_put32(commit->count, count);
	if (size > 0)
		memcpy(ledger_at(vault->ledger, offset + sizeof(*commit), size), list, size);
	digest_list(vault, offset, commit->digest);
	return commit_tag(vault, offset, commit->block.tag);
}

/* The answer that was asked for must be there as well: it is what a repeat is told. */
static int promise_commit(struct vault *vault, uint64_t version)
{
	promise_write(vault, version, vault->sequence + 1, 0);
	return vault->promise.made && vault->promise.place == 0 ? STATUS_LIMIT : 0;
}

int commit_write(struct vault *vault, const struct listed *list, uint32_t count, uint64_t version,
	uint64_t *offsetp)
{
	uint64_t offset;
	int r;

	if (vault->sequence >= NUMBER_MAX || count > COMMIT_MAX ||
		ledger_take(vault->ledger, COMMIT_SIZE + count * sizeof(*list), &offset) < 0)
		return STATUS_LIMIT;
	r = write_commit(vault, list, count, offset);
	if (r == 0)
		r = promise_commit(vault, version);
	if (r != 0) {
		vault_give(vault, offset);
		return r;
	}
	block_set_kind(commit_at(vault, offset), BLOCK_COMMIT);
	vault_count_on(vault);
	*offsetp = offset;
	return 0;
}

/* -- adopting it --------------------------------------------------------------------------- */

uint64_t commit_sequence(const struct vault *vault, uint64_t offset)
{
	return get_number(commit_at(vault, offset)->sequence);
}

/* Whether there is room for what it says that it lists. */
static bool list_fits(const struct vault *vault, uint64_t offset)
{
	size_t block = ledger_block(vault->ledger, offset);
	uint32_t count;

	if (block < sizeof(struct commit))
		return false;
	count = bytes_get32(commit_at(vault, offset)->count);
	return count <= COMMIT_MAX &&
		count * sizeof(struct listed) <= block - sizeof(struct commit);
}

bool commit_intact(const struct vault *vault, uint64_t offset)
{
	uint8_t digest[crypto_generichash_BYTES];
	uint8_t tag[BLOCK_TAG_SIZE];

	/* Whoever makes ciphertext look like one with a long list does not have it hashed. */
	if (!list_fits(vault, offset) || commit_tag(vault, offset, tag) < 0 ||
		sodium_memcmp(tag, commit_at(vault, offset)->block.tag, sizeof(tag)) != 0)
		return false;
	digest_list(vault, offset, digest);
	return memcmp(digest, commit_at(vault, offset)->digest, sizeof(digest)) == 0;
}

bool commit_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest)
{
	const struct commit *commit;

	if (ledger_block(vault->ledger, offset) < sizeof(*commit))
		return false;
	commit = commit_at(vault, offset);
	return is_given(commit->sequence, highest) || is_given(commit->again, highest);
}

int commit_each(const struct vault *vault, uint64_t offset,
	int (*visit)(void *context, uint64_t record, uint64_t sequence), void *context)
{
	struct span list = list_of(vault, offset);
	int r = 0;

	for (size_t at = 0; at < list.size && r == 0; at += sizeof(struct listed)) {
		const struct listed *listed = (const struct listed *)(list.data + at);

		r = visit(context, listed_place(listed), get_number(listed->sequence));
	}
	return r;
}
