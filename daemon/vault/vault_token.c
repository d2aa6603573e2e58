/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/vault_token.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/vault/vault_adopt_inside.h"
#include "daemon/vault/vault_token_inside.h"

/* Behind it: the text. */
struct token_block {
	struct block block;
	uint8_t hash[VAULT_TOKEN_HASH_SIZE];
	uint8_t id[NUMBER_SIZE];
	uint8_t change[NUMBER_SIZE]; /* the first is 1: of two copies the later one counts */
	uint8_t end[NUMBER_SIZE];
	uint8_t left[sizeof(uint32_t)];
	uint8_t text_size[sizeof(uint16_t)]; /* bytes */
	uint8_t flags;
	uint8_t reserved;
};

_Static_assert(sizeof(struct token_block) == 76, "a token has no holes");
_Static_assert(VAULT_TOKEN_TEXT_MAX <= UINT16_MAX, "the size of the text has 16 bits");

/* As many as there are of `at` are there. */
static struct token_block *token_at(const struct vault *vault, uint64_t offset)
{
	return ledger_at(vault->ledger, offset, sizeof(struct token_block));
}

static size_t token_size(const struct token_block *block)
{
	return sizeof(*block) + bytes_get16(block->text_size);
}

static int token_tag(const struct vault *vault, const struct token_block *block,
	uint8_t tag[static BLOCK_TAG_SIZE])
{
	const struct span rest = block_rest(block, token_size(block));

	return vault_tag(vault, BLOCK_TOKEN, &rest, 1, tag);
}

int vault_token_hash(const struct vault *vault, const uint8_t token[static VAULT_TOKEN_SIZE],
	uint8_t hash[static VAULT_TOKEN_HASH_SIZE])
{
	const uint8_t *key = coffer_ledger_key(vault->coffer);

	/* No tag is as long as that: none is ever a hash, nor the other way round. */
	_Static_assert((int)VAULT_TOKEN_HASH_SIZE != BLOCK_TAG_SIZE, "they are told apart");
	if (!key)
		return -EKEYEXPIRED;
	crypto_generichash(
		hash, VAULT_TOKEN_HASH_SIZE, token, VAULT_TOKEN_SIZE, key, COFFER_KEY_SIZE);
	return 0;
}

int vault_token_make(const struct vault *vault, uint32_t uid, bool wrap,
	const uint8_t number[static MESSAGE_NUMBER_SIZE], uint8_t token[static VAULT_TOKEN_SIZE])
{
	/* With what follows it is shorter than a token: no hash of one is another one. */
	static const char label[] = "token";
	const uint8_t *key = coffer_ledger_key(vault->coffer);
	crypto_generichash_state state;
	uint8_t rest[sizeof(uint32_t) + 1];

	_Static_assert(sizeof(label) + sizeof(rest) + MESSAGE_NUMBER_SIZE < VAULT_TOKEN_SIZE,
		"they are told apart");
	if (!key)
		return -EKEYEXPIRED;
	bytes_put32(rest, uid);
	rest[sizeof(uint32_t)] = wrap;
	crypto_generichash_init(&state, key, COFFER_KEY_SIZE, VAULT_TOKEN_SIZE);
	crypto_generichash_update(&state, (const uint8_t *)label, sizeof(label));
	crypto_generichash_update(&state, rest, sizeof(rest));
	crypto_generichash_update(&state, number, MESSAGE_NUMBER_SIZE);
	crypto_generichash_final(&state, token, VAULT_TOKEN_SIZE);
	sodium_memzero(&state, sizeof(state));
	return 0;
}

/* It takes memory, but no secret does. */
static void token_count(struct vault *vault, uint64_t offset)
{
	size_t size = ledger_block(vault->ledger, offset);

	vault->held += size;
	vault->tokens_held += size;
}

/* -- writing ------------------------------------------------------------------------------- */

/* Publishes it at a place that was taken. Returns 0 or a negative errno; then it is given back. */
static int write_block(
	struct vault *vault, const struct vault_token *token, uint64_t change, uint64_t offset)
{
	struct token_block *block =
		ledger_at(vault->ledger, offset, sizeof(*block) + token->text.size);
	int r;

	*block = (struct token_block){ .flags = token->flags };
	memcpy(block->hash, token->hash, sizeof(block->hash));
	put_number(block->id, token->id);
	put_number(block->change, change);
	put_number(block->end, token->end_ms);
	bytes_put32(block->left, token->left);
	bytes_put16(block->text_size, (uint16_t)token->text.size);
	if (token->text.size > 0)
		memcpy(block + 1, token->text.data, token->text.size);
	r = token_tag(vault, block, block->block.tag);
	if (r < 0) {
		vault_give(vault, offset);
		return r;
	}
	block_set_kind(block, BLOCK_TOKEN);
	token_count(vault, offset);
	return 0;
}

static int write_new(
	struct vault *vault, const struct vault_token *token, uint64_t change, uint64_t *placep)
{
	int r;

	if (ledger_take(vault->ledger, sizeof(struct token_block) + token->text.size, placep) < 0)
		return STATUS_LIMIT;
	r = write_block(vault, token, change, *placep);
	return r;
}

int vault_token_add(struct vault *vault, struct vault_token *token)
{
	int r;

	if (token->text.size > VAULT_TOKEN_TEXT_MAX || token->end_ms > NUMBER_MAX)
		return STATUS_LIMIT;
	token->id = vault->tokens_given + 1;
	r = write_new(vault, token, 1, &token->place);
	if (r == 0)
		vault->tokens_given++;
	return r;
}

int vault_token_change(struct vault *vault, struct vault_token *token)
{
	const struct token_block *old = token_at(vault, token->place);
	uint64_t place;
	int r = write_new(vault, token, get_number(old->change) + 1, &place);

	if (r != 0)
		return r;
	vault_token_drop(vault, token->place);
	token->place = place;
	return 0;
}

