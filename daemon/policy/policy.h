/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "common/span.h"
#include "common/wire/name.h"
#include "daemon/peer.h"
#include "daemon/policy/policy_book.h"
#include "daemon/policy/policy_right.h"
#include "daemon/policy/policy_token.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What nobody does without saying why, whatever the name; a namespace may say more. */
struct policy_reasons {
	uint32_t rights;  /* a bit each */
	const char *file; /* that says so; it is not policy's; NULL: none does */
	unsigned line;
};

/*
 * Who may do what: a pure function of subject, right and filed name, and of the time where a rule
 * ends. Any rule that denies goes first, also before root. Then root and the daemon's own user may
 * do everything; who else is allowed by a rule, owns the namespace, or owns the space "~UID/", may;
 * and nobody else. Refusal comes before look-up, so that a stranger cannot tell absent from
 * forbidden; a refusal takes no memory.
 *
 * Whoever shows a token may what it may without it; and of what the token grants, what its issuer
 * may, and what a rule that names the token allows. A rule that denies, to either of the two, goes
 * first as before.
 */
struct policy {
	uid_t own;                /* the daemon's */
	struct policy_book *book; /* what was written down; NULL: nothing */
	struct policy_reasons reasons;
};

/* Why. */
enum policy_cause {
	POLICY_BY_NOTHING,   /* nobody says that it may: no */
	POLICY_BY_DENY,      /* a rule: no */
	POLICY_BY_NATURE,    /* anybody may */
	POLICY_BY_PRIVILEGE, /* root, or the daemon's own user */
	POLICY_BY_ALLOW,     /* a rule */
	POLICY_BY_OWNER,     /* of the namespace */
	POLICY_BY_OWN_SPACE,
	POLICY_BY_SILENCE, /* no reason was said, and there has to be one: no */
	POLICY_BY_TOKEN,   /* its issuer may */
};

struct policy_verdict {
	bool allowed;
	enum policy_cause cause;
	const char *file; /* of the line that decides; NULL: it is none */
	unsigned line;
	const struct policy_token *token; /* without which it would be a no; NULL: none */
};

/* The line that is missing, where nobody says that somebody may. */
#define POLICY_MISSING_MAX 2048

/* Root, or the daemon's own user. */
bool policy_privileged(const struct policy *policy, const struct peer *peer);

/* Whether a decision may hang on where a peer runs: then peer_locate goes before it. */
bool policy_asks_where(const struct policy *policy);

/*
 * Whether a decision about this peer may: by the policy, or by the token that it shows.
 */
bool policy_asks_where_of(const struct policy *policy, const struct peer *peer);

/* What is known of a peer; borrows from it. Where it runs, as peer_locate has found out last. The
 * token that it shows is there as long as it counts. */
struct policy_subject policy_subject_of(const struct peer *peer);

/* The decision, and whose it is. `now` is in seconds since 1970. */
struct policy_verdict policy_decide(const struct policy *policy,
	const struct policy_subject *subject, enum right right, struct span name, int64_t now);

/* The same of a peer, now. */
struct policy_verdict policy_ask(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name);

/*
 * Whether whoever does this has to say why: *verdict tells the line that wants it then, and
 * refuses.
 */
bool policy_wants_reason(const struct policy *policy, enum right right, struct span name,
	struct policy_verdict *verdict);

/* The decision alone, now. */
bool policy_allows(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name);

/* Whether a rule denies it, now: more than that nobody allows it. */
bool policy_denies(
	const struct policy *policy, const struct peer *peer, enum right right, struct span name);

/* Milliseconds that a secret of this name may live at most; 0: as long as it likes. */
uint64_t policy_max_ttl(const struct policy *policy, struct span name);

/*
 * Whether `peer` may see anything at all outside its own space: else there is no look at what
 * others have there, whose cost would tell of it. Of a token whose issuer may see its own space
 * alone it is whether that has names which begin with `prefix`.
 */
bool policy_reaches(
	const struct policy *policy, const struct peer *peer, enum right right, struct span prefix);

/*
 * Whether rules, privilege or a token may let `peer` do this to any name that begins with `prefix`;
 * that its own space is its own does not count. It may be true though nothing is allowed, and is
 * never false though something is, until other rules are read, another token is shown, or the peer
 * runs in another place.
 */
bool policy_reaches_below(
	const struct policy *policy, const struct peer *peer, enum right right, struct span prefix);

/*
 * Where a walk through all names in their order may go on from `name`, filed and whole: nothing
 * that `peer` may be allowed lies between. Writes it to `out`, as what is to be passed. Returns its
 * bytes; 0 when there is nothing more.
 */
size_t policy_next(const struct policy *policy, const struct peer *peer, enum right right,
	struct span name, char out[static NAME_FILED_MAX]);

/*
 * Writes the section and the line that would let the subject do it, as they would stand in a file;
 * "" when it may already, or when a rule denies it, which no line can change.
 */
void policy_missing(char out[POLICY_MISSING_MAX], const struct policy *policy,
	const struct policy_subject *subject, enum right right, struct span name, int64_t now);
