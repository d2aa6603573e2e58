/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/request/desk.h"

/* What the audit log calls each verb, and whether it is one that changes something. Where there is
 * no word, nothing is decided. */
static const struct {
	const char *operation;
	bool changes;
} verbs[VERBS] = {
	[VERB_GET] = { "get", false },
	[VERB_SET] = { "set", true },
	[VERB_REMOVE] = { "rm", true },
	[VERB_LIST] = { "ls", false },
	[VERB_STAT] = { "stat", false },
	[VERB_GENERATE] = { "set", true },
	[VERB_PURGE] = { "purge", true },
	[VERB_SHUTDOWN] = { "shutdown", true },
	[VERB_TOUCH] = { "touch", true },
	[VERB_FREEZE] = { "freeze", true },
	[VERB_MELT] = { "melt", true },
	[VERB_VERIFY] = { "verify", false },
	[VERB_STREAM_WRITE] = { "stream-write", true },
	[VERB_STREAM_READ] = { "stream-read", true },
	[VERB_RELOAD] = { "reload", true },
	[VERB_UPGRADE] = { "upgrade", true },
	[VERB_MOVE] = { "mv", true },
	[VERB_STAGE] = { "restore", true },
	[VERB_COMMIT] = { "restore-commit", true },
	[VERB_WATCH] = { "watch", false },
	[VERB_LIST_TOKENS] = { "token-ls", false },
	[VERB_ISSUE_TOKEN] = { "token-issue", true },
	[VERB_REVOKE_TOKEN] = { "token-revoke", true },
	[VERB_WRAP] = { "wrap", true },
	[VERB_LOCK] = { "lock", true },
	[VERB_UNLOCK] = { "unlock", true },
};

/* As `policy explain` has them. */
static const char *const causes[] = {
	[POLICY_BY_NOTHING] = "nothing",
	[POLICY_BY_DENY] = "deny",
	[POLICY_BY_NATURE] = "nature",
	[POLICY_BY_PRIVILEGE] = "privilege",
	[POLICY_BY_ALLOW] = "allow",
	[POLICY_BY_OWNER] = "owner",
	[POLICY_BY_OWN_SPACE] = "own_space",
	[POLICY_BY_SILENCE] = "no_reason",
	[POLICY_BY_TOKEN] = "token",
};

static int note(const struct desk *desk, const char *operation, bool changes, struct span name,
	const struct policy_verdict *verdict)
{
	const struct request *request = desk->request;
	char filed[NAME_FILED_MAX];
	struct audit_entry entry = { .peer = desk->peer,
		.operation = operation,
		.name = name,
		.changes = changes,
		.allowed = verdict->allowed,
		.by = causes[verdict->cause],
		.file = verdict->file,
		.line = verdict->line,
		.reason = request->reason };

	if (verdict->token)
		entry.token = span_text(verdict->token->name);

	if (request->verb == VERB_MOVE)
		entry.to = desk_file_new_name(desk, filed);
	return audit_decision(desk->daemon->audit, &entry);
}

int desk_note(const struct desk *desk, const struct policy_verdict *verdict)
{
	const struct request *request = desk->request;
	const char *operation = verbs[request->verb].operation;

	if (request->rotation.asked)
		operation = "rotate";
	if (request->verb == VERB_PURGE && request->all)
		operation = "purge-all";
	if (!operation)
		return 0;
	return note(desk, operation, verbs[request->verb].changes, desk->name, verdict);
}

int desk_note_name(const struct desk *desk, struct span name, const struct policy_verdict *verdict)
{
	return note(desk, "export", false, name, verdict);
}

/* Why it was asked for is known no more. */
bool transfers_may_still(const struct transfers *transfers, const struct daemon *daemon,
	enum right right, struct span name)
{
	struct policy_verdict verdict = policy_ask(&daemon->policy, transfers->peer, right, name);
	const struct audit_entry entry = { .peer = transfers->peer,
		.operation = right_name(right),
		.name = name,
		.by = causes[verdict.cause],
		.file = verdict.file,
		.line = verdict.line };

	if (!verdict.allowed)
		(void)audit_decision(daemon->audit, &entry);
	return verdict.allowed;
}

void transfers_note_unlock(
	const struct transfers *transfers, const struct daemon *daemon, bool unlocked)
{
	const struct audit_entry entry = { .peer = transfers->peer,
		.operation = verbs[VERB_UNLOCK].operation,
		.changes = true,
		.allowed = unlocked,
		.by = "passphrase" };

	(void)audit_decision(daemon->audit, &entry);
}