struct span vault_token_text(const struct vault *vault, uint64_t place)
{
	const struct token_block *block = token_at(vault, place);

	return span_of(block + 1, bytes_get16(block->text_size));
}

void vault_token_drop(struct vault *vault, uint64_t place)
{
	size_t size = ledger_block(vault->ledger, place);

	if (size < sizeof(struct token_block))
		return;
	vault->held -= size;
	vault->tokens_held -= size;
	vault_give(vault, place);
}

/* Their blocks are given back with all the others. */
void tokens_purge(struct vault *vault)
{
	vault->held -= vault->tokens_held;
	vault->tokens_held = 0;
}

/* -- moving one ---------------------------------------------------------------------------- */

void vault_watch_tokens(struct vault *vault, vault_token_moved_fn moved, void *context)
{
	vault->token_moved = moved;
	vault->token_keeper = context;
}

int token_bring_forward(struct vault *vault, uint64_t offset)
{
	const struct token_block *old;
	struct token_block *block;
	uint64_t to;
	size_t size;
	int r;

	if (!vault->token_moved || !ledger_is_behind(vault->ledger, offset) ||
		block_kind(ledger_at(vault->ledger, offset, sizeof(struct block))) != BLOCK_TOKEN ||
		!token_adoptable(vault, offset))
		return 0;
	size = token_size(token_at(vault, offset));
	r = ledger_take_before(vault->ledger, size, &to);
	if (r < 0)
		return r == -EAGAIN ? r : 0;
	old = token_at(vault, offset);
	block = ledger_at(vault->ledger, to, size);
	memcpy(block->block.tag, old->block.tag, sizeof(block->block.tag));
	memcpy(block->hash, block_rest(old, size).data, block_rest(old, size).size);
	block_set_kind(block, BLOCK_TOKEN);
	if (vault->token_moved(vault->token_keeper, get_number(block->id), offset, to)) {
		token_count(vault, to);
		vault_token_drop(vault, offset);
	} else {
		vault_give(vault, to);
	}
	return 0;
}

/* -- adopting them ------------------------------------------------------------------------- */

bool token_adoptable(const struct vault *vault, uint64_t offset)
{
	uint8_t tag[BLOCK_TAG_SIZE];
	size_t size = ledger_block(vault->ledger, offset);
	const struct token_block *block;

	if (size < sizeof(*block))
		return false;
	block = token_at(vault, offset);
	/* What another program says of it may be what it is not for. */
	return token_size(block) <= size && (block->flags & ~VAULT_TOKEN_FLAGS) == 0 &&
		block->reserved == 0 && token_tag(vault, block, tag) == 0 &&
		sodium_memcmp(tag, block->block.tag, sizeof(tag)) == 0;
}

/* Whatever byte was overwritten: two of three things are as they were. */
bool token_suspicious(const struct vault *vault, uint64_t offset, uint64_t highest)
{
	size_t size = ledger_block(vault->ledger, offset);
	const struct token_block *block;

	(void)highest;
	if (size < sizeof(*block))
		return false;
	block = token_at(vault, offset);
	return is_given(block->id, NUMBER_LIKELY) + is_given(block->change, NUMBER_LIKELY) +
		(bytes_get16(block->text_size) <= VAULT_TOKEN_TEXT_MAX &&
			token_size(block) <= size) >=
		2;
}

static const struct vault *sorted_vault;

/* The later one of two copies comes first. */
static int by_id(const void *a, const void *b)
{
	const struct token_block *x = token_at(sorted_vault, *(const uint64_t *)a);
	const struct token_block *y = token_at(sorted_vault, *(const uint64_t *)b);
	uint64_t x_id = get_number(x->id), y_id = get_number(y->id);
	uint64_t x_change = get_number(x->change), y_change = get_number(y->change);

	if (x_id != y_id)
		return (x_id > y_id) - (x_id < y_id);
	return (x_change < y_change) - (x_change > y_change);
}

/* What cannot be claimed lies in somebody else's; a copy may be there, but no earlier state. */
int tokens_adopt(struct vault *vault, struct offsets *tokens)
{
	uint64_t last = 0, change = 0;
	bool adopted = false;

	sorted_vault = vault;
	if (tokens->count > 1)
		qsort(tokens->at, tokens->count, sizeof(*tokens->at), by_id);
	for (size_t i = 0; i < tokens->count; i++) {
		const struct token_block *block = token_at(vault, tokens->at[i]);

		if (get_number(block->id) == last &&
			(adopted || get_number(block->change) != change))
			continue;
		last = get_number(block->id);
		change = get_number(block->change);
		adopted = ledger_claim(vault->ledger, tokens->at[i], token_size(block)) == 0;
		if (adopted && offsets_add(&vault->tokens, tokens->at[i]) < 0)
			return -ENOMEM;
	}
	vault->tokens_given = last;
	return 0;
}

int vault_tokens(struct vault *vault, int (*visit)(void *context, const struct vault_token *token),
	void *context)
{
	int r = 0;

	for (size_t i = 0; i < vault->tokens.count && r == 0; i++) {
		const struct token_block *block = token_at(vault, vault->tokens.at[i]);
		struct vault_token token = { .id = get_number(block->id),
			.end_ms = get_number(block->end),
			.left = bytes_get32(block->left),
			.flags = block->flags,
			.text = span_of(block + 1, bytes_get16(block->text_size)),
			.place = vault->tokens.at[i] };

		memcpy(token.hash, block->hash, sizeof(token.hash));
		token_count(vault, token.place);
		r = visit(context, &token);
	}
	free(vault->tokens.at);
	vault->tokens = (struct offsets){ 0 };
	return r;
}
