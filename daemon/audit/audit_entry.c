/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/audit/audit_entry.h"

static void add_text(struct audit_draft *draft, const char *key, struct span text)
{
	if (text.size > 0)
		audit_draft_text(draft, key, text);
}

static void add_caller(struct audit_draft *draft, const struct peer *peer)
{
	audit_draft_number(draft, "uid", peer->uid);
	audit_draft_number(draft, "gid", peer->gid);
	audit_draft_number(draft, "pid", (uint64_t)peer->pid);
	if (peer->place)
		add_text(draft, "unit", span_text(peer->place->unit));
	if (peer->listener)
		add_text(draft, "listener", span_text(peer->listener));
}

static void add_why(struct audit_draft *draft, const struct audit_entry *entry)
{
	audit_draft_text(draft, "decision", span_text(entry->allowed ? "allow" : "deny"));
	audit_draft_text(draft, "by", span_text(entry->by));
	if (entry->line > 0 && entry->file) {
		audit_draft_text(draft, "file", span_text(entry->file));
		audit_draft_number(draft, "line", entry->line);
	}
	add_text(draft, "token", entry->token);
	if (entry->alarm)
		audit_draft_text(draft, "alarm", span_text(entry->alarm));
	add_text(draft, "reason", entry->reason);
}

void audit_entry_put(struct audit_draft *draft, const struct audit_entry *entry)
{
	add_caller(draft, entry->peer);
	audit_draft_text(draft, "op", span_text(entry->operation));
	add_text(draft, "name", entry->name);
	add_text(draft, "to", entry->to);
	add_why(draft, entry);
}
