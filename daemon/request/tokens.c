/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/tokens.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"
#include "common/status.h"
#include "daemon/request/tokens_text.h"

/* The hashes are keyed: nobody can tell which of them fall together. */
#define CHAINS 1024

struct tokens {
	struct vault *vault;
	struct token *first;
	uint64_t expiry_ms; /* when the first of them ends, once that is known */
	bool known;
	struct token *chains[CHAINS];
};

static uint64_t now_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool token_is_live(const struct token *token)
{
	const struct vault_token *kept = &token->kept;

	return !token->policy.over && !(kept->flags & VAULT_TOKEN_REVOKED) &&
		(!(kept->flags & VAULT_TOKEN_COUNTED) || kept->left > 0);
}

static bool has_ended(const struct token *token, uint64_t now)
{
	return token->kept.end_ms != 0 && now >= token->kept.end_ms;
}

/* -- in and out ---------------------------------------------------------------------------- */

static struct token **chain_of(
	struct tokens *tokens, const uint8_t hash[static VAULT_TOKEN_HASH_SIZE])
{
	return &tokens->chains[bytes_get32(hash) % CHAINS];
}

/* What only the vault knows is `kept`. */
static void enter(struct tokens *tokens, struct token *token, const struct vault_token *kept)
{
	struct token **chain = chain_of(tokens, kept->hash);

	token->kept = *kept;
	token->kept.text = span_of(NULL, 0);
	token->policy.end_ms = kept->end_ms;
	token->policy.over = kept->flags & VAULT_TOKEN_REVOKED;
	tokens->known = false;
	token->next = tokens->first;
	tokens->first = token;
	token->same = *chain;
	*chain = token;
}

static void release(struct token *token)
{
	if (token->shown == 0)
		token_free(token);
}

/* Sessions may show it still: it counts for nothing, and goes with the last of them. */
static void leave(struct tokens *tokens, struct token *token)
{
	struct token **at = &tokens->first;
	struct token **same = chain_of(tokens, token->kept.hash);

	while (*at != token)
		at = &(*at)->next;
	*at = token->next;
	while (*same != token)
		same = &(*same)->same;
	*same = token->same;
	tokens->known = false;
	if (token->kept.place != 0)
		vault_token_drop(tokens->vault, token->kept.place);
	token->kept.place = 0;
	token->policy.over = true;
	release(token);
}

static int on_adopted(void *context, const struct vault_token *kept)
{
	struct tokens *tokens = context;
	struct token *token;
	int r = tokens_text_read(&token, kept->text);

	if (r == 0)
		enter(tokens, token, kept);
	/* Another program's, which says more than we know: it would not be the same token. */
	if (r == -EBADMSG) {
		vault_token_drop(tokens->vault, kept->place);
		r = 0;
	}
	return r;
}

static bool on_moved(void *context, uint64_t id, uint64_t from, uint64_t to)
{
	const struct tokens *tokens = context;

	for (struct token *token = tokens->first; token; token = token->next)
		if (token->kept.id == id && token->kept.place == from) {
			token->kept.place = to;
			return true;
		}
	return false;
}

int tokens_take_up(struct tokens *tokens, struct vault *vault)
{
	int r;

	tokens->vault = vault;
	tokens->known = false;
	r = vault_tokens(vault, on_adopted, tokens);
	if (r == 0)
		vault_watch_tokens(vault, on_moved, tokens);
	return r;
}

int tokens_new(struct tokens **tokensp, struct vault *vault)
{
	struct tokens *tokens = calloc(1, sizeof(*tokens));
	int r = tokens ? tokens_take_up(tokens, vault) : -ENOMEM;

	if (r < 0) {
		tokens_free(tokens);
		return r;
	}
	*tokensp = tokens;
	return 0;
}

/* The sessions are gone by then. */
void tokens_free(struct tokens *tokens)
{
	struct token *next;

	if (!tokens)
		return;
	for (struct token *token = tokens->first; token; token = next) {
		next = token->next;
		token_free(token);
	}
	free(tokens);
}

struct token *tokens_first(const struct tokens *tokens)
{
	return tokens->first;
}

uint64_t tokens_count(const struct tokens *tokens)
{
	uint64_t count = 0;

	for (const struct token *token = tokens->first; token; token = token->next)
		count += token_is_live(token) && token->secret == 0;
	return count;
}

/* -- the end of them ----------------------------------------------------------------------- */

void tokens_expire(struct tokens *tokens)
{
	uint64_t now = now_ms(CLOCK_BOOTTIME);
	struct token *next;

	for (struct token *token = tokens->first; token; token = next) {
		next = token->next;
		if (has_ended(token, now))
			leave(tokens, token);
	}
}

