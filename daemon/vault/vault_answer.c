/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/vault/vault_adopt_inside.h"

/*
 * An answer is written before the change that it tells of is made, and says by what the change can
 * be known: whoever adopts the ledger looks whether it was. One change is made at a time, so that
 * only the last answer can be in doubt.
 */
struct answer_block {
	struct block block;
	uint8_t number[MESSAGE_NUMBER_SIZE];
	uint8_t digest[VAULT_DIGEST_SIZE];
	uint8_t uid[sizeof(uint32_t)];
	uint8_t version[NUMBER_SIZE];
	uint8_t order[NUMBER_SIZE];    /* among all answers */
	uint8_t sequence[NUMBER_SIZE]; /* that the change gives away; 0: it takes something out */
	uint8_t target[NUMBER_SIZE];   /* the sequence number of the record that it takes out */
};

_Static_assert(sizeof(struct answer_block) == 78, "an answer has no holes");

#define ANSWER_BLOCK ((sizeof(struct answer_block) + LEDGER_UNIT - 1) / LEDGER_UNIT * LEDGER_UNIT)

static struct answer_block *answer_at(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct answer_block));
}

static int answer_tag(const struct vault *vault, const struct answer_block *answer,
	uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(answer, sizeof(*answer));

	return vault_tag(vault, BLOCK_ANSWER, &rest, 1, tag);
}

/* -- making one ---------------------------------------------------------------------------- */

void vault_promise(struct vault *vault, uint32_t uid,
	const uint8_t number[static MESSAGE_NUMBER_SIZE],
	const uint8_t digest[static VAULT_DIGEST_SIZE])
{
	vault->promise =
		(struct promise){ .made = true, .uid = uid, .number = number, .digest = digest };
}

/* Without memory the answer is remembered by this process alone. */
void promise_write(struct vault *vault, uint64_t version, uint64_t sequence, uint64_t target)
{
	struct promise *promise = &vault->promise;
	struct answer_block *answer;

	if (!promise->made || promise->place != 0 ||
		ledger_take(vault->ledger, sizeof(*answer), &promise->place) < 0)
		return;
	answer = answer_at(vault, promise->place);
	*answer = (struct answer_block){ 0 };
	memcpy(answer->number, promise->number, sizeof(answer->number));
	memcpy(answer->digest, promise->digest, sizeof(answer->digest));
	bytes_put32(answer->uid, promise->uid);
	put_number(answer->version, version);
	put_number(answer->order, ++vault->answered);
	put_number(answer->sequence, sequence);
	put_number(answer->target, target);
	if (answer_tag(vault, answer, answer->block.tag) == 0)
		block_set_kind(answer, BLOCK_ANSWER);
}

/* Nothing hangs on it any more: whoever adopts it believes it. */
void vault_promise_made(struct vault *vault)
{
	promise_write(vault, 0, 0, 0);
}

uint64_t vault_promise_end(struct vault *vault, bool made)
{
	uint64_t place = vault->promise.place;

	vault->promise = (struct promise){ 0 };
	if (place == 0)
		return 0;
	if (!made) {
		vault_give(vault, place);
		return 0;
	}
	vault->held += ledger_block(vault->ledger, place);
	return place;
}

/* What is no answer may be somebody else's. */
static bool is_answer(const struct vault *vault, uint64_t offset)
{
	enum block_kind kind;

	if (ledger_block(vault->ledger, offset) != ANSWER_BLOCK)
		return false;
	kind = block_kind(answer_at(vault, offset));
	return kind == BLOCK_ANSWER || kind == BLOCK_SPENT;
}

void vault_drop_answer(struct vault *vault, uint64_t place)
{
	if (!is_answer(vault, place))
		return;
	vault->held -= ANSWER_BLOCK;
	vault_give(vault, place);
}

/* This process remembers them by itself. */
bool answer_purge(struct vault *vault, uint64_t offset)
{
	if (!is_answer(vault, offset))
		return false;
	block_set_kind(answer_at(vault, offset), BLOCK_SPENT);
	return true;
}

/* -- moving one ---------------------------------------------------------------------------- */

void vault_watch_answers(struct vault *vault, vault_moved_fn moved, void *context)
{
	vault->answer_moved = moved;
	vault->keeper = context;
}

/* For whoever adopts the ledger while there are two of them they are one. */
int answer_bring_forward(struct vault *vault, uint64_t offset)
{
	const struct answer_block *old;
	struct answer_block *answer;
	uint64_t to;
	int r;

	if (!vault->answer_moved || !ledger_is_behind(vault->ledger, offset) ||
		block_kind(ledger_at(vault->ledger, offset, sizeof(struct block))) !=
			BLOCK_ANSWER ||
		!answer_adoptable(vault, offset))
		return 0;
	r = ledger_take_before(vault->ledger, sizeof(*answer), &to);
	if (r < 0)
		return r == -EAGAIN ? r : 0;
	old = answer_at(vault, offset);
	answer = answer_at(vault, to);
	memcpy(answer->block.tag, old->block.tag, sizeof(answer->block.tag));
	memcpy(answer->number, block_rest(old, sizeof(*old)).data,
		block_rest(old, sizeof(*old)).size);
	block_set_kind(answer, BLOCK_ANSWER);
	/* What nobody keeps is no answer, or one that is still to be given. */
	if (vault->answer_moved(
		    vault->keeper, bytes_get32(answer->uid), answer->number, offset, to))
		vault_give(vault, offset);
	else
		vault_give(vault, to);
	return 0;
}

