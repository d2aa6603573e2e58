/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "daemon/policy/policy_glob.h"
#include "daemon/policy/policy_right.h"
#include "daemon/policy/policy_subject.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A token, as a decision sees it: what somebody lets do whoever shows it. It is never more than
 * what its issuer may do itself at that moment, and a rule that denies something to whoever shows
 * it counts as it would without a token.
 */
struct policy_grant {
	uint32_t rights; /* a bit each */
	struct glob glob;
};

struct policy_token {
	const char *name;             /* filed */
	struct policy_subject issuer; /* as it was when it was issued */
	const struct policy_grant *grants;
	size_t grant_count;
	bool of_uid; /* only this one may show it */
	uid_t uid;
	const char *unit; /* and only from there; NULL: from anywhere */
	uint64_t end_ms;  /* of CLOCK_BOOTTIME; 0: none */
	bool over;        /* revoked or ended */
};

/*
 * Reads what a grant allows: operations as a rule names them, "get,stat" or "*", and a glob of
 * names as they are filed, compiled into `buffer`. NULL, or what is wrong as a sentence part.
 */
const char *policy_grant_read(struct policy_grant *grant, struct span operations, struct span glob,
	char buffer[GLOB_MAX]);

/* Whether one of its grants is meant for this. */
bool policy_token_covers(const struct policy_token *token, enum right right, struct span name);

/* Why one does not count for somebody, or does not let him do something. PROTOCOL.md has these. */
enum policy_token_fault {
	POLICY_TOKEN_COUNTS,
	POLICY_TOKEN_ENDED,
	POLICY_TOKEN_REVOKED, /* or purged */
	POLICY_TOKEN_USED_UP,
	POLICY_TOKEN_OF_UID,  /* of another one */
	POLICY_TOKEN_OF_UNIT, /* likewise */
	POLICY_TOKEN_UNKNOWN, /* there is none of that name */
	POLICY_TOKEN_GRANTS,  /* it does not grant this */
	POLICY_TOKEN_ISSUER,  /* its issuer may not do it */
};

/*
 * Whether it counts for a subject that shows it, now: `now_ms` is of CLOCK_BOOTTIME. How often it
 * was used is not looked at.
 */
enum policy_token_fault policy_token_fault(
	const struct policy_token *token, const struct policy_subject *subject, uint64_t now_ms);
bool policy_token_counts(
	const struct policy_token *token, const struct policy_subject *subject, uint64_t now_ms);

/* Whether it is meant for any name at all. */
bool policy_token_reaches(const struct policy_token *token, enum right right);

/*
 * As policy_book_grants and policy_book_next: whether it may be meant for names that begin as this
 * one does; and what those begin with that come first behind it.
 */
bool policy_token_grants(const struct policy_token *token, enum right right, struct span name);
struct span policy_token_next(const struct policy_token *token, enum right right, struct span name);

/* Whether the first is so for this name, or for any that begins with it. */
bool policy_token_grants_below(
	const struct policy_token *token, enum right right, struct span prefix);
