/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/showing.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "daemon/peer_place.h"

#define LOOK_AGAIN_MS 100

struct showing {
	struct showing *next;
	uint64_t look_ms; /* CLOCK_BOOTTIME: not before */
	struct shown shown;
	char reason[];
};

void session_shows(struct transfers *transfers, struct daemon *daemon, struct token *token)
{
	struct token *before = transfers->shown ? token_of(transfers->shown) : NULL;

	if (token)
		token_show(token);
	transfers->shown = token ? &token->policy : NULL;
	transfers->aimed = false;
	if (before)
		tokens_hide(daemon->tokens, before);
}

/* -- looking at one ------------------------------------------------------------------------ */

/* Why it does not count for the session's peer; where that is may not have been asked yet. */
static enum policy_token_fault fault_for(
	const struct token *token, const struct transfers *transfers)
{
	struct policy_subject subject;

	if (token->policy.unit)
		peer_locate(transfers->peer);
	subject = policy_subject_of(transfers->peer);
	return token_fault(token, &subject);
}

/* One that is revoked, or not for this peer, is told from one that is not there by who has it. */
static int judge(const struct transfers *transfers, const struct daemon *daemon,
	const uint8_t hash[static VAULT_TOKEN_HASH_SIZE], struct token **tokenp,
	enum policy_token_fault *faultp)
{
	int r = tokens_look(daemon->tokens, hash, false, tokenp);

	*faultp = *tokenp ? fault_for(*tokenp, transfers) : POLICY_TOKEN_UNKNOWN;
	return r == 0 && *faultp != POLICY_TOKEN_COUNTS ? STATUS_DENIED : r;
}

static int note(const struct transfers *transfers, const struct daemon *daemon, int judged,
	const struct token *token)
{
	const char *name = token ? token->policy.name : "";
	const struct audit_entry entry = { .peer = transfers->peer,
		.operation = "token-show",
		.token = span_text(name),
		.allowed = judged == 0,
		.by = judged == 0               ? "token"
			: judged == STATUS_GONE ? "token_over"
						: "nothing" };

	return audit_decision(daemon->audit, &entry);
}

static const char *words_for(int status, enum policy_token_fault fault)
{
	static const char *const words[] = {
		[POLICY_TOKEN_REVOKED] = "the token was revoked",
		[POLICY_TOKEN_USED_UP] = "the token was used as often as it might be",
		[POLICY_TOKEN_OF_UID] = "the token is for another user",
		[POLICY_TOKEN_OF_UNIT] = "the token is for another unit",
	};
	bool told = (size_t)fault < sizeof(words) / sizeof(words[0]) && words[fault];

	if (status == STATUS_INTERNAL)
		return "the audit log cannot be written, and has to be";
	if (status != STATUS_DENIED && status != STATUS_GONE)
		return NULL;
	return told ? words[fault] : "no such token, or it has ended";
}

static int look_at_token(struct transfers *transfers, struct daemon *daemon,
	const struct shown *shown, struct answers *answers)
{
	enum policy_token_fault fault;
	struct token *token = NULL;
	int r = judge(transfers, daemon, shown->hash, &token, &fault);

	penalty_leave(daemon->penalties, (uint32_t)transfers->peer->uid, daemon_now_ms(),
		r == STATUS_DENIED);
	if (note(transfers, daemon, r, token) < 0 && r == 0)
		r = STATUS_INTERNAL;
	if (r == 0)
		session_shows(transfers, daemon, token);
	return answers_code(answers, shown->id, r, words_for(r, fault));
}

static int look(struct transfers *transfers, struct daemon *daemon, const struct shown *shown,
	struct answers *answers)
{
	return shown->deed == SHOWING_TOKEN ? look_at_token(transfers, daemon, shown, answers)
					    : showing_unwrap(transfers, daemon, shown, answers);
}

/* -- waiting ------------------------------------------------------------------------------- */

static int park(struct transfers *transfers, const struct shown *shown, uint64_t look_ms)
{
	struct showing **at = &transfers->showings;
	size_t size = shown->reason.size;
	struct showing *showing;

	if (transfers_full(transfers))
		return STATUS_LIMIT;
	showing = calloc(1, sizeof(*showing) + size);
	if (!showing)
		return STATUS_LIMIT;
	showing->shown = *shown;
	showing->look_ms = look_ms;
	if (size > 0)
		memcpy(showing->reason, shown->reason.data, size);
	showing->shown.reason = span_of(showing->reason, size);
	while (*at)
		at = &(*at)->next;
	*at = showing;
	transfers_begin(transfers);
	return 0;
}

int showing_begin(struct transfers *transfers, struct daemon *daemon, const struct shown *shown,
	struct answers *answers)
{
	uint64_t look_ms;
	int r = penalty_enter(
		daemon->penalties, (uint32_t)transfers->peer->uid, daemon_now_ms(), &look_ms);

	if (r < 0)
		return STATUS_LIMIT;
	return r > 0 ? park(transfers, shown, look_ms) : look(transfers, daemon, shown, answers);
}

uint64_t showing_first(const struct transfers *transfers)
{
	return transfers->showings ? transfers->showings->shown.id : 0;
}

struct showing *showing_find(const struct transfers *transfers, uint64_t id)
{
	struct showing *showing = transfers->showings;

	while (showing && showing->shown.id != id)
		showing = showing->next;
	return showing;
}

/* It is the session's no more; the caller frees it. */
static void take_out(struct transfers *transfers, struct showing *showing)
{
	struct showing **at = &transfers->showings;

	while (*at != showing)
		at = &(*at)->next;
	*at = showing->next;
	transfers_end(transfers);
}

void showing_end(struct transfers *transfers, struct showing *showing)
{
	take_out(transfers, showing);
	free(showing);
}

int showings_look(struct transfers *transfers, struct daemon *daemon, struct answers *answers)
{
	uint32_t uid = (uint32_t)transfers->peer->uid;
	uint64_t now_ms = daemon_now_ms();
	struct showing *next;
	int r = 0;

	for (struct showing *showing = transfers->showings; showing && r == 0; showing = next) {
		next = showing->next;
		if (now_ms < showing->look_ms)
			continue;
		/* Without memory as well. */
		showing->look_ms = now_ms + LOOK_AGAIN_MS;
		if (penalty_enter(daemon->penalties, uid, now_ms, &showing->look_ms) != 0)
			continue;
		take_out(transfers, showing);
		r = look(transfers, daemon, &showing->shown, answers);
		free(showing);
	}
	return r;
}

uint64_t showings_deadline(const struct transfers *transfers)
{
	uint64_t earliest = 0;

	for (const struct showing *showing = transfers->showings; showing; showing = showing->next)
		if (earliest == 0 || showing->look_ms < earliest)
			earliest = showing->look_ms;
	return earliest;
}
