/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/wire/message.h"
#include "daemon/peer.h"
#include "daemon/policy/policy_token.h"
#include "daemon/vault/vault_token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who lets whoever shows 32 random bytes do what. The vault keeps a keyed hash of each token, and
 * what it is for; this is the same in the form in which it is asked for. A token that has ended is
 * forgotten; one that was revoked, or used as often as it might be, is remembered until then, or
 * for a day, so that whoever shows it is told.
 *
 * Whatever touches the vault's key says so. Positive results are enum status.
 */
struct tokens;

#define TOKENS_MAX 1000                   /* of one issuer; those that are used up give way */
#define TOKENS_SIZE_MAX ((size_t)2 << 20) /* bytes of them: no quota holds what they take */
#define TOKENS_GROUPS_MAX 256             /* of an issuer */
#define TOKENS_REMEMBER_MS (UINT64_C(24) * 3600 * 1000)

struct token {
	struct policy_token policy; /* first: what a session shows is this */
	struct token *next;         /* of all, the youngest first */
	struct token *same;         /* in its chain of hashes */
	struct vault_token kept;    /* but its text */
	unsigned shown;             /* by so many sessions */
	int64_t created_ms;         /* since 1970 */
	uint32_t uses;              /* that it was issued with; 0: as many as one likes */
	uint64_t secret;            /* of a wrap: record_secret of what it fetches; 0: it is none */
	uint64_t version;
	struct grants grants; /* as they were asked for, but filed */
	struct grant *grant;
	uint32_t *groups;
	struct policy_grant *compiled;
	char *texts;
};

/* What is asked for. */
struct token_wish {
	struct span name;          /* filed */
	const struct peer *issuer; /* located: peer_locate */
	const struct request *request;
	uint64_t secret; /* a wrap of this secret, whose name is `name`; 0: a token */
	uint64_t version;
};

/* Takes over what the vault has adopted. Returns 0 or -ENOMEM. */
int tokens_new(struct tokens **tokensp, struct vault *vault);

/* The same of a vault that takes the place of one in which there were none. */
int tokens_take_up(struct tokens *tokens, struct vault *vault);

void tokens_free(struct tokens *tokens);

/*
 * Makes one of these bytes. Returns 0; STATUS_CONFLICT when there is one of that name; another
 * status, with *wordsp where there is more to say; or a negative errno. Touches the ledger key.
 */
int tokens_issue(struct tokens *tokens, const struct token_wish *wish,
	const uint8_t bytes[static VAULT_TOKEN_SIZE], const char **wordsp);

/*
 * Whether these bytes, which belong to the wish's number, were asked for before: 1, by the same
 * wish (of a wrap, of whatever secret: another one may be there since); 0: they were not;
 * STATUS_CONFLICT: by another one; or a negative errno. Touches the ledger key.
 */
int tokens_repeat(const struct tokens *tokens, const struct token_wish *wish,
	const uint8_t bytes[static VAULT_TOKEN_SIZE]);

/* The live one of that filed name, or NULL. */
struct token *tokens_find(const struct tokens *tokens, struct span name);

/* It is over from now on. Returns as vault_token_change does. Touches the ledger key. */
int tokens_revoke(struct tokens *tokens, struct token *token);

/*
 * The token, or the wrap, that has this hash (vault_token_hash), whoever asks: 0; STATUS_DENIED
 * when there is none, STATUS_GONE when it was revoked or used up.
 */
int tokens_look(const struct tokens *tokens, const uint8_t hash[static VAULT_TOKEN_HASH_SIZE],
	bool wrap, struct token **tokenp);

/* A session shows it, or does not any more. */
void token_show(struct token *token);
void tokens_hide(struct tokens *tokens, struct token *token);

/*
 * One use of it, to be said before the answer leaves. Returns 0, STATUS_DENIED when none is left,
 * or what vault_token_change does. Touches the ledger key.
 */
int tokens_use(struct tokens *tokens, struct token *token);

/* The same for what asks again and again and is one use: the number of which token is *usedp. */
int tokens_use_once(struct tokens *tokens, struct token *token, uint64_t *usedp);

/* What a session shows. */
static inline struct token *token_of(const struct policy_token *policy)
{
	return (struct token *)(void *)(uintptr_t)policy;
}

/* Whether it can still be shown, and used. */
bool token_is_live(const struct token *token);

/* Why it does not count for somebody, its uses included; POLICY_TOKEN_COUNTS: it does. */
enum policy_token_fault token_fault(
	const struct token *token, const struct policy_subject *subject);

/* Of that filed name: the live one, else the one that was so last; NULL: none is remembered. */
struct token *tokens_recall(const struct tokens *tokens, struct span name);

/* The youngest; the others hang on it. */
struct token *tokens_first(const struct tokens *tokens);

/* Forgets those that have ended; when the next one will have, in ms of CLOCK_BOOTTIME. */
void tokens_expire(struct tokens *tokens);
uint64_t tokens_expiry_ms(struct tokens *tokens); /* UINT64_MAX: never */

/* The vault's master is another one: all are over. */
void tokens_purge_all(struct tokens *tokens);

/* How many live ones there are. */
uint64_t tokens_count(const struct tokens *tokens);