uint64_t tokens_expiry_ms(struct tokens *tokens)
{
	uint64_t earliest = UINT64_MAX;

	if (tokens->known)
		return tokens->expiry_ms;
	for (const struct token *token = tokens->first; token; token = token->next)
		if (token->kept.end_ms != 0 && token->kept.end_ms < earliest)
			earliest = token->kept.end_ms;
	tokens->expiry_ms = earliest;
	tokens->known = true;
	return earliest;
}

/* The vault has wiped them: their places are somebody else's by now. */
void tokens_purge_all(struct tokens *tokens)
{
	while (tokens->first) {
		tokens->first->kept.place = 0;
		leave(tokens, tokens->first);
	}
}

/* What is left of it is written down; one that nobody can use is remembered for a day at most. */
static int change(struct tokens *tokens, struct token *token, struct vault_token *kept)
{
	uint64_t forget_ms = now_ms(CLOCK_BOOTTIME) + TOKENS_REMEMBER_MS;
	bool useless = (kept->flags & VAULT_TOKEN_REVOKED) ||
		((kept->flags & VAULT_TOKEN_COUNTED) && kept->left == 0);
	int r;

	if (useless && (kept->end_ms == 0 || kept->end_ms > forget_ms))
		kept->end_ms = forget_ms;
	r = vault_token_change(tokens->vault, kept);
	if (r != 0)
		return r;
	tokens->known = tokens->known && token->kept.end_ms == kept->end_ms;
	token->kept = *kept;
	token->kept.text = span_of(NULL, 0);
	token->policy.end_ms = kept->end_ms;
	token->policy.over = kept->flags & VAULT_TOKEN_REVOKED;
	return 0;
}

/* -- asking for one ------------------------------------------------------------------------ */

/* A wrap has the name of its secret, and none of its own. */
static bool is_of_name(const struct token *token, struct span name)
{
	return token->secret == 0 && span_equal(span_text(token->policy.name), name);
}

struct token *tokens_find(const struct tokens *tokens, struct span name)
{
	struct token *token = tokens->first;
	uint64_t now = now_ms(CLOCK_BOOTTIME);

	while (token &&
		!(is_of_name(token, name) && token_is_live(token) && !has_ended(token, now)))
		token = token->next;
	return token;
}

struct token *tokens_recall(const struct tokens *tokens, struct span name)
{
	struct token *token = tokens_find(tokens, name);

	if (token)
		return token;
	token = tokens->first;
	while (token && !is_of_name(token, name))
		token = token->next;
	return token;
}

enum policy_token_fault token_fault(const struct token *token, const struct policy_subject *subject)
{
	const struct vault_token *kept = &token->kept;
	uint64_t now = now_ms(CLOCK_BOOTTIME);

	if (kept->flags & VAULT_TOKEN_REVOKED)
		return POLICY_TOKEN_REVOKED;
	if ((kept->flags & VAULT_TOKEN_COUNTED) && kept->left == 0)
		return POLICY_TOKEN_USED_UP;
	/* What has ended is taken out of the list, as if it were revoked. */
	if (has_ended(token, now))
		return POLICY_TOKEN_ENDED;
	return policy_token_fault(&token->policy, subject, now);
}

static struct token *find_hash(
	const struct tokens *tokens, const uint8_t hash[static VAULT_TOKEN_HASH_SIZE])
{
	struct token *token = tokens->chains[bytes_get32(hash) % CHAINS];

	while (token && sodium_memcmp(token->kept.hash, hash, VAULT_TOKEN_HASH_SIZE) != 0)
		token = token->same;
	return token;
}

int tokens_look(const struct tokens *tokens, const uint8_t hash[static VAULT_TOKEN_HASH_SIZE],
	bool wrap, struct token **tokenp)
{
	struct token *token = find_hash(tokens, hash);

	if (!token || has_ended(token, now_ms(CLOCK_BOOTTIME)) || wrap != (token->secret != 0))
		return STATUS_DENIED;
	*tokenp = token;
	return token_is_live(token) ? 0 : STATUS_GONE;
}

void token_show(struct token *token)
{
	token->shown++;
}

void tokens_hide(struct tokens *tokens, struct token *token)
{
	(void)tokens;
	token->shown--;
	/* One that is kept no more is nobody's now. */
	if (token->kept.place == 0)
		release(token);
}

/* -- changing one -------------------------------------------------------------------------- */

/* What an issuer has, and the oldest of it that is of no use any more. */
struct holding {
	unsigned count;
	size_t size; /* bytes of texts */
	struct token *useless;
};

static struct holding holding_of(const struct tokens *tokens, uid_t issuer)
{
	struct holding holding = { 0 };

	for (struct token *token = tokens->first; token; token = token->next) {
		if (token->policy.issuer.uid != issuer)
			continue;
		holding.count++;
		holding.size += vault_token_text(tokens->vault, token->kept.place).size;
		if (!token_is_live(token))
			holding.useless = token;
	}
	return holding;
}