/* -- adopting them ------------------------------------------------------------------------- */

bool answer_adoptable(const struct vault *vault, uint64_t offset)
{
	uint8_t tag[BLOCK_TAG_SIZE];

	return ledger_block(vault->ledger, offset) >= sizeof(struct answer_block) &&
		answer_tag(vault, answer_at(vault, offset), tag) == 0 &&
		sodium_memcmp(tag, answer_at(vault, offset)->block.tag, sizeof(tag)) == 0;
}

/* A change gives a number away or takes out the record of one. */
static bool tells_of_change(const struct answer_block *answer, uint64_t highest)
{
	uint64_t sequence = get_number(answer->sequence);
	uint64_t target = get_number(answer->target);

	return (sequence == 0) != (target == 0) && sequence <= highest && target <= highest;
}

/* Whatever byte was overwritten: two of three things are as they were. */
bool answer_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest)
{
	const struct answer_block *answer;

	if (ledger_block(vault->ledger, offset) < sizeof(*answer))
		return false;
	answer = answer_at(vault, offset);
	return is_given(answer->order, NUMBER_LIKELY) +
		(get_number(answer->version) <= NUMBER_LIKELY) + tells_of_change(answer, highest) >=
		2;
}

static const struct vault *sorted_vault;

static int by_order(const void *a, const void *b)
{
	uint64_t x = get_number(answer_at(sorted_vault, *(const uint64_t *)a)->order);
	uint64_t y = get_number(answer_at(sorted_vault, *(const uint64_t *)b)->order);

	return (x > y) - (x < y);
}

struct search {
	const struct vault *vault;
	uint64_t sequence;
	bool found;
};

static void look_for(void *context, uint64_t offset)
{
	struct search *search = context;
	const struct header *header = record_header(search->vault, offset);

	search->found = search->found || get_number(header->sequence) == search->sequence;
}

bool vault_has_sequence(const struct vault *vault, uint64_t sequence)
{
	struct search search = { .vault = vault, .sequence = sequence };

	index_each(vault->index, look_for, &search);
	return search.found;
}

/* Whether the change of the last answer was made: the process ended before it could say so. */
static bool was_made(const struct vault *vault, const struct answer_block *answer, uint64_t highest)
{
	uint64_t target = get_number(answer->target);

	if (target == 0)
		return get_number(answer->sequence) <= highest ||
			stream_was_ended_by(vault, answer->number);
	return !vault_has_sequence(vault, target);
}

/* Whoever moved one may have ended before the old place was wiped. */
static void pass_over_copies(const struct vault *vault, struct offsets *answers)
{
	size_t count = 1;

	for (size_t i = 1; i < answers->count; i++)
		if (memcmp(answer_at(vault, answers->at[i])->order,
			    answer_at(vault, answers->at[count - 1])->order, NUMBER_SIZE) != 0)
			answers->at[count++] = answers->at[i];
	answers->count = count;
}

int answers_adopt(struct vault *vault, struct offsets *answers, uint64_t highest)
{
	sorted_vault = vault;
	if (answers->count > 1)
		qsort(answers->at, answers->count, sizeof(*answers->at), by_order);
	if (answers->count == 0)
		return 0;
	pass_over_copies(vault, answers);
	vault->answered = get_number(answer_at(vault, answers->at[answers->count - 1])->order);
	if (!was_made(vault, answer_at(vault, answers->at[answers->count - 1]), highest))
		answers->count--;
	for (size_t i = 0; i < answers->count; i++)
		if (ledger_claim(vault->ledger, answers->at[i], sizeof(struct answer_block)) == 0 &&
			offsets_add(&vault->answers, answers->at[i]) < 0)
			return -ENOMEM;
	return 0;
}

int vault_answers(struct vault *vault,
	int (*visit)(void *context, const struct vault_answer *answer), void *context)
{
	int r = 0;

	for (size_t i = 0; i < vault->answers.count && r == 0; i++) {
		const struct answer_block *block = answer_at(vault, vault->answers.at[i]);
		const struct vault_answer answer = { .uid = bytes_get32(block->uid),
			.number = block->number,
			.digest = block->digest,
			.version = get_number(block->version),
			.place = vault->answers.at[i] };

		vault->held += ledger_block(vault->ledger, answer.place);
		r = visit(context, &answer);
	}
	free(vault->answers.at);
	vault->answers = (struct offsets){ 0 };
	return r;
}