/* Sees to it that one more of an issuer, of `size` bytes, has room. */
static int make_room(struct tokens *tokens, uid_t issuer, size_t size, const char **wordsp)
{
	struct holding holding = holding_of(tokens, issuer);

	while (holding.count >= TOKENS_MAX || holding.size + size > TOKENS_SIZE_MAX) {
		if (!holding.useless) {
			*wordsp = holding.count >= TOKENS_MAX
				? "a user has at most 1,000 tokens"
				: "the tokens of a user take at most 2 MiB";
			return STATUS_LIMIT;
		}
		leave(tokens, holding.useless);
		holding = holding_of(tokens, issuer);
	}
	return 0;
}

/* What is wrapped is fetched once, if nothing else is said. */
uint32_t tokens_uses(const struct token_wish *wish)
{
	uint32_t uses = wish->request->uses;

	return wish->secret != 0 && uses == 0 ? 1 : uses;
}

static int keep(struct tokens *tokens, const struct token_wish *wish, struct span text,
	const uint8_t bytes[static VAULT_TOKEN_SIZE])
{
	const struct request *request = wish->request;
	uint32_t uses = tokens_uses(wish);
	struct vault_token kept = {
		.left = uses, .flags = uses > 0 ? VAULT_TOKEN_COUNTED : 0, .text = text
	};
	struct token *token;
	int r = tokens_text_read(&token, text);

	if (r < 0)
		return r == -ENOMEM ? STATUS_LIMIT : r;
	if (request->lifetime.ttl_ms > 0)
		kept.end_ms = now_ms(CLOCK_BOOTTIME) + request->lifetime.ttl_ms;
	r = vault_token_hash(tokens->vault, bytes, kept.hash);
	if (r == 0)
		r = vault_token_add(tokens->vault, &kept);
	if (r == 0)
		enter(tokens, token, &kept);
	else
		token_free(token);
	return r;
}

int tokens_repeat(const struct tokens *tokens, const struct token_wish *wish,
	const uint8_t bytes[static VAULT_TOKEN_SIZE])
{
	uint8_t hash[VAULT_TOKEN_HASH_SIZE];
	const struct token *token;
	int r = vault_token_hash(tokens->vault, bytes, hash);

	if (r < 0)
		return r;
	token = find_hash(tokens, hash);
	if (!token)
		return 0;
	if (!tokens_text_says(token, wish))
		return STATUS_CONFLICT;
	/* How long one is remembered that is over tells nothing of what was asked for. */
	if (token_is_live(token) &&
		(token->kept.end_ms != 0) != (wish->request->lifetime.ttl_ms != 0))
		return STATUS_CONFLICT;
	return 1;
}

int tokens_issue(struct tokens *tokens, const struct token_wish *wish,
	const uint8_t bytes[static VAULT_TOKEN_SIZE], const char **wordsp)
{
	uint8_t *text;
	ssize_t size;
	int r;

	tokens_expire(tokens);
	if (wish->issuer->group_count > TOKENS_GROUPS_MAX) {
		*wordsp = "whoever is in more than 256 groups issues no tokens";
		return STATUS_LIMIT;
	}
	if (wish->secret == 0 && tokens_find(tokens, wish->name)) {
		*wordsp = "there is a token of that name";
		return STATUS_CONFLICT;
	}
	size = tokens_text_write(wish, (int64_t)now_ms(CLOCK_REALTIME), &text, wordsp);
	if (size < 0)
		return size == -EINVAL ? STATUS_INVALID : STATUS_LIMIT;
	r = make_room(tokens, wish->issuer->uid, (size_t)size, wordsp);
	if (r == 0)
		r = keep(tokens, wish, span_of(text, (size_t)size), bytes);
	free(text);
	return r;
}

/* The text is where it was: a change copies it. */
static struct vault_token as_kept(const struct tokens *tokens, const struct token *token)
{
	struct vault_token kept = token->kept;

	kept.text = vault_token_text(tokens->vault, kept.place);
	return kept;
}

int tokens_revoke(struct tokens *tokens, struct token *token)
{
	struct vault_token kept = as_kept(tokens, token);

	int r;

	kept.flags |= VAULT_TOKEN_REVOKED;
	r = change(tokens, token, &kept);
	if (r != STATUS_LIMIT)
		return r;
	/* Whoever has used up the memory keeps no token alive: then nothing remembers it. */
	leave(tokens, token);
	return 0;
}

int tokens_use(struct tokens *tokens, struct token *token)
{
	struct vault_token kept;

	if (!(token->kept.flags & VAULT_TOKEN_COUNTED))
		return 0;
	if (token->policy.over || token->kept.left == 0)
		return STATUS_DENIED;
	kept = as_kept(tokens, token);
	kept.left--;
	return change(tokens, token, &kept);
}

int tokens_use_once(struct tokens *tokens, struct token *token, uint64_t *usedp)
{
	int r = *usedp == token->kept.id ? 0 : tokens_use(tokens, token);

	if (r == 0)
		*usedp = token->kept.id;
	return r;
}
